from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from daemon.sqlite import DatabaseRefused
from daemon.sqlite.database import Database
from daemon.sqlite.migrate import MIGRATIONS


async def test_a_new_file_has_the_newest_schema(tmp_path: Path) -> None:
    async with Database(tmp_path / "a.db") as database:
        [[version]] = await database.read("PRAGMA user_version")

    assert version == len(MIGRATIONS) > 0


async def test_a_migration_that_fails_leaves_the_schema_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE installation (name)")  # the last table of the first migration is in the way

    with pytest.raises(DatabaseRefused, match="installation already exists"):
        await Database(path).__aenter__()

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("installation",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
