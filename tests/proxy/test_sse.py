"""Events seen from the side: the same verdict on a stream however the network cuts it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sse import KEPT_BYTES, KIND_OF_PATH, Kind, StreamWatch, data_of, first_data, truncation

BOM = b"\xef\xbb\xbf"


def event(payload: Any, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(payload).encode() + b"\n\n"


def delta(text: str = "hi", index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    return event({"choices": [{"index": index, "delta": {"content": text, **more}, "finish_reason": finish}]})


DONE = b"data: [DONE]\n\n"
USAGE = event({"choices": [], "usage": {"prompt_tokens": 5}})
TOOLS: dict[str, Any] = {"tool_calls": [{"index": 3, "function": {"arguments": "{}"}}]}
COMPLETED = event({"type": "response.completed", "response": {"id": "r"}}, "response.completed")
ERROR = event({"error": {"message": "no", "code": None}})

# Each: what it is, how its path ends, the stream, whether it is complete.
LONG_IMAGE = event({"type": "image_generation.completed", "b64_json": "A" * 2 * KEPT_BYTES})
STREAMS: list[tuple[str, Kind, bytes, bool]] = [
    ("done", Kind.CHOICES, delta() + delta(finish="stop") + USAGE + DONE, True),
    ("done alone", Kind.CHOICES, DONE, True),
    ("done without its blank line", Kind.CHOICES, delta() + b"data: [DONE]", True),
    ("done with one line's end", Kind.CHOICES, delta() + b"data: [DONE]\n", True),
    ("done without a space", Kind.CHOICES, delta() + b"data:[DONE]\n\n", True),
    ("done after a byte order mark", Kind.CHOICES, BOM + DONE, True),
    ("done as a word of the model", Kind.CHOICES, delta("[DONE]"), False),
    ("finished without done", Kind.CHOICES, delta() + delta(finish="stop"), True),
    ("finished, then usage", Kind.CHOICES, delta() + delta(finish="length") + USAGE, True),
    ("finished without its blank line", Kind.CHOICES, delta() + delta(finish="stop").rstrip(), True),
    ("finish reason is null", Kind.CHOICES, delta() + delta(), False),
    ("finished as a word of the model", Kind.CHOICES, delta('"finish_reason": "stop"'), False),
    ("nothing", Kind.CHOICES, b"", False),
    ("comments alone", Kind.CHOICES, b": keep-alive\n\n: keep-alive\n\n", False),
    ("azure's empty first", Kind.CHOICES, event({"choices": []}) + delta() + delta(finish="stop"), True),
    ("azure's empty first alone", Kind.CHOICES, event({"choices": []}), False),
    ("one of two choices finished", Kind.CHOICES, delta() + delta(index=1) + delta(finish="stop"), False),
    ("the second of two finished", Kind.CHOICES, delta() + delta(index=1) + delta(index=1, finish="stop"), False),
    ("both of two finished", Kind.CHOICES, delta(index=1) + delta(finish="stop") + delta(index=1, finish="stop"), True),
    ("an eleventh choice unfinished", Kind.CHOICES, delta(index=10) + delta(finish="stop"), False),
    ("a third tool of one choice", Kind.CHOICES, delta(**TOOLS) + delta(finish="tool_calls"), True),
    ("a third tool, unfinished", Kind.CHOICES, delta(**TOOLS), False),
    ("legacy", Kind.CHOICES, event({"choices": [{"text": "a", "index": 0, "finish_reason": "stop"}]}), True),
    ("legacy, unfinished", Kind.CHOICES, event({"choices": [{"text": "a", "index": 0, "finish_reason": None}]}), False),
    ("legacy without an index", Kind.CHOICES, event({"choices": [{"text": "a", "finish_reason": "stop"}]}), True),
    ("an honest error", Kind.CHOICES, delta() + ERROR, True),
    ("an error that is null", Kind.CHOICES, event({"error": None, "choices": [{"delta": {}}]}), False),
    ("a long event", Kind.CHOICES, delta("x" * 2 * KEPT_BYTES) + delta(finish="stop"), True),
    ("a long event, unfinished", Kind.CHOICES, delta("x" * 2 * KEPT_BYTES), False),
    ("finished in a long event", Kind.CHOICES, delta("x" * 2 * KEPT_BYTES, finish="stop"), True),
    ("no json", Kind.CHOICES, b"data: {broken\n\ndata: <html>\n\n", False),
    ("no utf-8", Kind.CHOICES, b'data: "\xff\xfe"\n\n' + delta(finish="stop"), True),
    ("two data lines", Kind.CHOICES, b'data: {"choices": [{"index": 0,\ndata: "finish_reason": "stop"}]}\n\n', True),
    ("responses completed", Kind.RESPONSES, event({"type": "response.created"}) + COMPLETED, True),
    ("responses failed", Kind.RESPONSES, event({"type": "response.failed"}, "response.failed"), True),
    ("responses incomplete", Kind.RESPONSES, event({"type": "response.incomplete"}), True),
    ("responses error", Kind.RESPONSES, event({"type": "error", "code": "x"}, "error"), True),
    ("responses delta", Kind.RESPONSES, event({"type": "response.output_text.delta", "delta": "x"}), False),
    ("responses item done", Kind.RESPONSES, event({"type": "response.output_item.done", "item": {}}), False),
    ("responses terminal as a word", Kind.RESPONSES, event({"type": "a.b", "delta": '"type": "response.completed"'}), False),
    ("responses type last", Kind.RESPONSES, event({"response": {"x": {"type": "y"}}, "type": "response.completed"}), True),
    ("responses type within", Kind.RESPONSES, event({"item": {"type": "response.completed"}, "type": "a.b"}), False),
    ("responses long", Kind.RESPONSES, event({"type": "response.completed", "x": "y" * 2 * KEPT_BYTES}), True),
    ("responses without a terminal, done", Kind.RESPONSES, event({"type": "response.created"}) + DONE, True),
    ("an image", Kind.TYPED, event({"type": "image_generation.completed", "b64_json": "A" * 100}), True),
    ("part of an image", Kind.TYPED, event({"type": "image_generation.partial_image"}), False),
    ("speech", Kind.TYPED, event({"type": "speech.audio.delta"}) + event({"type": "speech.audio.done"}), True),
    ("a transcript", Kind.TYPED, event({"type": "transcript.text.done", "text": "x"}), True),
    ("cut inside done", Kind.CHOICES, delta() + b"data: [DON", False),
    ("cut inside the finish", Kind.CHOICES, delta() + delta(finish="stop").rstrip()[:-1], False),
    ("responses cut inside the terminal", Kind.RESPONSES, event({"type": "response.created"}) + COMPLETED.rstrip()[:-1], False),
    ("an image cut inside", Kind.TYPED, event({"type": "image_generation.completed", "b64_json": "AAAA"}).rstrip()[:-1], False),
    ("a long image cut inside", Kind.TYPED, LONG_IMAGE.rstrip()[:-2], False),
    ("a long image without its blank line", Kind.TYPED, LONG_IMAGE.rstrip(), True),
    ("an unknown path", Kind.OPEN, delta(), True),
]  # fmt: skip
IDS = [row[0] for row in STREAMS]


def is_complete(kind: Kind, chunks: list[bytes]) -> bool:
    watch = StreamWatch(kind)
    for chunk in chunks:
        watch.feed(chunk)
    return watch.is_complete_at_end()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(("kind", "stream", "complete"), [row[1:] for row in STREAMS], ids=IDS)
def test_a_stream_is_complete_with_its_terminal_and_not_without(
    kind: Kind, stream: bytes, complete: bool, line_end: bytes
) -> None:
    assert is_complete(kind, [stream.replace(b"\n", line_end)]) is complete


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(("kind", "stream", "complete"), [row[1:] for row in STREAMS if len(row[2]) < 1_000])
def test_a_stream_that_comes_byte_by_byte_is_seen_alike(
    kind: Kind, stream: bytes, complete: bool, line_end: bytes
) -> None:
    stream = stream.replace(b"\n", line_end)
    assert is_complete(kind, [bytes([byte]) for byte in stream]) is complete


@given(st.data(), st.sampled_from(STREAMS), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_a_stream_cut_anywhere_is_seen_alike(
    data: st.DataObject, row: tuple[str, Kind, bytes, bool], end: bytes
) -> None:
    _, kind, stream, complete = row
    stream = stream.replace(b"\n", end)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert is_complete(kind, chunks) is complete


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"\r", b"\n", b"data:", b"[DONE]", b'{"error"'])),
    st.sampled_from(Kind),
)
def test_whatever_bytes_come_the_watch_never_raises(chunks: list[bytes], kind: Kind) -> None:
    is_complete(kind, chunks)
    first_data(b"".join(chunks))


def test_what_is_kept_of_an_endless_event_is_bounded() -> None:
    watch = StreamWatch(Kind.CHOICES)
    for _ in range(100):
        watch.feed(b"x" * 10_000)
    assert len(watch._tail) <= KEPT_BYTES + 10_000


@pytest.mark.parametrize(
    ("fed", "at_boundary"),
    [
        ([], True),
        ([delta()], True),
        ([delta(), b"\n\n"], True),
        ([delta().replace(b"\n", b"\r\n")], True),
        ([delta().replace(b"\n", b"\r")], True),
        ([delta().replace(b"\n", b"\r\n")[:-1]], True),  # the blank line's CR ends it already
        ([delta()[:-1]], False),
        ([delta()[:-2]], False),
        ([delta() + b"d"], False),
        ([delta() + b"data: {"], False),
        ([delta().replace(b"\n", b"\r\n")[:-2]], False),
        ([b": keep-al"], False),
        ([b"x" * 3 * KEPT_BYTES], False),
    ],
)
def test_an_error_of_ours_may_stand_between_two_events_only(fed: list[bytes], at_boundary: bool) -> None:
    watch = StreamWatch(Kind.CHOICES)
    for chunk in fed:
        watch.feed(chunk)
    assert watch.at_boundary is at_boundary


@pytest.mark.parametrize(
    ("held", "data"),
    [
        (b"", None),
        (b"data: a", None),
        (b"data: a\n", None),
        (b"data: a\r\n", None),
        (b"data: a\n\n", b"a"),
        (b"data: a\r\n\r\n", b"a"),
        (b"data: a\r\r", b"a"),
        (b"data: a\n\r\n", b"a"),
        (b"data: a\r\n\n", b"a"),
        (b"data:a\n\n", b"a"),
        (b"data:  a\n\n", b" a"),
        (BOM + b"data: a\n\n", b"a"),
        (b"event: x\nid: 1\ndata: a\ndata: b\n\n", b"a\nb"),
        (b": comment\n\n", None),
        (b": comment\n\n: comment\n\ndata: a\n\n", b"a"),
        (b"retry: 1000\n\ndata: a\n\n", b"a"),
        (b"data:\n\ndata: a\n\n", b"a"),
        (b"\n\n\ndata: a\n\ndata: b\n\n", b"a"),
        (b"data: a\rdata: b\n\n", b"a\nb"),
        (b"datax: a\n\n", None),
    ],
)
def test_the_first_event_with_data_is_found_when_it_is_whole(held: bytes, data: bytes | None) -> None:
    assert first_data(held) == data


def test_a_byte_order_mark_is_no_part_of_an_event() -> None:
    assert data_of(BOM + b"data: a") == b"a"


@pytest.mark.parametrize("kind", [Kind.CHOICES, Kind.TYPED, Kind.OPEN])
def test_the_event_of_a_truncation_is_one_that_official_clients_raise_at(kind: Kind) -> None:
    data = first_data(truncation(kind))
    assert data is not None
    assert json.loads(data)["error"] == {
        "message": "upstream stream ended early",
        "type": "server_error",
        "param": None,
        "code": "upstream_stream_truncated",
    }


def test_in_the_dialect_of_responses_it_is_an_error_event() -> None:
    told = truncation(Kind.RESPONSES)
    data = first_data(told)
    assert data is not None
    assert told.startswith(b"event: error\n")
    assert (json.loads(data)["type"], json.loads(data)["code"]) == ("error", "upstream_stream_truncated")


@pytest.mark.parametrize("kind", [Kind.CHOICES, Kind.RESPONSES, Kind.TYPED])
def test_the_event_of_a_truncation_completes_a_stream_honestly(kind: Kind) -> None:
    """A gateway behind a gateway tells it once."""
    assert is_complete(kind, [truncation(kind)])


def test_the_paths_of_the_public_api_have_their_kinds() -> None:
    assert KIND_OF_PATH["/v1/chat/completions"] is KIND_OF_PATH["/v1/completions"] is Kind.CHOICES
    assert KIND_OF_PATH["/v1/responses"] is Kind.RESPONSES
