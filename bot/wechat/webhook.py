"""
An account's path on the developer server: WeChat's verification (GET) and its pushes (POST). Edge.

Rule 1: whatever is wrong with a signature, an envelope or a body, the answer is the same 403 without a body; the reason is for
        the log and the operator's page.
Rule 2: a page counts as delivered only when the connection is still open after the write.
Rule 3: a delivery without an answer ends by closing the connection, as if we had been slow: that WeChat delivers again then is
        documented, what it does on an error status is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field, replace
from email.utils import formatdate
from functools import lru_cache

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from bot.value import value_type
from bot.wechat import codec
from bot.wechat.gate import Gate, Refused
from bot.wechat.hold import Timing
from bot.wechat.passive import Page
from bot.wechat.push import Push
from bot.wechat.view import SELF_TEST, AccountView, Attempt, Kind, Pushes
from bot.wechat.visits import Visits

log = structlog.get_logger()

MAX_BODY_BYTES = 64 * 1024  # the longest text a subscriber can send is 2 KB; three times that in the compatible mode
MAX_ATTEMPTS = 20
TOO_LARGE = "larger than any push; probably not WeChat"
CONTENT_TYPES = {"xml": "application/xml", "json": "application/json"}


@value_type
class Account:
    """`id` is the gh_… of the account, `path` its URL's, `app_id` its wx…, by which Cloud Run may name it."""

    id: str
    path: str
    gate: Gate
    visits: Visits
    app_id: str = ""
    pushes: Pushes = field(default_factory=Pushes)


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
        self._vouch = vouch
        self._clock = clock
        self._random16 = random16
        self._attempts: deque[Attempt] = deque(maxlen=MAX_ATTEMPTS)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(self._account.path, self.verify, allow_head=False),
            web.post(self._account.path, self.push),
        ]

    def posts(self) -> Mapping[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        """What pushes go to, by path; it needs nothing of the application that its route stands in."""
        return {self._account.path: self.push}

    def view(self) -> AccountView:
        account = self._account
        attempts, visits = tuple(self._attempts), account.visits
        return AccountView(account.id, account.path, attempts, visits.counts(), visits.service(), account.pushes.view())

    async def verify(self, request: web.Request) -> web.StreamResponse:
        try:
            echo = self._account.gate.echo(request.query.items(), self._clock())
        except Refused as refused:
            self._note_refusal(request, "verification", refused.reason, str(refused))
            return forbidden()
        self._remember(request, "verification", "accepted")
        log.info("account.verified", account=self._account.id, is_self_test=_is_self_test(request))
        # Whoever knows the token chose these words, so a browser must not take them for a page.
        return web.Response(text=echo, content_type="text/plain", headers={"X-Content-Type-Options": "nosniff"})

    async def push(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request)
        if body is None:
            self._note_refusal(request, "push", "too_large", TOO_LARGE)
            return too_large()
        try:
            admitted = self._account.gate.admit(request.query.items(), body, self._clock())
        except Refused as refused:
            self._note_refusal(request, "push", refused.reason, str(refused))
            return forbidden()
        self._vouch(request.remote or "")

        def seal(reply: bytes) -> bytes:
            return self._account.gate.close(admitted, reply, now=int(self._clock()), random16=self._random16())

        return await answer(request, admitted.push, self._account, clock=self._clock, seal=seal)

    def _note_refusal(self, request: web.Request, kind: Kind, reason: str, advice: str) -> None:
        self._remember(request, kind, str(reason))
        if kind == "push":
            self._account.pushes.count("", str(reason))
        log.warning(
            "push.refused",
            account=self._account.id,
            kind=kind,
            reason=str(reason),
            address=request.remote,
            advice=advice,
        )

    def _remember(self, request: web.Request, kind: Kind, outcome: str) -> None:
        if kind == "push" or not _is_self_test(request):
            self._attempts.append(Attempt(self._clock(), kind, outcome))


def _is_self_test(request: web.Request) -> bool:
    return request.query.get("echostr", "").startswith(SELF_TEST)


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


async def answer(
    request: web.Request,
    push: Push,
    account: Account,
    *,
    clock: Callable[[], float],
    timing: Timing | None = None,
    seal: Callable[[bytes], bytes] = bytes,
) -> web.StreamResponse:
    """Deliver `push`, which is known to be WeChat's, and write what it gets, `seal`ed, in the form it came in."""
    # The operator's name for the account is the one that counts; the reply bears the one that WeChat used.
    visiting = push if push.account == account.id else replace(push, account=account.id)
    page, is_open = None, False
    try:
        page = await account.visits.deliver(visiting, timing)
        if page is None:
            return _hang_up(request)
        now = int(clock())
        reply = _reply(push, page, now=now)
        content_type = "text/plain" if reply == codec.SUCCESS else CONTENT_TYPES[push.form]
        try:
            response = await write(request, seal(reply), content_type, now=now)
            is_open = request.transport is not None and not request.transport.is_closing()
        except ConnectionError:  # WeChat left between the answer and the write
            response = web.Response()
    finally:  # also when WeChat has left meanwhile, which cancels
        if page is not None:
            (account.visits.written if is_open else account.visits.unwritten)(visiting, page)
        account.pushes.count(push.kind, _outcome(page) if is_open else "unanswered")
    return response


class Written(web.StreamResponse):
    """An answer whose bytes are out, so that aiohttp has nothing left to do; the connection stays."""

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        pass


async def write(request: web.Request, body: bytes, content_type: str, *, now: int) -> web.StreamResponse:
    """Raises ConnectionError where WeChat left before."""
    if request.version == HttpVersion11 and request.keep_alive and request.transport is not None:
        # As nearly always. For so few bytes aiohttp's own way takes as long as all that it takes to find the words.
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nDate: {_date(now)}\r\n\r\n"
        request.writer.output_size += len(head) + len(body)  # too late for another answer
        request.transport.write(head.encode() + body)
        return Written()
    response = web.StreamResponse()
    response.content_type, response.content_length = content_type, len(body)
    await response.prepare(request)
    await response.write(body)
    await response.write_eof()
    return response


@lru_cache(maxsize=2)
def _date(now: int) -> str:
    return formatdate(now, usegmt=True)


def _outcome(page: Page | None) -> str:
    return "answered" if page and (page.words or page.media_id) else "success"


def _reply(push: Push, page: Page, *, now: int) -> bytes:
    if page.media_id:
        return codec.image_reply(push, page.media_id, now=now)
    return codec.text_reply(push, page.words, now=now) if page.words else codec.SUCCESS


def _hang_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=503)  # is not sent any more: aiohttp drops it with the connection
