"""
The operator's URLs: the status page and the same as JSON, sign-in and sign-out, the probes and the static files.

Rule 1: without a password none of the `/status` URLs exists.
Rule 2: reading only: no request to a page changes anything about keys or questions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from bot.store import ExchangeStore, StoreUnavailable
from daemon.operator.assets import Assets
from daemon.operator.context import Mail, StatusPage, as_json, status_page
from daemon.operator.gate import Gate
from daemon.operator.health import DATABASE_SECONDS, Probes
from daemon.operator.page import PAGE_HEADERS, asked_language, rendered
from daemon.operator.seen import Look
from daemon.operator.sign_in import Seal

PENDING_SHOWN = 50


class Operator:
    def __init__(
        self,
        *,
        password: str | None,
        show_words: bool,
        secret: bytes,
        look: Look,
        has_eligible_key: Callable[[], bool],
        store: ExchangeStore,
        assets: Assets,
        clock: Callable[[], float],
        is_https: Callable[[web.Request], bool],
        address: Callable[[web.Request], str],
    ) -> None:
        """
        `secret` is random bytes that outlive a restart; `clock` gives epoch seconds. `is_https` and `address` know which
        proxies in front may be believed about a visitor's scheme and address. `has_eligible_key`: could any request be
        served now; a key past its rest counts, though the page does not call it ready yet.
        """
        self._show_words, self._look, self._store, self._assets = show_words, look, store, assets
        self._clock = clock
        self._probes = Probes(has_eligible_key=has_eligible_key, store=store)
        self._gate = Gate(Seal(secret, password), clock=clock, is_https=is_https, address=address) if password else None

    def routes(self) -> list[web.AbstractRouteDef]:
        routes: list[web.AbstractRouteDef] = [
            web.get("/healthz", self._probes.healthz),
            web.get("/readyz", self._probes.readyz),
            web.get("/static/{name}", self._assets.get),
        ]
        if self._gate is not None:
            routes += [
                web.get("/status", self.status),
                web.get("/status.json", self.status_json),
                web.get("/status/sign-in", self._gate.form, allow_head=False),
                web.post("/status/sign-in", self._gate.sign_in),
                web.post("/status/sign-out", self._gate.sign_out),
            ]
        return routes

    def one_time_ticket(self) -> str:
        """A path that signs its first visitor in, within ten minutes. For `posthouse demo`, which prints it."""
        return self._open_gate().one_time_ticket()

    async def status(self, request: web.Request) -> web.Response:
        gate = self._open_gate()
        if not gate.is_open(request):
            return gate.to_sign_in(request)
        return rendered(request, "status.html", await self._page(request, gate.form_token(request)))

    async def status_json(self, request: web.Request) -> web.Response:
        refusal = self._open_gate().refusal(request)
        if refusal is not None:
            return refusal
        return web.json_response(as_json(await self._page(request)), headers=PAGE_HEADERS)

    def _open_gate(self) -> Gate:
        if self._gate is None:
            raise LookupError("there is no status page without a password")
        return self._gate

    async def _page(self, request: web.Request, form_token: str = "") -> StatusPage:
        return status_page(
            seen=self._look(),
            mail=await self._mail(),
            now=self._clock(),
            language=asked_language(request),
            show_words=self._show_words,
            form_token=form_token,
        )

    async def _mail(self) -> Mail | None:
        """None where the database does not answer: the keys are worth showing all the same."""
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                return Mail(
                    pending=await self._store.pending(PENDING_SHOWN),
                    pending_count=await self._store.count_pending(),
                    counts=await self._store.counts(),
                )
        except (TimeoutError, StoreUnavailable):
            return None
