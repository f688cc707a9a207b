"""
The pushes that are being answered: what WeChat delivers up to three times is served once.

Rule 1: a visit is one push. It owns the task that serves it, which starts before the first await of the first delivery and
        outlives every delivery; WeChat hanging up ends a delivery, never a visit.
Rule 2: the pushes of one subscriber are placed one after the other, so that each sees what the one before it asked.
Rule 3: nothing is said about a question before the store has it. Where it cannot be kept, the words are `not_kept`.
Rule 4: a push gets the same words whenever it comes; only "still thinking" gives way to the answer itself.
Rule 5: where the courier may bring the answer, a delivery that can be held no longer ends with `success`, and he does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeVar
from weakref import WeakValueDictionary

import structlog

from bot.desk import SETTLED, Desk
from bot.exchange import Exchange
from bot.store import StoreUnavailable
from bot.wechat import passive
from bot.wechat.counter import Counter
from bot.wechat.courier import LEFT_SECONDS, SERVICE, Courier
from bot.wechat.hold import DELIVERIES, Budget, Counts, Timing
from bot.wechat.intent import Box, Rules, at_once, intent, meant, says_more
from bot.wechat.intents import Ask, Collect, Forget, Intent, Nothing, Retry
from bot.wechat.passive import Page, Style
from bot.wechat.push import Push
from bot.wechat.view import ServiceView
from bot.wechat.visit import MAX_VISITS, PROMISE, SUCCESS, Visit, key_of

T = TypeVar("T")
log = structlog.get_logger()


class Visits:
    """Those of one account. Close them before the desk."""

    def __init__(
        self,
        desk: Desk,
        style: Style,
        rules: Rules,
        counter: Counter,
        *,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        timing: Timing | None = None,
        courier: Courier | None = None,
    ) -> None:
        self._desk = desk
        self._style = style
        self._rules = rules
        self._counter = counter
        self._clock = clock
        self._new_id = new_id
        self._timing = timing or Timing()
        self._courier = courier
        if courier is not None:
            courier.holds = self.holds
        self._budget = Budget(self._timing.hold_budget, self._timing.budget_seconds)
        self._visits: dict[tuple[str, str, str], Visit] = {}  # the longest unseen first
        self._tasks: set[asyncio.Task[Page | None]] = set()
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._deliveries = self._answered = self._unanswered = 0

    async def deliver(self, push: Push, timing: Timing | None = None) -> Page | None:
        """What to write; SUCCESS when there are no words, None to close the connection without an answer.

        After the write, and only if the connection is still open then, call `written()`.
        """
        visit = self._visit(meant(push, self._rules))
        page = None
        visit.open += 1
        try:
            page = await self._held(visit, visit.deliveries, timing or self._timing)
        finally:  # also when WeChat has left, which cancels
            visit.open -= 1
            self._unanswered += page is None
            if page is None and self._courier is not None and visit.exchange_id and not visit.task.cancelled():
                self._courier.take(visit.exchange_id, after_seconds=LEFT_SECONDS)  # unless WeChat comes again
        if page is PROMISE and self._courier is not None:
            self._courier.promise(visit.exchange_id, push.openid)
        return page

    def holds(self, exchange_id: str) -> bool:
        """Whether a delivery is open whose reply the exchange would be."""
        return any(visit.open and visit.exchange_id == exchange_id for visit in self._visits.values())

    def unwritten(self, push: Push, page: Page) -> None:
        """WeChat had left before `page` was written; it delivers the push again, or the courier brings what it said."""
        if self._courier is not None and page.claims is not None:
            self._courier.take(page.claims.id, after_seconds=LEFT_SECONDS)

    def written(self, push: Push, page: Page) -> None:
        """`page` went into a connection that was still open after it: the subscriber has it."""
        self._answered += 1
        visit = self._visits.get(key_of(push))
        if page.claims is None or (visit is not None and visit.has_claimed):
            return
        if visit is not None:
            visit.has_claimed = True
        self._desk.delivered(page.claims, push.push_id, page=page.index, is_last=page.is_last, part=page.part)

    def counts(self) -> Counts:
        left = self._budget.left(_now())
        return Counts(self._deliveries, self._answered, self._unanswered, left, self._timing.hold_budget)

    def service(self) -> ServiceView | None:
        return None if self._courier is None else self._courier.view()

    async def close(self) -> None:
        for visit in list(self._visits.values()):
            self._drop(visit)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _visit(self, push: Push) -> Visit:
        """The push's visit, begun where this is its first delivery. No await: from here on somebody owns the push."""
        self._deliveries += 1
        visit = self._visits.pop(key_of(push), None)
        if visit is None:
            visit = Visit(push)
            visit.task = asyncio.create_task(self._serve(visit), name="visit")
            self._tasks.add(visit.task)
            visit.task.add_done_callback(self._tasks.discard)
        visit.deliveries += 1
        visit.seen_at = _now()
        self._visits[key_of(push)] = visit
        for oldest in list(islice(self._visits.values(), 2)):  # more go than come
            if oldest.seen_at + self._timing.keep_seconds < visit.seen_at or len(self._visits) > MAX_VISITS:
                self._drop(oldest)
        return visit

    async def _held(self, visit: Visit, delivery: int, timing: Timing) -> Page | None:
        try:
            if await visit.ends(timing.hold_seconds):
                return visit.outcome()
            may_leave = (
                timing.hold == "three" and delivery < DELIVERIES and not visit.was_known and not self._may_send()
            )
            if not may_leave or await self._rests(visit):
                return await self._meanwhile(visit)
            if await visit.ends(timing.patience_seconds - timing.hold_seconds):
                return visit.outcome()
        except asyncio.CancelledError:  # WeChat left earlier than it says: the way back is long
            self._budget.spend(_now())
            raise
        if not self._budget.left(_now()):
            return await self._meanwhile(visit)
        self._budget.spend(_now())
        return visit.outcome() if await visit.ends(timing.longest_seconds - timing.patience_seconds) else None

    def _drop(self, visit: Visit) -> None:
        self._visits.pop(visit.key, None)
        visit.task.cancel()

    async def _serve(self, visit: Visit) -> Page | None:
        push, rules = visit.push, self._rules
        wanted = at_once(push, rules)
        try:
            if wanted is None:
                async with self._turns.setdefault((push.account, push.openid), asyncio.Lock()):
                    box = await self._box(push)
                    visit.was_known = box.known is not None
                    wanted = intent(push, box, rules)
                    visit.exchange_id = self._begin(wanted, push)
            match wanted:
                case Nothing():
                    return SUCCESS
                case Forget():
                    return await self._forget(visit)
                case Ask() | Retry() | Collect():
                    if self._courier is not None:
                        self._courier.greet(push.openid)
                    return await self._answer(visit)
                case _ if await self._is_blocked(push):
                    return SUCCESS
                case _:
                    return Page(await self._counter.words(wanted, push))
        except StoreUnavailable as error:
            log.error("push.not_kept", account=push.account, kind=push.kind, reason=error.reason)
            return Page(rules.texts.say("not_kept"))

    def _begin(self, wanted: Intent, push: Push) -> str:
        """The id of the exchange whose words are wanted, its question in the desk's hands; "" where it is not about one."""
        match wanted:
            case Ask(question, kind, photo):
                who = (push.account, push.openid, push.push_id)
                asked = Exchange(self._new_id(), *who, question, asked_at=self._clock(), kind=kind, photo=photo)
                self._desk.receive(asked)
                return asked.id
            case Retry(failed):
                self._desk.retry(failed)
                return failed.id
            case Collect(exchange):
                return exchange.id
            case _:
                return ""

    async def _box(self, push: Push) -> Box:
        whose = (push.account, push.openid)
        today, lately = self._counter.moments()
        seen = await self._desk.glance(*whose, push.push_id, today=today, lately=lately)
        tapped = await self._desk.wait(push.tapped_id, 0) if push.tapped_id else None
        if tapped is not None and (tapped.account, tapped.openid) != whose:
            tapped = None  # somebody else's id, out of a forwarded message
        last = None
        if not seen.waiting and says_more(push, self._rules):
            last = await self._desk.last_collected(*whose, since=self._clock() - self._timing.repeat_seconds)
        return Box(seen.known, tapped, seen.waiting, last, seen.subscriber)

    async def _answer(self, visit: Visit) -> Page | None:
        while (exchange := await self._desk.wait(visit.exchange_id, self._timing.keep_seconds)) is not None:
            if self._courier is not None:  # what is on its way must not come twice
                await self._courier.brought(exchange.id)
                before, exchange = exchange, await self._desk.wait(exchange.id, 0) or exchange
                if exchange.collected_by == SERVICE and exchange.next_page != before.next_page:
                    return SUCCESS  # the subscriber has it
            if (page := await self._words(visit, exchange, is_up=False)) is not None:
                return page
        return SUCCESS  # it is gone, and so is whoever asked

    async def _rests(self, visit: Visit) -> bool:
        """Whether the question waits for a key that no delivery can live to see."""
        with suppress(StoreUnavailable, TimeoutError):
            exchange = await self._soon(self._desk.wait(visit.exchange_id, 0)) if visit.exchange_id else None
            return exchange is not None and self._is_far(exchange)
        return False

    async def _meanwhile(self, visit: Visit) -> Page | None:
        """The words for a delivery that can be held no longer."""
        if visit.push.kind == "event":  # nobody reads a reply to those that take time
            return SUCCESS
        if visit.exchange_id:
            with suppress(StoreUnavailable, TimeoutError):
                exchange = await self._soon(self._desk.wait(visit.exchange_id, 0))
                if exchange is None:  # forgotten, or never kept: the visit's own task is about to say which
                    is_said = await visit.ends(self._timing.lookup_seconds)
                    return visit.outcome() if is_said else Page(self._style.texts.say("not_kept"))
                if self._may_send() and not self._is_far(exchange) and exchange.state not in SETTLED:
                    return PROMISE
                return await self._words(visit, exchange, is_up=True)
        return Page(self._style.texts.say("not_kept"))

    async def _is_blocked(self, push: Push) -> bool:
        """As far as the store can tell: what needs no store is said without one."""
        with suppress(StoreUnavailable, TimeoutError):
            return (await self._soon(self._counter.subscriber(push.account, push.openid))).is_blocked
        return False

    def _may_send(self) -> bool:
        return self._courier is not None and self._courier.may_send()

    def _is_far(self, exchange: Exchange) -> bool:
        """Whether it waits for a key that no delivery can live to see: then the subscriber hears when it is back."""
        return exchange.not_before - self._clock() > self._timing.worthwhile_seconds

    async def _words(self, visit: Visit, exchange: Exchange, *, is_up: bool) -> Page | None:
        push = visit.push
        waiting: Sequence[Exchange] = ()
        with suppress(StoreUnavailable, TimeoutError):  # the answer is worth more than the line about others
            waiting = await self._soon(self._desk.mailbox(push.account, push.openid))
        return passive.words(
            exchange,
            self._style,
            push_id=push.push_id,
            waiting=waiting,
            is_up=is_up,
            now=self._clock(),
            so_far=self._desk.so_far(exchange.id) if is_up else "",
        )

    async def _soon(self, lookup: Awaitable[T]) -> T:
        async with asyncio.timeout(self._timing.lookup_seconds):
            return await lookup

    async def _forget(self, visit: Visit) -> Page:
        push = visit.push
        for other in list(self._visits.values()):
            if other is not visit and (other.push.account, other.push.openid) == (push.account, push.openid):
                self._drop(other)
        await self._desk.forget(push.account, push.openid)
        return SUCCESS


def _now() -> float:
    return asyncio.get_running_loop().time()
