"""
An account's path on the developer server: WeChat's verification (GET) and its pushes (POST), over aiohttp. Edge.

Rule: what is FORBIDDEN has the same 403 without a body, whatever was wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from bot.wechat.delivery import MAX_BODY_BYTES, Account, End, Reception, Way, head_of
from bot.wechat.gate import Refused
from bot.wechat.view import SELF_TEST, AccountView

log = structlog.get_logger()

TOO_LARGE = "larger than any push; probably not WeChat"


class Webhook:
    """One account's handlers. `random16` gives 16 bytes nobody can guess."""

    def __init__(
        self,
        account: Account,
        *,
        clock: Callable[[], float],
        random16: Callable[[], bytes],
        vouch: Callable[[str], None] = lambda address: None,
    ) -> None:
        """`vouch` hears every address from which a push came whose signature is right."""
        self._account = account
        self._clock = clock
        self._reception = Reception(account, clock=clock, random16=random16, vouch=vouch)

    @property
    def path(self) -> str:
        return self._account.path

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(self.path, self.verify, allow_head=False),
            web.post(self.path, self.push),
        ]

    def view(self) -> AccountView:
        account, attempts = self._account, tuple(self._reception.attempts)
        visits = account.visits
        return AccountView(account.id, account.path, attempts, visits.counts(), visits.service(), account.pushes.view())

    async def verify(self, request: web.Request) -> web.StreamResponse:
        is_self_test = request.query.get("echostr", "").startswith(SELF_TEST)
        try:
            echo = self._account.gate.echo(request.query.items(), self._clock())
        except Refused as refused:
            address = request.remote or ""
            self._reception.refuse("verification", refused.reason, str(refused), address, is_self_test=is_self_test)
            return forbidden()
        self._reception.note("verification", "accepted", is_self_test=is_self_test)
        log.info("account.verified", account=self._account.id, is_self_test=is_self_test)
        # Whoever knows the token chose these words, so a browser must not take them for a page.
        return web.Response(text=echo, content_type="text/plain", headers={"X-Content-Type-Options": "nosniff"})

    async def push(self, request: web.Request) -> web.StreamResponse:
        """As aiohttp has read it."""
        body = await read_body(request)
        if body is None:
            self._reception.refuse("push", "too_large", TOO_LARGE, request.remote or "")
            return too_large()
        query, address = request.query.items(), request.remote or ""
        return await answered(request, lambda way: self.receive(way, query, body, address))

    async def receive(self, way: Way, query: Iterable[tuple[str, str]], body: bytes, address: str) -> End:
        """As anybody has read it. `body` has MAX_BODY_BYTES at most."""
        return await self._reception.receive(way, query, body, address)


def forbidden() -> web.Response:
    return web.Response(status=403)


def too_large() -> web.Response:
    refusal = web.Response(status=413, text="too large")
    refusal.force_close()  # what is left of the body is nobody's to read
    return refusal


async def read_body(request: web.Request) -> bytes | None:
    """None when it is larger than any push."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        return None
    if request.content.is_eof():  # as nearly all are: it came in one piece with its head
        whole = request.content.read_nowait()
        return whole if len(whole) <= MAX_BODY_BYTES else None
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


async def answered(request: web.Request, deliver: Callable[[Way], Awaitable[End]]) -> web.StreamResponse:
    """What aiohttp is given for a delivery."""
    way = _Asked(request)
    match await deliver(way):
        case End.FORBIDDEN:
            return forbidden()
        case End.SILENT:
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=503)  # is not sent any more: aiohttp drops it with the connection
    return way.response


class _Asked:
    """The connection that a request came on. `response` is what was written."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.response = web.StreamResponse()

    async def write(self, body: bytes, content_type: str, *, now: int) -> bool:
        request = self._request
        try:
            if (
                request.version == HttpVersion11 and request.keep_alive and request.transport is not None
            ):  # as nearly always
                data = head_of("200 OK", content_type, len(body), now=now) + body
                request.writer.output_size += len(data)  # too late for another answer
                request.transport.write(data)
                self.response = _Written()
            else:
                response = self.response
                response.content_type, response.content_length = content_type, len(body)
                await response.prepare(request)
                await response.write(body)
                await response.write_eof()
        except ConnectionError:  # WeChat left between the answer and the write
            self.response = web.Response()
            return False
        return request.transport is not None and not request.transport.is_closing()


class _Written(web.StreamResponse):
    """An answer whose bytes are out, so that aiohttp has nothing left to do; the connection stays."""

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        pass
