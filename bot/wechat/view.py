"""
An account as the operator sees it: who knocked at its path and what became of it, and how its deliveries went. Pure.

Rule: no openid, no words and no secret stand here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bot.wechat.hold import Counts

Kind = Literal["verification", "push"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A verification, or a push that was refused. `outcome` is "accepted", a `gate.Why`, or "too_large"."""

    at: float  # epoch seconds
    kind: Kind
    outcome: str


@dataclass(frozen=True, slots=True)
class AccountView:
    """`attempts` are since the start, the oldest first, and not many."""

    id: str
    path: str
    attempts: tuple[Attempt, ...]
    counts: Counts
