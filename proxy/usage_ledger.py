"""
What callers used, as it is remembered: the value, and the port of whoever keeps it.

Rule: a ledger adds. What was used is handed over once, and the sums of all days live in the ledger alone,
for KEPT_DAYS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proxy.value import value_type

KEPT_DAYS = 400  # so that a month can be held against the same one of last year


@value_type
class Usage:
    """`day` is like "2026-11-22"; `key` and `model` are labels; `kind` is one of `usage.Kind`."""

    day: str
    caller: str
    key: str
    model: str
    kind: str
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    @property
    def label(self) -> tuple[str, str, str, str, str]:
        """What sums are kept by: one row of a ledger to each."""
        return self.day, self.caller, self.key, self.model, self.kind


class UsageLedger(Protocol):
    """Every engine passes `tests/contract/test_usage_ledger.py`."""

    async def load(self, day: str) -> Sequence[Usage]:
        """The sums of that day."""

    async def add(self, used: Sequence[Usage]) -> None:
        """Add each to the sum with its label; all of them, or none."""

    async def expire(self, *, before: str) -> None:
        """Forget the days before that day."""
