"""
A copy of the file while a daemon writes to it, for `posthouse backup`.

Rule 1: the copy is made under another name and gets its own when it is whole and has been checked; nothing is ever overwritten.
Rule 2: it blocks; it is for commands, never for the daemon.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from daemon.sqlite import DatabaseRefused
from daemon.sqlite.database import BUSY_SECONDS

PAGES = 1_000  # copied at once; in between the daemon may write


def back_up(path: Path, target: Path, progress: Callable[[int, int], None]) -> int:
    """
    Copy the database to `target`; how many questions are in the copy. `progress` hears (pages done, pages in all).

    Raises DatabaseRefused, FileExistsError, and OSError where the copy cannot be written.
    """
    if not path.is_file():
        raise DatabaseRefused(path, "there is none yet; the daemon makes it when it first starts")
    if target.exists() or target.is_symlink():
        raise FileExistsError(0, "there is one already, which stays as it is", str(target))
    begun = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        os.close(os.open(begun, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with (
            closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)) as source,
            closing(sqlite3.connect(begun)) as copy,
        ):
            source.backup(copy, pages=PAGES, progress=lambda _, left, every: progress(every - left, every))
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
            if copy.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                raise DatabaseRefused(path, "its copy is damaged, so it is itself; restore an older backup")
            [count] = copy.execute("SELECT count(*) FROM exchange").fetchone()
        os.link(begun, target)  # fails where somebody made one meanwhile
    except sqlite3.Error as error:
        raise DatabaseRefused(path, f"it cannot be copied: {error}; run this as the daemon's user or root") from error
    finally:
        begun.unlink(missing_ok=True)
    return int(count)
