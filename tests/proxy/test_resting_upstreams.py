"""An upstream that rests: what ends its rest before the time is over."""

from __future__ import annotations

import pytest

from proxy.guard import BREAKER_BASE, BREAKER_FAILURES
from proxy.keypool import KeyPool
from proxy.lease import NoKeyAvailable
from proxy.verdict import Rule, Verdict
from tests.proxy.conftest import WANT, Clock, a_key, a_pool, tell

CONNECT = Verdict(Rule.CONNECT, "it refused")


@pytest.fixture
def resting(clock: Clock) -> KeyPool:
    pool = a_pool("k1", "k2", clock=clock)
    for _ in range(BREAKER_FAILURES):
        tell(pool, clock, CONNECT)
    with pytest.raises(NoKeyAvailable):
        pool.lease(WANT)
    return pool


@pytest.mark.parametrize("rule", [Rule.OK, Rule.AUTH, Rule.RATE, Rule.CLIENT])
def test_whatever_an_upstream_answers_to_a_look_one_request_may_try_then(
    resting: KeyPool, clock: Clock, rule: Rule
) -> None:
    """It may answer looks and fail all else: only what becomes of the one shows it."""
    [(key, sent_at)] = resting.resting()
    clock.let_pass(0.1)
    resting.looked_for(key, Verdict(rule), sent_at)
    clock.let_pass(0.1)
    trial = resting.lease(WANT)
    with pytest.raises(NoKeyAvailable) as none:
        resting.lease(WANT)
    assert none.value.cause == "busy"
    [change] = resting.settle(trial, Verdict(Rule.OK))
    assert change.event == "key.recovered"  # of the upstream it says the same
    assert resting.resting() == ()


def test_a_trial_that_fails_makes_it_rest_for_longer(resting: KeyPool, clock: Clock) -> None:
    [(key, sent_at)] = resting.resting()
    clock.let_pass(0.1)
    resting.looked_for(key, Verdict(Rule.OK), sent_at)
    clock.let_pass(0.1)
    [change] = resting.settle(resting.lease(WANT), CONNECT)
    assert change.event == "upstream.rested"
    assert change.seconds == 2 * BREAKER_BASE


@pytest.mark.parametrize("rule", [Rule.CONNECT, Rule.SERVER, Rule.UNKNOWN])
def test_a_look_that_fails_changes_nothing(resting: KeyPool, clock: Clock, rule: Rule) -> None:
    [(key, sent_at)] = resting.resting()
    resting.looked_for(key, Verdict(rule), sent_at)
    with pytest.raises(NoKeyAvailable):
        resting.lease(WANT)


def test_a_look_from_before_the_last_failure_proves_nothing(resting: KeyPool, clock: Clock) -> None:
    [(key, sent_at)] = resting.resting()
    resting.looked_for(key, Verdict(Rule.OK), sent_at - 1.0)
    with pytest.raises(NoKeyAvailable):
        resting.lease(WANT)


def test_nothing_is_looked_at_where_nothing_rests(clock: Clock) -> None:
    assert a_pool("k1", "k2", clock=clock).resting() == ()


def test_new_keys_need_not_wait_because_all_others_were_rejected_at_once(clock: Clock) -> None:
    """Whoever replaced revoked keys had to wait for half a minute until the new ones were tried."""
    pool = a_pool("k1", "k2", clock=clock)
    for _ in range(2):
        tell(pool, clock, Verdict(Rule.AUTH))
    with pytest.raises(NoKeyAvailable) as none:
        pool.lease(WANT)
    assert none.value.cause == "upstream"

    pool.reconfigure([a_key("k3")])

    assert pool.lease(WANT).key.name == "k3"
