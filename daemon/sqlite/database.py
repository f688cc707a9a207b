"""
One SQLite file: a connection that writes, owned by one task, and a connection that reads.

Rule 1: `write()` returns after COMMIT has: what it wrote survives a `kill -9`, and with `synchronous = FULL` a power cut.
Rule 2: the writer task alone begins and ends transactions. Whoever waits in `write()` may be cancelled at any moment: the write
        is done all the same, and no transaction stays open.
Rule 3: all writes that wait are one transaction, with one fsync for all; a write that fails alone is undone alone.
        When the transaction itself fails (disk full, locked), all its writes fail, and the next tries anew. All reads that
        wait go to their thread together, too: the way there and back is dearer than most of them are.
Rule 4: a file that is newer than this program, or no database, is refused before anything in it is changed. One that is damaged
        is set aside as it is, and a new one begun: the gateway is worth more than the wait for somebody who restores it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Self

import aiosqlite
import structlog

from daemon.sqlite import DatabaseRefused, DatabaseUnavailable
from daemon.sqlite.migrate import MIGRATIONS, migrate, schema_of
from daemon.sqlite.work import CLOSED, Line, Parameters, Rows, Statement, Work, carried_out, read, transact

BUSY_SECONDS = 1.5  # the wait for another program's lock; WeChat's five seconds must hold it twice

_ADVICE = {
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database; name another file",
    sqlite3.SQLITE_BUSY: "another program is writing to it; stop that one and start again",
    sqlite3.SQLITE_READONLY: "it cannot be written; give it and its folder to the user who runs this",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened for writing; give it and its folder to the user who runs this",
    sqlite3.SQLITE_FULL: "the disk is full; make room and start again",
}

log = structlog.get_logger()


class _Damaged(Exception):
    """The file's pages contradict each other."""


class Database:
    """`async with Database(path) as database:`. Opening raises DatabaseRefused; closing first writes all that waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writes: Line | None = None  # None: not open
        self._reads: Line | None = None
        self._has_residue = False

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except _Damaged:
            aside = _set_aside(self._path)
            log.error(
                "database.set_aside",
                file=str(aside),
                advice="a new one was begun; to restore a backup: stop, copy, start",
            )
            await self._open()
        return self

    async def _open(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                _create_privately(self._path)
                self._writing = await stack.enter_async_context(_connection(self._path))
                await self._accept()
                self._reading = await stack.enter_async_context(_connection(self._path))
                await self._reading.execute_fetchall("PRAGMA query_only = ON")
            except sqlite3.Error as error:
                if (code := getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_CORRUPT:
                    raise _Damaged from error
                reason = _ADVICE.get(code, f"it cannot be used: {error}")
                raise DatabaseRefused(self._path, reason) from error
            except OSError as error:
                reason = f"{error.strerror}; give the file and its folder to the user who runs this"
                raise DatabaseRefused(self._path, reason) from error
            self._reads = Line(self._look, "database reader")
            stack.push_async_callback(self._reads.close)
            self._writes = Line(self._commit, "database writer")
            stack.push_async_callback(self._writes.close)
            self._stack = stack.pop_all()

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def write(self, *statements: Statement, erase: bool = False) -> list[Rows]:
        """
        The rows of each statement, after all of them were committed. Raises DatabaseUnavailable.

        With `erase`, rows that the statements deleted (and named by RETURNING) leave no bytes in the file or its log.
        """
        if self._writes is None:
            raise DatabaseUnavailable(CLOSED)
        return await self._writes.add(statements, erases=erase)

    async def read(self, sql: str, parameters: Parameters = ()) -> Rows:
        """What is committed at this moment. Raises DatabaseUnavailable."""
        [rows] = await self.read_all((sql, parameters))
        return rows

    async def read_all(self, *statements: Statement) -> list[Rows]:
        """The rows of each statement, of one moment. Raises DatabaseUnavailable."""
        if self._reads is None:
            raise DatabaseUnavailable(CLOSED)
        return await self._reads.add(statements)

    async def _accept(self) -> None:
        """Look before anything is written; then set up, and bring the schema up to date."""
        if [tuple(row) for row in await self._run("PRAGMA quick_check(1)")] != [("ok",)]:
            raise _Damaged
        schema = await schema_of(self._writing)
        if schema > len(MIGRATIONS):
            reason = f"its schema {schema} is newer than this program's {len(MIGRATIONS)}; install the newer version"
            raise DatabaseRefused(self._path, reason)
        [[mode]] = await self._run("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise DatabaseRefused(self._path, "its file system has no write-ahead log; keep it on a local disk")
        await self._run("PRAGMA synchronous = FULL")  # NORMAL may take back an acknowledged question at a power cut
        await self._run("PRAGMA secure_delete = ON")
        await self._run("PRAGMA foreign_keys = ON")
        await self._run("BEGIN IMMEDIATE")  # a file that cannot be written is found out now, not at the first question
        await self._run("ROLLBACK")
        await migrate(self._writing)
        _make_private(self._path)

    async def _run(self, sql: str) -> Rows:
        return list(await self._writing.execute_fetchall(sql))

    async def _look(self, batch: list[Work]) -> None:
        for work, outcome in zip(batch, await carried_out(self._reading, read, batch), strict=True):
            work.settle(outcome)

    async def _commit(self, batch: list[Work]) -> None:
        outcomes = await carried_out(self._writing, transact, batch)
        erased = []
        for write, outcome in zip(batch, outcomes, strict=True):
            if write.erases and isinstance(outcome, list):
                self._has_residue |= any(outcome)
                erased.append((write, outcome))
            else:
                write.settle(outcome)
        if erased and self._has_residue:
            await self._erase_residue()
        for write, outcome in erased:
            write.settle(outcome)

    async def _erase_residue(self) -> None:
        """
        `secure_delete` alone is not enough: when a page is rebalanced, stale copies of its rows stay in the unused part, and
        the log keeps former pages. Where this fails (no room, a reader that holds the log), the next erasing write tries again.
        """
        try:
            await self._run("VACUUM")
            [[is_held, *_]] = await self._run("PRAGMA wal_checkpoint(TRUNCATE)")
            self._has_residue = bool(is_held)
            reason = "a reader holds the write-ahead log"
        except sqlite3.Error as error:
            reason = str(error)
        if self._has_residue:
            log.warning("database.erasure_postponed", reason=reason)


@asynccontextmanager
async def _connection(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """Without the transactions that sqlite3 would begin by itself."""
    async with aiosqlite.connect(path, isolation_level=None, timeout=BUSY_SECONDS) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def _create_privately(path: Path) -> None:
    """An empty file is an empty database to SQLite, which gives its log the same mode."""
    if path.exists() and not path.is_file():
        raise DatabaseRefused(path, "it is not a file; name another one")
    if not path.parent.is_dir():
        raise DatabaseRefused(path, "its folder does not exist; create it")
    path.touch(mode=0o600)


def _make_private(path: Path) -> None:
    """For a file, or remains of one, that came from elsewhere: a copy, a restored backup."""
    for file in _files_of(path):
        with suppress(FileNotFoundError):
            file.chmod(0o600)


def _set_aside(path: Path) -> Path:
    """Where the file is now, with its log beside it. Raises DatabaseRefused where it cannot be moved."""
    stem = f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    number = next(number for number in count() if not path.with_name(f"{stem}-{number}").exists())
    aside = path.with_name(f"{stem}-{number}")
    try:
        _make_private(path)
        for file in _files_of(path):
            with suppress(FileNotFoundError):
                file.rename(aside.with_name(file.name.replace(path.name, aside.name, 1)))
    except OSError as error:
        raise DatabaseRefused(path, f"it is damaged, and cannot be moved away: {error.strerror}") from error
    return aside


def _files_of(path: Path) -> tuple[Path, ...]:
    """The database, and what SQLite keeps beside it."""
    return tuple(path.with_name(f"{path.name}{suffix}") for suffix in ("", "-wal", "-shm"))
