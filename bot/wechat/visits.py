"""
The pushes that are being answered: what WeChat delivers up to three times is served once.

Rule 1: a visit is one push. It owns the task that serves it, which starts before the first await of the first delivery and
        outlives every delivery; WeChat hanging up ends a delivery, never a visit.
Rule 2: the pushes of one subscriber are placed one after the other, so that each sees what the one before it asked.
Rule 3: nothing is said about a question before the store has it. Where it cannot be kept, the words are `not_kept`.
Rule 4: a push gets the same words whenever it comes; only "still thinking" gives way to the answer itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar
from weakref import WeakValueDictionary

import structlog

from bot.desk import Desk
from bot.exchange import Exchange
from bot.store import StoreUnavailable
from bot.wechat import passive
from bot.wechat.hold import DELIVERIES, Budget, Counts, Timing
from bot.wechat.passive import Ask, Box, Clear, Collect, Forget, Intent, Nothing, Page, Retry, Say, Style
from bot.wechat.push import Push

T = TypeVar("T")
log = structlog.get_logger()

MAX_VISITS = 10_000  # a visit is about 2 KB; so many in a minute are more than an account has

SUCCESS = Page("")  # no words for the subscriber


@dataclass(slots=True, eq=False)
class Visit:
    push: Push
    task: asyncio.Task[Page | None] = field(init=False)
    deliveries: int = 0
    seen_at: float = 0.0  # monotonic
    was_known: bool = False  # before a restart: nobody knows how many deliveries it had, so each is taken for the last
    exchange_id: str = ""  # what it waits for, as soon as that is known
    has_claimed: bool = False

    def __repr__(self) -> str:
        return f"<Visit {self.push!r} {self.deliveries}>"


class Visits:
    """Those of one account. Close them before the desk."""

    def __init__(
        self,
        desk: Desk,
        style: Style,
        *,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        timing: Timing | None = None,
        queued_questions: int = 3,
    ) -> None:
        self._desk = desk
        self._style = style
        self._clock = clock
        self._new_id = new_id
        self._timing = timing or Timing()
        self._queued_questions = queued_questions
        self._budget = Budget(self._timing.hold_budget, self._timing.budget_seconds)
        self._visits: dict[tuple[str, str, str], Visit] = {}  # the longest unseen first
        self._tasks: set[asyncio.Task[Page | None]] = set()
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._deliveries = self._answered = self._unanswered = 0

    async def deliver(self, push: Push, timing: Timing | None = None) -> Page | None:
        """What to write; SUCCESS when there are no words, None to close the connection without an answer.

        After the write, and only if the connection is still open then, call `written()`.
        """
        visit = self._visit(push)
        page = None
        try:
            page = await self._held(visit, visit.deliveries, timing or self._timing)
        finally:  # also when WeChat has left, which cancels
            self._unanswered += page is None
        return page

    def written(self, push: Push, page: Page) -> None:
        """`page` went into a connection that was still open after it: the subscriber has it."""
        self._answered += 1
        visit = self._visits.get(_key(push))
        if page.claims is None or (visit is not None and visit.has_claimed):
            return
        if visit is not None:
            visit.has_claimed = True
        self._desk.delivered(page.claims, push.push_id, page=page.index, is_last=page.is_last)

    def counts(self) -> Counts:
        left = self._budget.left(_now())
        return Counts(self._deliveries, self._answered, self._unanswered, left, self._timing.hold_budget)

    async def close(self) -> None:
        for visit in list(self._visits.values()):
            self._drop(visit)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _visit(self, push: Push) -> Visit:
        """The push's visit, begun where this is its first delivery. No await: from here on somebody owns the push."""
        self._deliveries += 1
        visit = self._visits.pop(_key(push), None)
        if visit is None:
            visit = Visit(push)
            visit.task = asyncio.create_task(self._serve(visit), name="visit")
            self._tasks.add(visit.task)
            visit.task.add_done_callback(self._tasks.discard)
        visit.deliveries += 1
        visit.seen_at = _now()
        self._visits[_key(push)] = visit
        for oldest in list(islice(self._visits.values(), 2)):  # more go than come
            if oldest.seen_at + self._timing.keep_seconds < visit.seen_at or len(self._visits) > MAX_VISITS:
                self._drop(oldest)
        return visit

    async def _held(self, visit: Visit, delivery: int, timing: Timing) -> Page | None:
        try:
            if await _ends(visit, timing.hold_seconds):
                return _outcome(visit)
            may_leave = timing.hold == "three" and delivery < DELIVERIES and not visit.was_known
            if not may_leave or await self._rests(visit):
                return await self._meanwhile(visit)
            if await _ends(visit, timing.patience_seconds - timing.hold_seconds):
                return _outcome(visit)
        except asyncio.CancelledError:  # WeChat left earlier than it says: the way back is long
            self._budget.spend(_now())
            raise
        if not self._budget.left(_now()):
            return await self._meanwhile(visit)
        self._budget.spend(_now())
        return _outcome(visit) if await _ends(visit, timing.longest_seconds - timing.patience_seconds) else None

    def _drop(self, visit: Visit) -> None:
        self._visits.pop(_key(visit.push), None)
        visit.task.cancel()

    async def _serve(self, visit: Visit) -> Page | None:
        push, texts = visit.push, self._style.texts
        wanted = passive.at_once(push, texts)
        try:
            if wanted is None:
                async with self._turns.setdefault((push.account, push.openid), asyncio.Lock()):
                    box = await self._box(push)
                    visit.was_known = box.known is not None
                    wanted = passive.intent(push, box, texts, queued_questions=self._queued_questions)
                    visit.exchange_id = self._begin(wanted, push)
            match wanted:
                case Say(name, facts):
                    return Page(texts.say(name, **facts))
                case Nothing():
                    return SUCCESS
                case Clear():
                    await self._desk.clear_memory(push.account, push.openid)
                    return Page(texts.say("cleared"))
                case Forget():
                    return await self._forget(visit)
                case Ask() | Retry() | Collect():
                    return await self._answer(visit)
        except StoreUnavailable as error:
            log.error("push.not_kept", account=push.account, kind=push.kind, reason=error.reason)
            return Page(texts.say("not_kept"))

    def _begin(self, wanted: Intent, push: Push) -> str:
        """The id of the exchange whose words are wanted, its question in the desk's hands; "" where it is not about one."""
        match wanted:
            case Ask(question):
                asked = Exchange(
                    self._new_id(), push.account, push.openid, push.push_id, question, asked_at=self._clock()
                )
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
        tapped = await self._desk.wait(push.tapped_id, 0) if push.tapped_id else None
        if tapped is not None and (tapped.account, tapped.openid) != whose:
            tapped = None  # somebody else's id, out of a forwarded message
        waiting = await self._desk.mailbox(*whose)
        last = None
        if not waiting and passive.says_more(push, self._style.texts):
            last = await self._desk.last_collected(*whose, since=self._clock() - self._timing.repeat_seconds)
        return Box(await self._desk.find(*whose, push.push_id), tapped, waiting, last)

    async def _answer(self, visit: Visit) -> Page | None:
        while (exchange := await self._desk.wait(visit.exchange_id, self._timing.keep_seconds)) is not None:
            if (page := await self._words(visit, exchange, is_up=False)) is not None:
                return page
        return SUCCESS  # it is gone, and so is whoever asked

    async def _rests(self, visit: Visit) -> bool:
        """Whether the question waits for a key that no delivery can live to see."""
        with suppress(StoreUnavailable, TimeoutError):
            exchange = await self._soon(self._desk.wait(visit.exchange_id, 0)) if visit.exchange_id else None
            return exchange is not None and exchange.not_before - self._clock() > self._timing.worthwhile_seconds
        return False

    async def _meanwhile(self, visit: Visit) -> Page | None:
        """The words for a delivery that can be held no longer."""
        if visit.push.kind == "event":  # nobody reads a reply to those that take time
            return SUCCESS
        if visit.exchange_id:
            with suppress(StoreUnavailable, TimeoutError):
                exchange = await self._soon(self._desk.wait(visit.exchange_id, 0))
                return SUCCESS if exchange is None else await self._words(visit, exchange, is_up=True)
        return Page(self._style.texts.say("not_kept"))

    async def _words(self, visit: Visit, exchange: Exchange, *, is_up: bool) -> Page | None:
        push = visit.push
        waiting: Sequence[Exchange] = ()
        with suppress(StoreUnavailable, TimeoutError):  # the answer is worth more than the line about others
            waiting = await self._soon(self._desk.mailbox(push.account, push.openid))
        return passive.words(
            exchange, self._style, push_id=push.push_id, waiting=waiting, is_up=is_up, now=self._clock()
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


async def _ends(visit: Visit, seconds: float) -> bool:
    """Whether the visit's words are there within `seconds`; whoever waits here can leave without ending it."""
    done, _ = await asyncio.wait([visit.task], timeout=seconds)
    return bool(done)


def _outcome(visit: Visit) -> Page | None:
    return None if visit.task.cancelled() else visit.task.result()


def _key(push: Push) -> tuple[str, str, str]:
    return (push.account, push.openid, push.push_id)


def _now() -> float:
    return asyncio.get_running_loop().time()
