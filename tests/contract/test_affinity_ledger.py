"""What every ledger of the objects' owners does. A test here knows the port alone, so it holds for each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.sqlite.affinity import SqliteAffinityLedger
from daemon.sqlite.database import Database
from proxy.affinity_ledger import AffinityLedger, OwnedObject, Unsaved

FILE = OwnedObject("file-abc123", key="f1", caller="laptop", used_at=1.0)
BATCH = OwnedObject("batch_abc123", key="f2", caller="team", used_at=2.0)

words = st.text(max_size=20)
objects = st.builds(
    OwnedObject, id=st.text(min_size=1, max_size=20), key=words, caller=words, used_at=st.floats(0, 1e11)
)


@pytest.fixture(params=["sqlite"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AffinityLedger]:
    async with Database(tmp_path / f"{request.param}.db") as database:
        yield SqliteAffinityLedger(database)


async def test_a_ledger_is_empty_at_the_first_start(ledger: AffinityLedger) -> None:
    assert await ledger.load() == ()


async def test_what_was_kept_is_loaded_longest_unused_first(ledger: AffinityLedger) -> None:
    await ledger.save(Unsaved(kept=(BATCH, FILE)))

    assert await ledger.load() == (FILE, BATCH)


async def test_an_object_that_was_used_again_is_kept_once_with_its_last_use(ledger: AffinityLedger) -> None:
    await ledger.save(Unsaved(kept=(FILE, BATCH)))
    again = OwnedObject(FILE.id, FILE.key, FILE.caller, used_at=3.0)

    await ledger.save(Unsaved(kept=(again,)))

    assert await ledger.load() == (BATCH, again)


async def test_what_is_forgotten_is_gone_and_may_have_been_unknown(ledger: AffinityLedger) -> None:
    await ledger.save(Unsaved(kept=(FILE, BATCH)))

    await ledger.save(Unsaved(forgotten=(FILE.id, "file-never-saved")))

    assert await ledger.load() == (BATCH,)


async def test_saving_nothing_changes_nothing(ledger: AffinityLedger) -> None:
    await ledger.save(Unsaved(kept=(FILE,)))

    await ledger.save(Unsaved())

    assert await ledger.load() == (FILE,)


# Each example forgets what it kept, so that one ledger serves all of them.
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.lists(objects, max_size=6, unique_by=lambda made: made.id))
async def test_saving_twice_is_saving_once(ledger: AffinityLedger, kept: list[OwnedObject]) -> None:
    await ledger.save(Unsaved(kept=tuple(kept)))
    await ledger.save(Unsaved(kept=tuple(kept)))

    loaded = await ledger.load()
    await ledger.save(Unsaved(forgotten=tuple(made.id for made in kept)))

    assert sorted(loaded, key=lambda made: made.id) == sorted(kept, key=lambda made: made.id)
    assert await ledger.load() == ()
