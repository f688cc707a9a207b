"""Which key is chosen, and what an answer does to it."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.health import Event
from proxy.key import Key, Upstream
from proxy.keypool import KeyPool
from proxy.lease import NoKeyAvailable, Want
from proxy.verdict import Rule, Verdict
from tests.proxy.conftest import OK, RATE, WANT, Clock, a_key, a_pool, in_flight, states, tell


def none_for(pool: KeyPool, want: Want = WANT) -> tuple[str, float | None]:
    with pytest.raises(NoKeyAvailable) as raised:
        pool.lease(want)
    lacking = pool.lacking(want)
    assert lacking is not None
    assert (lacking.cause, lacking.retry_after_seconds) == (raised.value.cause, raised.value.retry_after_seconds)
    return raised.value.cause, raised.value.retry_after_seconds


# --- the choice


@pytest.mark.parametrize("k", [1, 2, 5, 30])
def test_k_requests_at_once_on_k_idle_keys_use_k_different_keys(clock: Clock, k: int) -> None:
    pool = a_pool(*(f"k{number}" for number in range(k)), clock=clock)
    assert len({pool.lease(WANT).key.name for _ in range(k)}) == k
    assert in_flight(pool) == [1] * k


def test_one_request_after_another_takes_the_key_used_longest_ago(clock: Clock) -> None:
    pool = a_pool("a", "b", "c", clock=clock)
    assert [tell(pool, clock, OK).key.name for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_the_lowest_tier_serves_while_it_can(clock: Clock) -> None:
    pool = a_pool(a_key("spare", tier=1), a_key("main", max_concurrency=2), clock=clock)
    assert [pool.lease(WANT).key.name for _ in range(3)] == ["main", "main", "spare"]


def test_a_weight_of_three_serves_three_requests_for_one(clock: Clock) -> None:
    pool = a_pool(a_key("light"), a_key("heavy", weight=3.0), clock=clock)
    names = [pool.lease(WANT).key.name for _ in range(8)]
    assert (names.count("light"), names.count("heavy")) == (2, 6)


def test_a_key_serves_no_more_requests_at_once_than_it_may(clock: Clock) -> None:
    pool = a_pool(a_key("a", max_concurrency=1), clock=clock)
    lease = pool.lease(WANT)
    assert none_for(pool) == ("busy", None)
    pool.settle(lease, OK)
    assert none_for(pool) == ("busy", None)
    pool.release(lease)
    assert pool.lease(WANT).key.name == "a"


@pytest.mark.parametrize(
    ("settings", "want", "serves"),
    [
        ({}, Want("proxy", "gpt-5"), True),
        ({"uses": frozenset({"bot"})}, Want("proxy", "gpt-5"), False),
        ({"uses": frozenset({"bot"})}, Want("bot", "gpt-5"), True),
        ({"models": ("gpt-*",)}, Want("proxy", "gpt-5"), True),
        ({"models": ("gpt-*",)}, Want("proxy", "o3"), False),
        ({"models": ("o*", "gpt-5")}, Want("proxy", "gpt-5"), True),
        ({"models": ("gpt-5",)}, Want("proxy", "GPT-5"), False),
        ({"models": ("gpt-*",)}, Want("proxy"), True),
    ],
)
def test_a_key_serves_the_uses_and_models_it_is_configured_for(
    clock: Clock, settings: dict[str, Any], want: Want, serves: bool
) -> None:
    pool = a_pool(a_key("a", **settings), clock=clock)
    assert (pool.lacking(want) is None) is serves


def test_a_key_that_the_request_has_tried_is_left_out(clock: Clock) -> None:
    pool = a_pool("a", "b", clock=clock)
    assert pool.lease(WANT, avoiding={"a"}).key.name == "b"
    with pytest.raises(NoKeyAvailable) as raised:
        pool.lease(WANT, avoiding={"a", "b"})
    assert (raised.value.cause, raised.value.retry_after_seconds) == ("busy", None)  # they are well: soon, not never


def test_a_request_that_needs_many_tokens_goes_to_a_key_whose_learned_limit_is_large_enough(clock: Clock) -> None:
    pool = a_pool("unknown", "small", "large", clock=clock)
    for name, limit in (("unknown", None), ("small", 10_000), ("large", 30_000)):
        assert tell(pool, clock, Verdict(Rule.OK, tokens_limit=limit)).key.name == name
    assert pool.lease(Want("proxy", "gpt-5", needs_tokens=12_000)).key.name == "large"
    assert pool.lacking(Want("proxy", "gpt-5", needs_tokens=30_000)) is None
    assert none_for(pool, Want("proxy", "gpt-5", needs_tokens=30_001)) == ("model", None)


# --- why there is none

KINDS: dict[str, tuple[dict[str, Any], Verdict | None]] = {
    "cooling": ({}, RATE),
    "longer": ({}, Verdict(Rule.RATE, wait_seconds=300.0)),
    "busy": ({"max_concurrency": 1}, None),
    "model": ({}, Verdict(Rule.MODEL)),
    "other model": ({"models": ("o*",)}, None),
    "bot": ({"uses": frozenset({"bot"})}, None),
    "exhausted": ({}, Verdict(Rule.QUOTA)),
    "dead": ({}, Verdict(Rule.DEAD)),
    "blocked": ({}, Verdict(Rule.ADDRESS)),
}


@pytest.mark.parametrize(
    ("kinds", "cause", "seconds"),
    [
        ([], "exhausted", None),
        (["cooling"], "cooling", 20.0),
        (["longer", "cooling"], "cooling", 20.0),
        (["exhausted", "cooling"], "cooling", 20.0),
        (["model", "cooling"], "cooling", 20.0),
        (["dead", "blocked", "longer"], "cooling", 300.0),
        (["busy"], "busy", None),
        (["busy", "longer"], "busy", None),
        (["busy", "dead"], "busy", None),
        (["model"], "model", None),
        (["other model"], "model", None),
        (["model", "other model"], "model", None),
        (["model", "bot"], "model", None),
        (["model", "dead"], "exhausted", None),
        (["exhausted"], "exhausted", None),
        (["dead", "blocked", "exhausted"], "exhausted", None),
        (["bot"], "exhausted", None),
    ],
)
def test_the_cause_and_the_moment_of_a_mixture(
    clock: Clock, kinds: list[str], cause: str, seconds: float | None
) -> None:
    pool = a_pool(*(a_key(kind, **KINDS[kind][0]) for kind in kinds), clock=clock)
    for kind in kinds:
        if kind in ("other model", "bot"):
            continue
        lease = pool.lease(WANT, avoiding=set(kinds) - {kind})
        if (verdict := KINDS[kind][1]) is not None:
            pool.settle(lease, verdict)
            pool.release(lease)
    assert none_for(pool) == (cause, seconds)


def test_without_a_model_keys_of_another_use_are_no_missing_model(clock: Clock) -> None:
    assert none_for(a_pool(a_key("a", uses=frozenset({"bot"})), clock=clock), Want("proxy")) == ("exhausted", None)


def test_while_one_request_tries_a_limit_the_others_hear_that_it_is_busy(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    tell(pool, clock, RATE)
    clock.let_pass(30)
    probe = pool.lease(WANT)
    assert none_for(pool) == ("busy", None)
    pool.settle(probe, OK)
    assert pool.lacking(WANT) is None


def test_while_one_request_tries_an_exhausted_key_the_others_are_not_told_to_give_up(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    tell(pool, clock, Verdict(Rule.QUOTA))
    clock.let_pass(600)
    probe = pool.lease(WANT)
    assert none_for(pool) == ("busy", None)
    pool.release(probe)
    assert pool.lacking(WANT) is None


def test_any_eligible_key_makes_the_pool_eligible(clock: Clock) -> None:
    pool = a_pool("a", "b", clock=clock)
    tell(pool, clock, Verdict(Rule.DEAD))
    assert pool.has_eligible()
    tell(pool, clock, Verdict(Rule.QUOTA))
    assert not pool.has_eligible()
    clock.let_pass(600)
    assert pool.has_eligible()


# --- reserving and giving back


def test_a_lease_is_settled_once_and_released_once(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    lease = pool.lease(WANT)
    assert pool.settle(lease, Verdict(Rule.SERVER)) == ()
    assert pool.settle(lease, Verdict(Rule.DEAD)) == ()
    for _ in range(3):
        pool.release(lease)
    (view,) = pool.snapshot()
    assert (view.state, view.in_flight, view.failed) == ("ready", 0, 1)


def test_a_key_is_named_where_its_secret_is_not(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    assert repr(pool.lease(WANT)) == "<Lease a>"
    assert "sk-secret" not in repr(pool.snapshot())


@pytest.mark.parametrize(
    ("rule", "times", "failed"),
    [
        (Rule.CLIENT, 50, 0),
        (Rule.GONE, 50, 0),
        (Rule.TOO_LARGE, 50, 0),
        (Rule.SERVER, 4, 4),  # the fifth would be the upstream's matter
        (Rule.UNKNOWN, 4, 4),
        (Rule.CONNECT, 4, 4),
    ],
)
def test_what_no_key_is_to_blame_for_leaves_it_ready(clock: Clock, rule: Rule, times: int, failed: int) -> None:
    pool = a_pool("a", clock=clock)
    for _ in range(times):
        tell(pool, clock, Verdict(rule))
    (view,) = pool.snapshot()
    assert (view.state, view.cells, view.failed) == ("ready", (), failed)


def test_what_an_answer_says_is_shown_with_the_request_it_came_of(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    lease = pool.lease(WANT)
    (change,) = pool.settle(lease, Verdict(Rule.RATE, "429, try again in 20 s", 20.0), request_id="r7")
    assert (change.event, change.key, change.rule, change.seconds) == ("key.cooled", "a", "rate", 20.0)
    (view,) = pool.snapshot()
    assert (view.state, view.reason, view.last_request_id) == ("cooling", "429, try again in 20 s", "r7")


def test_every_change_of_health_is_told(clock: Clock) -> None:
    told: list[float] = []
    pool = KeyPool([a_key("a")], clock=clock, jitter=lambda: 0.0, on_change=lambda: told.append(clock.now))
    tell(pool, clock, RATE)
    assert len(told) == 1


def test_an_upstream_that_is_not_open_in_a_region_rests_with_all_its_keys_and_no_other_does(clock: Clock) -> None:
    elsewhere: Key = a_key("b", upstream=Upstream("other", "https://other.test/v1"), tier=1)
    pool = a_pool("a", "a2", elsewhere, clock=clock)
    tell(pool, clock, Verdict(Rule.REGION))
    assert states(pool) == ["cooling", "cooling", "ready"]
    assert pool.lease(WANT).key.name == "b"
    clock.let_pass(600)
    assert pool.lease(WANT).key.name == "a2"


# --- the operator


def test_a_disabled_key_serves_nobody_until_it_is_enabled_again(clock: Clock) -> None:
    pool = a_pool("a", "b", clock=clock)

    assert pool.operate("a", Event.DISABLE)
    assert [tell(pool, clock, OK).key.name for _ in range(3)] == ["b", "b", "b"]
    assert pool.operate("b", Event.DISABLE)
    assert none_for(pool)[1] is None
    assert pool.operate("a", Event.ENABLE)

    assert tell(pool, clock, OK).key.name == "a"
    assert states(pool) == ["ready", "disabled"]


def test_what_a_disabled_key_was_still_asked_changes_nothing_about_it(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    lease = pool.lease(WANT)
    pool.operate("a", Event.DISABLE)

    pool.settle(lease, OK)
    pool.release(lease)

    assert states(pool) == ["disabled"]


def test_a_key_that_is_not_there_cannot_be_switched(clock: Clock) -> None:
    assert not a_pool("a", clock=clock).operate("c", Event.DISABLE)
