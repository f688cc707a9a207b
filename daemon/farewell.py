"""
How long the daemon may still take to end. Pure.

Rule: requests, questions and messages on their way share one time, which runs from the moment the daemon was told to end: what
waits for one of them gives the others theirs. WeChat waits five seconds for an answer that the next process must give.
"""

from __future__ import annotations

from collections.abc import Callable


class Farewell:
    """`clock` counts seconds and never goes back."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._ends_at: float | None = None

    def begin(self) -> None:
        self._ends_at = self._clock() + self._seconds

    def left(self) -> float:
        """In seconds; all of it before `begin`."""
        return self._seconds if self._ends_at is None else max(0.0, self._ends_at - self._clock())
