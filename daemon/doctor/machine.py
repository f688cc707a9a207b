"""
The machine: the database with its folder and disk, and who has it open.

Rule: it blocks, and is run in a thread; it ends in time by itself.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from daemon.doctor.facts import DatabaseFact
from daemon.doctor.patience import USUAL
from daemon.sqlite import DatabaseRefused
from daemon.sqlite.checkup import check

PROCESSES = Path("/proc")


def look_at_database(path: Path, *, seconds: float = USUAL.database) -> DatabaseFact:
    """Never raises for what is wrong with it."""
    folder = path.parent
    is_folder = folder.is_dir()
    users = users_of(path)  # before it is opened here
    trouble, is_whole = "", False
    if exists := path.exists():
        try:
            is_whole = check(path, seconds=seconds)
        except DatabaseRefused as refused:
            trouble = refused.reason
    return DatabaseFact(
        path,
        exists=exists,
        is_whole=is_whole,
        trouble=trouble,
        size_bytes=path.stat().st_size if exists else 0,
        free_bytes=shutil.disk_usage(folder).free if is_folder else None,
        folder_is_writable=is_folder and os.access(folder, os.W_OK | os.X_OK),
        users=users,
    )


def users_of(path: Path) -> tuple[int, ...] | None:
    """The processes that have the file open; None where none is found and not all may be looked at."""
    if not (PROCESSES / "self" / "fd").is_dir():
        return None
    real, found, is_hidden = os.path.realpath(path), set(), False
    for process in PROCESSES.iterdir():
        if process.name.isdecimal():
            try:
                if any(str(link.readlink()) == real for link in (process / "fd").iterdir()):
                    found.add(int(process.name))
            except PermissionError:
                is_hidden = True
            except OSError:  # it has ended meanwhile
                continue
    return None if is_hidden and not found else tuple(sorted(found))
