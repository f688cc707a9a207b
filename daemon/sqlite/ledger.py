"""
The gateway's copy of its keys' health on disk, and the secret this installation was born with.

Rule: a column has the name of the field it holds; the order of a health's records is kept.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import asdict, fields

from daemon.sqlite.database import Database
from proxy.ledger import CellRecord, Health, KeyRecord

KEYS = "SELECT * FROM key_health ORDER BY position"
CELLS = "SELECT * FROM cooldown ORDER BY position"

_KEY_FIELDS = tuple(field.name for field in fields(KeyRecord))
_CELL_FIELDS = tuple(field.name for field in fields(CellRecord))

_INSERT_KEY = """
    INSERT INTO key_health (
        fingerprint,
        state,
        rule,
        reason,
        until,
        since,
        strikes,
        organization,
        answered,
        failed,
        name,
        history
    )
    VALUES (
        :fingerprint,
        :state,
        :rule,
        :reason,
        :until,
        :since,
        :strikes,
        :organization,
        :answered,
        :failed,
        :name,
        :history
    )
"""

_INSERT_CELL = """
    INSERT INTO cooldown (
        cell,
        until,
        since,
        strikes,
        rule,
        reason
    )
    VALUES (
        :cell,
        :until,
        :since,
        :strikes,
        :rule,
        :reason
    )
"""


def key_of(row: sqlite3.Row) -> KeyRecord:
    return KeyRecord(**{name: row[name] for name in _KEY_FIELDS})


def cell_of(row: sqlite3.Row) -> CellRecord:
    facts = {name: row[name] for name in _CELL_FIELDS}
    return CellRecord(**{**facts, "cell": tuple(json.loads(row["cell"]))})


class SqliteLedger:
    """`proxy.ledger.KeyLedger` over an open database. Raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Health:
        keys = await self._database.read(KEYS)
        cells = await self._database.read(CELLS)
        return Health(tuple(map(key_of, keys)), tuple(map(cell_of, cells)))

    async def save(self, health: Health) -> None:
        await self._database.write(
            ("DELETE FROM key_health", ()),
            *((_INSERT_KEY, asdict(key)) for key in health.keys),
            ("DELETE FROM cooldown", ()),
            *((_INSERT_CELL, {**asdict(cell), "cell": json.dumps(cell.cell)}) for cell in health.cells),
        )

    async def install_secret(self) -> bytes:
        """32 random bytes, made at the first call for this file: for the keys' fingerprints, and to sign cookies."""
        insert = """
            INSERT INTO installation (name, value)
            VALUES ('secret', ?)
            ON CONFLICT (name) DO NOTHING
        """
        select = "SELECT value FROM installation WHERE name = 'secret'"
        _, [[secret]] = await self._database.write((insert, (secrets.token_bytes(32),)), (select, ()))
        return bytes(secret)
