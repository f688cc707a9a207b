"""
The operator's URLs: the status page, live and as JSON, its buttons, sign-in and sign-out, metrics, probes, static files.

Rule 1: without a password none of the `/status` URLs exists, and no `/metrics`.
Rule 2: looking changes nothing about keys or questions; only `actions` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from bot.store import ExchangeStore
from daemon.operator.actions import Actions, Levers
from daemon.operator.assets import Assets
from daemon.operator.context import Mail, StatusPage, as_json, status_page
from daemon.operator.gate import Gate
from daemon.operator.health import Probes, heard_of
from daemon.operator.live import Live, Main, Pace, View
from daemon.operator.mailroom import Mailroom
from daemon.operator.page import PAGE_HEADERS, Templates, asked_language, asked_page, laid_out, rendered
from daemon.operator.seen import Look, Seen
from daemon.operator.sign_in import Seal, SignedOut

FILES = ("status.css", "status.js")  # whose change makes an open page start anew

Exposition = Callable[[str, Mapping[str, int] | None], Awaitable[tuple[bytes, str]]]
"""From the header Accept, and the count of questions by state (None: the database is silent), to a body and its type."""


class Operator:
    def __init__(
        self,
        *,
        password: str | None,
        show_words: bool,
        secret: bytes,
        look: Look,
        levers: Levers,
        exposition: Exposition,
        has_eligible_key: Callable[[], bool],
        store: ExchangeStore,
        signed_out: SignedOut,
        on_sign_out: Callable[[], None],
        assets: Assets,
        templates: Templates,
        clock: Callable[[], float],
        is_https: Callable[[web.Request], bool],
        address: Callable[[web.Request], str],
        pace: Pace | None = None,
    ) -> None:
        """
        `secret` is random bytes that outlive a restart; `clock` gives epoch seconds. `is_https` and `address` know which
        proxies in front may be believed about a visitor's scheme and address. `has_eligible_key`: could any request be
        served now; a key past its rest counts, though the page does not call it ready yet.
        """
        self._show_words, self._look, self._store, self._assets = show_words, look, store, assets
        self._exposition, self._templates, self._clock = exposition, templates, clock
        self._probes = Probes(has_eligible_key=has_eligible_key, store=store)
        self._mailroom = Mailroom(store)
        self._files = " ".join(map(assets.url, FILES))
        self._gate: Gate | None = None
        if password:
            self._gate = Gate(
                Seal(secret, password),
                clock=clock,
                is_https=is_https,
                address=address,
                signed_out=signed_out,
                on_sign_out=on_sign_out,
            )
            self._actions = Actions(self._gate, levers)
            self._live = Live(self._gate, look, self._mailroom, self._main, pace=pace)

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
                web.get("/status/events", self._live.events, allow_head=False),
                web.get("/status/sign-in", self._gate.form, allow_head=False),
                web.post("/status/sign-in", self._gate.sign_in),
                web.post("/status/sign-out", self._gate.sign_out),
                web.get("/metrics", self.metrics),
                *self._actions.routes(),
            ]
        return routes

    def one_time_ticket(self) -> str:
        """A path that signs its first visitor in, within ten minutes. For `posthouse demo`, which prints it."""
        return self._open_gate().one_time_ticket()

    def wake(self) -> None:
        """Something that the page shows may have changed: who watches it should see that now."""
        if self._gate is not None:
            self._live.wake()

    async def close(self) -> None:
        """Ends what would not end by itself: to be called before anybody waits for the requests that are under way."""
        if self._gate is not None:
            await self._live.close()

    async def status(self, request: web.Request) -> web.Response:
        gate = self._open_gate()
        if not gate.is_open(request):
            return gate.to_sign_in(request)
        return rendered(request, "status.html", await self._asked(request, gate.form_token(request)))

    async def status_json(self, request: web.Request) -> web.Response:
        refusal = self._open_gate().refusal(request)
        if refusal is not None:
            return refusal
        return web.json_response(as_json(await self._asked(request)), headers=PAGE_HEADERS)

    async def metrics(self, request: web.Request) -> web.Response:
        refusal = self._open_gate().refusal(request, takes_bearer=True)
        if refusal is not None:
            return refusal
        questions = await heard_of(self._store.counts())
        body, content_type = await self._exposition(request.headers.get("Accept", ""), questions)
        return web.Response(body=body, headers={**PAGE_HEADERS, "Content-Type": content_type})

    def _open_gate(self) -> Gate:
        if self._gate is None:
            raise LookupError("there is no status page without a password")
        return self._gate

    async def _asked(self, request: web.Request, form_token: str = "") -> StatusPage:
        number = asked_page(request)
        mail = await self._mailroom.mail(number)
        return self._page(self._look(), mail, (asked_language(request), number), form_token)

    def _page(self, seen: Seen, mail: Mail | None, view: View, form_token: str = "") -> StatusPage:
        language, number = view
        return status_page(
            seen=seen,
            mail=mail,
            now=self._clock(),
            language=language,
            show_words=self._show_words,
            form_token=form_token,
            pending_page=number,
        )

    async def _main(self, seen: Seen, mail: Mail | None, view: View) -> Main:
        page = self._page(seen, mail, view)
        await asyncio.sleep(0)
        return Main(f"{page.headline} · Posthouse", await laid_out(self._templates, "_main.html", page), self._files)
