"""
The gateway's copy, on disk, of who made which object.
"""

from __future__ import annotations

from dataclasses import asdict

from daemon.sqlite.database import Database
from proxy.affinity_ledger import OwnedObject, Unsaved

_ALL = """
    SELECT
        id,
        key,
        caller,
        used_at
    FROM owned_object
    ORDER BY used_at, id
"""

_KEEP = """
    INSERT INTO owned_object (
        id,
        key,
        caller,
        used_at
    )
    VALUES (
        :id,
        :key,
        :caller,
        :used_at
    )
    ON CONFLICT (id) DO UPDATE SET
        key = excluded.key,
        caller = excluded.caller,
        used_at = excluded.used_at
"""

_FORGET = "DELETE FROM owned_object WHERE id = ?"


class SqliteAffinityLedger:
    """`proxy.affinity_ledger.AffinityLedger` over an open database. Raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> tuple[OwnedObject, ...]:
        return tuple(OwnedObject(*row) for row in await self._database.read(_ALL))

    async def save(self, unsaved: Unsaved) -> None:
        await self._database.write(
            *((_KEEP, asdict(made)) for made in unsaved.kept),
            *((_FORGET, (made,)) for made in unsaved.forgotten),
        )
