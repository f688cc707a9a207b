"""
What the gateway has done since the start, as plain numbers, for whoever shows them. Pure.

Rule 1: a request is entered once, when it is over, and so is what became of its attempts, however it ended.
Rule 2: labels are ours: names of the configuration, paths of ROUTES, rules. No stranger can make a row.
Rule 3: our own share of a first byte is what lies between having the whole request and sending it, and between the first byte
        of the upstream and ours. It is measured where the request found a key at once and was sent once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil

from proxy.attempts import READING, Attempt
from proxy.command import Begin
from proxy.errand import Errand
from proxy.realtime_words import REALTIME
from proxy.sse import KIND_OF_PATH
from proxy.value import value_type
from proxy.verdict import BLAMELESS, Rule

# Paths that log and metrics name; others may hold an id or a word of somebody's.
ROUTES = frozenset(
    {*KIND_OF_PATH, REALTIME, "/v1/models", "/v1/embeddings", "/v1/files", "/v1/moderations", "/v1/batches"}
)
# Upper bounds in seconds: a model's first byte takes from a tenth of a second to minutes, our own share some thousandths.
FIRST_BYTE_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
ADDED_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
ANSWER_BOUNDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
RECENT = 500  # answers of one upstream that its percentiles are taken of


def route_of(path: str) -> str:
    return path if path in ROUTES else "other"


class Histogram:
    """`counts` are of the values up to each bound, and one more of those above the last."""

    __slots__ = ("bounds", "counts", "total_seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total_seconds = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_seconds += seconds


@value_type
class Trouble:
    """The last failure of an upstream. `at` is on the pool's clock."""

    at: float
    key: str
    rule: str


@value_type
class UpstreamView:
    """An upstream as the operator sees it; times in seconds, None where there was no answer yet."""

    name: str
    answers: int  # that the percentiles are of
    first_byte_p50: float | None
    first_byte_p95: float | None
    added_p50: float | None
    trouble_seconds_ago: float | None = None
    trouble_key: str = ""
    trouble_rule: str = ""


@dataclass(slots=True)
class _Upstream:
    first_bytes: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    added: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    trouble: Trouble | None = None


class Stopwatch:
    """One answer's; `has_begun` is told when its head and first bytes have gone out, `stop` once, when it is over."""

    __slots__ = ("_asked_at", "_errand", "_tally", "is_open")

    def __init__(self, tally: Tally, errand: Errand) -> None:
        self._tally, self._errand, self._asked_at, self.is_open = tally, errand, errand.now, False

    def stop(self) -> None:
        self._tally.ended(self._errand, was_open=self.is_open)

    def has_begun(self, begin: Begin) -> None:
        errand, self.is_open = self._errand, not begin.is_whole
        self._tally.streams_open += self.is_open
        if begin.status < 400 and errand.attempts:
            seconds = errand.now - self._asked_at
            self._tally.began(errand.attempts, seconds, has_waited=errand.wait_until is not None)


class Tally:
    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()  # by caller, route, status
        self.responses: Counter[tuple[str, str]] = Counter()  # by key and rule
        self.first_byte, self.added = Histogram(FIRST_BYTE_BOUNDS), Histogram(ADDED_BOUNDS)
        self.streams_open = self.streams_truncated = self.outcomes_unknown = 0
        self._upstreams: dict[str, _Upstream] = {}

    def asked(self, caller: str, path: str, status: int) -> None:
        """A request is over."""
        self.requests[caller, route_of(path), status] += 1

    def stopwatch(self, errand: Errand) -> Stopwatch:
        """For the time from having the whole request to the end of its answer."""
        return Stopwatch(self, errand)

    @contextmanager
    def watching(self, errand: Errand) -> Iterator[Stopwatch]:
        """The same, stopped at the end of the block."""
        watch = Stopwatch(self, errand)
        try:
            yield watch
        finally:
            watch.stop()

    def began(self, attempts: Sequence[Attempt], seconds: float, *, has_waited: bool) -> None:
        """The first byte of a success has gone out, so many seconds after the whole request was there."""
        last = attempts[-1]
        known = self._upstream(last.upstream)
        self.first_byte.add(seconds)
        known.first_bytes.append(last.seconds)
        if len(attempts) == 1 and not has_waited:
            added = max(0.0, seconds - last.seconds)
            self.added.add(added)
            known.added.append(added)

    def ended(self, errand: Errand, *, was_open: bool) -> None:
        """An answer is over; `was_open`: its stream had begun."""
        self.streams_open -= was_open
        self.streams_truncated += errand.was_cut
        for attempt in errand.attempts:
            self.responses[attempt.key, attempt.rule] += 1
            if attempt.rule not in BLAMELESS:
                self._upstream(attempt.upstream).trouble = Trouble(errand.now, attempt.key, attempt.rule)
        is_unknown = bool(errand.attempts) and errand.attempts[-1].rule is Rule.UNKNOWN
        self.outcomes_unknown += is_unknown and errand.call.method not in READING

    def upstreams(self, names: Sequence[str], *, now: float) -> tuple[UpstreamView, ...]:
        return tuple(_view(name, self._upstreams.get(name) or _Upstream(), now) for name in names)

    def _upstream(self, name: str) -> _Upstream:
        known = self._upstreams.get(name)
        if known is None:
            known = self._upstreams[name] = _Upstream()
        return known


def _view(name: str, known: _Upstream, now: float) -> UpstreamView:
    first_bytes, trouble = sorted(known.first_bytes), known.trouble
    return UpstreamView(
        name,
        answers=len(first_bytes),
        first_byte_p50=_percentile(first_bytes, 0.5),
        first_byte_p95=_percentile(first_bytes, 0.95),
        added_p50=_percentile(sorted(known.added), 0.5),
        trouble_seconds_ago=None if trouble is None else max(0.0, now - trouble.at),
        trouble_key="" if trouble is None else trouble.key,
        trouble_rule="" if trouble is None else trouble.rule,
    )


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that so large a share of all does not exceed."""
    return ordered[max(0, ceil(len(ordered) * share) - 1)] if ordered else None
