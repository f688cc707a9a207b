"""
Brings answers to subscribers by customer-service message, where the account may send them.

Rule 1: a page is sent once: that it is being sent is written before, and what nobody knows to have arrived is not sent again.
        It waits in the mailbox, like everything that could not be sent.
Rule 2: whether an account may send is found out by the typing state of a question, before anything is promised to anybody.
Rule 3: an exchange is brought only while no delivery of WeChat's is open that would be its reply.
Rule 4: one subscriber's answers are brought one after the other.
Source: developers.weixin.qq.com/doc/service/api/customer/message/api_sendcustommessage (five messages for each of the
subscriber's).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol
from weakref import WeakValueDictionary

import structlog

from bot.desk import SETTLED, Desk
from bot.exchange import Exchange
from bot.picture import Picture
from bot.store import ExchangeStore, StoreUnavailable
from bot.tasks import Tasks
from bot.wechat import passive
from bot.wechat.api_errors import ApiError, ApiKind, ApiOutcomeUnknown, ApiRefused, ApiUnreachable, advice
from bot.wechat.passive import Page, Style
from bot.wechat.view import ServiceView, Standing

log = structlog.get_logger()

SERVICE = "customer service"  # what stands in `Exchange.collected_by`; no push has such an id
MOST_PAGES = 5  # for one message of the subscriber's
AT_ONCE = 20  # sendings
PAUSES = (5.0, 30.0, 120.0)  # seconds before a page that certainly was not sent is tried again
REFUSED_SECONDS = 86_400.0  # until a refused account is tried again: it may have been verified meanwhile
RESUMED_SECONDS = 600.0  # what was answered so long before the start is still brought
LEFT_SECONDS = 6.0  # in which WeChat delivers again what it did not wait for
GRACE_SECONDS = 2.0
GREETING_SECONDS = 30.0  # between two tries to find out whether an account may send
WORTHWHILE_SECONDS = 10.0  # a rest that is shorter is not worth a message
RESUMED_AT_ONCE = 500  # rows


class Post(Protocol):
    """WeChat's server API, of one account. Every method raises ApiError."""

    async def send_text(self, openid: str, words: str) -> None: ...

    async def send_image(self, openid: str, media_id: str) -> None: ...

    async def typing(self, openid: str) -> None: ...

    async def upload_image(self, data: bytes, kind: str) -> str: ...


class Courier:
    """One account's. `holds` says whether a delivery is open for the exchange of this id; `clock` is the wall clock."""

    def __init__(
        self,
        account: str,
        post: Post,
        desk: Desk,
        store: ExchangeStore,
        style: Style,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._account = account
        self._post = post
        self._desk = desk
        self._store = store
        self._style = style
        self._clock = clock
        self._sleep = sleep
        self.holds: Callable[[str], bool] = lambda exchange_id: False  # the visits', as soon as there are any
        self._standing = {"send": Standing.UNKNOWN, "upload": Standing.UNKNOWN}
        self._refused_at = {"send": 0.0, "upload": 0.0}
        self._tasks = Tasks()
        self._bringing: dict[str, asyncio.Task[None]] = {}  # by exchange id
        self._sending: dict[str, asyncio.Event] = {}  # the same, of those that pages are being sent of
        self._told_to_wait: set[str] = set()  # by exchange id, until it settles
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by openid
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._greeted_at = float("-inf")
        self._is_closed = False
        self._brought = self._kept = 0
        self._trouble = ""

    def standing(self, right: str = "send") -> Standing:
        if self._standing[right] is Standing.REFUSED and self._clock() - self._refused_at[right] > REFUSED_SECONDS:
            self._standing[right] = Standing.UNKNOWN
        return self._standing[right]

    def may_send(self) -> bool:
        return self.standing() is Standing.ALLOWED

    def view(self) -> ServiceView:
        return ServiceView(self.standing(), self._brought, self._kept, self._trouble)

    def greet(self, openid: str) -> None:
        """A question came: find out whether its answer may be sent, where that is not known."""
        now = self._clock()
        if self.standing() is Standing.UNKNOWN and now - self._greeted_at >= GREETING_SECONDS:
            self._greeted_at = now
            self._tasks.own(self._show_typing(openid))

    def promise(self, exchange_id: str, openid: str) -> None:
        """The last delivery ends without an answer; the subscriber sees that one is being written."""
        self._tasks.own(self._show_typing(openid))
        self.take(exchange_id)

    def heard_of(self, exchange: Exchange) -> None:
        """It was answered, has failed, or rests."""
        if exchange.state in SETTLED:
            self._told_to_wait.discard(exchange.id)
            self.take(exchange.id)
        elif exchange.not_before - self._clock() > WORTHWHILE_SECONDS:
            self._rests(exchange)

    def _rests(self, exchange: Exchange) -> None:
        """Whoever was promised an answer hears once when to expect it."""
        if self.may_send() and not self.holds(exchange.id) and exchange.id not in self._told_to_wait:
            self._told_to_wait.add(exchange.id)
            words = passive.waits(exchange, self._style, now=self._clock())
            self._tasks.own(self.tell(exchange.openid, words))

    def take(self, exchange_id: str, *, after_seconds: float = 0.0) -> None:
        """Bring the exchange, now or when it has settled, unless somebody collects it."""
        if self._is_closed or self.standing() is Standing.REFUSED:
            return
        if (running := self._bringing.get(exchange_id)) is not None:
            # It may have looked before what we were told of happened; so it looks again when it is done.
            running.add_done_callback(lambda _: self.take(exchange_id))
            return
        task = self._tasks.own(self._bring(exchange_id, after_seconds))
        self._bringing[exchange_id] = task
        task.add_done_callback(lambda _: self._bringing.pop(exchange_id, None))

    async def brought(self, exchange_id: str) -> None:
        """Until nothing of the exchange is on its way any more."""
        if (is_over := self._sending.get(exchange_id)) is not None:
            await is_over.wait()

    async def resume(self) -> None:
        """What was answered just before the start, and whose sending had not begun. Raises StoreUnavailable."""
        since = self._clock() - RESUMED_SECONDS
        offset = 0
        while rows := await self._store.pending(RESUMED_AT_ONCE, offset):
            offset += len(rows)
            for row in rows:
                is_ours = row.account == self._account and row.state in SETTLED
                if is_ours and max(row.answered_at, row.started_at) >= since:  # a failure has no answer
                    self.take(row.id)

    async def upload(self, exchange: Exchange, picture: Picture) -> str:
        """The picture's media id, "" where WeChat does not take it."""
        if self.standing("upload") is Standing.REFUSED:
            return ""
        try:
            media_id = await self._post.upload_image(picture.data, picture.kind)
        except ApiError as error:
            self._note(error, "upload")
            return ""
        self._standing["upload"] = Standing.ALLOWED
        return media_id

    async def tell(self, openid: str, words: str) -> bool:
        """Whether `words`, which are nobody's answer, were sent."""
        try:
            await self._post.send_text(openid, words)
        except ApiError as error:
            self._note(error, "send")
            return False
        return True

    async def close(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """What is on its way has a moment; what has not begun waits in the mailbox for the next start."""
        self._is_closed = True
        await self._tasks.end(grace_seconds)

    async def _show_typing(self, openid: str) -> None:
        try:
            await self._post.typing(openid)
        except ApiRefused as error:
            if error.kind in SAYS_NOTHING_OF_RIGHTS:
                self._note(error, "send")
                return
        except ApiError as error:
            self._note(error, "send")
            return
        self._allow()

    async def _bring(self, exchange_id: str, after_seconds: float) -> None:
        if after_seconds:
            await self._sleep(after_seconds)
        try:
            exchange = await self._desk.wait(exchange_id, 0)
            if exchange is None or exchange.state not in SETTLED or exchange.sent_pages > exchange.next_page:
                return  # it is taken again when it has settled; or nobody knows what became of its last sending
            if self.standing() is Standing.UNKNOWN:
                await self._show_typing(exchange.openid)
            async with self._turns.setdefault(exchange.openid, asyncio.Lock()), self._at_once:
                for _ in range(MOST_PAGES):
                    if not await self._send_page(exchange_id):
                        break
        except ApiError as error:
            self._kept += 1
            self._note(error, "send")
        except StoreUnavailable as error:
            log.warning("service.postponed", account=self._account, reason=error.reason)

    async def _send_page(self, exchange_id: str) -> bool:
        """The exchange's next page; whether there was one. Raises ApiError. What certainly was not sent is tried again."""
        for pause in (*PAUSES, None):
            exchange = await self._desk.wait(exchange_id, 0)
            is_due = exchange is not None and exchange.state in SETTLED and exchange.is_uncollected
            if (
                exchange is None
                or not is_due
                or exchange.next_page >= MOST_PAGES
                or not self.may_send()
                or self.holds(exchange_id)
                or self._is_closed
            ):
                return False
            if (noted := await self._desk.sending(exchange_id)) is None:
                return False
            try:
                await self._send(noted)
            except ApiError as error:
                if isinstance(error, ApiOutcomeUnknown):
                    raise
                await self._desk.unsent(exchange_id)
                is_busy = isinstance(error, ApiUnreachable) or getattr(error, "kind", None) is ApiKind.BUSY
                if not is_busy or pause is None:
                    raise
                await self._sleep(pause)
            else:
                return True
        return False

    async def _send(self, exchange: Exchange) -> None:
        page = passive.pushed(exchange, self._style, now=self._clock())
        is_over = self._sending[exchange.id] = asyncio.Event()
        try:
            await self._post_page(exchange, page)
            self._brought += 1
            written = self._desk.delivered(exchange, SERVICE, page=page.index, is_last=page.is_last)
            if written is not None:  # the next page is counted from this one
                await asyncio.wait([written])
        finally:
            del self._sending[exchange.id]
            is_over.set()

    async def _post_page(self, exchange: Exchange, page: Page) -> None:
        if page.media_id:
            try:
                return await self._post.send_image(exchange.openid, page.media_id)
            except ApiRefused as error:
                if error.kind is not ApiKind.CONTENT:
                    raise
            page = passive.pushed(
                replace(exchange, media_id=""), self._style, now=self._clock()
            )  # WeChat has it no more
        return await self._post.send_text(exchange.openid, page.words)

    def _allow(self) -> None:
        self._standing["send"] = Standing.ALLOWED
        self._trouble = ""

    def _note(self, error: ApiError, right: str) -> None:
        if isinstance(error, ApiRefused) and error.kind is ApiKind.NOT_ALLOWED:
            if self._standing[right] is not Standing.REFUSED:
                log.info("service.not_allowed", account=self._account, right=right)
            self._standing[right], self._refused_at[right] = Standing.REFUSED, self._clock()
        elif not isinstance(error, ApiRefused) or error.kind in TROUBLES:
            self._trouble = advice(error)
            log.warning("service.failed", account=self._account, right=right, advice=self._trouble)


# What a refused typing state does not say: whether messages may be sent.
SAYS_NOTHING_OF_RIGHTS = frozenset({ApiKind.NOT_ALLOWED, ApiKind.OPERATOR, ApiKind.TOKEN, ApiKind.BUSY})
TROUBLES = frozenset({ApiKind.OPERATOR, ApiKind.TOKEN, ApiKind.BUSY, ApiKind.OTHER})
