"""What every ledger of usage does. A test here knows the port alone, so it holds for each engine."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.sqlite.database import Database
from daemon.sqlite.usage import SqliteUsage
from proxy.usage_ledger import Usage, UsageLedger

ROW = Usage("2026-11-22", "laptop", "k1", "gpt-5", "reported", 1, 20, 9, 16)

fresh = itertools.count()
words = st.text(max_size=8)
counts = st.integers(min_value=0, max_value=2**31)
rows = st.builds(
    Usage,
    day=st.just(""),
    caller=words,
    key=words,
    model=words,
    kind=words,
    requests=counts,
    prompt_tokens=counts,
    completion_tokens=counts,
    cached_tokens=counts,
)


@pytest.fixture(params=["sqlite"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UsageLedger]:
    async with Database(tmp_path / f"{request.param}.db") as database:
        yield SqliteUsage(database)


async def test_a_ledger_is_empty_at_the_first_start(ledger: UsageLedger) -> None:
    assert list(await ledger.load("2026-11-22")) == []


async def test_what_is_added_is_loaded_with_its_day(ledger: UsageLedger) -> None:
    yesterday = replace(ROW, day="2026-11-21")

    await ledger.add([ROW, yesterday])

    assert list(await ledger.load("2026-11-22")) == [ROW]
    assert list(await ledger.load("2026-11-21")) == [yesterday]


@pytest.mark.parametrize("field", ["day", "caller", "key", "model", "kind"])
async def test_rows_that_differ_in_one_label_are_kept_apart(ledger: UsageLedger, field: str) -> None:
    changed: dict[str, Any] = {field: "other"}
    other = replace(ROW, **changed)

    await ledger.add([ROW])
    await ledger.add([other])

    assert {row.label for day in ("2026-11-22", "other") for row in await ledger.load(day)} == {ROW.label, other.label}


async def test_days_before_a_day_are_forgotten_and_that_day_is_not(ledger: UsageLedger) -> None:
    await ledger.add([replace(ROW, day=day) for day in ("2025-10-18", "2025-12-31", "2026-01-01", "2026-11-22")])

    await ledger.expire(before="2026-01-01")

    kept = [day for day in ("2025-10-18", "2025-12-31", "2026-01-01", "2026-11-22") if await ledger.load(day)]
    assert kept == ["2026-01-01", "2026-11-22"]


async def test_nothing_to_add_is_no_fault(ledger: UsageLedger) -> None:
    await ledger.add([])

    assert list(await ledger.load("2026-11-22")) == []


# Each example has a day of its own, so that one ledger serves all of them.
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(rows, max_size=4), max_size=4))
async def test_what_is_added_is_summed_by_its_labels(ledger: UsageLedger, batches: list[list[Usage]]) -> None:
    day = f"day {next(fresh)}"
    expected: dict[tuple[str, ...], list[int]] = {}
    for batch in batches:
        dated = [replace(row, day=day) for row in batch]
        await ledger.add(dated)
        for row in dated:
            sums = expected.setdefault(row.label, [0, 0, 0, 0])
            for place, count in enumerate(numbers(row)):
                sums[place] += count

    assert {row.label: numbers(row) for row in await ledger.load(day)} == expected


def numbers(row: Usage) -> list[int]:
    return [row.requests, row.prompt_tokens, row.completion_tokens, row.cached_tokens]
