"""
What `posthouse keys`, `posthouse pending` and `posthouse usage` print, as rows of a table or as JSON. Pure.

Rule 1: the rows are made from the daemon's copy of its state, so they know what it knew a second ago.
Rule 2: subscribers are masked, and their words cut, as on the status page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bot.exchange import Exchange
from daemon.operator.context import excerpt, masked
from proxy.ledger import CellRecord, Health, KeyRecord
from proxy.usage_ledger import Usage

Row = dict[str, Any]


def key_rows(health: Health, now: float) -> list[Row]:
    """`now` is epoch seconds."""
    return [_key_row(key, health.cells, now) for key in health.keys]


def pending_rows(exchanges: Sequence[Exchange], now: float, *, show_words: bool) -> list[Row]:
    return [
        {
            "age_seconds": max(0, int(now - exchange.asked_at)),
            "account": exchange.account,
            "subscriber": masked(exchange.openid),
            "question": excerpt(exchange.question) if show_words else None,
            "state": exchange.state.value,
        }
        for exchange in exchanges
    ]


def usage_rows(used: Sequence[Usage]) -> list[Row]:
    return [asdict(usage) for usage in used]


def _key_row(key: KeyRecord, cells: Sequence[CellRecord], now: float) -> Row:
    cooldowns = [
        {
            "scope": cell.cell[0],
            "model": cell.cell[2] if len(cell.cell) > 2 else None,
            "seconds_left": round(cell.until - now, 1),
            "rule": cell.rule,
            "reason": cell.reason,
        }
        for cell in cells
        if cell.cell[1] in (key.fingerprint, key.organization) and cell.until > now
    ]
    return {
        "name": key.name,
        "state": "cooling" if key.state == "ready" and cooldowns else key.state,
        "rule": key.rule,
        "reason": key.reason,
        "seconds_left": None if key.until is None else max(0.0, round(key.until - now, 1)),
        "answered": key.answered,
        "failed": key.failed,
        "organization": key.organization,
        "cooldowns": cooldowns,
    }
