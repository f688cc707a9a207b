"""
A look into the file that a running daemon uses, for the commands that show what is in it.

Rule 1: nothing is ever written and no file is made, whoever runs it.
Rule 2: it blocks; it is for commands, never for the daemon.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bot.exchange import Exchange
from daemon.sqlite import DatabaseRefused
from daemon.sqlite.database import BUSY_SECONDS
from daemon.sqlite.ledger import CELLS, KEYS, cell_of, key_of
from daemon.sqlite.migrate import MIGRATIONS
from daemon.sqlite.store import COLUMNS, PENDING, exchange_of
from daemon.sqlite.usage import LATEST, usage_of
from proxy.ledger import Health
from proxy.usage_ledger import Usage
from proxy.value import value_type


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


@value_type
class Kept:
    """What is kept about a subscriber; the mappings are by account."""

    exchanges: Sequence[Exchange]  # oldest first
    personas: Mapping[str, str]
    cleared_at: Mapping[str, float]  # epoch seconds

    @property
    def accounts(self) -> Sequence[str]:
        return sorted({row.account for row in self.exchanges} | set(self.personas) | set(self.cleared_at))


def read_subscriber(path: Path, openid: str) -> Kept:
    """Raises DatabaseRefused."""
    who = {"openid": openid}
    exchanges, subscribers, clearings = _read(
        path,
        (f"SELECT {COLUMNS} FROM exchange WHERE openid = :openid ORDER BY asked_at, arrival", who),  # noqa: S608 - names of columns
        ("SELECT account, persona FROM subscriber WHERE openid = :openid", who),
        ("SELECT account, cleared_at FROM clearing WHERE openid = :openid", who),
    )
    return Kept(
        [exchange_of(row) for row in exchanges],
        {row["account"]: row["persona"] for row in subscribers},
        {row["account"]: row["cleared_at"] for row in clearings},
    )


def _read(path: Path, *queries: tuple[str, Mapping[str, Any]]) -> Sequence[list[sqlite3.Row]]:
    """All of them see the same moment."""
    try:
        if not path.is_file():
            raise DatabaseRefused(path, "there is none yet; the daemon makes it when it first starts")
        with closing(
            sqlite3.connect(read_only_uri(path), uri=True, isolation_level=None, timeout=BUSY_SECONDS)
        ) as connection:
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


def read_only_uri(path: Path) -> str:
    """
    `mode=ro` alone would make a log where the daemon is stopped and none exists; then nobody writes, so the file is immutable.
    Source: sqlite.org/wal.html, "Read-Only Databases".
    """
    uri = f"{path.resolve().as_uri()}?mode=ro"
    is_in_use = path.with_name(f"{path.name}-wal").exists()
    return uri if is_in_use else f"{uri}&immutable=1"
