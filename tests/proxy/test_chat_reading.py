"""The words in a model's answer, however it comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.chat import _Reading


def event(**choice: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


STREAM = (
    b": keep-alive\n\n"
    + event(delta={"role": "assistant"})
    + event(delta={"content": "驿站"})
    + event(delta={"content": None})
    + event(delta={"content": "，你好"})
    + event(delta={}, finish_reason="stop")
    + b'data: {"choices": [], "usage": {"total_tokens": 5}}\n\n'
    + b"data: [DONE]\n\n"
)


def read(chunks: list[bytes], *, is_stream: bool = True) -> tuple[str, _Reading]:
    reading = _Reading()
    reading.is_stream = is_stream
    return "".join(map(reading.feed, chunks)) + reading.rest(), reading


@given(st.lists(st.integers(0, len(STREAM)), max_size=8), st.booleans())
def test_the_words_are_the_same_however_the_stream_is_cut(cuts: list[int], crlf: bool) -> None:
    stream = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
    cuts = sorted(cuts)
    words, reading = read([stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)])
    assert (words, reading.finish_reason, reading.has_words) == ("驿站，你好", "stop", True)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_words_come_out_as_soon_as_their_event_is_whole(line_end: bytes) -> None:
    reading = _Reading()
    first = event(delta={"content": "now"}).replace(b"\n", line_end)
    assert reading.feed(first) == "now"


@pytest.mark.parametrize(
    ("body", "words", "reason"),
    [
        ({"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}]}, "whole", "stop"),
        ({"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}, "", "length"),
        ({"choices": []}, "", ""),
        ({}, "", ""),
        ([], "", ""),
        ({"choices": ["x", {"message": "y"}, {"message": {"content": ["z"]}}]}, "", ""),
    ],
)
def test_an_answer_that_is_no_stream_is_read_whole(body: Any, words: str, reason: str) -> None:
    data = json.dumps(body, indent=2).encode()
    said, reading = read([data[:5], data[5:]], is_stream=False)
    assert (said, reading.finish_reason, reading.has_words) == (words, reason, bool(words))


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"data: [DONE]\n\n",
        b"data: {broken\n\n",
        b"data: []\n\n",
        b'data: {"choices": null}\n\n',
        b'data: {"choices": {"delta": 1}}\n\n',
        b'data: {"choices": [{"delta": {"content": 7}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": " \\n"}}]}\n\n',
        b"\xff\xfe\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_what_has_no_words_is_no_answer_and_no_fault(stream: bytes) -> None:
    assert not read([stream])[1].has_words
