from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exchange import TRANSITIONS, Event, Exchange, Reason, State, advance

ASKED = Exchange("id-1", "gh_a", "o_anna", "push-1", "what is a posthouse?")

# Every state and every event, written out: what is not here changes nothing.
MOVES = {
    (State.QUEUED, Event.START): State.THINKING,
    (State.QUEUED, Event.FAIL): State.FAILED,
    (State.QUEUED, Event.REST): State.QUEUED,
    (State.THINKING, Event.SHOW): State.THINKING,
    (State.THINKING, Event.ANSWER): State.ANSWERED,
    (State.THINKING, Event.FAIL): State.FAILED,
    (State.THINKING, Event.REST): State.QUEUED,
    (State.THINKING, Event.DIE): State.QUEUED,
    (State.ANSWERED, Event.SHOW): State.ANSWERED,
    (State.ANSWERED, Event.DELIVER): State.ANSWERED,
    (State.ANSWERED, Event.COLLECT): State.COLLECTED,
    (State.FAILED, Event.RETRY): State.QUEUED,
    (State.FAILED, Event.COLLECT): State.FAILED,
}


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_each_state_under_each_event(state: State, event: Event) -> None:
    before = replace(ASKED, state=state)

    after = advance(before, event, collected_at=7.0)

    if (state, event) in MOVES:
        assert (after.state, after.collected_at) == (MOVES[state, event], 7.0)
    else:
        assert after is before


def test_the_first_death_asks_again_and_the_second_fails() -> None:
    once = advance(replace(ASKED, state=State.THINKING), Event.DIE)
    twice = advance(advance(once, Event.START), Event.DIE)

    assert (once.state, once.deaths, once.reason) == (State.QUEUED, 1, None)
    assert (twice.state, twice.reason) == (State.FAILED, Reason.INTERRUPTED)
    assert twice.is_uncollected


def test_asking_again_begins_with_a_clean_slate() -> None:
    told = replace(
        ASKED,
        state=State.FAILED,
        reason=Reason.RESTING,
        collected_by="push-2",
        not_before=900.0,
        deaths=1,
        next_page=1,
    )

    assert advance(told, Event.RETRY) == ASKED


@pytest.mark.parametrize("event", [Event.FAIL, Event.REST, Event.DIE])
def test_an_answer_that_is_begun_anew_is_owed_as_a_whole_whatever_was_shown_of_the_former(event: Event) -> None:
    shown = replace(ASKED, state=State.THINKING, parts=("It is a",), next_page=1, collected_by="push-1", sent_pages=1)

    after = advance(shown, event)

    assert (after.parts, after.next_page, after.collected_by, after.sent_pages) == ((), 0, "", 0)
    assert after.is_uncollected


@pytest.mark.parametrize(
    ("state", "collected_by", "owed"),
    [
        (State.QUEUED, "", True),
        (State.THINKING, "", True),
        (State.ANSWERED, "", True),
        (State.ANSWERED, "push-2", True),
        (State.COLLECTED, "push-2", False),
        (State.FAILED, "", True),
        (State.FAILED, "push-2", False),
    ],
)
def test_what_a_subscriber_is_still_owed(state: State, collected_by: str, owed: bool) -> None:
    assert replace(ASKED, state=state, collected_by=collected_by).is_uncollected is owed


def test_neither_the_subscriber_nor_the_words_are_shown() -> None:
    assert repr(replace(ASKED, answer="a secret")) == "<Exchange id-1 queued>"


@given(st.lists(st.sampled_from(Event)))
def test_no_road_leads_out_of_collected_and_every_failure_has_its_reason(events: list[Event]) -> None:
    exchange = ASKED
    for event in events:
        was_collected = exchange.state is State.COLLECTED
        exchange = advance(exchange, event, **({"reason": Reason.TIMEOUT} if event is Event.FAIL else {}))
        assert exchange.state is State.COLLECTED or not was_collected
        assert (exchange.reason is not None) is (exchange.state is State.FAILED)
