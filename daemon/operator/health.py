"""
The two probes. `/healthz`: the process serves. `/readyz`: it can do its work; where not, the codes say why, without names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web

from bot.store import ExchangeStore, StoreUnavailable

DATABASE_SECONDS = 1.0  # a probe that waits longer is itself the trouble


T = TypeVar("T")


async def heard_of(asked: Awaitable[T]) -> T | None:
    """What the database says to what it was asked; None where it says nothing within DATABASE_SECONDS."""
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            return await asked
    except (TimeoutError, StoreUnavailable):
        return None


class Probes:
    def __init__(self, *, has_eligible_key: Callable[[], bool], store: ExchangeStore) -> None:
        self._has_eligible_key, self._store = has_eligible_key, store

    async def healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n", headers={"Cache-Control": "no-store"})

    async def readyz(self, request: web.Request) -> web.Response:
        reasons = []
        if not self._has_eligible_key():
            reasons.append("no_key_eligible")
        if await heard_of(self._store.count_pending()) is None:
            reasons.append("database_unavailable")
        return web.json_response(
            {"ready": not reasons, "reasons": reasons},
            status=503 if reasons else 200,
            headers={"Cache-Control": "no-store"},
        )
