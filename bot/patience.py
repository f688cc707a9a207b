"""Work on the store that must be done in the end: tried again, with a growing pause, as long as the store is unavailable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from bot.store import StoreUnavailable

FIRST_PAUSE = 0.5  # seconds, doubled each time
LONGEST_PAUSE = 30.0

T = TypeVar("T")
log = structlog.get_logger()


async def patiently(work: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[None]]) -> T:
    pause = FIRST_PAUSE
    while True:
        try:
            return await work()
        except StoreUnavailable as refusal:
            if pause == FIRST_PAUSE:
                log.warning("store.refused", reason=refusal.reason)
        await sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
