"""One event is one line, on a pipe JSON, and no secret leaves in it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from daemon.log import FIELD_CHARACTERS, TRACEBACK_CHARACTERS, configure, mask, plain
from daemon.request_log import record
from daemon.secret import Secret
from proxy.attempts import Attempt
from proxy.record import Finished, by_structlog
from proxy.verdict import Rule
from tests.journal import log_as_before


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    with log_as_before():
        yield io.StringIO()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_on_a_pipe_is_a_line_of_json_with_utc_time(stream: io.StringIO) -> None:
    configure("info", stream=stream)

    structlog.get_logger().info("key.cooled", key="k2", seconds=7)

    [event] = events(stream)
    at = datetime.fromisoformat(event.pop("timestamp"))
    assert at.tzinfo == UTC
    assert event == {"event": "key.cooled", "key": "k2", "seconds": 7, "level": "info"}


def test_an_event_on_a_terminal_is_coloured(stream: io.StringIO) -> None:
    terminal = Terminal()
    configure("info", stream=terminal)

    structlog.get_logger().info("key.cooled", key="k2")

    assert "\x1b[" in terminal.getvalue()
    assert "key.cooled" in terminal.getvalue()


@pytest.mark.parametrize(("level", "seen"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_events_below_the_level_are_left_out(stream: io.StringIO, level: str, seen: int) -> None:
    configure(level, stream=stream)
    log = structlog.get_logger()

    for each in (log.debug, log.info, log.warning, log.error):
        each("a.happened")

    assert len(events(stream)) == seen


def test_a_logger_made_before_the_configuration_follows_it(stream: io.StringIO) -> None:
    log = structlog.get_logger()
    configure("error", stream=stream)
    configure("info", [Secret("canary")], stream=stream)

    log.info("a.happened", what="canary")

    assert events(stream)[0]["what"] == "***"


def test_a_secret_is_masked_in_every_field_however_deep(stream: io.StringIO) -> None:
    configure("info", [Secret("canary"), Secret("canary-and-more")], stream=stream)

    try:
        raise ValueError("canary-and-more in an error")
    except ValueError:
        structlog.get_logger().exception("a.crashed", inside={"a": ["canary"]}, where="x canary-and-more y")

    assert "canary" not in stream.getvalue()
    assert "and-more" not in stream.getvalue()
    assert "ValueError: *** in an error" in events(stream)[0]["exception"]


@given(before=st.integers(FIELD_CHARACTERS - 30, FIELD_CHARACTERS + 5))
def test_cutting_a_long_field_never_leaves_half_a_secret(before: int) -> None:
    event = {"body": "." * before + "canary-0123456789"}

    cut = plain(None, "info", mask([Secret("canary-0123456789")])(None, "info", event))

    assert "can" not in cut["body"]


def test_a_traceback_is_one_field_without_locals(stream: io.StringIO) -> None:
    configure("info", stream=stream)

    def fails() -> None:
        password = "canary"  # noqa: F841
        raise ValueError("no")

    try:
        fails()
    except ValueError:
        structlog.get_logger().exception("a.crashed")

    [event] = events(stream)
    assert event["exception"].splitlines()[-1] == "ValueError: no"
    assert "canary" not in event["exception"]


@given(text=st.text(max_size=50))
def test_no_control_character_reaches_the_line(text: str) -> None:
    shown = plain(None, "info", {"text": text})["text"]

    assert not [char for char in shown if ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u2028\u2029\u202e"]
    assert shown == text or "\\u" in shown


def test_a_forged_line_stays_inside_its_field() -> None:
    assert plain(None, "info", {"text": 'a\n{"event": "forged"}\x1b[2J'})["text"] == (
        'a\\u000a{"event": "forged"}\\u001b[2J'
    )


def test_a_long_field_is_cut_and_a_long_traceback_keeps_its_end() -> None:
    event = plain(None, "error", {"body": "x" * 5_000, "exception": "x" * 20_000 + "\nValueError: no"})

    assert len(event["body"]) == FIELD_CHARACTERS + 1
    assert len(event["exception"]) == TRACEBACK_CHARACTERS + 1
    assert event["exception"].endswith("\nValueError: no")


def test_a_secret_of_one_letter_does_not_make_the_log_unreadable() -> None:
    assert mask([Secret("o")])(None, "info", {"event": "key.cooled"}) == {"event": "key.cooled"}


def test_numbers_and_truth_stay_what_they_are() -> None:
    event = {"seconds": 1.5, "count": 3, "is_well": True, "rule": None}

    assert plain(None, "info", mask([Secret("1.5"), Secret("True")])(None, "info", event)) == event


def test_a_library_that_warns_is_heard_and_one_that_chatters_is_not(stream: io.StringIO) -> None:
    configure("info", [Secret("canary")], stream=stream)

    logging.getLogger("aiohttp.server").info("chatter")
    logging.getLogger("asyncio").warning("slow %s\n", "canary")

    [event] = events(stream)
    assert (event["event"], event["library"], event["message"]) == ("library.warned", "asyncio", "slow ***\\u000a")


FINISHED = [
    Finished(
        "0123456789abcdef", "alice", "POST", "/v1/chat/completions", 200, [Attempt("k1", Rule.OK, 0.0014)], False, 0.21
    ),
    Finished("0123456789abcdef", "", "other", "other", 401, (), False, 0.0),
    Finished("0123456789abcdef", 'a "b"\n我', "GET", "other", 499, [Attempt("k", Rule.RATE, 1.0)] * 3, True, 99.99949),
    Finished(
        "0123456789abcdef",
        "has-s3cret-inside",
        "GET",
        "/v1/realtime",
        101,
        (),
        True,
        1.0,
        {"frames_up": 2, "seconds_open": 3},
    ),
]


@pytest.mark.parametrize("finished", FINISHED)
def test_a_requests_line_reads_as_any_other(finished: Finished, stream: io.StringIO) -> None:
    configure("info", [Secret("s3cret")], stream)

    by_structlog(finished)
    record(finished)

    by_the_library, by_ourselves = events(stream)
    assert list(by_ourselves) == list(by_the_library)
    assert datetime.fromisoformat(by_ourselves.pop("timestamp")) >= datetime.fromisoformat(
        by_the_library.pop("timestamp")
    )
    assert by_ourselves == by_the_library
    assert "s3cret" not in stream.getvalue()


@pytest.mark.parametrize("level", ["warning", "error"])
def test_a_requests_line_is_not_seen_above_its_level(level: str, stream: io.StringIO) -> None:
    configure(level, stream=stream)

    record(FINISHED[0])

    assert stream.getvalue() == ""


async def test_lines_of_one_turn_are_written_together_and_before_what_comes_after_them(stream: io.StringIO) -> None:
    configure("info", stream=stream)

    record(FINISHED[0])
    record(FINISHED[1])
    assert stream.getvalue() == ""
    structlog.get_logger().info("key.cooled")

    assert [event["event"] for event in events(stream)] == ["request.finished", "request.finished", "key.cooled"]
    record(FINISHED[0])
    await asyncio.sleep(0)
    assert len(events(stream)) == 4
