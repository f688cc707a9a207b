"""
How log events are written: JSON lines on a pipe or under systemd, coloured on a terminal; always to standard error.

Rule 1: no configured secret leaves in any field, whoever wrote it there: `mask` looks at every value.
Rule 2: one event is one line, whatever strangers sent: control characters are escaped, long values are cut. Only the
        traceback of an exception spans lines, and only on a terminal.
Rule 3: a library's own log (aiohttp, asyncio) comes the same way, from warning level on.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, WrappedLogger

from daemon.batch import Batch
from daemon.request_log import request_log
from daemon.secret import Secret

SHORTEST_SECRET = 3  # WeChat's shortest Token; stars for single letters would spell them out
FIELD_CHARACTERS = 1_000
TRACEBACK_CHARACTERS = 8_000
# C0, DEL, C1, and the characters that some viewers take for a line's end or that turn the reading direction.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
NUMBERS, SEVERAL = (bool, int, float), (list, tuple)  # made once: every value of every line is asked
_ENCODER = json.JSONEncoder(ensure_ascii=False)
CONTROL_BUT_NEWLINE = re.compile(CONTROL.pattern.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f"))


def configure(level: str, secrets: Iterable[Secret] = (), stream: TextIO | None = None) -> None:
    """Call it once at the start, and again when the secrets have changed."""
    stream = stream or sys.stderr
    on_terminal, batch = stream.isatty(), Batch(stream)
    is_seen = not on_terminal and logging.getLevelNamesMapping()[level.upper()] <= logging.INFO
    structlog.configure(
        processors=[
            structlog.processors.format_exc_info,  # without locals: they hold what nobody may read
            mask(secrets),
            plain,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=True) if on_terminal else json_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream if on_terminal else cast(TextIO, batch)),
        cache_logger_on_first_use=False,  # a second call must reach the loggers that modules hold
    )
    request_log.configure(batch if is_seen else None, _inner(masking(secrets)))
    logging.root.handlers[:] = [_Forward(level=logging.WARNING)]
    logging.root.setLevel(logging.WARNING)


def json_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    """As structlog's own renderer, which makes an encoder for every line; what comes here is plain."""
    return _ENCODER.encode(event)


def masking(secrets: Iterable[Secret]) -> Callable[[str], str]:
    """What puts *** in place of every secret value in a text."""
    # The longest first, since one may hold another.
    known = {value for secret in secrets if len(value := secret.reveal()) >= SHORTEST_SECRET}
    values = sorted(known, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, values)) if values else r"(?!)")
    shortest = min(map(len, values), default=0)

    def without(text: str) -> str:
        return text if len(text) < shortest else pattern.sub("***", text)

    return without


def mask(secrets: Iterable[Secret]) -> Callable[[WrappedLogger, str, EventDict], EventDict]:
    """A processor that does so with every value. It stands before `plain`, which might cut one in two."""
    without = masking(secrets)

    def masked(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {name: value if _is_plain(value) else without(_text(value)) for name, value in event.items()}

    return masked


def plain(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Every value as a number, a bool, None, or a bounded string without control characters."""
    return {name: value if _is_plain(value) else _bounded(name, _text(value)) for name, value in event.items()}


def _inner(without: Callable[[str], str]) -> Callable[[str], str]:
    """What makes of a text what stands between the quotes of a JSON line."""
    return lambda text: _ENCODER.encode(_bounded("", without(text)))[1:-1]


def _text(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    return " ".join(map(str, value)) if isinstance(value, SEVERAL) else str(value)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, NUMBERS)


def _bounded(name: str, text: str) -> str:
    if len(text) <= FIELD_CHARACTERS and text.isprintable():  # as nearly all are; nothing of CONTROL is printable
        return text
    if name == "exception":  # its end says what happened
        text = text if len(text) <= TRACEBACK_CHARACTERS else f"…{text[-TRACEBACK_CHARACTERS:]}"
        return CONTROL_BUT_NEWLINE.sub(_escape, text)
    return CONTROL.sub(_escape, text if len(text) <= FIELD_CHARACTERS else f"{text[:FIELD_CHARACTERS]}…")


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


class _Forward(logging.Handler):
    """The standard library's log events as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            "library.warned",
            library=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info,
        )
