"""
What callers used, on disk: one sum for each day, caller, key, model and kind.

Rule: a column has the name of the field it holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, fields

from daemon.sqlite.database import Database
from proxy.usage_ledger import Usage

_FIELDS = tuple(field.name for field in fields(Usage))

LATEST = """
    SELECT *
      FROM usage
     WHERE day IN (SELECT DISTINCT day FROM usage ORDER BY day DESC LIMIT :days)
     ORDER BY day DESC,
              caller,
              key,
              model,
              kind
"""

_ADD = """
    INSERT INTO usage (
        day,
        caller,
        key,
        model,
        kind,
        requests,
        prompt_tokens,
        completion_tokens,
        cached_tokens
    )
    VALUES (
        :day,
        :caller,
        :key,
        :model,
        :kind,
        :requests,
        :prompt_tokens,
        :completion_tokens,
        :cached_tokens
    )
    ON CONFLICT (day, caller, key, model, kind) DO UPDATE
       SET requests = requests + excluded.requests,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens
"""


def usage_of(row: sqlite3.Row) -> Usage:
    return Usage(**{name: row[name] for name in _FIELDS})


class SqliteUsage:
    """`proxy.usage_ledger.UsageLedger` over an open database. Raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, day: str) -> Sequence[Usage]:
        return [usage_of(row) for row in await self._database.read("SELECT * FROM usage WHERE day = ?", (day,))]

    async def add(self, used: Sequence[Usage]) -> None:
        await self._database.write(*((_ADD, asdict(usage)) for usage in used))

    async def expire(self, *, before: str) -> None:
        await self._database.write(("DELETE FROM usage WHERE day < ?", (before,)))
