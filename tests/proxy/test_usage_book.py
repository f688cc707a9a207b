"""What callers use: the days that count, and what the ledger has not been told yet."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.usage import Kind, Tokens
from proxy.usage_book import Days, UsageBook
from proxy.usage_ledger import Usage

SHANGHAI = ZoneInfo("Asia/Shanghai")
EVENING = datetime(2026, 11, 22, 23, 59, 30, tzinfo=SHANGHAI).timestamp()
ZONES = [
    *("Asia/Shanghai", "UTC", "America/New_York", "Europe/London", "Pacific/Kiritimati", "Asia/Kathmandu"),
    *("Africa/Cairo", "America/Havana", "Asia/Beirut"),  # their clocks change at midnight
]


class Wall:
    """A wall clock that a test moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall(EVENING)


@pytest.fixture
def book(wall: Wall) -> UsageBook:
    return UsageBook({"gpt-5"}, Days(SHANGHAI, wall))


def test_the_same_day_caller_key_model_and_kind_are_one_row(book: UsageBook) -> None:
    book.add("laptop", "k1", "gpt-5", Tokens(10, 5, 4))
    book.add("laptop", "k1", "gpt-5", Tokens(1, 2))
    book.add("laptop", "k1", "gpt-5", Tokens(1, 1, kind=Kind.ESTIMATED))
    book.add("laptop", "k2", "gpt-5", Tokens(1, 1))

    assert book.unsaved() == (
        Usage("2026-11-22", "laptop", "k1", "gpt-5", "reported", 2, 11, 7, 4),
        Usage("2026-11-22", "laptop", "k1", "gpt-5", "estimated", 1, 1, 1, 0),
        Usage("2026-11-22", "laptop", "k2", "gpt-5", "reported", 1, 1, 1, 0),
    )


def test_models_that_the_configuration_does_not_name_are_one(book: UsageBook) -> None:
    for model in ("", "gpt-5-mini", "made up", "gpt-5"):
        book.add("laptop", "k1", model, Tokens(1))

    assert {row.model: row.requests for row in book.unsaved()} == {"other": 3, "gpt-5": 1}


def test_what_was_spent_today_is_questions_and_answers_of_that_caller_alone(book: UsageBook) -> None:
    book.add("laptop", "k1", "gpt-5", Tokens(10, 5, 4))
    book.add("laptop", "k2", "x", Tokens(2, 3, kind=Kind.ESTIMATED))
    book.add("team", "k1", "gpt-5", Tokens(100))

    assert (book.spent_today("laptop"), book.spent_today("team"), book.spent_today("bot")) == (20, 100, 0)


def test_at_midnight_of_the_zone_a_new_day_begins(book: UsageBook, wall: Wall) -> None:
    book.add("laptop", "k1", "gpt-5", Tokens(10))

    wall.now += 30.0
    book.add("laptop", "k1", "gpt-5", Tokens(1))

    assert book.spent_today("laptop") == 1
    assert [row.day for row in book.unsaved()] == ["2026-11-22", "2026-11-23"]


def test_a_clock_that_jumps_over_midnight_and_back_forgets_nothing(book: UsageBook, wall: Wall) -> None:
    book.add("laptop", "k1", "gpt-5", Tokens(10))
    wall.now += 3_600.0
    book.add("laptop", "k1", "gpt-5", Tokens(3))

    wall.now -= 3_600.0

    assert book.spent_today("laptop") == 10


def test_days_long_gone_are_not_kept_in_memory(book: UsageBook, wall: Wall) -> None:
    for _ in range(400):
        book.add("laptop", "k1", "gpt-5", Tokens(1))
        wall.now += 86_400.0

    assert len(book._spent) <= 2


def test_what_the_ledger_has_of_today_counts_and_is_not_saved_again(book: UsageBook) -> None:
    book.restore(
        [
            Usage("2026-11-22", "laptop", "k1", "gpt-5", "reported", 2, 11, 7, 4),
            Usage("2026-11-22", "laptop", "k1", "other", "estimated", 1, 2, 0, 0),
        ]
    )

    assert book.spent_today("laptop") == 20
    assert book.unsaved() == ()


def test_what_comes_while_the_ledger_writes_stays_to_be_written(book: UsageBook) -> None:
    book.add("laptop", "k1", "gpt-5", Tokens(10, 5, 4))
    writing = book.unsaved()
    book.add("laptop", "k1", "gpt-5", Tokens(1, 2, 3))

    book.saved(writing)

    assert book.unsaved() == (Usage("2026-11-22", "laptop", "k1", "gpt-5", "reported", 1, 1, 2, 3),)


def test_what_was_not_said_to_be_saved_is_handed_out_again(book: UsageBook) -> None:
    book.add("laptop", "k1", "gpt-5", Tokens(10))

    assert book.unsaved() == book.unsaved() != ()


adds = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["gpt-5", "x"]), st.integers(0, 99), st.integers(0, 99))


@given(st.lists(adds | st.sampled_from(["written", "failed", "taken"]), max_size=40))
def test_whenever_it_is_saved_and_however_often_that_fails_the_sums_are_right(
    steps: list[str | tuple[str, str, int, int]],
) -> None:
    book = UsageBook({"gpt-5"}, Days(UTC, lambda: EVENING))
    ledger: dict[tuple[str, ...], int] = {}
    expected: dict[tuple[str, ...], int] = {}
    taken: tuple[Usage, ...] = ()

    def write(rows: tuple[Usage, ...]) -> None:
        for row in rows:
            ledger[row.caller, row.model] = ledger.get((row.caller, row.model), 0) + row.prompt_tokens
        book.saved(rows)

    for step in steps:
        match step:
            case "taken":
                taken = taken or book.unsaved()
            case "failed":
                taken = ()
            case "written":
                write(taken)
                taken = ()
            case (caller, model, prompt, completion):
                book.add(str(caller), "k1", str(model), Tokens(int(prompt), int(completion)))
                label = (str(caller), "gpt-5" if model == "gpt-5" else "other")
                expected[label] = expected.get(label, 0) + int(prompt)
    write(taken)
    write(book.unsaved())

    assert ledger == expected
    assert book.unsaved() == ()


def test_everybody_who_writes_is_told_of_every_change() -> None:
    woken: list[bool] = []
    book = UsageBook((), Days(UTC, lambda: EVENING), on_change=lambda: woken.append(True))

    book.add("laptop", "k1", "gpt-5", Tokens(1))

    assert woken == [True]


@given(now=st.floats(min_value=0, max_value=4e9), zone=st.sampled_from(ZONES))
def test_a_day_ends_when_its_seconds_are_over_and_not_before(now: float, zone: str) -> None:
    def day(later: float) -> str:
        return Days(ZoneInfo(zone), lambda: now + later).today()

    left = Days(ZoneInfo(zone), lambda: now).seconds_left()

    assert 0 < left <= 26 * 3_600
    assert day(max(0.0, left - 0.01)) == day(0.0) < day(left + 0.01)


def test_todays_sums_are_by_caller_and_by_key_and_totals_go_on(wall: Wall, book: UsageBook) -> None:
    book.add("laptop", "k1", "gpt-5", Tokens(10, 5))
    book.add("laptop", "k2", "gpt-5", Tokens(1, 0))
    book.add("team", "k1", "gpt-5", Tokens(2, 0))

    assert book.today_by_caller() == {"laptop": {"requests": 2, "tokens": 16}, "team": {"requests": 1, "tokens": 2}}
    assert book.today_by_key() == {"k1": {"requests": 2, "tokens": 17}, "k2": {"requests": 1, "tokens": 1}}

    wall.now += 86_400
    assert (book.today_by_caller(), book.today_by_key()) == ({}, {})
    assert book.totals["laptop", "k1", "gpt-5", "reported"] == 15
