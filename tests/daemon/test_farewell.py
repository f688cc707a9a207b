"""What waits at the end shares one time."""

from __future__ import annotations

from daemon.farewell import Farewell


def test_all_of_the_time_is_left_until_the_end_begins() -> None:
    farewell = Farewell(2.5, lambda: 1000.0)

    assert farewell.left() == 2.5


def test_what_one_has_used_up_is_gone_for_all_and_never_less_than_nothing() -> None:
    now = 1000.0
    farewell = Farewell(2.5, lambda: now)

    farewell.begin()
    now += 2.0
    assert farewell.left() == 0.5
    now += 2.0
    assert farewell.left() == 0.0
