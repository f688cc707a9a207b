"""What every ledger of the keys' health does. A test here knows the port alone, so it holds for each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.sqlite.database import Database
from daemon.sqlite.ledger import SqliteLedger
from proxy.ledger import CellRecord, Health, KeyLedger, KeyRecord

words = st.text(max_size=20)
moments = st.floats(min_value=0, max_value=1e11)
counts = st.integers(min_value=0, max_value=2**63 - 1)
keys = st.builds(
    KeyRecord,
    fingerprint=words,
    state=words,
    rule=words,
    reason=words,
    until=st.none() | moments,
    since=moments,
    strikes=counts,
    organization=words,
    answered=counts,
    failed=counts,
    name=words,
)
cells = st.builds(
    CellRecord,
    cell=st.lists(words, max_size=3).map(tuple),
    until=moments,
    since=moments,
    strikes=counts,
    rule=words,
    reason=words,
)
healths = st.builds(Health, keys=st.lists(keys, max_size=4).map(tuple), cells=st.lists(cells, max_size=4).map(tuple))


@pytest.fixture(params=["sqlite"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeyLedger]:
    async with Database(tmp_path / f"{request.param}.db") as database:
        yield SqliteLedger(database)


async def test_a_ledger_is_empty_at_the_first_start(ledger: KeyLedger) -> None:
    assert await ledger.load() == Health()


# Each save replaces everything, so that one ledger serves all examples.
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(health=healths)
async def test_what_was_saved_last_is_loaded_in_its_order(ledger: KeyLedger, health: Health) -> None:
    await ledger.save(health)

    assert await ledger.load() == health


async def test_a_key_that_is_no_longer_saved_is_gone(ledger: KeyLedger) -> None:
    stays = KeyRecord("f1", "ready")
    cell = CellRecord(("key-model", "f2", "gpt-5"), until=2.0, since=1.0)
    await ledger.save(Health((stays, KeyRecord("f2", "dead")), (cell,)))

    await ledger.save(Health((stays,)))

    assert await ledger.load() == Health((stays,))
