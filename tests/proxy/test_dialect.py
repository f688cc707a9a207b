"""A conversation is asked in each API's own form, and says the same in all of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialect import TARGETS, Api, Message, question

PICTURE = "data:image/png;base64,iVBORw0KGgo="
SYSTEM: Message = {"role": "system", "content": "你是驿丞。"}
EARLIER: list[Message] = [{"role": "user", "content": "驿站是什么？"}, {"role": "assistant", "content": "换马的地方。"}]
LAST: Message = {"role": "user", "content": "几点关门？"}
SHOWN: Message = {
    "role": "user",
    "content": [{"type": "text", "text": "这是什么？"}, {"type": "image_url", "image_url": {"url": PICTURE}}],
}
TALK = [SYSTEM, *EARLIER, LAST]


def asked(api: Api, *messages: Message, **parameters: Any) -> dict[str, Any]:
    fields = question(api, messages, model="gpt-5", parameters=parameters)
    assert fields.pop("model") == "gpt-5"
    return fields


def test_a_chat_is_asked_as_it_stands_streamed_counted_and_not_stored() -> None:
    assert asked("chat", *TALK, SHOWN, temperature=0.5, max_tokens=9) == {
        "messages": [*TALK, SHOWN],
        "stream": True,
        "stream_options": {"include_usage": True},
        "store": False,
        "temperature": 0.5,
        "max_tokens": 9,
    }


def test_a_response_has_its_instructions_apart_and_its_words_and_pictures_as_parts() -> None:
    assert asked("responses", *TALK, SHOWN, temperature=0.5, max_tokens=9) == {
        "instructions": "你是驿丞。",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "驿站是什么？"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "换马的地方。"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "几点关门？"}]},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "这是什么？"},
                    {"type": "input_image", "image_url": PICTURE, "detail": "auto"},
                ],
            },
        ],
        "stream": True,
        "store": False,
        "temperature": 0.5,
        "max_output_tokens": 9,
    }


def test_a_response_without_a_system_prompt_has_no_instructions() -> None:
    assert "instructions" not in asked("responses", LAST)


def test_a_completion_is_asked_in_the_form_of_the_article() -> None:
    assert asked("completions", *TALK, temperature=0.5, max_tokens=9) == {
        "prompt": "你是驿丞。\n\nQ: 驿站是什么？\n A: 换马的地方。\nQ: 几点关门？\n A: ",
        "stop": ["\nQ:"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 9,
    }


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ([LAST], "Q: 几点关门？\n A: "),
        ([SHOWN], "Q: 这是什么？\n A: "),
        ([{"role": "user", "content": SHOWN["content"][1:]}], "Q: \n A: "),
        ([LAST, LAST], "Q: 几点关门？\nQ: 几点关门？\n A: "),
        (
            [SYSTEM, {"role": "system", "content": "Q: ?\n A: !"}, LAST],
            "你是驿丞。\n\nQ: ?\n A: !\n\nQ: 几点关门？\n A: ",
        ),
        ([{"role": "user", "content": "甲\nQ: 乙\r\n  A: 丙 Q: 丁"}], "Q: 甲\nQ： 乙\r\n  A： 丙 Q: 丁\n A: "),
    ],
    ids=["alone", "with a picture", "a picture alone", "two questions", "an operator's own examples", "false marks"],
)
def test_what_a_completion_makes_of(messages: list[Message], prompt: str) -> None:
    assert asked("completions", *messages)["prompt"] == prompt


@given(st.text("QA:： \n\rx"), st.text("QA:： \n\rx"))
def test_nobody_can_write_both_sides_of_a_completion(one: str, other: str) -> None:
    """There are as many marks at the beginning of a line as there are messages, and the one for the answer to come."""
    talk: list[Message] = [{"role": "user", "content": one}, {"role": "assistant", "content": other}, LAST]
    prompt = asked("completions", *talk)["prompt"]
    assert [mark.strip() for mark in re.findall(r"(?:\A|[\n\r])\s*[QA]:", prompt)] == ["Q:", "A:", "Q:", "A:"]


def test_a_conversation_stays_as_it_was_for_the_next_time() -> None:
    before = repr([*TALK, SHOWN])
    for api in TARGETS:
        asked(api, *TALK, SHOWN, max_tokens=9)
    assert repr([*TALK, SHOWN]) == before
