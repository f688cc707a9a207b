"""
What is written down of every request, once it is over: one line in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from proxy.attempts import Attempt

EVENT = "request.finished"


@dataclass(slots=True)
class Finished:
    """Every text is ours: an id, names of the configuration, words of `METHODS` and `ROUTES`. `more` is of its kind alone."""

    request: str
    caller: str
    method: str
    route: str
    status: int
    attempts: Sequence[Attempt]
    was_cut: bool
    seconds: float
    more: Mapping[str, int] = field(default_factory=dict)


Record = Callable[[Finished], None]


def by_structlog(finished: Finished) -> None:
    structlog.get_logger().info(
        EVENT,
        request=finished.request,
        caller=finished.caller,
        method=finished.method,
        route=finished.route,
        status=finished.status,
        attempts=finished.attempts,
        was_cut=finished.was_cut,
        seconds=round(finished.seconds, 3),
        **finished.more,
    )
