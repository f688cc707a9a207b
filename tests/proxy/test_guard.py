"""When an upstream is to blame, and when its keys are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guard import BREAKER_FAILURES, FAILURES, UpstreamGuard
from proxy.lease import NoKeyAvailable
from proxy.verdict import Rule, Verdict
from tests.proxy.conftest import OK, WANT, Clock, a_pool, states


def lets_through(guard: UpstreamGuard, rules: list[Rule], at: float = 0.0) -> list[bool]:
    return [guard.breaks(rule, at) for rule in rules]


def test_the_fifth_failure_within_thirty_seconds_opens_the_breaker() -> None:
    assert lets_through(UpstreamGuard(), [Rule.SERVER] * 5) == [False] * 4 + [True]


@pytest.mark.parametrize("rule", sorted(set(Rule) - FAILURES))
def test_nothing_else_opens_it(rule: Rule) -> None:
    assert not any(lets_through(UpstreamGuard(), [rule] * 100))


def test_failures_that_are_less_than_half_of_all_answers_do_not_open_it() -> None:
    assert not any(lets_through(UpstreamGuard(), [Rule.OK] * 10 + [Rule.SERVER] * 9))
    assert lets_through(UpstreamGuard(), [Rule.OK] * 10 + [Rule.SERVER] * 10)[-1]


def test_failures_older_than_thirty_seconds_do_not_count() -> None:
    guard = UpstreamGuard()
    assert not any(guard.breaks(Rule.CONNECT, 10.0 * number) for number in range(20))


def test_callers_who_left_say_nothing_about_the_upstream() -> None:
    assert lets_through(UpstreamGuard(), [Rule.GONE] * 50 + [Rule.UNKNOWN] * 5)[-1]


@given(st.lists(st.tuples(st.sampled_from(sorted(Rule)), st.floats(0, 20)), max_size=60))
def test_it_never_opens_by_fewer_than_five_failures(answers: list[tuple[Rule, float]]) -> None:
    guard, now, failures = UpstreamGuard(), 0.0, 0
    for rule, pause in answers:
        now += pause
        failures += rule in FAILURES
        if guard.breaks(rule, now):
            assert failures >= BREAKER_FAILURES
            failures = 0


def test_one_rejected_key_is_to_blame_itself_however_few_there_are() -> None:
    assert UpstreamGuard().pardons("a", 0.0, keys=1) == frozenset()
    assert UpstreamGuard().pardons("a", 0.0, keys=2) == frozenset()


@pytest.mark.parametrize(("keys", "rejections"), [(2, 2), (3, 2), (4, 2), (5, 3), (10, 5)])
def test_half_of_the_keys_and_at_least_two_rejected_within_a_minute_are_pardoned(keys: int, rejections: int) -> None:
    guard = UpstreamGuard()
    names = [f"k{number}" for number in range(rejections)]
    assert [guard.pardons(name, 10.0, keys=keys) for name in names[:-1]] == [frozenset()] * (rejections - 1)
    assert guard.pardons(names[-1], 60.0, keys=keys) == frozenset(names)


def test_rejections_more_than_a_minute_apart_are_not_one_incident() -> None:
    guard = UpstreamGuard()
    guard.pardons("a", 0.0, keys=2)
    assert guard.pardons("b", 61.0, keys=2) == frozenset()


def test_the_same_key_rejected_twice_is_one_key() -> None:
    guard = UpstreamGuard()
    guard.pardons("a", 0.0, keys=4)
    assert guard.pardons("a", 1.0, keys=4) == frozenset()


def test_a_success_shows_that_rejections_before_it_were_about_keys() -> None:
    guard = UpstreamGuard()
    guard.pardons("a", 10.0, keys=2)
    guard.succeeded("c", sent_at=11.0)
    assert guard.pardons("b", 12.0, keys=2) == frozenset()


def test_a_late_success_shows_nothing() -> None:
    guard = UpstreamGuard()
    guard.pardons("a", 10.0, keys=2)
    guard.succeeded("c", sent_at=9.0)
    assert guard.pardons("b", 12.0, keys=2) == {"a", "b"}


def test_after_three_rounds_rejections_stand_until_a_pardoned_key_succeeds() -> None:
    guard = UpstreamGuard()

    def round_of(now: float) -> frozenset[str]:
        guard.pardons("a", now, keys=2)
        return guard.pardons("b", now, keys=2)

    assert [bool(round_of(float(number))) for number in range(4)] == [True, True, True, False]
    guard.succeeded("c", sent_at=10.0)
    assert not round_of(11.0), "a key that was never pardoned proves nothing about those that were"
    guard.succeeded("a", sent_at=12.0)
    assert round_of(13.0)


def test_the_upstream_rests_while_its_keys_are_pardoned_and_other_upstreams_do_not(clock: Clock) -> None:
    pool = a_pool("a", "b", "c", clock=clock)
    for name in ("a", "b"):
        lease = pool.lease(WANT, avoiding={"a", "b", "c"} - {name})
        clock.let_pass(0.1)
        changes = pool.settle(lease, Verdict(Rule.AUTH))
        pool.release(lease)
    assert [change.event for change in changes] == ["key.suspected", "upstream.rested"]
    assert states(pool) == ["suspect", "suspect", "cooling"]
    with pytest.raises(NoKeyAvailable) as none:
        pool.lease(WANT)
    assert (none.value.cause, none.value.retry_after_seconds) == ("upstream", pytest.approx(30.0))
    clock.let_pass(30)
    lease = pool.lease(WANT)
    assert lease.key.name == "c"
    pool.settle(lease, OK)
    assert states(pool)[2] == "ready"
