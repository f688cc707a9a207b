"""
What the pool wants remembered over a restart: the values, and the port of whoever keeps them.

Rule 1: a key's health lives in `KeyPool`; a ledger has a copy for restarts and nothing else.
Rule 2: times in a ledger are epoch seconds on the wall clock; the pool counts on the monotonic one.
Rule 3: a key is known by its fingerprint (an HMAC of its secret), so renaming or reordering keys keeps their health.
"""

from __future__ import annotations

from typing import Protocol

from proxy.value import value_type


@value_type
class KeyRecord:
    """
    One key's health. `until` is when its state may end, epoch seconds; None where the state has no end of its own.

    `name` is the key's configured name when it was saved, for people who look into the file; nothing is found by it. `history`
    is `proxy.history`'s own text.
    """

    fingerprint: str
    state: str
    rule: str = ""
    reason: str = ""
    until: float | None = None
    since: float = 0.0
    strikes: int = 0
    organization: str = ""
    answered: int = 0
    failed: int = 0
    name: str = ""
    history: str = ""


@value_type
class CellRecord:
    """One cooldown. `cell` is its kind and what it belongs to, for example ("key-model", FINGERPRINT, "gpt-5")."""

    cell: tuple[str, ...]
    until: float
    since: float
    strikes: int = 0
    rule: str = ""
    reason: str = ""


@value_type
class Health:
    keys: tuple[KeyRecord, ...] = ()
    cells: tuple[CellRecord, ...] = ()


class KeyLedger(Protocol):
    """Every engine passes `tests/contract/test_key_ledger.py`."""

    async def load(self) -> Health:
        """What was saved last; empty at the first start."""

    async def save(self, health: Health) -> None:
        """Replace everything by `health`, in one transaction."""
