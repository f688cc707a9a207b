"""Deadlines: they move later, end by proof, and let one request at a time try them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cells import MOST_MODEL_CELLS, Cell, Cells, Name

NAME: Name = ("organization-model", "org-a", "gpt-5")


def cell(until: float, since: float = 0.0, strikes: int = 1, holder: str = "fp-a") -> Cell:
    return Cell(until, since, "rate", "429", holder, strikes)


def test_a_cell_is_in_the_way_until_its_deadline() -> None:
    cells = Cells()
    cells.hold(NAME, cell(until=10))
    assert cells.in_the_way((NAME,), 9.9)
    assert not cells.in_the_way((NAME,), 10.0)


def test_a_cell_is_in_the_way_of_nothing_but_its_own_name() -> None:
    cells = Cells()
    cells.hold(NAME, cell(until=10))
    others: tuple[Name, ...] = (("organization-model", "org-a", "gpt-4"), ("organization", "org-a"), ("key", "org-a"))
    assert not cells.in_the_way(others, 0.0)


@pytest.mark.parametrize(("second", "until"), [(20.0, 20.0), (10.0, 15.0), (15.0, 15.0)])
def test_a_deadline_only_moves_later(second: float, until: float) -> None:
    cells = Cells()
    cells.hold(NAME, cell(until=15))
    cells.hold(NAME, cell(until=second))
    kept = cells.get(NAME)
    assert kept is not None
    assert kept.until == until


def test_whose_refusal_moved_the_deadline_last_holds_it() -> None:
    cells = Cells()
    cells.hold(NAME, cell(until=15, holder="fp-a"))
    assert cells.hold(NAME, cell(until=12, holder="fp-b")).holder == "fp-a"
    assert cells.hold(NAME, cell(until=20, holder="fp-b")).holder == "fp-b"


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100), st.integers(0, 5))))
def test_whatever_is_held_no_deadline_strike_or_beginning_goes_back(seen: list[tuple[float, float, int]]) -> None:
    cells = Cells()
    latest = (0.0, 0.0, 0)
    for until, since, strikes in seen:
        kept = cells.hold(NAME, cell(until, since, strikes))
        now = (kept.until, kept.since, kept.strikes)
        assert all(after >= before for after, before in zip(now, latest, strict=True))
        latest = now


def test_after_its_deadline_exactly_one_request_tries_a_cell() -> None:
    cells = Cells()
    cells.hold(NAME, cell(until=10))
    assert cells.try_out((NAME, ("key", "fp-a")), lease=7) == (NAME,)
    assert cells.in_the_way((NAME,), 11.0)


def test_a_probe_that_proved_nothing_lets_another_try() -> None:
    cells = Cells()
    cells.hold(NAME, cell(until=10))
    probed = cells.try_out((NAME,), lease=7)
    cells.give_back(probed, lease=7)
    assert not cells.in_the_way((NAME,), 11.0)


def test_only_the_probe_itself_gives_back() -> None:
    cells = Cells()
    cells.hold(NAME, cell(until=10))
    probed = cells.try_out((NAME,), lease=7)
    cells.give_back(probed, lease=6)
    assert cells.in_the_way((NAME,), 11.0)


def test_a_late_refusal_moves_the_deadline_and_leaves_the_probe_the_only_one() -> None:
    cells = Cells()
    cells.hold(NAME, cell(until=10))
    probed = cells.try_out((NAME,), lease=7)
    cells.hold(NAME, cell(until=12, since=11))
    assert cells.in_the_way((NAME,), 13.0)
    cells.give_back(probed, lease=7)
    assert not cells.in_the_way((NAME,), 13.0)


@pytest.mark.parametrize(("sent_at", "ends"), [(4.9, False), (5.0, False), (5.1, True)])
def test_only_a_success_of_a_request_sent_after_the_refusal_ends_a_cell(sent_at: float, ends: bool) -> None:
    cells = Cells()
    cells.hold(NAME, cell(until=10, since=5.0))
    assert (cells.end(NAME, sent_at=sent_at) is not None) is ends
    assert (cells.get(NAME) is None) is ends


def test_a_cell_is_not_forgotten_when_its_deadline_has_passed() -> None:
    """Its strikes are what the next refusal doubles."""
    cells = Cells()
    cells.hold(NAME, cell(until=10, strikes=3))
    cells.in_the_way((NAME,), 1_000.0)
    assert [(name, kept.strikes) for name, kept in cells] == [(NAME, 3)]


@pytest.mark.parametrize("kind", ["key-model", "organization-model", "upstream-model"])
def test_of_cells_that_name_a_model_a_thousand_are_kept_and_the_oldest_go_first(kind: str) -> None:
    cells = Cells()
    cells.hold(("key", "fp-a"), cell(until=10))
    for number in range(MOST_MODEL_CELLS + 5):
        cells.hold((kind, "fp-a", f"invented-{number}"), cell(until=10))
    assert sum(name[0] == kind for name, _ in cells) == MOST_MODEL_CELLS == 1_000
    assert cells.get((kind, "fp-a", "invented-4")) is None
    assert cells.get((kind, "fp-a", "invented-5")) is not None
    assert cells.get(("key", "fp-a")) is not None


def test_invented_models_of_one_kind_push_out_no_cell_of_another() -> None:
    cells = Cells()
    cells.hold(NAME, cell(until=10))
    for number in range(MOST_MODEL_CELLS + 5):
        cells.hold(("key-model", "fp-a", f"invented-{number}"), cell(until=10))
    assert cells.get(NAME) is not None
