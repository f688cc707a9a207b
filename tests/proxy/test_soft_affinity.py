from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.peek import peek
from proxy.soft_affinity import WARM_SECONDS, SoftAffinity


def opening(body: Any) -> str:
    return peek(json.dumps(body).encode(), "application/json").opening


def said(*messages: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in messages]


ASKED = said(("system", "Be brief."), ("user", "What is a posthouse?"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"messages": ASKED}, {"messages": [*ASKED, *said(("assistant", "An inn."), ("user", "Where?"))]}),
        ({"prompt_cache_key": "tenant-7", "messages": ASKED}, {"prompt_cache_key": "tenant-7", "input": "x"}),
        ({"instructions": "Be brief.", "input": "Hello"}, {"instructions": "Be brief.", "input": "Hello", "top_p": 1}),
        (
            {"input": said(("user", [{"type": "input_image"}, {"type": "input_text", "text": "Hello"}]))},
            {"input": [*said(("user", [{"type": "input_text", "text": "Hello"}])), {"type": "function_call"}]},
        ),
    ],
)
def test_requests_of_one_conversation_begin_alike(one: Any, other: Any) -> None:
    assert opening(one) == opening(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"messages": ASKED}, {"messages": [ASKED[0], *said(("user", "And an inn?"))]}),
        ({"messages": ASKED}, {"messages": [*said(("system", "Be long.")), ASKED[1]]}),
        ({"prompt_cache_key": "a", "messages": ASKED}, {"prompt_cache_key": "b", "messages": ASKED}),
        ({"instructions": "a", "input": "b"}, {"instructions": "", "input": "b"}),
    ],
)
def test_different_conversations_begin_differently(one: Any, other: Any) -> None:
    assert opening(one) != opening(other)


@pytest.mark.parametrize(
    "body",
    [{}, {"messages": []}, {"messages": [ASKED[0]]}, {"messages": [1, None]}, {"input": ["a", "b"]}, {"messages": 7}],
)
def test_what_is_no_conversation_has_no_opening(body: Any) -> None:
    assert opening(body) == ""
    assert SoftAffinity(b"salt").soft_key("gpt-5", opening(body)) is None


def test_a_conversation_goes_to_the_key_it_used_last_for_ten_minutes() -> None:
    soft = SoftAffinity(b"salt")
    key = soft.soft_key("gpt-5", "hello")
    soft.remember(key, "k1", now=0.0)
    soft.remember(key, "k2", now=5.0)

    assert soft.preferred(key, now=5.0 + WARM_SECONDS - 1) == "k2"
    assert soft.preferred(key, now=5.0 + WARM_SECONDS) == ""
    assert soft.preferred(soft.soft_key("gpt-5-mini", "hello"), now=6.0) == ""


def test_a_request_of_no_conversation_prefers_nothing() -> None:
    soft = SoftAffinity(b"salt")
    soft.remember(None, "k1", now=0.0)

    assert soft.preferred(None, now=0.0) == ""


def test_the_conversations_used_last_are_remembered() -> None:
    soft = SoftAffinity(b"salt", most=2)
    keys = [soft.soft_key("gpt-5", str(number)) for number in range(3)]
    for key in (*keys[:2], keys[0], keys[2]):
        soft.remember(key, "k1", now=0.0)

    assert [soft.preferred(key, now=1.0) for key in keys] == ["k1", "", "k1"]


def test_the_hash_of_a_conversation_depends_on_the_salt_and_holds_no_word() -> None:
    one, other = (SoftAffinity(salt).soft_key("gpt-5", "hello") for salt in (b"a", b"b"))

    assert one != other
    assert one is not None
    assert len(one) == 16
