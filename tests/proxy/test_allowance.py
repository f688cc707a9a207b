"""What a caller may still ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.allowance import Allowances
from proxy.callers import Caller
from proxy.refusal import Refusal

CALLER = Caller("laptop", b"")
OTHER = Caller("team", b"")


class World:
    """The clock, what was spent today, and what is left of the day."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.spent: dict[str, int] = {}
        self.left = 7_200.0
        self.waits: list[float] = []
        self.allowances = Allowances(
            clock=lambda: self.now,
            tokens_today=lambda caller: self.spent.get(caller, 0),
            seconds_left_today=lambda: self.left,
        )

    def ask(self, caller: Caller) -> None:
        """A request that is over at once."""
        self.allowances.enter(caller)
        self.allowances.leave(caller)

    def wait(self, caller: Caller) -> float:
        """What a client would wait, in seconds; 0.0 where it need not."""
        try:
            self.allowances.must_admit(caller)
        except Refusal as refusal:
            self.waits.append(int(headers(refusal)["retry-after-ms"]) / 1000)
            return self.waits[-1]
        return 0.0

    def refused(self, caller: Caller) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.ask(caller)
        return caught.value


@pytest.fixture
def world() -> World:
    return World()


def headers(refusal: Refusal) -> dict[str, str]:
    return dict(refusal.headers())


def test_a_caller_without_limits_is_always_admitted(world: World) -> None:
    world.spent["laptop"] = 10**12
    for _ in range(1_000):
        world.ask(CALLER)


def test_the_next_request_of_a_minute_is_possible_when_the_oldest_is_a_minute_old(world: World) -> None:
    caller = replace(CALLER, requests_per_minute=3)
    for _ in range(3):
        world.ask(caller)
        world.now += 5.5

    refusal = world.refused(caller)
    assert (refusal.status, refusal.code) == (429, "caller_limit_exceeded")
    assert headers(refusal)["Retry-After"] == "44"
    assert headers(refusal)["retry-after-ms"] == "43500"
    assert "x-should-retry" not in headers(refusal)

    world.now += 43.499
    world.refused(caller)
    world.now += 0.001
    world.ask(caller)
    assert headers(world.refused(caller))["retry-after-ms"] == "5500"


def test_a_refused_request_uses_nothing_up(world: World) -> None:
    caller = replace(CALLER, requests_per_minute=1)
    world.ask(caller)
    for _ in range(500):
        world.refused(caller)

    world.now += 60.0

    world.ask(caller)


def test_asking_whether_one_would_be_admitted_uses_nothing_up(world: World) -> None:
    caller = replace(CALLER, requests_per_minute=1, max_concurrency=1)
    for _ in range(5):
        world.allowances.must_admit(caller)

    world.ask(caller)

    with pytest.raises(Refusal):
        world.allowances.must_admit(caller)


def test_so_many_requests_at_once_and_a_second_to_wait(world: World) -> None:
    caller = replace(CALLER, max_concurrency=2)
    world.allowances.enter(caller)
    world.allowances.enter(caller)
    refusal = world.refused(caller)
    assert (headers(refusal)["Retry-After"], headers(refusal)["retry-after-ms"]) == ("1", "1000")
    assert "x-should-retry" not in headers(refusal)
    world.ask(OTHER)
    world.allowances.leave(caller)
    world.ask(caller)


def test_whoever_is_refused_has_no_place_to_give_back(world: World) -> None:
    caller = replace(CALLER, max_concurrency=1)
    world.allowances.enter(caller)
    for _ in range(3):
        with pytest.raises(Refusal):
            world.allowances.enter(caller)
    world.allowances.leave(caller)
    world.ask(caller)


def test_over_the_days_tokens_a_caller_waits_until_midnight_and_clients_do_not_retry(world: World) -> None:
    caller = replace(CALLER, tokens_per_day=100)
    world.spent["laptop"] = 99
    world.ask(caller)

    world.spent["laptop"] = 100

    refusal = world.refused(caller)
    assert headers(refusal)["Retry-After"] == "7200"
    assert headers(refusal)["retry-after-ms"] == "7200000"
    assert headers(refusal)["x-should-retry"] == "false"
    world.left = 60.0
    assert "x-should-retry" not in headers(world.refused(caller))
    world.ask(replace(OTHER, tokens_per_day=100))


def test_of_several_limits_the_longest_is_told(world: World) -> None:
    caller = replace(CALLER, requests_per_minute=1, tokens_per_day=100, max_concurrency=1)
    world.allowances.enter(caller)
    assert "1 requests a minute" in world.refused(caller).message
    world.spent["laptop"] = 100
    assert "100 tokens a day" in world.refused(caller).message


def test_a_limit_that_was_lowered_holds_for_what_came_before(world: World) -> None:
    for _ in range(5):
        world.ask(replace(CALLER, requests_per_minute=5))
        world.now += 1.0

    # The second newest began two seconds ago: when it no longer counts, one of two places is free.
    assert headers(world.refused(replace(CALLER, requests_per_minute=2)))["retry-after-ms"] == "58000"


def test_the_message_says_the_limit_and_no_word_of_the_caller(world: World) -> None:
    caller = replace(CALLER, requests_per_minute=1)
    world.ask(caller)

    message = world.refused(caller).message

    assert "1 requests a minute" in message
    assert "60 s" in message


@given(st.integers(1, 5), st.lists(st.floats(min_value=0, max_value=45), min_size=20, max_size=60))
def test_no_sixty_seconds_ever_see_more_than_the_limit_and_the_wait_told_is_exact(
    limit: int, pauses: list[float]
) -> None:
    world = World()
    caller = replace(CALLER, requests_per_minute=limit)
    admitted: list[float] = []
    for pause in pauses:
        world.now += pause
        wait = world.wait(caller)
        if wait:
            world.now += wait + 0.000_001  # the way here
        world.ask(caller)
        admitted.append(world.now)

    assert all(later - first > 59.999 for first, later in zip(admitted, admitted[limit:], strict=False))
    assert world.waits == [] or 0 < min(world.waits) <= max(world.waits) <= 60.001
