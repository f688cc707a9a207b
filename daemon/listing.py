"""
What `posthouse keys`, `posthouse pending` and `posthouse usage` print, as rows of a table or as JSON. Pure.

Rule 1: the rows are made from the daemon's copy of its state, so they know what it knew a second ago.
Rule 2: subscribers are masked, and their words cut, as on the status page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any

from bot.exchange import Exchange
from daemon.operator.figures import excerpt, masked
from proxy.health import State
from proxy.ledger import CellRecord, Health, KeyRecord
from proxy.usage_ledger import Usage
from proxy.verdict import Rule

Row = dict[str, Any]


def key_rows(health: Health, now: float, upstream_of: Callable[[str], str]) -> list[Row]:
    """`now` is epoch seconds; `upstream_of` knows the upstream of a key by its name."""
    return [_key_row(key, upstream_of(key.name), health.cells, now) for key in health.keys]


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


def _key_row(key: KeyRecord, upstream: str, cells: Sequence[CellRecord], now: float) -> Row:
    """As `proxy.slot` shows the key on the page: a model that it does not have does not make it a cooling one."""
    owners = {("key", key.fingerprint), ("organization", key.organization), ("upstream", upstream)}
    cooldowns: list[Row] = [
        {
            "scope": cell.cell[0],
            "model": cell.cell[2] if len(cell.cell) > 2 else None,
            "seconds_left": round(cell.until - now, 1),
            "rule": cell.rule,
            "reason": cell.reason,
        }
        for cell in cells
        if (cell.cell[0].removesuffix("-model"), cell.cell[1]) in owners and cell.until > now
    ]
    state, rule, reason = key.state, key.rule, key.reason
    left = None if key.until is None else max(0.0, round(key.until - now, 1))
    resting = [each for each in cooldowns if each["rule"] != Rule.MODEL]
    if state == State.READY and resting:
        longest = max(resting, key=itemgetter("seconds_left"))
        state, rule, reason, left = "cooling", longest["rule"], longest["reason"], longest["seconds_left"]
    return {
        "name": key.name,
        "state": state,
        "rule": rule,
        "reason": reason,
        "seconds_left": left,
        "answered": key.answered,
        "failed": key.failed,
        "organization": key.organization,
        "cooldowns": cooldowns,
    }
