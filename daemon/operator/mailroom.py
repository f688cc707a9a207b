"""
What waits for subscribers, as the page shows it: the store is asked once for all who look at the same moment.

Rule 1: whoever asks gets what was read after they asked: there is one look at a time, and all who come during it share the
        next.
Rule 2: a database that does not answer within DATABASE_SECONDS is silent for all of them: nobody waits for it in turn.
"""

from __future__ import annotations

import asyncio

from bot.store import ExchangeStore
from daemon.operator.context import Mail
from daemon.operator.health import heard_of
from daemon.operator.pending import PENDING_SHOWN


class Mailroom:
    def __init__(self, store: ExchangeStore) -> None:
        self._store = store
        self._looking = asyncio.Lock()
        self._looks = self._silent_at = 0  # the number of the last look, and of the last that found the database silent
        self._found: dict[int, tuple[int, Mail]] = {}  # by page: the number of the look, and what it found

    async def mail(self, page: int = 1) -> Mail | None:
        """One page of what waits, from 1. None where the database does not answer: the keys are worth showing all the same."""
        asked_at = self._looks
        async with self._looking:
            number, mail = self._found.get(page, (0, None))
            if number > asked_at:
                return mail
            if self._silent_at > asked_at:
                return None
            self._looks += 1
            # What nobody can want any more goes: who asked before us was served before us.
            self._found = {at: found for at, found in self._found.items() if found[0] >= asked_at}
            mail = await heard_of(self._look(page))
            if mail is None:
                self._silent_at = self._looks
            else:
                self._found[page] = (self._looks, mail)
            return mail

    async def _look(self, page: int) -> Mail:
        return Mail(
            pending=await self._store.pending(PENDING_SHOWN, (page - 1) * PENDING_SHOWN),
            pending_count=await self._store.count_pending(),
            counts=await self._store.counts(),
        )
