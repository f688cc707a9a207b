"""
`/metrics`: what the plain counters of the other rooms say, in Prometheus's words. It alone knows prometheus_client.

Rule 1: nothing is counted here, and nothing is kept: a scrape reads what is there at its moment.
Rule 2: a label's value is a name of the configuration, one of a fixed set of ours, or "other": no caller can make a row.
Rule 3: the names are a contract. One that is gone from the configuration keeps its rows until the next start, as counters must.
Rule 4: many keys make many rows, and the client writes some fifty in a millisecond: after every SLICE the requests have a turn.

Source of the conventions: prometheus.io/docs/practices/naming
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from daemon.operator.seen import Look, Seen
from proxy.health import KeyView, State
from proxy.tally import Histogram, Tally
from proxy.value import value_type

OTHER = "other"
STATES = (*map(str, State), "cooling")
STATUSES = range(100, 600)
SLICE = 100  # rows
COMMENT, END = b"# ", b"# EOF\n"  # the second ends the newer of the two forms

Rows = Mapping[tuple[str, ...], float]  # by the labels' values
Family = Iterable[Metric]  # of one name: slices of its rows


@value_type
class Sources:
    """`totals` are tokens by caller, key, model and kind; `line` is as long as there are requests in it."""

    look: Look
    tally: Tally
    line: Sized
    totals: Mapping[tuple[str, str, str, str], int]
    answer_seconds: Histogram


async def exposition(sources: Sources, accept: str, questions: Mapping[str, int] | None) -> tuple[bytes, str]:
    """
    The text and its content type, which `accept` (the header) chooses. `questions` are by state, None where the database does
    not say.
    """
    try:
        encode, content_type = choose_encoder(accept)
    except TypeError:  # a version that is no number
        encode, content_type = choose_encoder("")
    seen = sources.look()
    await asyncio.sleep(0)
    written: list[bytes] = []
    end = b""
    for family in _families(seen, sources, questions):
        for number, metric in enumerate(family):
            text = encode(_Alone(metric))
            end = END if text.endswith(END) else b""
            lines = text.removesuffix(END).splitlines(keepends=True)
            written += [line for line in lines if not number or not line.startswith(COMMENT)]
            await asyncio.sleep(0)
    return b"".join(written) + end, content_type


@value_type
class _Alone:
    """What the client takes for a registry."""

    metric: Metric

    def collect(self) -> Iterator[Metric]:
        yield self.metric


def _families(seen: Seen, sources: Sources, questions: Mapping[str, int] | None) -> list[Family]:
    """Everything as it is at one moment."""
    tally = sources.tally
    asked = (((caller, route, _status(status)), count) for (caller, route, status), count in tally.requests.items())
    pushes: Rows = {
        (account.id, kind, outcome): float(count)
        for account in seen.accounts
        for kind, outcome, count in account.pushes
    }
    return [
        _counter(
            "posthouse_requests",
            "Requests to the gateway that are over, by the status that the caller got (499: it had left).",
            ("caller", "route", "status"),
            _known(asked),
        ),
        _counter(
            "posthouse_upstream_responses",
            "What became of the requests that were sent upstream, by the rule that judged each answer.",
            ("key", "rule"),
            _known(tally.responses.items()),
        ),
        _histogram(
            "posthouse_first_byte_seconds",
            "From having a request whole to the first byte of its answer, of successes.",
            tally.first_byte,
        ),
        _histogram(
            "posthouse_added_seconds",
            "Our own share of the first byte, of requests that found a key at once and were sent once.",
            tally.added,
        ),
        [GaugeMetricFamily("posthouse_streams_open", "Answers that are being passed on now.", tally.streams_open)],
        [
            CounterMetricFamily(
                "posthouse_streams_truncated", "Answers that ended before their end.", tally.streams_truncated
            )
        ],
        [
            CounterMetricFamily(
                "posthouse_outcome_unknown",
                "Requests that were sent upstream and not answered, so that nobody knows whether they were carried out.",
                tally.outcomes_unknown,
            )
        ],
        [GaugeMetricFamily("posthouse_queue_depth", "Requests that wait for a key now.", len(sources.line))],
        *_keys(seen.keys),
        _counter(
            "posthouse_tokens",
            "Tokens of questions and answers, reported by the upstream or estimated where it reports none.",
            ("caller", "key", "model", "kind"),
            _known(sources.totals.items()),
        ),
        _gauge(
            "posthouse_questions",
            "Questions of subscribers that are kept, by state; absent while the database does not answer.",
            ("state",),
            {(state,): float(count) for state, count in (questions or {}).items()},
        ),
        _histogram(
            "posthouse_answer_seconds",
            "From a subscriber's question to its answer, of those answered.",
            sources.answer_seconds,
        ),
        _counter(
            "posthouse_wechat_pushes",
            "Deliveries of pushes by WeChat: what they bring, and what became of them.",
            ("account", "kind", "outcome"),
            pushes,
        ),
    ]


def _keys(keys: Sequence[KeyView]) -> list[Family]:
    return [
        _gauge(
            "posthouse_key_state",
            "1 for the state that the key is in, 0 for the others.",
            ("key", "state"),
            {(key.name, state): float(key.state == state) for key in keys for state in STATES},
        ),
        _gauge(
            "posthouse_key_cooldown_seconds",
            "Until the key may serve again; 0 where it may, or where nobody can tell.",
            ("key",),
            {(key.name,): key.seconds_left or 0.0 for key in keys},
        ),
        _gauge(
            "posthouse_key_in_flight",
            "Requests that the key carries now.",
            ("key",),
            {(key.name,): float(key.in_flight) for key in keys},
        ),
    ]


def _counter(name: str, about: str, labels: Sequence[str], rows: Rows) -> Family:
    return _sliced(lambda: CounterMetricFamily(name, about, labels=labels), rows)


def _gauge(name: str, about: str, labels: Sequence[str], rows: Rows) -> Family:
    return _sliced(lambda: GaugeMetricFamily(name, about, labels=labels), rows)


def _sliced(make: Callable[[], CounterMetricFamily | GaugeMetricFamily], rows: Rows) -> Family:
    left = list(rows.items())
    for start in range(0, max(1, len(left)), SLICE):
        metric = make()
        for values, value in left[start : start + SLICE]:
            metric.add_metric(values, value)
        yield metric


def _histogram(name: str, about: str, histogram: Histogram) -> Family:
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
    return [HistogramMetricFamily(name, about, buckets=buckets, sum_value=histogram.total_seconds)]


def _known(rows: Iterable[tuple[tuple[str, ...], int]]) -> Rows:
    """Who has no name of ours (a request with a wrong token, or with a key of its own) is one more."""
    known: Counter[tuple[str, ...]] = Counter()
    for values, count in rows:
        known[tuple(value or OTHER for value in values)] += count
    return known


def _status(status: int) -> str:
    return str(status) if status in STATUSES else OTHER
