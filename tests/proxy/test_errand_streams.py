"""Streams: what is held, what is passed on, how they may end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.command import Begin, Command, Cut, End, Forward, Hold, Send
from proxy.errand import HELD_BYTES, Errand
from proxy.refusal import Refusal
from proxy.sse import Kind, truncation
from tests.proxy.conftest import states
from tests.proxy.journey import SSE, Event, Journey, ended, lost, refused, streamed, well

FIRST = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": null}]}\n\n'
LAST = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
CREATED = b'event: response.created\ndata: {"type": "response.created", "response": {"error": null}}\n\n'
COMPLETED = b'event: response.completed\ndata: {"type": "response.completed"}\n\n'
COMMENT = b": keep-alive\n\n"
PARTIAL = b'data: {"type": "image_generation.partial_image"}\n\n'
RESPONSES = "/v1/responses"


def error(payload: dict[str, Any], before: bytes = b"") -> bytes:
    return before + b"data: " + json.dumps(payload).encode() + b"\n\n"


LIMITED = error({"error": {"code": "rate_limit_exceeded", "message": "in organization org-abc123"}})


# --- the first event


@pytest.mark.parametrize(
    "first",
    [
        LIMITED,
        error({"error": {"type": "insufficient_quota"}, "choices": []}),
        error({"error": {"code": 429}}),
        error({"type": "error", "code": "rate_limit_exceeded"}, before=b"event: error\n"),
        error({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}}),
        COMMENT + COMMENT + LIMITED,
        b"\xef\xbb\xbf" + LIMITED,
        LIMITED.replace(b"\n", b"\r\n"),
        LIMITED.replace(b"\n", b"\r"),
        b"retry: 1000\n\n" + LIMITED,
        LIMITED + FIRST + LAST,
    ],
)
def test_an_error_as_the_first_event_rotates_in_every_dialect_and_however_it_is_cut(first: bytes) -> None:
    for position in range(1, len(first)):
        with Journey() as journey:
            command = journey.run(streamed(first[:position], first[position:]), well)
            assert isinstance(command, Begin)
            assert journey.asked == ["k0", "k1"]
            assert journey.errand.attempts[0].rule in ("rate", "quota")


@pytest.mark.parametrize("first", [FIRST, COMMENT + FIRST, CREATED, FIRST.replace(b"\n", b"\r\n")])
def test_a_first_event_that_is_no_error_goes_out_as_it_came_however_it_was_cut(first: bytes) -> None:
    for position in range(1, len(first)):
        with Journey() as journey:
            command = journey.run(lambda errand: errand.head(200, SSE))
            assert command == Hold()
            early = journey.errand.data(first[:position])
            if isinstance(early, Hold):
                early = journey.errand.data(first[position:])
            assert isinstance(early, Begin)
            assert early.data == first[: len(early.data)]
            assert ("X-Accel-Buffering", "no") in early.headers
            assert len(early.data) in (position, len(first))


def test_the_hold_ends_two_seconds_after_a_first_comment_and_rotation_with_it() -> None:
    with Journey() as journey:
        command = journey.run(streamed(COMMENT))
        assert command == Hold(journey.clock.now + 2.0)
        journey.clock.let_pass(1.0)
        assert journey.errand.data(COMMENT) == command  # later comments move nothing
        began = journey.errand.hold_is_over()
        assert isinstance(began, Begin)
        assert began.data == COMMENT * 2
        assert isinstance(journey.errand.data(LIMITED), Forward)
        assert journey.asked == ["k0"]


@pytest.mark.parametrize("before", [b"retry: 1\n\n", b"event: x\n", b"\n\n", b"\xef\xbb\xbf"])
def test_a_comment_is_noticed_wherever_a_line_begins(before: bytes) -> None:
    with Journey() as journey:
        assert journey.run(streamed(before + b": OPENROUTER PROCESSING\n")) == Hold(journey.clock.now + 2.0)


def test_without_a_comment_the_hold_has_no_end() -> None:
    with Journey() as journey:
        assert journey.run(streamed(b'data: {"a": ":"')) == Hold()


def test_the_hold_ends_with_64_kilobytes() -> None:
    with Journey() as journey:
        chunk = b"data: " + b"x" * (HELD_BYTES - 6)
        assert journey.run(streamed(chunk)) == Hold()
        began = journey.errand.data(b"y")
        assert isinstance(began, Begin)
        assert began.data == chunk + b"y"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, [("Content-Type", "application/json")]),
        (200, [("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip")]),
        (204, []),
        (304, []),
    ],
)
def test_what_is_no_readable_stream_is_not_held(status: int, headers: list[tuple[str, str]]) -> None:
    with Journey() as journey:
        assert isinstance(journey.run(lambda errand: errand.head(status, headers)), Begin)
        assert isinstance(journey.errand.data(LIMITED), Forward)
        assert isinstance(journey.errand.end(), End)


def test_a_stream_that_cannot_be_sent_again_is_not_held() -> None:
    with Journey(can_replay=False) as journey:
        assert isinstance(journey.run(lambda errand: errand.head(200, SSE)), Begin)
        journey.errand.data(FIRST)
        assert isinstance(journey.errand.end(), Cut)


@pytest.mark.parametrize("code", ["context_length_exceeded", "slow_down", "server_is_overloaded", "server_error"])
def test_an_error_that_nobody_else_answers_better_passes_as_the_stream_that_it_is_without_ids(code: str) -> None:
    told = error({"error": {"code": code, "message": "in organization org-abc123, key sk-secret-k0"}})
    with Journey(keys=1) as journey:
        command = journey.run(streamed(told))
        assert isinstance(command, Begin)
        assert (command.status, command.is_whole) == (200, False)
        assert code.encode() in command.data
        assert b"org-abc123" not in command.data
        assert b"sk-secret-k0" not in command.data
        assert isinstance(journey.errand.data(b"data: [DONE]\n\n"), Forward)
        assert isinstance(journey.errand.end(), End)


def test_an_error_about_a_key_is_told_in_the_pools_words() -> None:
    with Journey(keys=1) as journey:
        command = journey.run(streamed(LIMITED))
        assert isinstance(command, Refusal)
        assert (command.status, command.code) == (429, "rate_limit_exceeded")


# --- lost and ended while it was held


@pytest.mark.parametrize("held", [b"", COMMENT, b'data: {"choices"'])
@pytest.mark.parametrize("broken", [lost, ended])
def test_a_stream_that_breaks_before_its_first_event_is_an_outcome_unknown(held: bytes, broken: Event) -> None:
    with Journey() as journey:
        command = journey.run(streamed(held, then=broken))
        assert isinstance(command, Refusal)
        assert command.code == "upstream_outcome_unknown"
        assert len(journey.sent) == 1


def test_a_first_error_without_its_blank_line_still_rotates() -> None:
    with Journey() as journey:
        assert isinstance(journey.run(streamed(LIMITED.rstrip(), then=ended), well), Begin)
        assert journey.asked == ["k0", "k1"]


@pytest.mark.parametrize("held", [b"data: [DONE]", b"data: [DONE]\n", LAST.split(b"\n\n")[0]])
def test_a_stream_that_is_whole_but_for_its_blank_line_is_passed_on_whole(held: bytes) -> None:
    with Journey() as journey:
        command = journey.run(streamed(held, then=ended))
        assert isinstance(command, Begin)
        assert (command.data, command.is_whole) == (held, True)


def test_an_empty_stream_on_an_unknown_path_is_complete() -> None:
    with Journey(path="/v1/else") as journey:
        command = journey.run(streamed(COMMENT, then=ended))
        assert isinstance(command, Begin)
        assert command.is_whole


# --- the end


def finished(path: str, chunks: list[bytes], how: Event) -> Command:
    with Journey(path=path) as journey:
        command = journey.run(streamed(chunks[0]))
        assert isinstance(command, Begin)
        for chunk in chunks[1:]:
            assert isinstance(journey.errand.data(chunk), Forward)
        return how(journey.errand)


CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "chunks", "how", "command"),
    [
        (CHAT, [FIRST, LAST], ended, End()),
        (CHAT, [FIRST + LAST], ended, End()),
        (CHAT, [FIRST, LAST], lost, End()),
        (CHAT, [FIRST, LAST[:-2]], ended, End()),
        (CHAT, [FIRST], ended, Cut(truncation(Kind.CHOICES))),
        (CHAT, [FIRST], lost, Cut(truncation(Kind.CHOICES))),
        (CHAT, [FIRST, COMMENT], lost, Cut(truncation(Kind.CHOICES))),
        (CHAT, [FIRST, FIRST[:20]], ended, Cut()),
        (CHAT, [FIRST, FIRST[:20]], lost, Cut()),
        (CHAT, [FIRST, FIRST[:-1]], lost, Cut()),
        (CHAT, [FIRST, LIMITED], lost, End()),  # it was honest itself
        (CHAT + "/", [FIRST], ended, Cut(truncation(Kind.CHOICES))),
        (RESPONSES, [CREATED, COMPLETED], ended, End()),
        (RESPONSES, [CREATED], ended, Cut(truncation(Kind.RESPONSES))),
        (RESPONSES, [CREATED], lost, Cut(truncation(Kind.RESPONSES))),
        (RESPONSES, [CREATED, COMPLETED[:30]], lost, Cut()),
        ("/v1/images/generations", [PARTIAL], ended, Cut(truncation(Kind.TYPED))),
        ("/v1/else", [FIRST], ended, End()),
        ("/v1/else", [FIRST], lost, Cut(truncation(Kind.OPEN))),
    ],
)  # fmt: skip
def test_a_stream_ends_as_it_deserves(path: str, chunks: list[bytes], how: Event, command: Command) -> None:
    assert finished(path, chunks, how) == command


@pytest.mark.parametrize(("how", "command"), [(ended, End()), (lost, Cut())])
def test_a_body_of_another_kind_is_finished_by_its_framing_or_cut_off(how: Event, command: Command) -> None:
    with Journey() as journey:
        journey.run(well)
        journey.errand.data(b'{"half":')
        assert how(journey.errand) == command


def test_after_the_first_byte_nothing_is_sent_again() -> None:
    with Journey() as journey:
        journey.run(streamed(FIRST))
        assert isinstance(journey.errand.data(LIMITED), Forward)
        assert not isinstance(journey.errand.lost(was_sent=False), Send)
        assert len(journey.sent) == 1
        assert set(states(journey.pool)) == {"ready"}


# --- the caller leaves


@pytest.mark.parametrize(
    "until",
    [
        lambda errand: errand.now and Hold(),  # sent, and no answer yet
        lambda errand: errand.head(200, SSE),
        lambda errand: errand.head(429, []),
        streamed(COMMENT),
        streamed(FIRST),
        streamed(FIRST + LAST),
        streamed(FIRST, then=ended),
        refused(400),
        well,
    ],
)
def test_a_caller_may_leave_at_any_moment_and_nothing_stays_reserved(until: Event) -> None:
    with Journey() as journey:
        journey.run(until)
        errand: Errand = journey.errand
        errand.gone()
        errand.gone()
        assert set(states(journey.pool)) == {"ready"}
