"""What the store on disk does beyond the contract of every store."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.exchange import Exchange, State
from daemon.sqlite.database import Database
from daemon.sqlite.store import PENDING, SqliteStore

CANARY = "canary"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "posthouse.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with Database(path) as database:
        yield SqliteStore(database, b"secret")


def bytes_on_disk(path: Path) -> bytes:
    return path.read_bytes() + path.with_name(f"{path.name}-wal").read_bytes()


async def fill(store: SqliteStore) -> None:
    """A life of many pages: rows of all sizes, grown and deleted at random, so that pages are split and merged."""
    chance = random.Random(20)
    alive: list[Exchange] = []
    for number in range(400):
        who = chance.choice([f"o_{CANARY}", "o_ben", "o_cleo"])
        word = CANARY if CANARY in who else "plain"
        row = Exchange(
            id=f"{word}-{chance.getrandbits(64):x}",
            account="gh_a",
            openid=who,
            push_id=f"{word}-{chance.getrandbits(60)}",
            question=f"{word} " * chance.randint(1, 60),
            asked_at=float(number),
        )
        alive.append(await store.begin(row))
        grows = chance.choice(alive)
        words = (CANARY if CANARY in grows.openid else "plain") * chance.randint(1, 400)
        await store.save(replace(grows, state=State.ANSWERED, answer=words, answered_at=float(number)))
        if number % 50 == 49:
            await store.expire(before=number - 150.0)
            alive = alive[-100:]


async def test_a_forgotten_subscriber_leaves_no_bytes_in_the_file_or_its_log(store: SqliteStore, path: Path) -> None:
    await fill(store)
    await store.clear_memory("gh_a", f"o_{CANARY}", now=1.0)
    assert CANARY.encode() in bytes_on_disk(path)

    assert await store.forget("gh_a", f"o_{CANARY}") > 0

    assert CANARY.encode() not in bytes_on_disk(path)
    assert await store.count_pending() > 0


async def test_what_a_reader_of_the_log_keeps_from_erasure_goes_with_the_next(store: SqliteStore, path: Path) -> None:
    await store.begin(Exchange("a", "gh_a", "o_anna", "push-a", question=CANARY))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM exchange").fetchall()
        with capture_logs() as logs:
            assert await store.forget("gh_a", "o_anna") == 1
    assert [entry["event"] for entry in logs] == ["database.erasure_postponed"]
    assert CANARY.encode() in bytes_on_disk(path)

    assert await store.forget("gh_a", "o_anna") == 0

    assert CANARY.encode() not in bytes_on_disk(path)


async def test_questions_survive_a_restart(path: Path) -> None:
    row = Exchange("a", "gh_a", "o_anna", "push-a", question="为什么？", asked_at=100.0)
    async with Database(path) as database:
        await SqliteStore(database, b"secret").begin(row)

    async with Database(path) as database:
        assert await SqliteStore(database, b"secret").unfinished() == [row]


def test_the_columns_of_an_exchange_are_its_fields(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(exchange)")}

    assert columns == {field.name for field in fields(Exchange)} | {"arrival"}


@pytest.mark.parametrize(
    "query",
    [
        PENDING,
        "SELECT * FROM exchange WHERE state IN ('queued', 'thinking')",
        "SELECT state, count(*) FROM exchange GROUP BY state",
        "DELETE FROM exchange WHERE state IN ('answered', 'collected', 'failed') AND asked_at < 1",
        "DELETE FROM exchange WHERE account = 'gh_a' AND openid = 'o_anna'",
    ],
)
def test_no_statement_sorts_or_reads_the_whole_table(store: SqliteStore, path: Path, query: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", {"limit": 5, "offset": 0}).fetchall()

    assert len(plan) == 1
    assert " INDEX exchange_" in plan[0][-1]
