"""What the operator does to keys: clearing, asking for a check, and what is remembered of it."""

from __future__ import annotations

import pytest

from proxy.cells import Cell, Cells
from proxy.health import Event
from proxy.key import Key
from proxy.keypool import KeyPool
from proxy.lease import NoKeyAvailable
from proxy.verdict import Rule, Verdict
from tests.proxy.conftest import OK, RATE, WANT, Clock, a_key, a_pool, states

REJECTED = Verdict(Rule.AUTH, "401, invalid_api_key")


def tell(pool: KeyPool, clock: Clock, verdict: Verdict) -> None:
    lease = pool.lease(WANT)
    clock.let_pass(0.001)
    pool.settle(lease, verdict)
    pool.release(lease)


def check(pool: KeyPool, key: Key, verdict: Verdict) -> list[str]:
    return [change.event for change in pool.checked(key, verdict, is_asked_for=True)]


def moments(pool: KeyPool) -> list[str]:
    return [moment.event for moment in pool.snapshot()[0].history.moments]


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (RATE, "cooling"),
        (Verdict(Rule.SLOW_DOWN), "cooling"),
        (Verdict(Rule.REGION), "cooling"),
        (Verdict(Rule.QUOTA), "exhausted"),
        (Verdict(Rule.ADDRESS), "blocked_ip"),
        (Verdict(Rule.DEAD), "dead"),
        (REJECTED, "suspect"),
    ],
)
def test_clearing_a_key_forgets_whatever_stands_in_its_way(clock: Clock, verdict: Verdict, state: str) -> None:
    pool = a_pool(a_key("a", organization="org-1"), clock=clock)
    tell(pool, clock, verdict)
    assert states(pool) == [state]

    assert pool.operate("a", Event.CLEAR)

    assert states(pool) == ["ready"]
    assert pool.lease(WANT).key.name == "a"
    assert moments(pool)[0] == "key.cleared"


def test_clearing_a_key_wakes_no_other_model_of_another_key(clock: Clock) -> None:
    pool = a_pool("a", "b", clock=clock)
    tell(pool, clock, RATE)
    tell(pool, clock, RATE)

    pool.operate("a", Event.CLEAR)

    assert states(pool) == ["ready", "cooling"]


def test_clearing_a_key_that_is_well_changes_and_remembers_nothing(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)

    assert pool.operate("a", Event.CLEAR)

    assert moments(pool) == []


def test_a_disabled_key_is_not_cleared_into_service(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    pool.operate("a", Event.DISABLE)

    pool.operate("a", Event.CLEAR)

    assert states(pool) == ["disabled"]


def test_room_that_clearing_makes_is_told_to_those_who_wait(clock: Clock) -> None:
    kicks: list[None] = []
    pool = KeyPool([a_key("a")], clock=clock, jitter=lambda: 0.0, on_room=lambda: kicks.append(None))
    tell(pool, clock, RATE)
    with pytest.raises(NoKeyAvailable):
        pool.lease(WANT)
    kicks.clear()

    pool.operate("a", Event.CLEAR)

    assert kicks


@pytest.mark.parametrize(
    ("met", "told", "state", "events"),
    [
        (None, OK, "ready", ["key.checked"]),
        (None, REJECTED, "suspect", ["key.checked", "key.suspected"]),
        (None, Verdict(Rule.ADDRESS), "blocked_ip", ["key.checked", "key.blocked"]),
        (None, Verdict(Rule.CONNECT), "ready", ["key.checked"]),
        (None, RATE, "ready", ["key.checked"]),
        (REJECTED, OK, "ready", ["key.checked", "key.recovered"]),
        (REJECTED, REJECTED, "dead", ["key.checked", "key.rejected"]),
        (Verdict(Rule.DEAD), OK, "ready", ["key.checked", "key.recovered"]),
        (Verdict(Rule.ADDRESS), OK, "ready", ["key.checked", "key.recovered"]),
        (Verdict(Rule.QUOTA), OK, "exhausted", ["key.checked"]),  # that it may list models says nothing of its credit
        (Verdict(Rule.QUOTA), Verdict(Rule.DEAD), "dead", ["key.checked", "key.rejected"]),
    ],
)
def test_a_check_that_is_asked_for(
    clock: Clock, met: Verdict | None, told: Verdict, state: str, events: list[str]
) -> None:
    pool = a_pool("a", clock=clock)
    if met is not None:
        tell(pool, clock, met)
    key = pool.key_named("a")
    assert key is not None
    clock.let_pass(1)

    assert check(pool, key, told) == events

    assert states(pool) == [state]
    assert moments(pool)[: len(events)] == events[::-1]


def test_a_disabled_key_can_be_looked_at_and_stays_disabled(clock: Clock) -> None:
    pool = a_pool("a", clock=clock)
    pool.operate("a", Event.DISABLE)
    key = pool.key_named("a")
    assert key is not None

    assert check(pool, key, REJECTED) == ["key.checked"]

    assert states(pool) == ["disabled"]
    assert pool.key_named("b") is None


def test_what_happened_to_a_key_and_its_day_outlive_a_restart(clock: Clock) -> None:
    before = a_pool("a", clock=clock)
    tell(before, clock, OK)
    tell(before, clock, RATE)
    after = a_pool("a", clock=Clock(now=5.0))

    after.restore(before.health(wall=1_700_000_000.0), wall=1_700_000_030.0)

    [view] = after.snapshot()
    assert (view.history.answered, view.history.failed) == (1, 1)
    assert [moment.event for moment in view.history.moments] == ["key.cooled"]
    assert view.history.moments[0].seconds_ago == pytest.approx(30.0)


def test_only_what_is_named_is_dropped() -> None:
    cells = Cells()
    for name in (("key", "a"), ("key-model", "a", "m"), ("key-model", "b", "m"), ("upstream", "u")):
        cells.hold(name, Cell(9.0, 1.0, "rate", "", ""))

    assert cells.drop([("key", "a"), ("key-model", "a")]) == 2

    assert [name for name, _ in cells] == [("key-model", "b", "m"), ("upstream", "u")]
