"""
What is remembered over a restart of who made which object: the values, and the port of whoever keeps them.

Rule 1: owners live in `Affinity`; a ledger has a copy for restarts and nothing else, so it is as bounded as that is.
Rule 2: a key is known by its fingerprint, a caller by its name: whoever is given the name of another inherits.
"""

from __future__ import annotations

from typing import Protocol

from proxy.value import value_type


@value_type
class OwnedObject:
    """`key` is the fingerprint of the key that made it; `used_at` is epoch seconds, on the wall clock, exact to a day."""

    id: str
    key: str
    caller: str
    used_at: float


@value_type
class Unsaved:
    """What a ledger does not know yet: `kept` are new or used again, `forgotten` are ids."""

    kept: tuple[OwnedObject, ...] = ()
    forgotten: tuple[str, ...] = ()


class AffinityLedger(Protocol):
    """Every engine passes `tests/contract/test_affinity_ledger.py`."""

    async def load(self) -> tuple[OwnedObject, ...]:
        """All that is kept, longest unused first."""

    async def save(self, unsaved: Unsaved) -> None:
        """Keep and forget, in one transaction; saving twice is saving once."""
