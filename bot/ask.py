"""
How the desk asks a model: the port, its values, and the two ways in which it can fail.

The port stands here and not in `desk` so that `memory`, which is pure, can build its messages without importing asyncio.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bot.exchange import Reason


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str

    def __repr__(self) -> str:
        return f"<Message {self.role}>"


class Ask(Protocol):
    def __call__(self, messages: Sequence[Message], *, model: str) -> AsyncIterator[str]:
        """The answer in pieces, as they come. Raises Resting or Unanswered, before or between the pieces."""


class Resting(Exception):
    """Every key rests. `back_in_seconds` is when the first is back, None when nobody can tell."""

    def __init__(self, back_in_seconds: float | None) -> None:
        super().__init__(back_in_seconds)
        self.back_in_seconds = back_in_seconds

    def __str__(self) -> str:
        when = "unknown" if self.back_in_seconds is None else f"{self.back_in_seconds:.0f} s"
        return f"every key is resting; the first is back in: {when}"


class Unanswered(Exception):
    """The model did not answer, for `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"no answer: {self.reason}"
