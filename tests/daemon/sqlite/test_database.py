from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.store import StoreUnavailable
from daemon.sqlite import DatabaseRefused, DatabaseUnavailable
from daemon.sqlite.database import BUSY_SECONDS, Database, Statement


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "posthouse.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    async with Database(path) as opened:
        yield opened


def insert(name: str, value: bytes = b"") -> Statement:
    return "INSERT INTO installation (name, value) VALUES (?, ?)", (name, value)


async def names(database: Database) -> list[str]:
    return [name for (name,) in await database.read("SELECT name FROM installation ORDER BY name")]


def wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def commits(path: Path) -> int:
    """Frames of the log that end a transaction. Source: sqlite.org/fileformat2.html, 4.1 "WAL File Format"."""
    log = wal(path).read_bytes()
    frame = 24 + int.from_bytes(log[8:12], "big")
    return sum(log[at + 4 : at + 8] != bytes(4) for at in range(32, len(log), frame))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """As another program would, in the middle of its writing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full_disk(at_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond `at_bytes`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# one writer


async def test_writes_that_wait_together_are_one_commit(database: Database, path: Path) -> None:
    before = commits(path)

    await asyncio.gather(*(database.write(insert(f"{n:03}")) for n in range(100)))

    assert len(await names(database)) == 100
    assert commits(path) - before == 1


async def test_writes_one_after_the_other_are_each_committed(database: Database, path: Path) -> None:
    before = commits(path)

    for name in "abc":
        await database.write(insert(name))

    assert commits(path) - before == 3


async def test_a_write_gives_the_rows_of_each_of_its_statements(database: Database) -> None:
    inserted, selected = await database.write(insert("a", b"1"), ("SELECT value FROM installation", ()))

    assert inserted == []
    assert [tuple(row) for row in selected] == [(b"1",)]


@pytest.mark.parametrize("bad", ["taken", "half a pair \ud83d"])
async def test_a_write_that_fails_alone_takes_no_other_with_it(database: Database, bad: str) -> None:
    await database.write(insert("taken"))

    outcomes = await asyncio.gather(
        database.write(insert("a")),
        database.write(insert("undone"), insert(bad)),
        database.write(insert(bad)),
        database.write(insert("b")),
        return_exceptions=True,
    )

    assert [isinstance(outcome, DatabaseUnavailable | UnicodeEncodeError) for outcome in outcomes] == [
        False,
        True,
        True,
        False,
    ]
    assert await names(database) == ["a", "b", "taken"]


async def test_a_read_that_fails_alone_takes_no_other_with_it(database: Database) -> None:
    await database.write(insert("a"))

    first, failed, last = await asyncio.gather(
        database.read("SELECT name FROM installation"),
        database.read("SELECT nothing FROM nowhere"),
        database.read("SELECT count(*) FROM installation"),
        return_exceptions=True,
    )

    assert isinstance(failed, DatabaseUnavailable)
    assert not isinstance(first, BaseException)
    assert not isinstance(last, BaseException)
    assert [tuple(row) for row in first + last] == [("a",), (1,)]


async def test_what_is_committed_is_read_by_the_next_read(database: Database) -> None:
    for number in range(20):
        await database.write(insert(f"{number:02}"))
        assert len(await names(database)) == number + 1


@pytest.mark.parametrize("ticks", range(0, 30, 3))
async def test_a_caller_who_leaves_leaves_no_transaction_open(database: Database, path: Path, ticks: int) -> None:
    caller = asyncio.create_task(database.write(insert("a"), insert("b")))
    for _ in range(ticks):
        await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])

    await database.write(insert("c"))

    assert await names(database) in (["a", "b", "c"], ["c"])
    with locked(path):
        pass


async def test_a_write_is_done_though_its_caller_left(database: Database, path: Path) -> None:
    with locked(path):
        caller = asyncio.create_task(database.write(insert("a")))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait([caller])

    await database.write(insert("b"))

    assert await names(database) == ["a", "b"]


async def test_closing_first_writes_what_waits(path: Path) -> None:
    async with Database(path) as database:
        writes = [asyncio.create_task(database.write(insert(name))) for name in "abc"]
        await asyncio.sleep(0)

    await asyncio.gather(*writes)
    async with Database(path) as database:
        assert await names(database) == ["a", "b", "c"]


async def test_a_closed_database_says_so(path: Path) -> None:
    async with Database(path) as database:
        pass

    with pytest.raises(StoreUnavailable, match="closed"):
        await database.write(insert("a"))
    with pytest.raises(StoreUnavailable, match="closed"):
        await names(database)


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("secure_delete", 1), ("foreign_keys", 1)],
)
async def test_the_writer_is_set_up_to_lose_nothing_and_leave_nothing(
    database: Database, pragma: str, value: str | int
) -> None:
    [[row]] = await database.write((f"PRAGMA {pragma}", ()))

    assert tuple(row) == (value,)


async def test_reading_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="readonly"):
        await database.read("DELETE FROM installation")


# trouble that passes


async def test_a_commit_that_fails_fails_every_write_of_it_and_the_next_succeeds(database: Database) -> None:
    await database.write(
        ("CREATE TABLE page (of TEXT REFERENCES installation (name) DEFERRABLE INITIALLY DEFERRED)", ())
    )

    outcomes = await asyncio.gather(
        database.write(insert("a")),
        database.write(("INSERT INTO page VALUES ('nobody')", ())),
        return_exceptions=True,
    )

    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 2
    await database.write(insert("b"))
    assert await names(database) == ["b"]


async def test_a_locked_database_is_unavailable_in_time_and_recovers(database: Database, path: Path) -> None:
    with locked(path):
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked"):
            await database.write(insert("a"))
        assert time.monotonic() - begun < BUSY_SECONDS + 1
        assert await names(database) == []

    await database.write(insert("b"))

    assert await names(database) == ["b"]


async def test_a_full_disk_fails_every_write_that_waits_and_recovers(database: Database, path: Path) -> None:
    await database.write(insert("a"))

    with full_disk(wal(path).stat().st_size):
        outcomes = await asyncio.gather(
            *(database.write(insert(f"lost {n}", bytes(5000))) for n in range(3)), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 3
        assert await names(database) == ["a"]

    await database.write(insert("b"))

    assert await names(database) == ["a", "b"]


# files that are refused


async def refusal(path: Path) -> str:
    with pytest.raises(DatabaseRefused) as refused:
        await Database(path).__aenter__()
    sentence = str(refused.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


async def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "folder does not exist" in await refusal(tmp_path / "nowhere" / "posthouse.db")


async def test_a_folder_in_the_place_of_the_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    mode = tmp_path.stat().st_mode

    assert "not a file" in await refusal(tmp_path)

    assert tmp_path.stat().st_mode == mode


@contextmanager
def nobody() -> Iterator[None]:
    """Root may write anywhere, so root becomes someone else meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("is_there", [False, True])
async def test_a_read_only_folder_is_refused(is_there: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:  # the folder of tmp_path is closed to others altogether
        path = Path(folder) / "posthouse.db"
        if is_there:
            async with Database(path):
                pass
            path.chmod(0o644)
        Path(folder).chmod(0o555)
        with nobody():
            assert "give" in await refusal(path)
        Path(folder).chmod(0o755)
        assert path.exists() is is_there


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("a letter, not a ledger\n" * 500)
    path.chmod(0o644)
    before = path.read_bytes()

    assert "not an SQLite database" in await refusal(path)

    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


async def test_a_damaged_file_is_set_aside_as_it_is_and_a_new_one_begun(path: Path) -> None:
    async with Database(path) as database:
        for n in range(200):
            await database.write(insert(f"{n}", bytes(500)))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2 :] = b"\x5a" * (len(damaged) - len(damaged) // 2)
    path.write_bytes(damaged)

    with capture_logs() as logs:
        async with Database(path) as database:
            assert await database.read("SELECT * FROM exchange") == []
    [told] = [event for event in logs if event["event"] == "database.set_aside"]
    [aside] = path.parent.glob("*.damaged-*-0")
    assert told["file"] == str(aside)

    assert aside.read_bytes() == damaged
    assert aside.stat().st_mode & 0o077 == 0


async def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    async with Database(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()

    assert "schema 99 is newer" in await refusal(path)

    assert path.read_bytes() == before


async def test_a_database_that_another_program_writes_is_refused(path: Path) -> None:
    async with Database(path):
        pass

    with locked(path):
        assert "another program" in await refusal(path)


# modes


def modes(path: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}


PRIVATE = {"posthouse.db": 0o600, "posthouse.db-wal": 0o600, "posthouse.db-shm": 0o600}


async def test_nobody_else_may_read_the_file_or_its_log(path: Path) -> None:
    former = os.umask(0)
    try:
        async with Database(path) as database:
            await database.write(insert("a"))
            assert modes(path) == PRIVATE
    finally:
        os.umask(former)


async def test_a_restored_backup_is_made_private(path: Path) -> None:
    async with Database(path):
        pass
    path.chmod(0o644)

    async with Database(path) as database:
        await database.write(insert("a"))
        assert modes(path) == PRIVATE
