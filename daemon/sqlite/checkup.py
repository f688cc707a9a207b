"""
Whether the file is whole, for `posthouse doctor`.

Rule 1: nothing is ever written and no file is made, whoever runs it and whether a daemon runs or not.
Rule 2: it blocks, and no longer than it is told: a large file is looked through as far as the time goes.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from daemon.sqlite import DatabaseRefused
from daemon.sqlite.database import BUSY_SECONDS
from daemon.sqlite.reader import read_health, read_only_uri

AGAIN_SECONDS = 0.001


def check(path: Path, *, seconds: float) -> bool:
    """Whether all of it was looked through, and is whole. Raises DatabaseRefused where it is not, or cannot be read."""
    read_health(path)  # that there is one, that it may be read, and that its schema is this program's
    try:
        with (
            closing(_reading(path)) as connection,
            _interrupted_after(seconds, connection),
        ):
            is_whole = connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return False
        is_whole = False
    if not is_whole:
        raise DatabaseRefused(path, "it is damaged; restore a backup, or move it away to begin with an empty one")
    return True


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(read_only_uri(path), uri=True, timeout=BUSY_SECONDS)


@contextmanager
def _interrupted_after(seconds: float, connection: sqlite3.Connection) -> Iterator[None]:
    """Not by a progress handler: before SQLite 3.41 a whole table is one step to it."""
    done = threading.Event()

    def watch() -> None:
        patience = seconds
        while not done.wait(patience):
            connection.interrupt()  # does nothing where the statement has not begun
            patience = AGAIN_SECONDS

    watching = threading.Thread(target=watch, name="database checkup")
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()  # it must not find the connection closed
