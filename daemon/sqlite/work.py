"""
What waits for a connection to a database, and how it is done there: all that waits at once, in one visit to its thread.

Rule: what fails of a batch fails alone; only where the transaction is lost does all of it fail.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiosqlite

from daemon.sqlite import DatabaseUnavailable

Parameters = Mapping[str, Any] | Sequence[Any]
Statement = tuple[str, Parameters]
Rows = list[sqlite3.Row]
Outcome = list[Rows] | Exception

CLOSED = "the database is closed"

# Not sqlite3.Error, yet the fault of one write alone: text with half a surrogate pair, an integer beyond 64 bits.
_UNBINDABLE = (ValueError, OverflowError)


@dataclass(slots=True, eq=False)
class Work:
    """A write, or a read, that somebody waits for."""

    statements: tuple[Statement, ...]
    done: asyncio.Future[list[Rows]]
    erases: bool = False

    def settle(self, outcome: Outcome) -> None:
        if self.done.done():  # its caller was cancelled
            return
        if isinstance(outcome, Exception):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


class Line:
    """What waits for a connection, and the task that takes all of it at once, again and again."""

    def __init__(self, carry_out: Callable[[list[Work]], Awaitable[None]], name: str) -> None:
        self._carry_out = carry_out
        self._waiting: list[Work] = []
        self._has_work = asyncio.Event()
        self._is_closed = False
        self._task = asyncio.create_task(self._run(), name=name)

    async def add(self, statements: tuple[Statement, ...], *, erases: bool = False) -> list[Rows]:
        if self._is_closed:
            raise DatabaseUnavailable(CLOSED)
        work = Work(statements, asyncio.get_running_loop().create_future(), erases)
        self._waiting.append(work)
        self._has_work.set()
        return await work.done

    async def close(self) -> None:
        """All that waits is done before."""
        self._is_closed = True
        self._has_work.set()
        await self._task

    async def _run(self) -> None:
        batch: list[Work] = []
        try:
            while self._waiting or not self._is_closed:
                await self._has_work.wait()
                self._has_work.clear()
                batch, self._waiting = self._waiting, []
                if batch:
                    await self._carry_out(batch)
        finally:  # reached with work left only when the task is cancelled: nobody may wait for ever
            self._is_closed = True
            for work in batch + self._waiting:
                work.settle(DatabaseUnavailable(CLOSED))


async def carried_out(
    connection: aiosqlite.Connection,
    how: Callable[[sqlite3.Connection, Sequence[Work]], list[Outcome]],
    batch: Sequence[Work],
) -> list[Outcome]:
    """
    What came of each, in one visit to the connection's thread.

    aiosqlite's public methods go there once for each statement, and every time a busy event loop lets that thread wait for the
    interpreter: a thousand questions in a second then take a second longer (bench/).
    """
    try:
        outcomes: list[Outcome] = await connection._execute(how, connection._conn, batch)  # type: ignore[no-untyped-call]
    except sqlite3.Error as error:
        return [DatabaseUnavailable(str(error)) for _ in batch]
    return outcomes


def read(connection: sqlite3.Connection, batch: Sequence[Work]) -> list[Outcome]:
    """In the connection's thread: the rows of each read, all of one moment. Raises sqlite3.Error when none can be read."""
    connection.execute("BEGIN")
    try:
        return [_rows(connection, work.statements) for work in batch]
    finally:
        connection.rollback()


def _rows(connection: sqlite3.Connection, statements: Sequence[Statement]) -> Outcome:
    try:
        return [connection.execute(*statement).fetchall() for statement in statements]
    except (sqlite3.Error, *_UNBINDABLE) as error:
        return DatabaseUnavailable(str(error)) if isinstance(error, sqlite3.Error) else error


def transact(connection: sqlite3.Connection, batch: Sequence[Work]) -> list[Outcome]:
    """In the connection's thread: the outcome of each write. Raises sqlite3.Error when the transaction is lost."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        outcomes = [_attempt(connection, write.statements) for write in batch]
        connection.execute("COMMIT")
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            connection.rollback()  # does nothing where SQLite has rolled back by itself
        raise
    return outcomes


def _attempt(connection: sqlite3.Connection, statements: Sequence[Statement]) -> Outcome:
    """The rows of one write, or why it alone is undone. Raises sqlite3.Error when the transaction is lost."""
    is_compound = len(statements) > 1  # a single statement that fails is undone by SQLite itself
    try:
        if is_compound:
            connection.execute("SAVEPOINT attempt")
        rows = [connection.execute(*statement).fetchall() for statement in statements]
        if is_compound:
            connection.execute("RELEASE attempt")
    except (sqlite3.Error, *_UNBINDABLE) as error:
        if not connection.in_transaction:  # disk full and I/O errors may end it
            raise
        if is_compound:
            connection.execute("ROLLBACK TO attempt")
            connection.execute("RELEASE attempt")
        return DatabaseUnavailable(str(error)) if isinstance(error, sqlite3.Error) else error
    return rows
