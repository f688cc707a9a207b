"""
What became of one key's requests, minute by minute and hour by hour, and what has happened to the key. Pure.

Rule 1: what counts here is what counts on the key's slot: an answer that says something about the key, once.
Rule 2: minutes are memory's alone; hours and moments outlive a restart, as the text of a key's record.
Rule 3: times are on the pool's clock; only the text has the wall clock's, so that no jump of it moves an hour.
"""

from __future__ import annotations

import json
from collections import deque

from proxy.value import value_type

MINUTES = 60
HOURS = 24
MOMENTS = 10  # the page shows so many
MINUTE, HOUR = 60.0, 3_600.0


@value_type
class Moment:
    """`event` is the log's, such as "key.cooled"."""

    seconds_ago: float
    event: str
    rule: str = ""
    reason: str = ""


@value_type
class HistoryView:
    """
    `minutes` are (answered, failed), the oldest first, the last one running. The sums are of 24 hours. The newest moment is
    first.
    """

    minutes: tuple[tuple[int, int], ...] = ()
    answered: int = 0
    failed: int = 0
    moments: tuple[Moment, ...] = ()


class _Buckets:
    """Counts of the last `kept` spans of `seconds`; the running one is the last."""

    __slots__ = ("_counts", "_kept", "_seconds")

    def __init__(self, seconds: float, kept: int) -> None:
        self._seconds, self._kept = seconds, kept
        self._counts: deque[list[int]] = deque()  # [span, answered, failed], the oldest first

    def add(self, now: float, answered: int, failed: int) -> None:
        span = int(now // self._seconds)
        if not self._counts or self._counts[-1][0] < span:
            self._counts.append([span, 0, 0])
            while self._counts[0][0] <= span - self._kept:
                self._counts.popleft()
        self._counts[-1][1] += answered
        self._counts[-1][2] += failed

    def recent(self, now: float) -> dict[int, tuple[int, int]]:
        """By how many spans ago; those in which nothing was are not there."""
        span = int(now // self._seconds)
        return {span - at: (answered, failed) for at, answered, failed in self._counts if span - at < self._kept}


class History:
    def __init__(self) -> None:
        self._minutes, self._hours = _Buckets(MINUTE, MINUTES), _Buckets(HOUR, HOURS)
        self._moments: deque[tuple[float, str, str, str]] = deque(maxlen=MOMENTS)

    def answered(self, now: float) -> None:
        self._minutes.add(now, 1, 0)
        self._hours.add(now, 1, 0)

    def failed(self, now: float) -> None:
        self._minutes.add(now, 0, 1)
        self._hours.add(now, 0, 1)

    def note(self, now: float, event: str, rule: str = "", reason: str = "") -> None:
        self._moments.append((now, event, rule, reason))

    def view(self, now: float) -> HistoryView:
        minutes, hours = self._minutes.recent(now), self._hours.recent(now).values()
        return HistoryView(
            minutes=tuple(minutes.get(ago, (0, 0)) for ago in reversed(range(MINUTES))),
            answered=sum(answered for answered, _ in hours),
            failed=sum(failed for _, failed in hours),
            moments=tuple(Moment(max(0.0, now - at), *what) for at, *what in reversed(self._moments)),
        )

    def text(self, now: float, wall: float) -> str:
        """JSON for a key's record."""
        hours = [[wall - HOUR * ago, *counts] for ago, counts in sorted(self._hours.recent(now).items(), reverse=True)]
        moments = [[wall + at - now, *what] for at, *what in self._moments]
        return json.dumps({"hours": hours, "moments": moments}, ensure_ascii=False)

    def restore(self, text: str, now: float, wall: float) -> None:
        """What `text` gave before. A text that nobody here wrote is left alone."""
        try:
            known = json.loads(text or "{}")
            hours = [(float(at), int(answered), int(failed)) for at, answered, failed in known.get("hours", ())]
            moments = [(float(at), str(event), str(rule), str(reason)) for at, event, rule, reason in known["moments"]]
        except (ValueError, TypeError, KeyError, AttributeError):
            return
        for at, answered, failed in sorted(hours):
            self._hours.add(now + min(0.0, at - wall), answered, failed)
        for at, *what in moments:
            self.note(now + min(0.0, at - wall), *what)
