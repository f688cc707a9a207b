"""
An account as the operator sees it: who knocked at its path and what became of it, and how its deliveries went. Pure.

Rule: no openid, no words and no secret stand here.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Literal

from bot.value import value_type
from bot.wechat.hold import Counts

Kind = Literal["verification", "push"]

SELF_TEST = "posthouse-self-test-"  # an echostr that begins so is our own; it says nothing about WeChat's console


@value_type
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


@value_type
class ServiceView:
    """`trouble` says in English what to do about what WeChat's server refused last, "" where nothing is wrong."""

    standing: Standing
    brought: int  # pages, since the start
    kept: int  # answers of which something could not be brought and waits in the mailbox
    trouble: str = ""


# Source: WeChat, Receiving_standard_messages and Receiving_event_pushes
KINDS = frozenset({"text", "image", "voice", "video", "shortvideo", "location", "link", "event"})


class Pushes:
    """
    Deliveries since the start, by what they bring and what became of them: "answered" with words, "success" without words,
    "unanswered" where WeChat got nothing in time; of what was refused, the outcome of its Attempt.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def count(self, kind: str, outcome: str) -> None:
        """`kind` is the sender's word, so it is "other" unless it is known."""
        self._counts[kind if kind in KINDS else "other", outcome] += 1

    def view(self) -> tuple[tuple[str, str, int], ...]:
        return tuple((kind, outcome, count) for (kind, outcome), count in self._counts.items())


@value_type
class AccountView:
    """
    `attempts` are since the start, the oldest first, and not many; `service` is None without customer-service messages.
    `pushes` are kind, outcome and count.
    """

    id: str
    path: str
    attempts: tuple[Attempt, ...]
    counts: Counts
    service: ServiceView | None = None
    pushes: tuple[tuple[str, str, int], ...] = ()
