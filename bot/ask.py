"""
How the desk asks a model: the ports, their values, and the two ways in which they can fail.

The ports stand here and not in `thinking` so that `memory`, which is pure, can build its messages without importing asyncio.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal, Protocol

from bot.exchange import Exchange, Reason
from bot.picture import Picture
from bot.value import value_type


@value_type
class Message:
    """`photo` is where a photo lies that goes with the words; `picture` is that photo, as soon as it was fetched."""

    role: Literal["system", "user", "assistant"]
    content: str
    photo: str = ""
    picture: Picture | None = None

    def __repr__(self) -> str:
        return f"<Message {self.role}>"


@value_type
class Voice:
    """Who answers: the model and what it is told first; and the model that draws, "" for none."""

    model: str
    system_prompt: str = ""
    drawing_model: str = ""
    drawing_size: str = "1024x1024"


class Ask(Protocol):
    def __call__(self, messages: Sequence[Message], *, model: str) -> AsyncIterator[str]:
        """The answer in pieces, as they come. Raises Resting or Unanswered, before or between the pieces."""


class Draw(Protocol):
    async def __call__(self, prompt: str, *, model: str, size: str) -> Picture:
        """Raises Resting or Unanswered."""


class Look(Protocol):
    async def __call__(self, place: str) -> Picture:
        """The photo that lies at this URL, a subscriber's word. Raises Unanswered."""


# What the drawn picture of an exchange is called by WeChat, "" where it could not be brought there.
Upload = Callable[[Exchange, Picture], Awaitable[str]]


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
