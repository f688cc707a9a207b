"""
What may befall a request to the simulated WeChat server, as values. Pure.

Rule: a step says what happens to one request; the steps that spoil a good answer let WeChat do its part first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Well:
    """Nothing: it is answered as it should be."""


@dataclass(frozen=True, slots=True)
class Fault:
    """WeChat answers with this error and does nothing. `message` is its errmsg where that is not the usual one."""

    code: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Exactly this answer, and nothing is done: a gateway's error, a redirect, a page of HTML."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection is closed instead of an answer: `before` anything was done, or after all of it was."""

    before: bool


@dataclass(frozen=True, slots=True)
class Misstated:
    """A good answer whose Content-Length is `by` bytes more than what comes; then the connection is closed."""

    by: int


@dataclass(frozen=True, slots=True)
class Endless:
    """A good answer's head without a length, and a body of `piece` again and again."""

    piece: bytes = field(default=bytes(65536), repr=False)


@dataclass(frozen=True, slots=True)
class Slow:
    """So many seconds, of real time, pass first."""

    seconds: float
    then: Scripted = field(default_factory=Well)


Scripted = Well | Fault | Garbage | Cut | Misstated | Endless | Slow
