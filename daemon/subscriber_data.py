"""
What is kept about one subscriber: as a document for them, and gone.

Rule 1: the document has every word and every moment that is theirs; moments stand in the operator's time zone.
Rule 2: forgetting goes through the same store as a 取消关注 (unfollow), so nothing is left in the file or its log. A daemon
        that is thinking about a question meanwhile finds no row to write its answer to, and drops it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from bot.exchange import Exchange
from daemon.gallery import FolderGallery
from daemon.sqlite.database import Database
from daemon.sqlite.ledger import SqliteLedger
from daemon.sqlite.reader import Kept
from daemon.sqlite.store import SqliteStore

MOMENTS = ("asked_at", "started_at", "answered_at", "collected_at")


def document(openid: str, kept: Kept, accounts: Sequence[str], zone: tzinfo) -> dict[str, Any]:
    return {
        "openid": openid,
        "accounts": [
            {
                "account": account,
                "persona": kept.personas.get(account, ""),
                "memory_cleared_at": _moment(kept.cleared_at.get(account, 0.0), zone),
                "questions": [_question(row, zone) for row in kept.exchanges if row.account == account],
            }
            for account in accounts
        ],
    }


def forget(database: Path, gallery_folder: Path, openid: str, accounts: Sequence[str]) -> int:
    """How many questions there were. The database must be there. Raises DatabaseRefused, StoreUnavailable."""
    return asyncio.run(_forget(database, gallery_folder, openid, accounts))


async def _forget(path: Path, gallery_folder: Path, openid: str, accounts: Sequence[str]) -> int:
    async with Database(path) as database:
        secret = await SqliteLedger(database).install_secret()
        store, gallery = SqliteStore(database, secret), FolderGallery(gallery_folder, secret)
        count = 0
        for account in accounts:
            await gallery.forget(account, openid)
            count += await store.forget(account, openid)
        return count


def _question(row: Exchange, zone: tzinfo) -> dict[str, Any]:
    return {
        "kind": row.kind.value,
        "state": row.state.value,
        "question": row.question,
        "answer": row.answer,
        **({"photo": row.photo} if row.photo else {}),
        **({"picture": row.picture} if row.picture else {}),
        **({"reason": row.reason.value} if row.reason else {}),
        **{name: _moment(getattr(row, name), zone) for name in MOMENTS},
    }


def _moment(at: float, zone: tzinfo) -> str | None:
    return datetime.fromtimestamp(at, zone).isoformat(timespec="seconds") if at else None
