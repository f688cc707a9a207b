"""The words in a model's answer, by whichever API and however it comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.chat import EVENT_CHARACTERS, MOST_BYTES, Reading
from proxy.dialect import Api
from proxy.refusal import Refusal
from proxy.sender import TornAnswer


def event(**choice: Any) -> bytes:
    return data({"choices": [choice]})


def data(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


def named(kind: str, **fields: Any) -> bytes:
    """As the responses API names its events: in a line of their own, and as `type`."""
    return f"event: {kind}\n".encode() + data({"type": kind, **fields})


STREAMS: dict[Api, bytes] = {
    "chat": (
        b": keep-alive\n\n"
        + event(delta={"role": "assistant"})
        + event(delta={"content": "驿站"})
        + event(delta={"content": None, "reasoning_content": "hm"})
        + event(delta={"content": "，你好"})
        + event(delta={}, finish_reason="stop")
        + b'data: {"choices": [], "usage": {"total_tokens": 5}}\n\n'
        + b"data: [DONE]\n\n"
    ),
    "responses": (
        named("response.created", response={"status": "in_progress", "error": None, "output": []})
        + named("response.reasoning_summary_text.delta", delta="hm")
        + named("response.reasoning_text.delta", delta="hm")
        + named("response.output_text.delta", delta="驿站")
        + named("response.output_text.delta", delta="，你好")
        + named("response.output_text.done", text="驿站，你好")
        + named("response.output_item.done", item={"type": "message", "content": [{"text": "驿站，你好"}]})
        + named("response.completed", response={"status": "completed", "error": None, "output": [{"type": "message"}]})
    ),
    "completions": (
        event(text="驿站")
        + event(text="", delta={"content": "not of this API"})
        + event(text="，你好")
        + event(text="", finish_reason="stop")
        + b"data: [DONE]\n\n"
    ),
}
ERRORS: list[tuple[str, Any, str]] = [
    ("a server error", {"error": {"code": None, "type": "server_error"}}, "torn"),
    ("a limit", {"error": {"code": "rate_limit_exceeded"}}, "torn"),
    ("our own", {"error": {"code": "upstream_stream_truncated", "type": "server_error"}}, "torn"),
    ("too large", {"error": {"code": "rate_limit_exceeded", "message": "Request too large"}}, "rate_limit_exceeded"),
    ("no such model", {"error": {"code": "model_not_found"}}, "model_not_found"),
    ("a filter", {"error": {"code": "content_filter"}}, "content_filter"),
    ("no plain word", {"error": {"code": "sk-abc 驿站"}}, ""),
    ("a bare string", {"error": "no"}, ""),
    ("an error event", {"type": "error", "code": "server_error", "message": "no"}, "torn"),
    ("a failure", {"type": "response.failed", "response": {"error": {"code": "server_error"}}}, "torn"),
    ("a prompt", {"type": "response.failed", "response": {"error": {"code": "invalid_prompt"}}}, "invalid_prompt"),
    ("nothing said", {"type": "response.failed", "response": {"error": None}}, ""),
    ("whole", {"object": "response", "status": "failed", "error": {"code": "invalid_prompt"}}, "invalid_prompt"),
]


def read(chunks: list[bytes], *, is_stream: bool = True, api: Api = "chat") -> tuple[str, Reading]:
    reading = Reading(api)
    reading.is_stream = is_stream
    return "".join(map(reading.feed, chunks)) + reading.rest(), reading


@pytest.mark.parametrize("api", STREAMS)
@given(st.lists(st.integers(0, 1200), max_size=8), st.booleans())
def test_the_words_are_the_same_however_the_stream_is_cut(api: Api, cuts: list[int], crlf: bool) -> None:
    stream = STREAMS[api].replace(b"\n", b"\r\n") if crlf else STREAMS[api]
    cuts = sorted(cuts)
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    words, reading = read(chunks, api=api)
    assert (words, reading.finish_reason, reading.has_words) == ("驿站，你好", "stop", True)


@pytest.mark.parametrize("api", STREAMS)
def test_the_last_event_may_lack_its_blank_line(api: Api) -> None:
    words, reading = read([STREAMS[api].removesuffix(b"data: [DONE]\n\n").rstrip()], api=api)
    assert (words, reading.finish_reason) == ("驿站，你好", "stop")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_words_come_out_as_soon_as_their_event_is_whole(line_end: bytes) -> None:
    reading = Reading()
    first = event(delta={"content": "now"}).replace(b"\n", line_end)
    assert reading.feed(first) == "now"


REASONED = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}
MESSAGE = {
    "type": "message",
    "content": [{"type": "output_text", "text": "wh"}, {"type": "output_text", "text": "ole"}],
}
DECLINED = {"type": "message", "content": [{"type": "refusal", "refusal": "I will not."}]}
TOO_LONG = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
FILTERED = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}


@pytest.mark.parametrize(
    ("api", "body", "words", "reason"),
    [
        ("chat", {"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}]}, "whole", "stop"),
        ("chat", {"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}, "", "length"),
        ("chat", {"choices": [{"message": {"content": None, "refusal": "I will not."}}]}, "I will not.", ""),
        ("chat", {"choices": []}, "", ""),
        ("chat", {}, "", ""),
        ("chat", [], "", ""),
        ("chat", {"choices": ["x", {"message": "y"}, {"message": {"content": ["z"]}}]}, "", ""),
        ("completions", {"choices": [{"text": "whole", "finish_reason": "stop"}]}, "whole", "stop"),
        ("completions", {"choices": [{"text": "", "finish_reason": "length"}]}, "", "length"),
        ("completions", {"choices": [{"text": 1}, None]}, "", ""),
        ("responses", {"object": "response", "status": "completed", "output": [REASONED, MESSAGE]}, "whole", "stop"),
        ("responses", {"object": "response", "status": "completed", "output": [DECLINED]}, "I will not.", "stop"),
        ("responses", {"object": "response", **TOO_LONG, "output": [REASONED]}, "", "length"),
        ("responses", {"object": "response", **FILTERED, "output": []}, "", "content_filter"),
        ("responses", {"object": "response", "status": "incomplete", "incomplete_details": None}, "", ""),
        ("responses", {"object": "response", "output": ["x", {"type": "message", "content": ["y"]}]}, "", ""),
        ("responses", {"object": "list"}, "", ""),
        ("responses", 7, "", ""),
    ],
)
def test_an_answer_that_is_no_stream_is_read_whole(api: Api, body: Any, words: str, reason: str) -> None:
    written = json.dumps(body, indent=2).encode()
    said, reading = read([written[:5], written[5:]], is_stream=False, api=api)
    assert (said, reading.finish_reason, reading.has_words) == (words, reason, bool(words))


def test_a_response_without_words_tells_in_chats_word_that_it_was_too_long() -> None:
    stream = named("response.created", response={}) + named("response.incomplete", response=TOO_LONG)
    words, reading = read([stream], api="responses")
    assert (words, reading.finish_reason, reading.has_words) == ("", "length", False)


def test_a_model_that_declines_says_so_in_words_too() -> None:
    assert read([event(delta={"refusal": "I will not."})])[0] == "I will not."
    assert read([named("response.refusal.delta", delta="I will not.")], api="responses")[0] == "I will not."


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize(("error", "meaning"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_an_error_in_place_of_an_answer_is_told_by_whose_it_is(error: Any, meaning: str, is_stream: bool) -> None:
    body = data(error) if is_stream else json.dumps(error).encode()
    with pytest.raises((Refusal, TornAnswer)) as caught:
        read([body], is_stream=is_stream)
    if meaning == "torn":
        assert isinstance(caught.value, TornAnswer)
    else:
        assert isinstance(caught.value, Refusal)
        assert (caught.value.status, caught.value.code) == (400, "upstream_refused")
        assert caught.value.upstream_code == meaning


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("error", [case[1] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_an_error_behind_words_tears_the_answer_whosever_it_is(error: Any, together: bool) -> None:
    chunks = [event(delta={"content": "words"}), data(error)]
    with pytest.raises(TornAnswer):
        read([b"".join(chunks)] if together else chunks)


def test_a_word_that_speaks_of_an_error_is_a_word() -> None:
    words = 'He wrote {"error": {"code": "server_error"}}.'
    assert read([event(delta={"content": words}, finish_reason="stop")])[0] == words


def test_an_answer_without_end_is_given_up() -> None:
    with pytest.raises(TornAnswer):
        read([b": " + b"keep-alive " * 9_000 + b"\n\n"] * (MOST_BYTES // 99_000 + 1))
    with pytest.raises(TornAnswer):
        read([b"data: " + b" " * EVENT_CHARACTERS])
    with pytest.raises(TornAnswer):
        read([b" " * (MOST_BYTES + 1)], is_stream=False)


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
        b'data: {"type": "response.output_text.delta", "delta": ["x"]}\n\n',
        b'data: {"type": "response.completed"}\n\n',
        b"\xff\xfe\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
@pytest.mark.parametrize("api", STREAMS)
def test_what_has_no_words_is_no_answer_and_no_fault(stream: bytes, api: Api) -> None:
    assert not read([stream], api=api)[1].has_words


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "a byte order mark"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_a_whole_answer_is_read_however_its_lines_end(mark: bytes, line_end: bytes) -> None:
    """It was read as an event, of which only the first line was left."""
    answer = {"choices": [{"message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}]}
    data = mark + json.dumps(answer, indent=1).encode().replace(b"\n", line_end)
    assert read([data], is_stream=False)[0] == "whole"
