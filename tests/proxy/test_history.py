"""A key's last hour, day and moments."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.history import HOUR, HOURS, MINUTE, MINUTES, MOMENTS, History, HistoryView

NOW, WALL = 50_000.0, 1_700_000_000.0


def test_an_hour_has_sixty_minutes_and_the_running_one_is_the_last() -> None:
    history = History()
    history.answered(NOW - 59 * MINUTE)
    history.failed(NOW - MINUTE)
    history.answered(NOW)
    history.answered(NOW)

    minutes = history.view(NOW).minutes

    assert len(minutes) == MINUTES
    assert (minutes[0], minutes[-2], minutes[-1]) == ((1, 0), (0, 1), (2, 0))
    assert sum(map(sum, minutes)) == 4


def test_a_day_forgets_what_is_older() -> None:
    history = History()
    for hours_ago in (HOURS + 1, HOURS, HOURS - 1, 1):
        history.answered(NOW - hours_ago * HOUR)
    history.failed(NOW)

    view = history.view(NOW)

    assert (view.answered, view.failed) == (2, 1)
    assert history.view(NOW + 30 * HOUR).answered == 0


def test_the_newest_moment_is_first_and_only_so_many_are_kept() -> None:
    history = History()
    for number in range(MOMENTS + 5):
        history.note(NOW + number, f"key.{number}", "rate", "429")

    moments = history.view(NOW + MOMENTS + 5).moments

    assert len(moments) == MOMENTS
    assert (moments[0].event, moments[0].seconds_ago) == (f"key.{MOMENTS + 4}", 1.0)


def test_hours_and_moments_outlive_a_restart_and_a_clock_that_begins_anew() -> None:
    before = History()
    before.answered(NOW - 3 * HOUR)
    before.failed(NOW - 10)
    before.note(NOW - 10, "key.cooled", "rate", "429, try again in 34 s")

    after = History()
    after.restore(before.text(NOW, WALL), now=7.0, wall=WALL + 60)
    view = after.view(7.0)

    assert (view.answered, view.failed) == (1, 1)
    [moment] = view.moments
    assert (moment.event, moment.rule, moment.reason) == ("key.cooled", "rate", "429, try again in 34 s")
    assert moment.seconds_ago == pytest.approx(70.0)
    assert after.view(7.0 + 22 * HOUR).answered == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"hours": 3}', '{"hours": [[1]], "moments": []}', "null"])
def test_a_text_that_nobody_here_wrote_is_left_alone(text: str) -> None:
    history = History()

    history.restore(text, NOW, WALL)

    assert history.view(NOW) == HistoryView(minutes=((0, 0),) * MINUTES)


def test_a_record_written_while_the_clock_was_ahead_is_no_future() -> None:
    history = History()
    ahead = json.dumps({"hours": [[WALL + 1e6, 5, 0]], "moments": [[WALL + 1e6, "key.cooled", "rate", ""]]})

    history.restore(ahead, NOW, WALL)

    assert history.view(NOW).answered == 5
    assert history.view(NOW).moments[0].seconds_ago == 0


@given(st.lists(st.tuples(st.floats(0, 200_000), st.booleans()), max_size=60))
def test_no_order_of_events_loses_or_invents_one_of_the_last_day(steps: list[tuple[float, bool]]) -> None:
    history, now, counted = History(), 0.0, list[float]()
    for passed, is_well in steps:
        now += passed
        (history.answered if is_well else history.failed)(now)
        counted.append(now)

    view = history.view(now)

    surely = sum(at > now - (HOURS - 1) * HOUR for at in counted)
    at_most = sum(at > now - (HOURS + 1) * HOUR for at in counted)
    assert surely <= view.answered + view.failed <= at_most
