"""
From the schema a file has to the newest one.

Rule 1: `user_version` is the number of migrations a file has been through; they run in the order of their names.
Rule 2: a migration and its number are one transaction: a crash leaves the schema before it or the one after it.
Rule 3: a published migration never changes; the next change is the next file.
"""

from __future__ import annotations

from pathlib import Path

import aiosqlite

MIGRATIONS = tuple(script.read_text("utf-8") for script in sorted((Path(__file__).parent / "migrations").glob("*.sql")))


async def schema_of(connection: aiosqlite.Connection) -> int:
    [[version]] = await connection.execute_fetchall("PRAGMA user_version")
    return int(version)


async def migrate(connection: aiosqlite.Connection) -> None:
    """Raises sqlite3.Error; closing the connection then rolls the unfinished migration back."""
    present = await schema_of(connection)
    for number, script in enumerate(MIGRATIONS[present:], start=present + 1):
        await connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
