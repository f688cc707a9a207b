"""
A look into the file that a running daemon uses, for `posthouse keys`, `posthouse pending` and `posthouse usage`.

Rule 1: nothing is ever written and no file is made, whoever runs it.
Rule 2: it blocks; it is for commands, never for the daemon.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from bot.exchange import Exchange
from daemon.sqlite import DatabaseRefused
from daemon.sqlite.database import BUSY_SECONDS
from daemon.sqlite.ledger import CELLS, KEYS, cell_of, key_of
from daemon.sqlite.migrate import MIGRATIONS
from daemon.sqlite.store import PENDING, exchange_of
from daemon.sqlite.usage import LATEST, usage_of
from proxy.ledger import Health
from proxy.usage_ledger import Usage


def read_health(path: Path) -> Health:
    """The keys' health as the daemon saved it last. Raises DatabaseRefused."""
    keys, cells = _read(path, (KEYS, {}), (CELLS, {}))
    return Health(tuple(map(key_of, keys)), tuple(map(cell_of, cells)))


def read_pending(path: Path, *, limit: int = 50, offset: int = 0) -> list[Exchange]:
    """Uncollected exchanges of every account, oldest first. Raises DatabaseRefused."""
    [rows] = _read(path, (PENDING, {"limit": limit, "offset": offset}))
    return [exchange_of(row) for row in rows]


def read_usage(path: Path, *, days: int = 7) -> list[Usage]:
    """The sums of the last `days` days on which anything was used, the newest day first. Raises DatabaseRefused."""
    [rows] = _read(path, (LATEST, {"days": days}))
    return [usage_of(row) for row in rows]


def _read(path: Path, *queries: tuple[str, Mapping[str, int]]) -> Sequence[list[sqlite3.Row]]:
    """All of them see the same moment."""
    try:
        if not path.is_file():
            raise DatabaseRefused(path, "there is none yet; the daemon makes it when it first starts")
        with closing(sqlite3.connect(_uri(path), uri=True, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            [schema] = connection.execute("PRAGMA user_version").fetchone()
            if schema != len(MIGRATIONS):
                reason = (
                    f"its schema is {schema} and this program's {len(MIGRATIONS)}; run the version that the daemon is"
                )
                raise DatabaseRefused(path, reason)
            return [connection.execute(*query).fetchall() for query in queries]
    except (sqlite3.Error, OSError) as error:
        raise DatabaseRefused(path, f"it cannot be read: {error}; run this as the daemon's user or root") from error


def _uri(path: Path) -> str:
    """
    `mode=ro` alone would make a log where the daemon is stopped and none exists; then nobody writes, so the file is immutable.
    Source: sqlite.org/wal.html, "Read-Only Databases".
    """
    uri = f"{path.resolve().as_uri()}?mode=ro"
    is_in_use = path.with_name(f"{path.name}-wal").exists()
    return uri if is_in_use else f"{uri}&immutable=1"
