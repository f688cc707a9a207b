"""
The desk: it owns the task of every answer, from the question to the last page that reaches the subscriber.

Rule 1: a question is the desk's as soon as `receive()` returns; no caller's cancellation can lose it, because only the desk's
        own tasks write.
Rule 2: nothing is claimed of a question before the store has it: until then `wait()` raises StoreUnavailable.
Rule 3: a subscriber's questions are asked one after another, in the order of their arrival; one that rests keeps its place.
        Subscribers do not wait for each other, except for one of `concurrency` calls, in turn.
Rule 4: the model is asked only after the store has THINKING, so that the next start knows who was being thought about. A
        question that nothing keeps waiting is THINKING in its first row.
Rule 5: while an exchange has a ticket, the ticket counts. Afterwards the store does, and memory has nothing left of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import partial
from typing import Self

import structlog

from bot import outcome
from bot.changes import Change, changed, newly_changed
from bot.exchange import Event, Exchange, Kind, State, advance
from bot.outcome import LONGEST_REST
from bot.patience import patiently
from bot.report import report
from bot.store import Conversation, ExchangeStore, Glance, StoreUnavailable
from bot.tasks import Tasks
from bot.thinking import Thinker
from bot.tickets import Ticket, Tickets
from bot.value import value_type

SETTLED = (State.ANSWERED, State.COLLECTED, State.FAILED)

Accept = Callable[[Ticket], Awaitable[None]]  # has the store take the question; the ticket has what stands there then
log = structlog.get_logger()


@value_type
class DeskSettings:
    concurrency: int = 0  # model calls at once; 0 = no limit
    grace_seconds: float = 3.0  # for running answers when the desk closes


class _Forgotten(Exception):
    """The subscriber left: there is nothing to write and nobody to answer."""


class Desk:
    """
    `clock` is the wall clock in epoch seconds; `sleep` waits for seconds of the monotonic one; `on_outcome` hears of every
    answer, failure and rest once it is written. Entering takes up what the last process left unfinished; leaving is `close()`.
    """

    def __init__(
        self,
        store: ExchangeStore,
        thinker: Thinker,
        *,
        settings: DeskSettings,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_outcome: Callable[[Exchange], None] = lambda exchange: None,
    ) -> None:
        self._store = store
        self._thinker = thinker
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._on_outcome = on_outcome
        # A semaphore serves in turn, and only the first of each line stands at it: so nobody is served twice before another.
        self._limit = asyncio.Semaphore(settings.concurrency) if settings.concurrency else None
        self._calls: AbstractAsyncContextManager[None] = self._limit or nullcontext()
        self._tickets = Tickets()
        self._tasks = Tasks()
        self._is_closing = False

    async def __aenter__(self) -> Self:
        for exchange in (unfinished := await self._store.unfinished()):
            self._open(exchange)
        if unfinished:
            log.info("questions.resumed", count=len(unfinished))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close(self._settings.grace_seconds)

    def receive(self, exchange: Exchange) -> None:
        """Own the question. A push that was received before leads to the exchange it began then, under either id.

        Call `wait()` without awaiting anything in between: the store does not know the id that a redelivery brought.
        """
        ticket = self._tickets.of_push(exchange)
        if ticket is None:
            self._open(exchange, self._begin)
        else:
            self._tickets.name(ticket, exchange.id)

    async def wait(self, exchange_id: str, seconds: float) -> Exchange | None:
        """The exchange as it stands when it is settled or time is up; None where there is none (any more).

        Raises StoreUnavailable for a question that is not written: nothing may be claimed of it. An answer that cannot be
        written for now is given out all the same.
        """
        ticket = self._tickets.get(exchange_id)
        if ticket is None:
            return self._tickets.delivered.get(exchange_id) or await self._store.get(exchange_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ticket.settled.wait()
        if ticket.is_forgotten:
            return None
        if ticket.refusal is not None:
            raise StoreUnavailable(ticket.refusal.reason)
        return ticket.exchange

    def so_far(self, exchange_id: str) -> str:
        """What the model has said so far of an answer that it is still giving; "" where that must not be seen."""
        ticket = self._tickets.get(exchange_id)
        said = "".join(ticket.heard) if ticket is not None else ""
        return "" if self._thinker.hides(said) else outcome.tidied(said)

    def delivered(
        self, exchange: Exchange, push_id: str, *, page: int, is_last: bool, part: str = ""
    ) -> asyncio.Task[None] | None:
        """
        Page `page` (from 0), or the news of a failure, has reached the subscriber as the reply to `push_id`.

        `part` is what it showed of an answer that was not yet whole. The task that writes this down is the desk's; None where
        the answer's own task does.
        """
        shown = partial(outcome.collected, push_id=push_id, page=page, is_last=is_last, part=part)
        change = partial(shown, now=self._clock(), started_at=exchange.started_at)
        ticket = self._tickets.get(exchange.id)
        if ticket is None:
            known = self._tickets.newest(exchange)
            self._tickets.delivered[exchange.id] = change(known)
            return self._tasks.own(self._collect(known, change))
        ticket.exchange = change(ticket.exchange)  # its answer is not written yet: its task will write both
        return None

    async def sending(self, exchange_id: str) -> Exchange | None:
        """With its next page noted as given to WeChat; None where there is no such page now. Raises StoreUnavailable."""
        if self._tickets.get(exchange_id) is not None:  # its answer is not written yet; `on_outcome` will tell
            return None
        return await newly_changed(self._store, exchange_id, outcome.sent)

    async def unsent(self, exchange_id: str) -> None:
        """That page certainly did not go out. Raises StoreUnavailable."""
        await changed(self._store, exchange_id, outcome.unsent)

    def retry(self, exchange: Exchange) -> None:
        """Ask a failed question again; any other is left as it is."""
        if self._tickets.of_push(exchange) is None:
            self._open(exchange, self._asked_again)

    async def glance(self, account: str, openid: str, push_id: str, *, today: float, lately: float) -> Glance:
        """As the store's; it has every question that the subscriber asked before, also a moment ago."""
        await self._all_decided(account, openid)
        seen = await self._store.glance(account, openid, push_id, today=today, lately=lately)
        known = seen.known and self._tickets.newest(seen.known)
        return Glance(known, self._tickets.uncollected(seen.waiting), seen.subscriber)

    async def mailbox(self, account: str, openid: str) -> Sequence[Exchange]:
        """The same of the store's mailbox alone."""
        await self._all_decided(account, openid)
        return self._tickets.uncollected(await self._store.mailbox(account, openid))

    async def last_collected(self, account: str, openid: str, *, since: float) -> Exchange | None:
        return await self._store.last_collected(account, openid, since=since)

    async def clear_memory(self, account: str, openid: str) -> None:
        await self._store.clear_memory(account, openid, now=self._clock())

    async def forget(self, account: str, openid: str) -> int:
        """How many exchanges there were. Once begun it is carried through, whatever becomes of the caller or the disk."""
        forgetting = self._tasks.own(self._forget(account, openid))
        await asyncio.wait([forgetting])
        return forgetting.result()

    async def close(self, grace_seconds: float) -> None:
        """Let what runs come to its end for `grace_seconds`, then cancel it: it stays unfinished in the store."""
        self._is_closing = True
        for ticket in self._tickets:
            if ticket.is_idle:
                ticket.task.cancel()
        if cancelled := await self._tasks.end(grace_seconds):
            log.warning("answers.cancelled", count=cancelled)

    async def _all_decided(self, account: str, openid: str) -> None:
        for ticket in self._tickets.line(account, openid):
            await ticket.decided.wait()

    def _open(self, exchange: Exchange, accept: Accept | None = None) -> None:
        ticket = self._tickets.open(exchange)
        ticket.task = self._tasks.own(self._run(ticket, accept))
        # A task that is cancelled before its first step never comes to its `finally`.
        ticket.task.add_done_callback(lambda _: self._tickets.close(ticket))

    async def _run(self, ticket: Ticket, accept: Accept | None) -> None:
        try:
            if accept is not None:
                await accept(ticket)
            self._tickets.decide(ticket)
            if ticket.exchange.state is State.THINKING:  # and no task of ours thinks: a process died over it
                log.info("answer.interrupted", deaths=ticket.exchange.deaths + 1)
                await self._save(ticket, advance(ticket.exchange, Event.DIE))
                self._on_outcome(ticket.exchange)
            while ticket.exchange.state is State.QUEUED and not self._is_closing:
                ticket.is_idle = True
                await ticket.turn.wait()
                await self._rest(ticket.exchange)
                async with self._calls:
                    ticket.is_idle = False
                    await self._answer(ticket)
        except _Forgotten:
            ticket.is_forgotten = True
            if (left := ticket.exchange).kind is Kind.DRAWING:  # forgotten by another program, while it was being drawn
                await patiently(lambda: self._thinker.forget(left.account, left.openid), self._sleep)
        except StoreUnavailable as refusal:  # only `accept` lets it through
            ticket.refusal = refusal
            log.warning("question.refused", reason=refusal.reason)
        finally:
            self._tickets.close(ticket)

    async def _begin(self, ticket: Ticket) -> None:
        if self._is_closing or not ticket.turn.is_set() or (self._limit and self._limit.locked()):
            ticket.exchange = await self._store.begin(ticket.exchange)
            return
        async with self._calls:
            asked = advance(ticket.exchange, Event.START, started_at=self._clock())
            begun = ticket.exchange = await self._store.begin(asked)
            if begun == asked:  # else the push was known before
                self._tickets.decide(ticket)
                await self._think(ticket, await self._conversation(asked))

    async def _rest(self, exchange: Exchange) -> None:
        """Until `not_before`; no longer than a rest may be, should the wall clock have jumped meanwhile."""
        seconds = min(exchange.not_before - self._clock(), LONGEST_REST)
        if seconds > 0:
            await self._sleep(seconds)

    async def _answer(self, ticket: Ticket) -> None:
        asked = ticket.exchange
        conversation = await self._conversation(asked)
        await self._save(ticket, advance(asked, Event.START, started_at=self._clock(), not_before=0.0))
        await self._think(ticket, conversation)

    async def _conversation(self, asked: Exchange) -> Conversation:
        limit = self._thinker.settings.memory.exchanges
        return await patiently(lambda: self._store.conversation(asked.account, asked.openid, limit=limit), self._sleep)

    async def _think(self, ticket: Ticket, told: Conversation) -> None:
        ticket.heard.clear()
        change = await self._thinker.think(ticket.exchange, told.recent, told.persona, ticket.heard.append)
        thought_over = change(ticket.exchange)
        report(thought_over, now=self._clock())
        await self._save(ticket, thought_over)
        self._on_outcome(ticket.exchange)

    async def _forget(self, account: str, openid: str) -> int:
        line = self._tickets.line(account, openid)
        for ticket in line:
            ticket.is_forgotten = True
            ticket.task.cancel()
        await asyncio.gather(*(ticket.task for ticket in line), return_exceptions=True)
        await patiently(lambda: self._thinker.forget(account, openid), self._sleep)
        return await patiently(lambda: self._store.forget(account, openid), self._sleep)

    async def _save(self, ticket: Ticket, exchange: Exchange) -> None:
        """Write it, and what `delivered()` makes of it meanwhile, however long the store refuses. Raises _Forgotten."""
        ticket.exchange = exchange
        while await patiently(lambda: self._write(ticket), self._sleep) is not ticket.exchange:
            pass

    async def _write(self, ticket: Ticket) -> Exchange:
        exchange = ticket.exchange
        try:
            if not await self._store.save(exchange):
                raise _Forgotten
        finally:
            if exchange.state in SETTLED:
                ticket.settled.set()
        return exchange

    async def _asked_again(self, ticket: Ticket) -> None:
        again = await changed(self._store, ticket.exchange.id, lambda before: advance(before, Event.RETRY))
        if again is None:
            raise _Forgotten
        ticket.exchange = again

    async def _collect(self, known: Exchange, change: Change) -> None:
        try:
            await patiently(lambda: changed(self._store, known.id, change, known=known), self._sleep)
        finally:
            self._tickets.delivered.pop(known.id, None)
