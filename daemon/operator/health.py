"""
The two probes. `/healthz`: the process serves. `/readyz`: it can do its work; where not, the codes say why, without names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from bot.store import ExchangeStore, StoreUnavailable

DATABASE_SECONDS = 1.0  # a probe that waits longer is itself the trouble


class Probes:
    def __init__(self, *, has_eligible_key: Callable[[], bool], store: ExchangeStore) -> None:
        self._has_eligible_key, self._store = has_eligible_key, store

    async def healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n", headers={"Cache-Control": "no-store"})

    async def readyz(self, request: web.Request) -> web.Response:
        reasons = []
        if not self._has_eligible_key():
            reasons.append("no_key_eligible")
        if not await self._database_answers():
            reasons.append("database_unavailable")
        return web.json_response(
            {"ready": not reasons, "reasons": reasons},
            status=503 if reasons else 200,
            headers={"Cache-Control": "no-store"},
        )

    async def _database_answers(self) -> bool:
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                await self._store.count_pending()
        except (TimeoutError, StoreUnavailable):
            return False
        return True
