"""What the gateway counts."""

from __future__ import annotations

import pytest

from proxy.attempts import Attempt
from proxy.command import Call, Send
from proxy.errand import Errand
from proxy.keypool import KeyPool
from proxy.refusal import Refusal
from proxy.tally import ADDED_BOUNDS, Histogram, Tally
from proxy.target import Target
from proxy.verdict import Rule
from tests.proxy.conftest import Clock, a_pool


def an_errand(pool: KeyPool, clock: Clock, method: str = "POST") -> Errand:
    call = Call("r1", method, Target("/v1/chat/completions"), [], model="gpt-5")
    return Errand(call, pool, clock=clock, jitter=lambda: 0.0)


def test_a_value_on_a_bound_is_within_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 9.0):
        histogram.add(seconds)

    assert (histogram.counts, histogram.total_seconds) == ([2, 1, 1], 12.0)


def test_paths_of_strangers_are_one_row() -> None:
    tally = Tally()

    for path in ("/v1/chat/completions", "/v1/files/file-1", "/v1/files/file-2"):
        tally.asked("laptop", path, 200)

    assert tally.requests == {("laptop", "/v1/chat/completions", 200): 1, ("laptop", "other", 200): 2}


def test_our_own_share_is_what_the_upstream_did_not_take(clock: Clock) -> None:
    tally, errand = Tally(), an_errand(a_pool("a", clock=clock), clock)
    with tally.watching(errand) as stopwatch:
        clock.let_pass(0.002)
        assert isinstance(errand.begin(), Send)
        clock.let_pass(1.0)
        begin = errand.head(200, [("Content-Type", "application/json")])
        clock.let_pass(0.001)
        stopwatch.has_begun(begin)  # type: ignore[arg-type]
        assert tally.streams_open == 1
        errand.end()

    [view] = tally.upstreams(["openai"], now=clock())
    assert tally.streams_open == 0
    assert tally.first_byte.total_seconds == pytest.approx(1.003)
    assert tally.added.total_seconds == pytest.approx(0.003)
    assert (view.answers, view.trouble_rule) == (1, "")
    assert view.first_byte_p50 == pytest.approx(1.0)
    assert tally.responses == {("a", "ok"): 1}


def test_what_was_sent_twice_says_nothing_of_our_own_share(clock: Clock) -> None:
    tally, errand = Tally(), an_errand(a_pool("a", "b", clock=clock), clock)
    with tally.watching(errand) as stopwatch:
        errand.begin()
        errand.head(429, [])
        assert isinstance(errand.error_body(b""), Send)
        stopwatch.has_begun(errand.head(200, []))  # type: ignore[arg-type]
        errand.end()

    assert sum(tally.first_byte.counts) == 1
    assert sum(tally.added.counts) == 0
    assert tally.responses == {("a", "rate"): 1, ("b", "ok"): 1}
    [view] = tally.upstreams(["openai"], now=clock() + 5)
    assert (view.trouble_key, view.trouble_rule, view.trouble_seconds_ago) == ("a", "rate", 5)


@pytest.mark.parametrize(("method", "counted"), [("POST", 1), ("GET", 0)])
def test_an_outcome_is_unknown_where_something_may_have_been_done(clock: Clock, method: str, counted: int) -> None:
    tally, errand = Tally(), an_errand(a_pool("a", clock=clock), clock, method)
    with tally.watching(errand):
        command = errand.begin()
        while isinstance(command, Send):
            command = errand.lost()
        assert isinstance(command, Refusal)

    assert tally.outcomes_unknown == counted


def test_a_cut_stream_and_a_caller_who_left_are_counted(clock: Clock) -> None:
    tally = Tally()
    cut, left = (an_errand(a_pool("a", clock=clock), clock) for _ in range(2))
    with tally.watching(cut) as stopwatch:
        cut.begin()
        stopwatch.has_begun(cut.head(200, []))  # type: ignore[arg-type]
        cut.lost()
    left.begin()
    with tally.watching(left):
        left.gone()

    assert (tally.streams_truncated, tally.streams_open) == (1, 0)
    assert tally.responses == {("a", "ok"): 1, ("a", "gone"): 1}
    assert tally.upstreams(["openai"], now=0.0)[0].trouble_seconds_ago is None


def test_percentiles_are_of_the_answers_that_came_last() -> None:
    tally = Tally()
    for number in range(1, 601):
        tally.began([Attempt("a", Rule.OK, float(number), "openai")], number + ADDED_BOUNDS[0], has_waited=False)

    [view] = tally.upstreams(["openai"], now=0.0)

    assert (view.answers, view.first_byte_p50, view.first_byte_p95) == (500, 350.0, 575.0)


def test_an_upstream_that_was_never_asked_shows_nothing() -> None:
    [view] = Tally().upstreams(["quiet"], now=0.0)

    assert (view.answers, view.first_byte_p50, view.added_p50) == (0, None, None)
