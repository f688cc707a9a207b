from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.exchange import Exchange
from daemon.sqlite import DatabaseRefused
from daemon.sqlite.database import Database
from daemon.sqlite.migrate import MIGRATIONS
from daemon.sqlite.store import SqliteStore


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


@pytest.mark.parametrize("known", range(1, len(MIGRATIONS)))
async def test_an_older_file_is_brought_up_to_date_with_what_it_holds(tmp_path: Path, known: int) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        for script in MIGRATIONS[:known]:
            connection.executescript(script)
        connection.executescript(
            f"""
            INSERT INTO exchange (id, account, openid, push_id, state, asked_at, started_at, answered_at, collected_at,
                                  not_before, next_page, collected_by, deaths, question, answer)
            VALUES ('x1', 'gh_1', 'o1', '1', 'queued', 1.0, 0.0, 0.0, 0.0, 0.0, 0, '', 0, 'hi', '');
            PRAGMA user_version = {known};
            """
        )

    async with Database(path) as database:
        [[version]] = await database.read("PRAGMA user_version")
        assert version == len(MIGRATIONS)
        assert await SqliteStore(database, b"secret").mailbox("gh_1", "o1") == [
            Exchange("x1", "gh_1", "o1", "1", "hi", asked_at=1.0)
        ]
