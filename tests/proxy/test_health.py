"""The table of states, whole: every state against every event."""

from __future__ import annotations

import itertools

import pytest

from proxy.health import TRANSITIONS, Event, State

R, S, E, D, B, X = State.READY, State.SUSPECT, State.EXHAUSTED, State.DEAD, State.BLOCKED_IP, State.DISABLED
_: None = None  # nothing happens
TABLE: dict[State, list[State | None]] = {
    #            ok quota auth dead address passed rejected pardon clear disable enable
    State.READY: [_, E, S, D, B, _, _, S, _, X, _],
    State.SUSPECT: [R, E, _, D, B, R, D, S, R, X, _],
    State.EXHAUSTED: [R, E, S, D, B, _, _, _, R, X, _],
    State.DEAD: [R, _, _, _, _, R, D, S, R, X, _],
    State.BLOCKED_IP: [R, E, S, D, B, _, _, _, R, X, _],
    State.DISABLED: [_, _, _, _, _, _, _, _, _, _, R],
}
EVENTS = [
    Event.OK,
    Event.QUOTA,
    Event.AUTH,
    Event.DEAD,
    Event.ADDRESS,
    Event.CHECK_PASSED,
    Event.CHECK_REJECTED,
    Event.PARDON,
    Event.CLEAR,
    Event.DISABLE,
    Event.ENABLE,
]


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, EVENTS)))
def test_an_event_moves_a_state_as_the_table_says(state: State, event: Event) -> None:
    assert TRANSITIONS[state].get(event) == TABLE[state][EVENTS.index(event)]


def test_the_table_is_whole() -> None:
    assert set(TRANSITIONS) == set(State) == set(TABLE)
    assert set(EVENTS) == set(Event)


def test_what_the_operator_disabled_only_the_operator_enables() -> None:
    assert set(TRANSITIONS[State.DISABLED]) == {Event.ENABLE}


def test_every_state_leads_back_to_ready() -> None:
    assert all(State.READY in row.values() for state, row in TRANSITIONS.items() if state is not State.READY)
