"""What a WebSocket says of itself, as values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy.realtime_words import (
    LARGEST_EVENT,
    Parting,
    agreed,
    handshake,
    model_of,
    parting,
    passable_with_101,
    spoken,
    tokens_of,
)
from proxy.refusal import Refusal
from proxy.target import Target
from proxy.usage import Tokens

# The handshake of RFC 6455, 1.3.
NONCE, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ANSWER = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}

P = "Sec-WebSocket-Protocol"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ([], []),
        ([("X", "1"), (P, "realtime")], [("X", "1"), (P, "realtime")]),
        ([(P, "openai-insecure-api-key.t-1")], [("Authorization", "Bearer t-1")]),
        ([(P, "OpenAI-Insecure-API-Key.t.1")], [("Authorization", "Bearer t.1")]),
        (
            [(P, "realtime,openai-insecure-api-key.t"), (P.lower(), " openai-beta.realtime-v1 ,")],
            [("Authorization", "Bearer t"), (P, "realtime, openai-beta.realtime-v1")],
        ),
        (
            [(P, "openai-organization.org-1, openai-project.p-1")],
            [("OpenAI-Organization", "org-1"), ("OpenAI-Project", "p-1")],
        ),
        ([("api-key", "a"), (P, "openai-insecure-api-key.b")], [("api-key", "a"), ("Authorization", "Bearer b")]),
    ],
)
def test_a_browser_s_credentials_are_read_from_its_subprotocols(said: Any, meant: Any) -> None:
    assert spoken(said) == meant


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters=","), max_size=40), max_size=5))
def test_no_subprotocol_with_a_token_is_left(protocols: list[str]) -> None:
    left = dict(spoken([(P, ",".join([*protocols, "openai-insecure-api-key.secret"]))])).get(P, "")
    assert "openai-insecure-api-key" not in left.lower()
    assert "secret" not in left or any("secret" in protocol for protocol in protocols)


@pytest.mark.parametrize(
    ("target", "model"),
    [
        (Target("/v1/realtime", "model=gpt-realtime"), "gpt-realtime"),
        (Target("/v1/realtime/", "a=b&model=gpt%2Drealtime"), "gpt-realtime"),
        (Target("/v1/realtime", "intent=transcription"), ""),
        (Target("/v1/realtime"), ""),
        (Target("/v1/responses", "model=gpt-5"), ""),
    ],
)
def test_the_model_stands_in_the_query_of_realtime(target: Target, model: str) -> None:
    assert model_of(target) == model


@pytest.mark.parametrize(
    "query", ["model=a&model=b", "model=a&m%6fdel=b", "model=a;model=b", "model=%07", "model=" + "x" * 300]
)
def test_a_model_that_two_servers_might_read_differently_is_refused(query: str) -> None:
    with pytest.raises(Refusal) as caught:
        model_of(Target("/v1/realtime", query))
    assert caught.value.status == 400


def test_the_handshake_of_the_standard_is_accepted() -> None:
    asked = handshake(NONCE, "chat, superchat")
    assert agreed(101, CIMultiDict(ANSWER), asked) == ""
    assert agreed(101, CIMultiDict({**ANSWER, P: "superchat"}), asked) == "superchat"


@pytest.mark.parametrize(
    ("status", "changed"),
    [
        (200, {}),
        (101, {"Upgrade": "h2c"}),
        (101, {"Connection": "keep-alive"}),
        (101, {"Sec-WebSocket-Accept": "AAAA"}),
        (101, {P: "unasked"}),
        (101, {"Sec-WebSocket-Extensions": "permessage-deflate"}),
    ],
)
def test_any_other_answer_opens_nothing(status: int, changed: dict[str, str]) -> None:
    with pytest.raises(Refusal) as caught:
        agreed(status, CIMultiDict({**ANSWER, **changed}), handshake(NONCE, "realtime"))
    assert (caught.value.status, caught.value.code) == (502, "upstream_unreachable")


@pytest.mark.parametrize(
    ("code", "reason", "heard"),
    [
        (1000, "", Parting(1000)),
        (1013, "later", Parting(1013, "later")),
        (3000, "x", Parting(3000, "x")),
        (4999, "x", Parting(4999, "x")),
        (0, "", Parting(1000)),
        (1005, "x", Parting(1011)),
        (1006, "x", Parting(1011)),
        (1015, "x", Parting(1011)),
        (2999, "x", Parting(1011)),
        (5000, "x", Parting(1011)),
    ],
)
def test_a_close_code_goes_through_where_it_may_stand_in_a_frame(code: int, reason: str, heard: Parting) -> None:
    assert parting(code, reason) == heard


def test_the_upstream_s_own_handshake_does_not_reach_the_caller() -> None:
    headers = [
        ("Sec-WebSocket-Accept", ACCEPT),
        ("sec-websocket-extensions", "x"),
        ("Content-Length", "0"),
        ("x-request-id", "r"),
    ]
    assert passable_with_101(headers) == [("x-request-id", "r")]


DETAILS = {"cached_tokens": 4, "text_tokens": 10, "audio_tokens": 0}
USAGE = {"total_tokens": 16, "input_tokens": 10, "output_tokens": 6, "input_token_details": DETAILS}


@pytest.mark.parametrize("kind", ["response.done", "response.completed", "response.incomplete", "response.failed"])
def test_the_event_that_ends_an_answer_says_what_it_used(kind: str) -> None:
    assert tokens_of(json.dumps({"type": kind, "response": {"usage": USAGE}}).encode()) == Tokens(10, 6, 4)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_text.delta", "delta": '"response.done"', "response": {"usage": USAGE}},
        {"type": "other", "metadata": ["response.done"], "response": {"usage": USAGE}},
        {"type": ["response.done"], "response": {"usage": USAGE}},
        {"type": "response.done", "response": {"usage": None}},
        {"type": "response.done", "response": {"usage": {"input_tokens": 0}}},
        {"type": "response.done", "response": "usage"},
        {"type": "response.done"},
        ["response.done"],
        {"type": "response.done", "response": {"usage": USAGE}, "pad": "x" * LARGEST_EVENT},
    ],
)
def test_other_events_say_nothing(event: Any) -> None:
    assert tokens_of(json.dumps(event).encode()) is None


@given(st.binary(max_size=64))
def test_bytes_that_are_no_json_say_nothing(junk: bytes) -> None:
    assert tokens_of(b'{"type": "response.done"' + junk) is None or junk.strip().endswith(b"}")
