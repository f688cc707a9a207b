"""A bot without a network: the real desk over the store in memory, and a model whose answers the test gives."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from itertools import count

import pytest

from bot.ask import Message, Voice
from bot.desk import Desk, DeskSettings
from bot.memory_store import MemoryStore
from bot.texts import Texts
from bot.thinking import Thinker
from bot.wechat.counter import Counter
from bot.wechat.courier import Courier
from bot.wechat.hold import Timing
from bot.wechat.intent import Rules
from bot.wechat.passive import Style
from bot.wechat.push import Push
from bot.wechat.visits import Visits

LONG = 20.0  # seconds; for what must happen within it


class Model:
    """Answers a question when the test says so, with words or with an exception."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.prompts: list[str] = []
        self._answers: defaultdict[str, asyncio.Future[str]] = defaultdict(asyncio.Future)
        self.begins: dict[str, str] = {}  # question -> what of its answer is there at once

    async def __call__(self, messages: Sequence[Message], *, model: str) -> AsyncIterator[str]:
        question = messages[-1].content
        self.asked.append(question)
        self.prompts += [message.content for message in messages if message.role == "system"]
        answer = self._answers[question]
        try:
            if question in self.begins:
                yield self.begins[question]
            yield await asyncio.shield(answer)
        finally:
            if answer.done():
                del self._answers[question]  # asked again, it thinks again

    def answers(self, question: str, answer: str | Exception) -> None:
        if isinstance(answer, Exception):
            self._answers[question].set_exception(answer)
        else:
            self._answers[question].set_result(answer)


class Bot:
    """One account's visits over a desk; `start()` again on the same store is a restart."""

    account = "gh_1"

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.model = Model()
        self.now = 1_700_000_000.0
        self.rules: dict[str, object] = {}
        self.texts = Texts("zh")
        self.post = None  # WeChat's server API, for an account with customer service
        self.sleeps = False  # whether the courier's pauses pass at once
        self._ids = count(1)
        self._push_ids = count(1)
        self._open = AsyncExitStack()

    def clock(self) -> float:
        return self.now

    async def start(self, **timing: object) -> Visits:
        """Deliveries are held for LONG, or as the test says."""
        await self.stop()
        held = {"hold_seconds": LONG, "patience_seconds": LONG, "longest_seconds": LONG, "lookup_seconds": LONG}
        self.desk = await self._open.enter_async_context(
            Desk(
                self.store,
                Thinker(self.model, voice_of=lambda account, persona: Voice("m", persona), clock=self.clock),
                settings=DeskSettings(grace_seconds=0.0),
                clock=self.clock,
                sleep=self._sleep,
                on_outcome=lambda exchange: self.courier and self.courier.heard_of(exchange),
            )
        )
        rules = Rules(self.texts, **self.rules)
        style = Style(rules.texts, label="")
        self.courier = None
        if self.post is not None:
            where = (self.account, self.post, self.desk, self.store, style)
            self.courier = Courier(*where, clock=self.clock, sleep=self.sleep)
            self._open.push_async_callback(self.courier.close)
        self.visits = Visits(
            self.desk,
            style,
            rules,
            Counter(self.store, self.desk, rules, clock=self.clock, day_start=lambda now: now - now % 86_400),
            clock=self.clock,
            new_id=lambda: f"x{next(self._ids)}",
            timing=Timing(**{**held, **timing}),
            courier=self.courier,
        )
        self._open.push_async_callback(self.visits.close)
        return self.visits

    async def stop(self) -> None:
        await self._open.aclose()

    async def _sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()  # a rest lasts for the whole test

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0) if self.sleeps else await self._sleep(seconds)

    def text(self, text: str, openid: str = "o1", **facts: object) -> Push:
        return Push(self.account, openid, f"p{next(self._push_ids)}", "text", text, **facts)

    async def tell(self, push: Push) -> str | None:
        """A delivery whose connection stays open until its words are written; None where it is hung up instead."""
        page = await self.visits.deliver(push)
        if page is None:
            return None
        self.visits.written(push, page)
        await self.settled()
        return page.words

    async def until_asked(self, question: str) -> None:
        async with asyncio.timeout(LONG):
            while question not in self.model.asked:
                await asyncio.sleep(0)

    async def settled(self) -> None:
        """Until everything that can run without news from outside has run; the store in memory never waits."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def states(self, openid: str = "o1") -> list[str]:
        await self.settled()
        rows = await self.store.recent(self.account, openid, since=0.0, limit=99)
        return [row.state for row in rows]


@pytest.fixture
async def bot():
    a_bot = Bot()
    yield a_bot
    await a_bot.stop()
