from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.operator.sparkline import HEIGHT, MINUTES, Sparkline, sparkline

counts = st.sampled_from([0, 0, 1, 2, 19, 10**9])
hours = st.lists(st.tuples(counts, counts), min_size=60, max_size=60)


def roofs(path: str) -> list[int]:
    """The heights that an outline draws, one a house."""
    heights, at = [], 0
    for command, number in re.findall(r"([Vh])(\d+)", path.removeprefix(f"M0 {HEIGHT}").removesuffix(f"V{HEIGHT}z")):
        if command == "V":
            at = HEIGHT - int(number)
        else:
            heights += [at] * int(number)
    return heights


@pytest.mark.parametrize("minutes", [(), [(0, 0)] * 60])
def test_where_nothing_was_there_is_nothing_to_draw(minutes: list[tuple[int, int]]) -> None:
    assert sparkline(minutes) is None


def test_two_minutes_are_a_house_and_the_highest_reaches_the_top() -> None:
    minutes = [(0, 0)] * 56 + [(1, 0), (1, 0), (0, 0), (8, 0)]
    assert sparkline(minutes) == Sparkline("M0 10h28V7h1V0h1V10z", "", 10, 0)


def test_what_failed_stands_on_what_was_answered() -> None:
    drawn = sparkline([(5, 0), (0, 5), (10, 0), (0, 0)])
    assert drawn is not None
    assert (roofs(drawn.answered), roofs(drawn.failed)) == ([5, 10], [10, 0])


@given(hours)
def test_a_failure_is_seen_however_many_were_answered_beside(minutes: list[tuple[int, int]]) -> None:
    drawn = sparkline([(10**12, 0), *minutes[1:]])
    assert drawn is not None
    assert drawn.failed_count == sum(failed for _, failed in minutes[1:])
    for house in range(60 // MINUTES):
        has_failed = any(failed for _, failed in [(0, 0), *minutes[1:]][house * MINUTES : (house + 1) * MINUTES])
        seen = drawn.failed and roofs(drawn.failed)[house] > (roofs(drawn.answered)[house] if drawn.answered else 0)
        assert bool(seen) == has_failed


@given(hours)
def test_an_outline_is_as_long_as_the_hour_and_stays_in_its_frame(minutes: list[tuple[int, int]]) -> None:
    drawn = sparkline([(1, 1), *minutes[1:]])
    assert drawn is not None
    for path in (drawn.answered, drawn.failed):
        assert len(roofs(path)) == 60 // MINUTES
        assert all(0 <= roof <= HEIGHT for roof in roofs(path))
