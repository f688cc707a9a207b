"""What fails in the event loop itself, outside of every task that somebody waits for: told by the log."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import Any

import structlog

from daemon.errors import where

log = structlog.get_logger()

QUIET_SECONDS = 60.0  # between two reports of one fault; out of files, asyncio 3.11 has a hundred a second (gh-151615)


class LoopFaults:
    """An exception handler for the event loop: what fails and where, each fault once in QUIET_SECONDS."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._quiet_until: dict[tuple[str, str], float] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # With an exception the message may hold the arguments of a callback, so it is left out.
        kind = type(error).__name__ if error else str(context["message"])
        place = where(error) if error else ""
        now = self._clock()
        if now < self._quiet_until.get((kind, place), now):
            return
        self._quiet_until[kind, place] = now + QUIET_SECONDS
        code = errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None
        log.error("loop.failed", error=kind, errno=code, where=place)


@contextlib.contextmanager
def reporting_faults() -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(LoopFaults(loop.time))
    try:
        yield
    finally:
        loop.set_exception_handler(before)
