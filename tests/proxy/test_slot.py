"""A key's place in the pool: its deadlines, its look, its memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.cells import Cell, Cells, Name
from proxy.health import Event, State
from proxy.ledger import CellRecord, KeyRecord
from proxy.slot import CHECK_AFTER, LOOK_AGAIN, Slot, cell_of, cell_record
from proxy.verdict import Rule
from tests.proxy.conftest import a_key

NOW, WALL = 100.0, 1_700_000_000.0


def a_slot(state: State = State.READY, seconds: float | None = None, **settings: str) -> Slot:
    slot = Slot(a_key("a", **settings))
    into = {
        State.SUSPECT: Event.AUTH,
        State.EXHAUSTED: Event.QUOTA,
        State.DEAD: Event.DEAD,
        State.BLOCKED_IP: Event.ADDRESS,
        State.DISABLED: Event.DISABLE,
    }
    if state is not State.READY:
        assert slot.move(into[state], NOW, rule="rule", reason="401 why", seconds=seconds)
    return slot


def test_an_event_that_the_states_row_does_not_name_changes_nothing() -> None:
    slot = a_slot(State.DISABLED)
    assert not slot.move(Event.QUOTA, NOW + 1, rule="quota", reason="429", seconds=600.0)
    assert (slot.state, slot.rule, slot.since, slot.until) == (State.DISABLED, "rule", NOW, None)


@pytest.mark.parametrize(
    ("state", "check_at"),
    [
        (State.READY, None),
        (State.SUSPECT, NOW + 5),
        (State.EXHAUSTED, None),
        (State.DEAD, NOW + 86_400),
        (State.BLOCKED_IP, None),
        (State.DISABLED, None),
    ],
)
def test_a_suspect_is_checked_after_five_seconds_and_a_dead_key_after_a_day(
    state: State, check_at: float | None
) -> None:
    assert a_slot(state).check_at == check_at
    assert (CHECK_AFTER, LOOK_AGAIN) == (5.0, 86_400.0)


@pytest.mark.parametrize("state", [State.EXHAUSTED, State.BLOCKED_IP])
def test_a_state_that_ends_by_itself_is_open_after_its_time_for_one_request(state: State) -> None:
    slot = a_slot(state, 600.0)
    assert not slot.is_open(NOW + 599.9)
    assert slot.is_open(NOW + 600)
    slot.probe = 7
    assert not slot.is_open(NOW + 600)


@pytest.mark.parametrize("state", [State.SUSPECT, State.DEAD, State.DISABLED])
def test_a_state_that_waits_for_a_check_or_a_person_is_never_open(state: State) -> None:
    assert not a_slot(state).is_open(NOW + 1e9)


def test_strikes_count_up_until_the_key_is_ready_again() -> None:
    slot = a_slot(State.EXHAUSTED, 600.0)
    slot.move(Event.QUOTA, NOW + 600, rule="quota", reason="429", seconds=1200.0)
    assert slot.strikes == 2
    slot.move(Event.OK, NOW + 2000, rule="", reason="", seconds=None)
    assert (slot.strikes, slot.until) == (0, None)


@pytest.mark.parametrize("event", [Event.QUOTA, Event.ADDRESS])
def test_another_refusal_never_moves_the_deadline_earlier(event: Event) -> None:
    slot = a_slot(State.EXHAUSTED, 4800.0)
    slot.move(event, NOW + 10, rule="quota", reason="429", seconds=600.0)
    assert slot.until == NOW + 4800


def test_a_slot_knows_the_cells_that_stand_in_its_way() -> None:
    assert set(a_slot(organization="org-a").cell_names("m")) == {
        ("key", "fp-a"),
        ("upstream", "openai"),
        ("organization", "org-a"),
        ("key-model", "fp-a", "m"),
        ("upstream-model", "openai", "m"),
        ("organization-model", "org-a", "m"),
    }
    assert set(a_slot().cell_names("")) == {("key", "fp-a"), ("upstream", "openai")}


def held(*named: tuple[Name, float, str]) -> Cells:
    cells = Cells()
    for name, until, rule in named:
        cells.hold(name, Cell(until, NOW - 5, rule, f"429 {rule}", "fp-a"))
    return cells


@pytest.mark.parametrize(
    "name",
    [
        ("key", "fp-a"),
        ("key-model", "fp-a", "m"),
        ("organization", "org-a"),
        ("organization-model", "org-a", "m"),
        ("upstream", "openai"),
        ("upstream-model", "openai", "m"),
    ],
)
def test_a_ready_key_looks_cooling_while_any_cooldown_of_its_own_holds(name: Name) -> None:
    view = a_slot(organization="org-a").view(held((name, NOW + 30, "rate")), NOW)
    assert (view.state, view.rule, view.reason, view.seconds_left) == ("cooling", "rate", "429 rate", 30.0)
    assert [(cell.scope, cell.model, cell.seconds_left) for cell in view.cells] == [
        (name[0], name[2] if len(name) > 2 else "", 30.0)
    ]


@pytest.mark.parametrize(
    "name",
    [
        ("key", "fp-b"),
        ("organization", "org-b"),
        ("organization", "fp-a"),
        ("organization", "openai"),
        ("upstream", "org-a"),
        ("key-model", "openai", "m"),
    ],
)
def test_a_cooldown_of_somebody_else_is_not_shown_even_where_names_are_alike(name: Name) -> None:
    view = a_slot(organization="org-a").view(held((name, NOW + 30, "rate")), NOW)
    assert (view.state, view.cells) == ("ready", ())


def test_of_several_cooldowns_the_longest_is_shown() -> None:
    cells = held((("key", "fp-a"), NOW + 3, "rate"), (("upstream", "openai"), NOW + 600, "region"))
    view = a_slot().view(cells, NOW)
    assert (view.rule, view.seconds_left, len(view.cells)) == ("region", 600.0, 2)


def test_a_model_that_a_key_does_not_have_and_a_cooldown_that_is_over_leave_it_ready() -> None:
    cells = held((("key-model", "fp-a", "m"), NOW + 3600, Rule.MODEL), (("key", "fp-a"), NOW - 1, "rate"))
    view = a_slot().view(cells, NOW)
    assert (view.state, [cell.scope for cell in view.cells]) == ("ready", ["key-model"])


def test_a_state_is_shown_before_a_cooldown() -> None:
    view = a_slot(State.DEAD).view(held((("key", "fp-a"), NOW + 3, "rate")), NOW + 1)
    assert (view.state, view.reason, view.since_seconds, view.seconds_left) == ("dead", "401 why", 1.0, None)


def test_the_time_left_of_a_state_counts_down_to_nothing() -> None:
    slot = a_slot(State.EXHAUSTED, 600.0)
    assert [slot.view(Cells(), NOW + later).seconds_left for later in (0, 599.5, 600, 700)] == [600.0, 0.5, 0.0, 0.0]


def test_a_view_shows_four_characters_of_a_secret_and_none_of_a_short_one() -> None:
    key = a_key("a")
    assert Slot(replace(key, secret="sk-12345-wxyz")).view(Cells(), NOW).last4 == "wxyz"
    assert Slot(replace(key, secret="sk-wxyz")).view(Cells(), NOW).last4 == ""
    assert "secret" not in repr(Slot(key)) + repr(key) + repr(Slot(key).record(NOW, WALL))


@pytest.mark.parametrize(
    ("state", "seconds"),
    [
        (State.READY, None),
        (State.SUSPECT, None),
        (State.EXHAUSTED, 600.0),
        (State.DEAD, None),
        (State.BLOCKED_IP, 3600.0),
        (State.DISABLED, None),
    ],
)
def test_a_restart_changes_nothing_even_when_clocks_differ(state: State, seconds: float | None) -> None:
    slot, again = a_slot(state, seconds), a_slot()
    slot.organization, slot.answered, slot.failed = "org-learned", 5, 2
    again.restore(slot.record(NOW + 1, WALL), 7.0, WALL + 2)
    shift = 7.0 - (NOW + 3)  # what the monotonic clocks of the two lives differ by
    assert (again.state, again.rule, again.reason, again.strikes) == (slot.state, slot.rule, slot.reason, slot.strikes)
    assert (again.organization, again.answered, again.failed) == ("org-learned", 5, 2)
    for before, after in ((slot.until, again.until), (slot.check_at, again.check_at), (slot.since, again.since)):
        assert (after is None) is (before is None)
        assert before is None or after == pytest.approx(before + shift)


@pytest.mark.parametrize("state", [State.SUSPECT, State.DEAD])
def test_a_check_that_was_under_way_when_the_process_ended_is_made_again(state: State) -> None:
    slot, again = a_slot(state), a_slot()
    slot.check_at = None
    again.restore(slot.record(NOW, WALL), NOW, WALL)
    assert again.check_at == NOW + CHECK_AFTER


def test_a_wall_clock_that_was_wrong_keeps_no_key_for_longer_than_a_day() -> None:
    again = a_slot()
    again.restore(KeyRecord("fp-a", "exhausted", until=WALL + 1e9, since=WALL + 1e9), NOW, WALL)
    assert again.until == NOW + 86_400
    assert again.since <= NOW


def test_a_configured_organization_counts_before_a_remembered_one() -> None:
    again = a_slot(organization="org-configured")
    again.restore(KeyRecord("fp-a", "ready", organization="org-old"), NOW, WALL)
    assert again.organization == "org-configured"


def test_a_record_of_a_state_that_is_not_known_any_more_is_left_out() -> None:
    again = a_slot()
    again.restore(KeyRecord("fp-a", "on_holiday", answered=5), NOW, WALL)
    assert (again.state, again.answered) == (State.READY, 0)


def test_a_cell_is_remembered_without_who_met_it() -> None:
    cell = Cell(NOW + 30, NOW - 5, "rate", "429", "fp-a", strikes=3, probe=9)
    record = cell_record(("key", "fp-a"), cell, NOW, WALL)
    assert record == CellRecord(("key", "fp-a"), WALL + 30, WALL - 5, 3, "rate", "429")
    assert cell_of(record, 7.0, WALL + 10) == Cell(27.0, -8.0, "rate", "429", "", strikes=3)


def test_a_cell_written_while_the_wall_clock_was_wrong_holds_for_a_day_at_most() -> None:
    assert cell_of(CellRecord(("key", "fp-a"), WALL + 1e9, WALL + 1e9), NOW, WALL).until == NOW + 86_400
