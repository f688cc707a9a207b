"""An answer told in other words: as it comes, honestly, and the same however it is cut into chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.command import Begin, Cut, End, Part
from proxy.headers import Fields
from proxy.legacy import completion_answer
from proxy.refusal import Refusal, answer_not_readable
from proxy.retelling import MOST_BYTES, Retelling
from proxy.sse import Kind, truncation

SSE = [("Content-Type", "text/event-stream; charset=utf-8")]
JSON = [("Content-Type", "application/json"), ("Content-Length", "3")]
REFUSAL = answer_not_readable()


def legacy() -> Retelling:
    return Retelling(lambda data: completion_answer(data, "davinci"), unreadable=REFUSAL)


def plain() -> Retelling:
    """Its answer may be told as it came."""
    return Retelling(lambda data: data.upper() if data.startswith(b"x") else None)


def told(retelling: Retelling, *parts: Part) -> list[Part]:
    return [out for part in parts for out in retelling.tell(part) if out != b""]


def bytes_of(parts: list[Part]) -> bytes:
    return b"".join(part if isinstance(part, bytes) else part.data for part in parts if isinstance(part, bytes | Begin))


def chunk(text: str | None, **choice: Any) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    return {"id": "c", "created": 1, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **choice}]}


def event(data: dict[str, Any], line_end: bytes = b"\n") -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + line_end * 2


def completion(data: dict[str, Any]) -> bytes:
    made = completion_answer(json.dumps(data).encode(), "davinci")
    assert made is not None
    return b"data: " + made + b"\n\n"


ERROR = b'data: {"error": {"message": "no"}}\n\n'
FIRST, SECOND, LAST = chunk("驿站"), chunk("，你好"), chunk(None, finish_reason="stop")
STREAM = (
    b": keep-alive\n\n\n"
    + event(FIRST)
    + b": again\n"
    + event(SECOND, b"\r\n")
    + b"event: x\r\ndata:"
    + json.dumps(LAST).replace(", ", ",\r\ndata: ").encode()
    + b"\r\r"
    + b": late\r\n\r\n"
    + ERROR
    + b"data: [DONE]\n\n"
)
RETOLD = (
    b": keep-alive\n\n\n"
    + completion(FIRST)
    + b": again\n"
    + completion(SECOND)
    + completion(LAST)
    + b": late\r\n\r\n"
    + ERROR
    + b"data: [DONE]\n\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
@example(list(range(len(STREAM))))
def test_a_stream_is_retold_the_same_wherever_it_is_cut(cuts: list[int]) -> None:
    cuts = sorted(cuts)
    first, *chunks = [STREAM[a:b] for a, b in zip([0, *cuts], [*cuts, len(STREAM)], strict=True)]
    parts = told(legacy(), Begin(200, SSE, first), *chunks, End())
    assert bytes_of(parts) == RETOLD
    assert parts[-1] == End()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_an_event_is_told_as_soon_as_it_is_whole(line_end: bytes) -> None:
    retelling = legacy()
    assert told(retelling, Begin(200, SSE, event(FIRST, line_end))) == [Begin(200, SSE, completion(FIRST))]
    assert told(retelling, event(SECOND, line_end)) == [completion(SECOND)]


def test_headers_of_a_retold_body_go_on_to_the_byte() -> None:
    """They were decoded and written again as UTF-8."""
    name = b"X-Name: caf\xe9"
    [begin] = told(plain(), Begin(200, Fields([name, b"Content-Length: 1"]), b"x", is_whole=True))
    assert isinstance(begin, Begin)
    assert [line for line in Fields.of(begin.headers).lines if line.startswith(b"X-")] == [name]


@pytest.mark.parametrize("comment", [b": keep-alive\n", b":\r\n", b"\n", b": a\n: b\n\n"])
def test_comments_and_blank_lines_do_not_wait_for_an_event(comment: bytes) -> None:
    retelling = legacy()
    assert told(retelling, Begin(200, SSE), comment, event(FIRST)) == [Begin(200, SSE), comment, completion(FIRST)]


@pytest.mark.parametrize(
    "odd",
    [
        ERROR,
        b"data: [DONE]\n\n",
        b"data:\n\n",
        b"event: ping\n\n",
        b"data: {broken\n\n",
        b"\xef\xbb\xbf: hello\r\n\r\n",
        b"id: 1\r\r",
    ],
)
def test_what_is_no_answer_is_told_as_it_came(odd: bytes) -> None:
    assert bytes_of(told(legacy(), Begin(200, SSE), odd, End())) == odd


def test_the_last_event_may_lack_its_blank_line() -> None:
    assert bytes_of(told(legacy(), Begin(200, SSE), event(LAST).rstrip(), End())) == completion(LAST)
    whole = Begin(200, SSE, event(LAST).rstrip(), is_whole=True)
    assert told(legacy(), whole) == [Begin(200, SSE, completion(LAST), is_whole=True)]


@pytest.mark.parametrize("half", [b"", b"data: {", event(SECOND)[:-1]])
def test_a_torn_stream_stays_torn_and_says_so(half: bytes) -> None:
    """Whatever was torn, our own error follows a whole event: the half one was kept back."""
    parts = told(legacy(), Begin(200, SSE, event(FIRST)), half, Cut())
    assert bytes_of(parts) == completion(FIRST)
    assert parts[-1] == Cut(truncation(Kind.CHOICES))


def test_an_event_that_is_too_large_tears_the_stream() -> None:
    parts = told(legacy(), Begin(200, SSE, event(FIRST)), b"data: " + b"x" * MOST_BYTES)
    assert parts == [Begin(200, SSE, completion(FIRST)), Cut(truncation(Kind.CHOICES))]


# --- a body that is no stream

ANSWER = {"id": "c", "choices": [{"index": 0, "message": {"content": "好"}, "finish_reason": "stop"}]}


@given(st.lists(st.integers(0, 40), max_size=5))
def test_a_body_is_retold_once_it_is_whole(cuts: list[int]) -> None:
    body = json.dumps(ANSWER).encode()
    cuts = sorted(cuts)
    chunks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    (begin,) = told(legacy(), Begin(200, JSON), *chunks, End())
    assert isinstance(begin, Begin)
    assert begin.is_whole
    assert begin.data == completion_answer(body, "davinci")
    assert begin.headers == [("Content-Type", "application/json"), ("Content-Length", str(len(begin.data)))]


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error": "no"}'])
def test_a_body_that_cannot_be_retold_is_told_as_it_came(body: bytes) -> None:
    (begin,) = told(legacy(), Begin(200, JSON), body, End())
    assert isinstance(begin, Begin)
    assert begin.data == body


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("status", [400, 429, 500])
def test_what_is_no_success_is_told_as_it_came(status: int, is_whole: bool) -> None:
    begin = Begin(status, JSON, b'{"error": {}}', is_whole)
    assert told(legacy(), begin, b"more", End()) == [begin, b"more", End()]


def test_a_refusal_of_ours_passes() -> None:
    refusal = Refusal(502, "upstream_unreachable", "…")
    assert told(legacy(), refusal) == [refusal]


TOO_LARGE: tuple[Part, ...] = (Begin(200, JSON), b"a" * MOST_BYTES, b"b")
UNREADABLE: dict[str, tuple[Part, ...]] = {
    "it broke off": (Begin(200, JSON), b"xy", Cut()),
    "it is too large": TOO_LARGE,
    "it is compressed": (Begin(200, [*JSON, ("Content-Encoding", "gzip")]), b"\x1f", End()),
    "its stream is compressed": (Begin(200, [*SSE, ("Content-Encoding", "gzip")]), b"\x1f", End()),
}


@pytest.mark.parametrize("parts", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_answer_that_cannot_be_read_is_refused(parts: tuple[Part, ...]) -> None:
    """What follows the refusal is nobody's: whoever tells it stops there."""
    assert told(legacy(), *parts)[0] is REFUSAL


@pytest.mark.parametrize("parts", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_or_told_as_it_came_where_that_does_no_harm(parts: tuple[Part, ...]) -> None:
    got = told(plain(), *parts)
    assert isinstance(got[0], Begin)
    assert bytes_of(got) == bytes_of(list(parts))
    assert isinstance(got[-1], Cut | End) == isinstance(parts[-1], Cut | End)
