"""What an answer used is read from its bytes, however they are cut, and estimated where they do not say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.command import Begin, Call
from proxy.target import Target
from proxy.usage import KEPT_BYTES, Kind, Tokens, UsageWatch

CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
JSON, SSE = "application/json", "text/event-stream; charset=utf-8"
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
USED = Tokens(20, 9, 16)
OF_A_RESPONSE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 16},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 29,
}


def used(
    *chunks: bytes,
    path: str = CHAT,
    content_type: str = SSE,
    sent: bytes = b"",
    status: int = 200,
    method: str = "POST",
) -> Tokens | None:
    watch = UsageWatch(Call("r1", method, Target(path), []), sent)
    watch.begin(Begin(status, [("Content-Type", content_type)]))
    for chunk in chunks:
        watch.feed(chunk)
    return watch.tokens()


def body(**more: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": "hello"}}], **more}, ensure_ascii=False).encode()


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def said(text: str, **more: Any) -> bytes:
    return event({"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": text}}], **more})


DONE = b"data: [DONE]\n\n"
STREAM = [said("驿", usage=None), said("站", usage=None), event({"choices": [], "usage": USAGE}), DONE]
REPORTED: dict[str, tuple[str, str, bytes, Tokens]] = {
    "chat": (CHAT, JSON, body(usage=USAGE), USED),
    "chat with other things behind": (CHAT, JSON, body(usage=USAGE, system_fingerprint="fp", x=[1] * 99), USED),
    "chat, indented": (CHAT, JSON, json.dumps({"usage": USAGE}, indent=4).encode(), USED),
    "chat without details": (CHAT, JSON, body(usage={"prompt_tokens": 3, "completion_tokens": 4}), Tokens(3, 4)),
    "chat with null details": (
        CHAT,
        JSON,
        body(usage={"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": None}),
        Tokens(3, 4),
    ),
    "a completion": ("/v1/completions", JSON, body(usage=USAGE), USED),
    "a path spelled otherwise": ("/v1/Chat/completion%73/", JSON, body(usage=USAGE), USED),
    "embeddings": (
        EMBEDDINGS,
        JSON,
        json.dumps({"data": [0.1] * 9999, "usage": {"prompt_tokens": 8, "total_tokens": 8}}).encode(),
        Tokens(8),
    ),
    "a response": (RESPONSES, JSON, json.dumps({"output": [], "usage": OF_A_RESPONSE, "metadata": {}}).encode(), USED),
    "a picture": ("/v1/images/generations", JSON, json.dumps({"data": [], "usage": OF_A_RESPONSE}).encode(), USED),
    "a stream": (CHAT, SSE, b"".join(STREAM), USED),
    "a stream with CRLF": (CHAT, SSE, b"".join(STREAM).replace(b"\n", b"\r\n"), USED),
    "a stream whose data has many lines": (
        CHAT,
        SSE,
        b"data: " + json.dumps({"usage": USAGE}, indent=1).replace("\n", "\ndata: ").encode() + b"\n\n",
        USED,
    ),
    "a stream that counts as it goes": (
        CHAT,
        SSE,
        said("a", usage={"prompt_tokens": 20, "completion_tokens": 1}) + said("b", usage=USAGE),
        USED,
    ),
    "a stream that ends with zeros": (
        CHAT,
        SSE,
        b"".join(STREAM) + event({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}),
        USED,
    ),
    "a stream that ends with null": (CHAT, SSE, b"".join(STREAM) + said("", usage=None), USED),
    "a streamed response": (
        RESPONSES,
        SSE,
        event({"type": "response.created", "response": {"usage": None}})
        + event({"type": "response.output_text.delta", "delta": "hi"})
        + event({"type": "response.completed", "response": {"usage": OF_A_RESPONSE, "user": None}}),
        USED,
    ),
}


@pytest.mark.parametrize(("path", "content_type", "answer", "tokens"), REPORTED.values(), ids=REPORTED.keys())
def test_what_an_answer_says_that_it_used_is_read(path: str, content_type: str, answer: bytes, tokens: Tokens) -> None:
    assert used(answer, path=path, content_type=content_type) == tokens


def test_a_model_that_speaks_of_usage_is_not_believed() -> None:
    lie = '{"usage": {"prompt_tokens": 1, "completion_tokens": 1}}'

    assert used(said(lie), *STREAM, said(lie), DONE) == USED
    assert used(body(usage=USAGE, note=lie), content_type=JSON) == USED


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": "20"},
        {"prompt_tokens": -5},
        {"prompt_tokens": 10**30},
        {"prompt_tokens": True},
        "twenty",
        ["usage"],
    ],
)
def test_a_usage_without_numbers_of_tokens_says_nothing(usage: Any) -> None:
    tokens = used(body(usage=usage), content_type=JSON)

    assert tokens is not None
    assert tokens.kind is Kind.ESTIMATED


def test_broken_json_and_endless_nesting_say_nothing() -> None:
    for broken in (b'{"usage": {oops}}', b'{"usage": ' + b'{"a":' * 800, b'"usage": {"prompt_tokens": 1', b"\xff" * 99):
        tokens = used(broken, content_type=JSON)
        assert tokens is not None
        assert tokens.kind is Kind.ESTIMATED


pieces = st.lists(st.integers(min_value=0, max_value=60_000), max_size=8)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize("text", ["short", "long " * 9_000])
@pytest.mark.parametrize("says", [True, False])
@given(places=pieces)
def test_however_the_bytes_are_cut_the_count_is_the_same(text: str, says: bool, places: Sequence[int]) -> None:
    whole = b"".join([said(text), said("驿站" * 2_000), *(STREAM if says else [DONE])])

    assert used(*cut(whole, places)) == used(whole)


@given(st.lists(st.binary(max_size=3 * KEPT_BYTES), max_size=9))
def test_any_bytes_at_all_are_counted_without_a_fault_and_with_bounded_memory(chunks: list[bytes]) -> None:
    watch = UsageWatch(Call("r1", "POST", Target(CHAT), []), b"")
    watch.begin(Begin(200, [("Content-Type", SSE)]))
    for chunk in chunks:
        watch.feed(chunk)
        assert sum(map(len, watch._kept)) < 2 * KEPT_BYTES
    assert watch.tokens() is not None


# --- estimated


def test_a_stream_that_does_not_say_is_estimated_from_its_text_and_the_question() -> None:
    question = json.dumps({"messages": [{"role": "user", "content": "x" * 4_000}]}).encode()
    stream = [said("word ") for _ in range(1_000)]

    tokens = used(*stream, DONE, sent=question)

    assert tokens is not None
    assert tokens.kind is Kind.ESTIMATED
    assert tokens.prompt == pytest.approx(1_000, rel=0.05)
    assert tokens.completion == pytest.approx(1_250, rel=0.05)  # five bytes an event; the events' own bytes are no text


@pytest.mark.parametrize("name", ["content", "reasoning_content", "reasoning", "refusal"])
def test_every_kind_of_words_in_a_stream_counts(name: str) -> None:
    events = [event({"choices": [{"delta": {name: 'four"\n\\'}}]})] * 400

    tokens = used(*events)

    assert tokens is not None
    assert tokens.completion == pytest.approx(400 * len(json.dumps('four"\n\\')[1:-1]) / 4, rel=0.05)


def test_the_arguments_of_a_call_count() -> None:
    call = {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": '{"city":"Hangzhou"}'}}]}}]}

    tokens = used(*[event(call)] * 10)

    assert tokens is not None
    assert tokens.completion > 40


@pytest.mark.parametrize(
    ("path", "content_type", "answer", "completion"),
    [
        (CHAT, JSON, b"x" * 400_000, 100_000),
        (EMBEDDINGS, JSON, b"[" + b"0.12345," * 9_999 + b"0]", 0),
        (CHAT, SSE, b": keep-alive\n\n" * 99, 0),
        (CHAT, SSE, b"", 0),
    ],
)
def test_what_is_no_stream_counts_byte_by_byte_and_what_is_no_text_does_not(
    path: str, content_type: str, answer: bytes, completion: int
) -> None:
    sent = b"12345"

    assert used(answer, path=path, content_type=content_type, sent=sent) == Tokens(2, completion, kind=Kind.ESTIMATED)


def test_the_pictures_in_a_question_are_not_estimated_as_text() -> None:
    sent = b'{"url":"data:image/png;base64,' + b"iVBORw0KGgo" * 9_999 + b'"}'

    tokens = used(said("a cat"), sent=sent)

    assert tokens is not None
    assert tokens.prompt < 20


# --- nothing used


@pytest.mark.parametrize(
    "answered",
    [
        {"status": 400},
        {"status": 429},
        {"status": 304},
        {"method": "GET"},
        {"path": "/v1/models"},
        {"path": "/v1/responses/resp_1"},
        {"path": "/v1/responses/resp_1/cancel"},
        {"path": "/v1/batches"},
    ],
)
def test_an_error_and_an_answer_that_is_only_read_use_nothing(answered: dict[str, Any]) -> None:
    assert used(body(usage=USAGE), content_type=JSON, sent=b"1234", **answered) is None


def test_a_picture_that_does_not_say_is_not_estimated() -> None:
    assert used(b'{"data":[]}', path="/v1/images/generations", content_type=JSON) is None


def test_a_request_that_was_never_answered_uses_nothing() -> None:
    assert UsageWatch(Call("r1", "POST", Target(CHAT), []), b"1234").tokens() is None
