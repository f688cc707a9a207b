"""
An account as the operator sees it: who knocked at its path and what became of it, and how its deliveries went. Pure.

Rule: no openid, no words and no secret stand here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from bot.wechat.hold import Counts

Kind = Literal["verification", "push"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A verification, or a push that was refused. `outcome` is "accepted", a `gate.Why`, or "too_large"."""

    at: float  # epoch seconds
    kind: Kind
    outcome: str


class Standing(StrEnum):
    """Whether an account may send customer-service messages."""

    UNKNOWN = "unknown"
    ALLOWED = "allowed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ServiceView:
    """`trouble` says in English what to do about what WeChat's server refused last, "" where nothing is wrong."""

    standing: Standing
    brought: int  # pages, since the start
    kept: int  # answers of which something could not be brought and waits in the mailbox
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class AccountView:
    """`attempts` are since the start, the oldest first, and not many; `service` is None without customer-service messages."""

    id: str
    path: str
    attempts: tuple[Attempt, ...]
    counts: Counts
    service: ServiceView | None = None
