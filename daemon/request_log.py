"""
Writes the one line that every request leaves, as the log writes every other, for a twentieth of the time.

Rule 1: a line reads as if structlog had written it: the same names in the same order, no secret, one line. (Where the log goes
        to a terminal, structlog does write it.)
Rule 2: lines that are finished within one turn of the event loop are written together; none waits for more than that.
Rule 3: what structlog writes comes behind the lines that were finished before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

from daemon.batch import Batch
from proxy.record import EVENT, Finished, by_structlog


class RequestLog:
    """`write` one; until `configure` was called, and on a terminal, by structlog."""

    def __init__(self) -> None:
        self.write: Callable[[Finished], None] = by_structlog

    def configure(self, batch: Batch | None, text_of: Callable[[str], str]) -> None:
        """`batch`: None where structlog writes. `text_of` makes a text what stands between the quotes of a line."""
        if batch is None:
            self.write = by_structlog
            return
        text = lru_cache(maxsize=512)(text_of)

        def written(finished: Finished) -> None:
            attempts = " ".join([f"{text(a.key)}:{a.rule}:{a.seconds:.3f}" for a in finished.attempts])
            more = "".join([f', "{name}": {count}' for name, count in finished.more.items()])
            now = time.time()
            batch.later(
                f'{{"request": "{finished.request}", "caller": "{text(finished.caller)}", "method": "{finished.method}", '
                f'"route": "{finished.route}", "status": {finished.status}, "attempts": "{attempts}", '
                f'"was_cut": {"true" if finished.was_cut else "false"}, "seconds": {round(finished.seconds, 3)}{more}, '
                f'"event": "{EVENT}", "level": "info", "timestamp": "{_second(int(now))}.{int(now % 1 * 1e6):06d}Z"}}\n'
            )

        self.write = written


@lru_cache(maxsize=2)
def _second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))


request_log = RequestLog()


def record(finished: Finished) -> None:
    request_log.write(finished)
