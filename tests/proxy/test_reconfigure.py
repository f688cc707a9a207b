"""Other keys while the pool is at work: health goes with the secret, and nothing in flight is miscounted."""

from __future__ import annotations

from dataclasses import replace

from proxy.verdict import Rule, Verdict
from tests.proxy.conftest import OK, RATE, WANT, Clock, a_key, a_pool, in_flight, states, tell


def test_a_key_keeps_its_health_when_keys_are_reordered_and_renamed(clock: Clock) -> None:
    pool = a_pool("a", "b", clock=clock)
    tell(pool, clock, RATE)
    tell(pool, clock, Verdict(Rule.DEAD))
    pool.reconfigure([replace(a_key("b"), name="second"), replace(a_key("a"), name="first")])
    assert [(view.name, view.state) for view in pool.snapshot()] == [("second", "dead"), ("first", "cooling")]


def test_a_new_secret_under_an_old_name_is_a_new_key(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    tell(pool, clock, Verdict(Rule.DEAD))
    pool.reconfigure([replace(a_key("a"), secret="sk-other", fingerprint="fp-other")])
    assert states(pool) == ["ready"]


def test_a_key_that_vanished_serves_nobody_and_its_last_request_ends_in_peace(clock: Clock) -> None:
    pool = a_pool("a", "b", clock=clock)
    lease = pool.lease(WANT)
    pool.reconfigure([a_key("b")])
    assert pool.settle(lease, OK) == ()
    pool.release(lease)
    assert [view.name for view in pool.snapshot()] == ["b"]
    assert in_flight(pool) == [0]


def test_a_key_that_vanished_and_came_back_counts_its_requests_right(clock: Clock) -> None:
    """Its old request was released from a new count, which went below zero."""
    pool = a_pool("a", clock=clock)
    old = pool.lease(WANT)
    pool.reconfigure([])
    pool.reconfigure([a_key("a")])
    assert in_flight(pool) == [1]
    new = pool.lease(WANT)
    pool.release(old)
    assert in_flight(pool) == [1]
    pool.release(new)
    assert in_flight(pool) == [0]


def test_other_settings_of_a_key_hold_at_once(clock: Clock) -> None:
    pool = a_pool("a", "b", clock=clock)
    pool.reconfigure([replace(a_key("a"), tier=5), a_key("b")])
    assert [pool.lease(WANT).key.name for _ in range(3)] == ["b", "b", "b"]
