"""
The engine on disk, and the two ways in which a database says no.

`database` owns the file; `store` and `ledger` are ports of the bot and of the gateway on top of it; `reader` looks into a file
that a running daemon uses.
"""

from __future__ import annotations

from pathlib import Path

from bot.store import StoreUnavailable


class DatabaseRefused(Exception):
    """The file cannot be opened, or must not be. Nothing in it was changed; the sentence is for the operator."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"database {self.path}: {self.reason}"


class DatabaseUnavailable(StoreUnavailable):
    """An open database could not read or write just now. The write it stopped has changed nothing."""
