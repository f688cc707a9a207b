"""
The operator's sign-outs on disk: a copied cookie must not come back to life because the daemon was started again.

Rule: a nonce says nothing about its session without the seal, so nothing here is a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from daemon.sqlite.database import Database


class SqliteSignOuts:
    """Over an open database. Raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> dict[str, int]:
        """When each was issued, by its nonce."""
        rows = await self._database.read("SELECT value FROM installation WHERE name = 'signed_out'")
        return {str(nonce): int(at) for nonce, at in json.loads(rows[0]["value"]).items()} if rows else {}

    async def save(self, signed_out: Mapping[str, int]) -> None:
        insert = """
            INSERT INTO installation (name, value)
            VALUES ('signed_out', ?)
            ON CONFLICT (name) DO UPDATE
               SET value = excluded.value
        """
        await self._database.write((insert, (json.dumps(dict(signed_out)).encode(),)))
