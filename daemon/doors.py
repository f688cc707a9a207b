"""
All doors that are open, and what is under way by them: for the daemon's end.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from bot.tasks import Tasks


class Open(Protocol):
    """A door, as far as its end is concerned."""

    def break_off(self) -> None: ...
    def hang_up(self) -> None: ...


class Doors:
    """From `is_draining` on an answer is its connection's last."""

    def __init__(self) -> None:
        self._open: set[Open] = set()
        self._busy: set[Open] = set()
        self._quiet: asyncio.Future[None] | None = None  # somebody waits for it
        self.is_draining = False
        self.tasks = Tasks()  # of pushes

    def opened(self, door: Open) -> None:
        self._open.add(door)

    def closed(self, door: Open) -> None:
        self._open.discard(door)
        self.rests(door)

    def works(self, door: Open) -> None:
        self._busy.add(door)

    def rests(self, door: Open) -> None:
        self._busy.discard(door)
        if not self._busy and self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    def quiet(self) -> asyncio.Future[None] | None:
        """Done when no request is under way any more; None where none is."""
        if not self._busy:
            return None
        if self._quiet is None or self._quiet.done():
            self._quiet = asyncio.get_running_loop().create_future()
        return self._quiet

    def break_off(self) -> int:
        """Every request that is still under way ends now: how many those were."""
        late = list(self._busy)
        for door in late:
            door.break_off()
        return len(late)

    def close(self) -> None:
        for door in list(self._open):
            door.hang_up()
