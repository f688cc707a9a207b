from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.exchange import Exchange
from daemon.sqlite import DatabaseRefused
from daemon.sqlite.database import Database
from daemon.sqlite.ledger import SqliteLedger
from daemon.sqlite.reader import read_health, read_pending
from daemon.sqlite.store import SqliteStore
from proxy.ledger import CellRecord, Health, KeyRecord

HEALTH = Health((KeyRecord("f1", "dead", name="main"),), (CellRecord(("key", "f1"), until=2.0, since=1.0),))
ROWS = [Exchange(f"e{n}", "gh_a", "o_anna", f"push-{n}", question="?", asked_at=float(n)) for n in range(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "post house?#%.db"


async def fill(database: Database) -> None:
    await SqliteLedger(database).save(HEALTH)
    for row in ROWS:
        await SqliteStore(database, b"secret").begin(row)


async def test_a_command_sees_what_a_running_daemon_has_committed(path: Path) -> None:
    async with Database(path) as database:
        await fill(database)

        assert read_health(path) == HEALTH
        assert read_pending(path) == ROWS
        assert read_pending(path, limit=1, offset=1) == ROWS[1:2]


async def test_a_command_sees_the_file_of_a_stopped_daemon_and_makes_none_beside_it(path: Path) -> None:
    async with Database(path) as database:
        await fill(database)

    assert read_health(path) == HEALTH
    assert read_pending(path) == ROWS
    assert list(path.parent.iterdir()) == [path]


def test_a_command_never_makes_a_database(path: Path) -> None:
    with pytest.raises(DatabaseRefused, match="there is none yet"):
        read_pending(path)

    assert not path.exists()


async def test_a_file_of_another_version_is_not_read(path: Path) -> None:
    async with Database(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(DatabaseRefused, match="its schema is 99"):
        read_health(path)


def test_a_file_that_is_no_database_is_not_read(path: Path) -> None:
    path.write_text("a letter, not a ledger\n" * 100)

    with pytest.raises(DatabaseRefused, match="not a database"):
        read_health(path)
