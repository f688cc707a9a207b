"""What the pool learns from answers: limits, organizations, rejections, and when they are over."""

from __future__ import annotations

import pytest

from proxy.lease import NoKeyAvailable, Want
from proxy.verdict import Rule, Verdict
from tests.proxy.conftest import OK, RATE, WANT, Clock, a_key, a_pool, learn, states, tell

OTHER_MODEL = Want("proxy", "gpt-4")
AUTH = Verdict(Rule.AUTH, "401 invalid_api_key")


def scopes(pool: object) -> list[list[str]]:
    return [[cell.scope for cell in view.cells] for view in pool.snapshot()]  # type: ignore[attr-defined]


# --- limits


def test_a_limit_takes_every_key_of_the_organization_for_that_model_alone(clock: Clock) -> None:
    pool = a_pool("a", "b", "c", clock=clock)
    learn(pool, clock, a="org-1", b="org-1", c="org-2")
    assert tell(pool, clock, RATE).key.name == "a"
    assert scopes(pool) == [["organization-model"], ["organization-model"], []]
    assert pool.lease(WANT).key.name == "c"
    assert pool.lease(OTHER_MODEL).key.name == "b"


def test_while_no_organization_is_known_a_limit_is_the_keys_own(clock: Clock) -> None:
    pool = a_pool("a", "b", clock=clock)
    tell(pool, clock, RATE)
    assert scopes(pool) == [["key-model"], []]


def test_the_429_itself_may_name_the_organization(clock: Clock) -> None:
    pool = a_pool("a", a_key("b", organization="org-1"), clock=clock)
    tell(pool, clock, Verdict(Rule.RATE, wait_seconds=20.0, organization="org-1"))
    assert states(pool) == ["cooling", "cooling"]


def test_a_configured_organization_is_not_learned_away(clock: Clock) -> None:
    pool = a_pool(a_key("a", organization="org-mine"), clock=clock)
    tell(pool, clock, Verdict(Rule.OK, organization="org-else"))
    assert pool.snapshot()[0].organization == "org-mine"


@pytest.mark.parametrize("want", [WANT, Want("proxy")])
def test_a_success_of_another_key_of_the_organization_leaves_the_limit_to_the_key_that_met_it(
    clock: Clock, want: Want
) -> None:
    pool = a_pool("a", "b", clock=clock)
    tell(pool, clock, Verdict(Rule.RATE, wait_seconds=60.0, organization="org-1"), want)
    clock.let_pass(10)
    tell(pool, clock, Verdict(Rule.OK, organization="org-1"), want)
    assert scopes(pool) == [["key-model" if want.model else "key"], []]
    assert pool.snapshot()[0].seconds_left == pytest.approx(50.0, abs=0.1)


def test_a_limit_that_is_not_shared_sets_the_other_keys_of_the_organization_free_at_once(clock: Clock) -> None:
    pool = a_pool("a", "b", a_key("c", organization="org-1"), clock=clock)
    tell(pool, clock, Verdict(Rule.RATE, wait_seconds=60.0, organization="org-1"))
    unknowing = pool.lease(WANT)
    clock.let_pass(1)
    with pytest.raises(NoKeyAvailable):
        pool.lease(WANT, avoiding={"b"})
    (change,) = pool.settle(unknowing, Verdict(Rule.OK, organization="org-1"))
    assert (change.event, change.key) == ("limit.narrowed", "a")
    assert pool.lease(WANT, avoiding={"b"}).key.name == "c"


def test_a_success_sent_before_the_limit_was_met_proves_nothing_about_it(clock: Clock) -> None:
    pool = a_pool("a", "b", clock=clock)
    early = pool.lease(WANT, avoiding={"a"})
    clock.let_pass(0.01)
    tell(pool, clock, Verdict(Rule.RATE, wait_seconds=60.0, organization="org-1"))
    pool.settle(early, Verdict(Rule.OK, organization="org-1"))
    assert scopes(pool) == [["organization-model"], ["organization-model"]]


def test_a_late_success_does_not_wake_a_cooling_key(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    first, second = pool.lease(WANT), pool.lease(WANT)
    clock.let_pass(1)
    pool.settle(first, RATE)
    clock.let_pass(1)
    pool.settle(second, OK)
    assert states(pool) == ["cooling"]


def test_refusals_of_requests_in_flight_together_are_one_strike(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    leases = [pool.lease(WANT) for _ in range(10)]
    for lease in leases:
        clock.let_pass(0.001)
        pool.settle(lease, Verdict(Rule.RATE))
    assert pool.snapshot()[0].seconds_left == pytest.approx(1.0)
    clock.let_pass(1.0)
    tell(pool, clock, Verdict(Rule.RATE))
    assert pool.snapshot()[0].seconds_left == pytest.approx(2.0, abs=0.02)


def test_strikes_double_until_a_success_forgets_them(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    seen = []
    for _ in range(8):
        tell(pool, clock, Verdict(Rule.RATE))
        seen.append(pool.snapshot()[0].seconds_left)
        clock.let_pass(60)
    assert seen == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60], abs=0.02)
    tell(pool, clock, OK)
    tell(pool, clock, Verdict(Rule.RATE))
    assert pool.snapshot()[0].seconds_left == pytest.approx(1.0, abs=0.02)


def test_after_a_limit_one_request_tries_and_its_success_opens_the_key(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    tell(pool, clock, RATE)
    clock.let_pass(20)
    probe = pool.lease(WANT)
    assert pool.lacking(WANT) is not None
    clock.let_pass(1)
    pool.settle(probe, OK)
    assert pool.lacking(WANT) is None
    assert pool.snapshot()[0].cells == ()


@pytest.mark.parametrize("rule", [Rule.CLIENT, Rule.GONE, Rule.SERVER, Rule.UNKNOWN])
def test_a_probe_that_proves_nothing_leaves_the_trying_to_the_next(clock: Clock, rule: Rule) -> None:
    pool = a_pool("a", clock=clock)
    tell(pool, clock, RATE)
    clock.let_pass(20)
    tell(pool, clock, Verdict(rule))
    assert pool.lease(WANT).key.name == "a"
    assert pool.lacking(WANT) is not None


def test_an_overload_rests_the_model_of_that_key_and_of_the_upstream_when_two_keys_meet_it(clock: Clock) -> None:
    pool = a_pool("a", "b", "c", clock=clock)
    tell(pool, clock, Verdict(Rule.OVERLOAD, wait_seconds=30.0))
    assert scopes(pool) == [["key-model"], [], []]
    tell(pool, clock, Verdict(Rule.OVERLOAD, wait_seconds=30.0))
    assert scopes(pool)[2] == ["upstream-model"]
    assert pool.lacking(WANT) is not None
    assert pool.lease(OTHER_MODEL).key.name == "c"


def test_two_overloads_further_apart_than_ten_seconds_are_no_overload_of_the_upstream(clock: Clock) -> None:
    pool = a_pool("a", "b", "c", clock=clock)
    tell(pool, clock, Verdict(Rule.OVERLOAD, wait_seconds=30.0))
    clock.let_pass(10)
    tell(pool, clock, Verdict(Rule.OVERLOAD, wait_seconds=30.0))
    assert scopes(pool)[2] == []


def test_a_model_that_a_key_does_not_have_is_asked_of_it_again_after_an_hour(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    tell(pool, clock, Verdict(Rule.MODEL))
    assert pool.lease(OTHER_MODEL).key.name == "a"
    clock.let_pass(3599)
    assert pool.lacking(WANT) is not None
    clock.let_pass(1)
    assert pool.lacking(WANT) is None


# --- states


def test_quota_takes_the_whole_organization_for_ten_minutes_and_then_twice_as_long(clock: Clock) -> None:
    pool = a_pool("a", "b", "c", clock=clock)
    learn(pool, clock, a="org-1", b="org-1", c="org-2")
    tell(pool, clock, Verdict(Rule.QUOTA))
    assert states(pool) == ["exhausted", "exhausted", "ready"]
    assert pool.snapshot()[1].seconds_left == pytest.approx(600, abs=0.1)
    clock.let_pass(600)
    probe = pool.lease(WANT, avoiding={"c"})
    clock.let_pass(1)
    pool.settle(probe, Verdict(Rule.QUOTA))
    assert [view.seconds_left for view in pool.snapshot()[:2]] == [1200.0, 1200.0]


def test_a_projects_limit_takes_that_key_alone(clock: Clock) -> None:
    pool = a_pool("a", "b", clock=clock)
    learn(pool, clock, a="org-1", b="org-1")
    tell(pool, clock, Verdict(Rule.QUOTA, is_project_limit=True))
    assert states(pool) == ["exhausted", "ready"]


def test_a_late_success_does_not_wake_an_exhausted_key_and_one_sent_later_does(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    early, failing = pool.lease(WANT), pool.lease(WANT)
    clock.let_pass(1)
    pool.settle(failing, Verdict(Rule.QUOTA))
    clock.let_pass(1)
    pool.settle(early, OK)
    assert states(pool) == ["exhausted"]
    clock.let_pass(600)
    tell(pool, clock, OK)
    assert states(pool) == ["ready"]


def test_refusals_in_flight_together_move_a_state_once(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    leases = [pool.lease(WANT) for _ in range(5)]
    for lease in leases:
        clock.let_pass(1)
        pool.settle(lease, Verdict(Rule.QUOTA))
    assert pool.snapshot()[0].seconds_left == 600 - 4


def test_a_refusal_of_a_request_sent_before_the_key_recovered_is_old_news(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    early = pool.lease(WANT)
    clock.let_pass(1)
    tell(pool, clock, AUTH)
    clock.let_pass(5)
    (key,) = pool.checks_due()
    pool.checked(key, OK)
    pool.settle(early, AUTH)
    assert states(pool) == ["ready"]


def test_an_address_that_is_not_allowed_blocks_that_key_for_an_hour(clock: Clock) -> None:
    pool = a_pool("a", "b", clock=clock)
    tell(pool, clock, Verdict(Rule.ADDRESS))
    assert states(pool) == ["blocked_ip", "ready"]
    clock.let_pass(3600)
    assert pool.lease(WANT, avoiding={"b"}).key.name == "a"


def test_an_upstream_that_fails_for_days_rests_for_a_minute_each_time(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    for _ in range(1_100):  # 2.0 ** 1024 is no float any more
        tell(pool, clock, Verdict(Rule.CONNECT))
        clock.let_pass((none.retry_after_seconds or 0.0) if (none := pool.lacking(WANT)) else 0.0)
    tell(pool, clock, Verdict(Rule.CONNECT))
    assert pool.snapshot()[0].seconds_left == pytest.approx(60.0, abs=0.1)


# --- checks


def test_a_rejected_key_is_looked_at_after_five_seconds_and_handed_out_once(clock: Clock) -> None:
    pool = a_pool("a", "b", clock=clock)
    lease = pool.lease(WANT)
    clock.let_pass(1)
    (change,) = pool.settle(lease, AUTH)
    assert (change.event, change.key, change.reason) == ("key.suspected", "a", "401 invalid_api_key")
    assert (states(pool)[0], pool.next_check_at()) == ("suspect", clock.now + 5)
    assert pool.checks_due() == ()
    clock.let_pass(5)
    assert [key.name for key in pool.checks_due()] == ["a"]
    assert pool.checks_due() == ()


@pytest.mark.parametrize(
    ("verdict", "state", "again_after"),
    [
        (OK, "ready", None),
        (AUTH, "dead", 86_400),
        (Verdict(Rule.DEAD), "dead", 86_400),
        (RATE, "suspect", 60),
        (Verdict(Rule.CONNECT), "suspect", 60),
        (Verdict(Rule.SERVER), "suspect", 60),
        (Verdict(Rule.REGION), "suspect", 60),
        (Verdict(Rule.CLIENT), "suspect", 60),
        (Verdict(Rule.QUOTA), "suspect", 60),
    ],
)
def test_a_check_decides_or_is_made_again_after_a_minute(
    clock: Clock, verdict: Verdict, state: str, again_after: float | None
) -> None:
    pool = a_pool("a", clock=clock)
    tell(pool, clock, AUTH)
    clock.let_pass(5)
    (key,) = pool.checks_due()
    changes = pool.checked(key, verdict)
    assert states(pool) == [state]
    assert pool.next_check_at() == (None if again_after is None else clock.now + again_after)
    assert [change.event for change in changes] == {"ready": ["key.recovered"], "dead": ["key.rejected"]}.get(state, [])


@pytest.mark.parametrize(("verdict", "state"), [(OK, "ready"), (AUTH, "dead"), (RATE, "dead")])
def test_a_dead_key_is_looked_at_every_day(clock: Clock, verdict: Verdict, state: str) -> None:
    pool = a_pool("a", clock=clock)
    tell(pool, clock, Verdict(Rule.DEAD))
    clock.let_pass(86_399)
    assert pool.checks_due() == ()
    clock.let_pass(1)
    (key,) = pool.checks_due()
    pool.checked(key, verdict)
    assert states(pool) == [state]


def test_a_check_of_a_key_that_is_well_changes_nothing(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    assert pool.checked(a_key("a"), AUTH) == ()
    assert pool.checked(a_key("stranger"), AUTH) == ()
    assert states(pool) == ["ready"]
