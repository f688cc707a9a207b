"""
A thousand subscribers over ten minutes of their lives: follow, ask, ask again, tap, send a photo, reset, unfollow; WeChat
delivers again and hangs up at random, and the model takes its time, fails and rests. From a seed, in a time that jumps.

All is real from the push's bytes to the reply's, and judged by the played WeChat's strict reader; only the network is left out.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import structlog

from bot.ask import Message, Resting, Unanswered, Voice
from bot.desk import Desk, DeskSettings
from bot.exchange import Reason, State
from bot.memory_store import MemoryStore
from bot.picture import Picture
from bot.subscriber import Share
from bot.texts import Texts
from bot.thinking import Thinker
from bot.wechat import codec
from bot.wechat.counter import Counter as CommandCounter
from bot.wechat.gate import Credentials, Gate
from bot.wechat.hold import Timing
from bot.wechat.intent import Rules
from bot.wechat.passive import Style
from bot.wechat.visits import Visits
from daemon.demo.envelope import Account, Mode, Reply, opened, signed
from tests.flows.warp import run

SUBSCRIBERS, MINUTES = 1_000, 10
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
ACCOUNT = Account(mode=Mode.SAFE, app_id="wx0000000000000001", aes_key=AES_KEY)
EPOCH = 1_764_000_000
TAG = re.compile(r"[⟦⟧](o\d+)#(\d+)")
PATIENCE = 5.0
WISHES = (("ask", 50), ("two", 8), ("more", 15), ("photo", 8), ("reset", 4), ("role", 4), ("status", 4), ("leave", 4))


class Model:
    """Thinks from a fifth of a second to a minute, in pieces; fails and rests now and then; says whom it answers."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.calls = Counter[str]()

    async def __call__(self, messages: Sequence[Message], *, model: str) -> AsyncIterator[str]:
        question = messages[-1].content
        found = re.search(r"o\d+#\d+", question) or re.search(r"o\d+#\d+", messages[-1].photo)
        tag = found[0] if found else question
        self.calls[tag] += 1
        chance = self._chance
        await asyncio.sleep(chance.choice((0.2, 1.0, 3.0, 8.0, 14.0)))
        if (luck := chance.random()) < 0.03:
            raise Unanswered(chance.choice((Reason.UNREACHABLE, Reason.TRUNCATED, Reason.REFUSED)))
        if luck < 0.06:
            raise Resting(chance.choice((2.0, 30.0, 90.0)))
        yield f"⟦{tag}，"
        for number in range(chance.choice((0, 0, 1, 2, 2, 3, 15, 45))):
            yield f"第{number}句，**重点**在这里，说得长一些好让人等一等。" + "\n\n" * (number % 7 == 0)
            await asyncio.sleep(chance.choice((0.0, 0.3)))
        if luck > 0.98:
            raise RuntimeError("out of the blue")
        yield f"完⟧{tag}"


@dataclass
class Life:
    openid: str
    asked: int = 0
    pages: list[str] = field(default_factory=list)
    pushes: int = 0
    has_left: bool = False


class Town:
    """The bot and the played WeChat around it, without a network between them."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.store = MemoryStore()
        self.model = Model(self.chance)
        self.texts = Texts("zh")
        self.gate = Gate(Credentials(ACCOUNT.token, ACCOUNT.app_id, AES_KEY))
        self.red_lines = Counter[str]()
        self.refused = 0

    def clock(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()

    async def open(self) -> None:
        async def look(place: str) -> Picture:
            await asyncio.sleep(0.1)
            return Picture("png", b"\x89PNG")

        ids = iter(range(10**9))
        thinker = Thinker(
            self.model, voice_of=lambda account, persona: Voice("m", persona), clock=self.clock, look=look
        )
        self.desk = Desk(self.store, thinker, settings=DeskSettings(concurrency=200), clock=self.clock)
        await self.desk.__aenter__()
        rules = Rules(self.texts, personas=("老师",), share=Share(questions_per_day=40))
        counter = CommandCounter(
            self.store, self.desk, rules, clock=self.clock, day_start=lambda now: now - now % 86_400
        )
        self.visits = Visits(
            self.desk,
            Style(self.texts),
            rules,
            counter,
            clock=self.clock,
            new_id=lambda: f"x{next(ids)}",
            timing=Timing(hold_budget=10**6),
        )

    async def push(self, life: Life, kind: str, *, hangs_up: bool = True, **fields: str) -> Reply | None:
        """Up to three deliveries, as WeChat makes them; it leaves early now and then, or with the reply half written."""
        life.pushes += 1
        now = int(self.clock())
        every: dict[str, str | int] = {"FromUserName": life.openid, "MsgType": kind, **fields}
        if kind != "event":
            every["MsgId"] = life.pushes  # the same ids for every subscriber, as real ones are
        push = signed(ACCOUNT, every, timestamp=now, nonce="7", random=bytes(16))
        for _ in range(3):
            patience = self.chance.uniform(0.01, 5.0) if hangs_up and self.chance.random() < 0.1 else PATIENCE
            admitted = self.gate.admit(push.query.items(), push.body, self.clock())
            try:
                async with asyncio.timeout(patience):
                    page = await self.visits.deliver(admitted.push)
            except TimeoutError:
                continue
            if page is None:
                continue
            if hangs_up and self.chance.random() < 0.05:
                self.visits.unwritten(admitted.push, page)
                continue
            text = codec.text_reply(admitted.push, page.words, now=now) if page.words else codec.SUCCESS
            sealed = self.gate.close(admitted, text, now=now, random16=bytes(16))
            reply = opened(ACCOUNT, sealed, openid=life.openid, nonce="7")  # raises on what WeChat would not show
            self.visits.written(admitted.push, page)
            if reply is not None:
                life.pages.append(reply.words)
            return reply
        self.red_lines["hung up" if hangs_up else "ours"] += 1
        return None

    async def ask(self, life: Life) -> Reply | None:
        life.asked += 1
        reply = await self.push(life, "text", Content=f"请回答 {life.openid}#{life.asked} ]]> <b>😀</b>")
        self.refused += reply is not None and "没有收下" in reply.words
        return reply

    async def live(self, life: Life) -> None:
        chance, end = self.chance, MINUTES * 60.0
        loop = asyncio.get_running_loop()
        await asyncio.sleep(chance.uniform(0, 240))
        await self.push(life, "event", Event="subscribe", EventKey="")
        while loop.time() < end and not life.has_left:
            await asyncio.sleep(chance.expovariate(1 / 60))
            match chance.choices(
                ("ask", "two", "more", "photo", "reset", "role", "status", "leave"), (50, 8, 15, 8, 4, 4, 4, 4)
            )[0]:
                case "ask":
                    reply = await self.ask(life)
                    while reply is not None and reply.links and chance.random() < 0.8:
                        await asyncio.sleep(chance.uniform(0.5, 12))
                        link = reply.links[0]
                        reply = await self.push(life, "text", Content=link.content, bizmsgmenuid=link.id)
                case "two":
                    await asyncio.gather(self.ask(life), self.ask(life))
                case "more":
                    await self.push(life, "text", Content=chance.choice(("继续", "1", "？")))
                case "photo":
                    life.asked += 1
                    await self.push(
                        life, "image", PicUrl=f"http://mmbiz.qpic.cn/{life.openid}#{life.asked}", MediaId="m"
                    )
                case "reset":
                    await self.push(life, "text", Content="清空")
                case "role":
                    await self.push(life, "text", Content="角色 老师")
                case "status":
                    await self.push(life, "text", Content="状态")
                case "leave":
                    life.has_left = True
                    await self.push(life, "event", Event="unsubscribe", EventKey="")

    async def collect_all(self, life: Life) -> None:
        """After ten minutes the hang-ups end, and whoever is still there collects what waits."""
        for _ in range(400):
            waiting = await self.store.mailbox(ACCOUNT.id, life.openid)
            if not waiting:
                return
            await self.push(life, "text", hangs_up=False, Content="继续", bizmsgmenuid=waiting[0].id)
            await asyncio.sleep(1)
        raise AssertionError(f"{life.openid} still waits for {waiting}")


async def lived(seed: int) -> tuple[Town, list[Life]]:
    town = Town(seed)
    await town.open()
    lives = [Life(f"o{number}") for number in range(SUBSCRIBERS)]
    await asyncio.gather(*map(town.live, lives))
    await asyncio.gather(*(town.collect_all(life) for life in lives if not life.has_left))
    await town.visits.close()
    await town.desk.close(0.0)
    return town, lives


@pytest.fixture(scope="module", params=[20261127])
def outcome(request: pytest.FixtureRequest) -> Iterator[tuple[Town, list[Life]]]:
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)  # ten thousand lines that nobody reads
    structlog.configure(wrapper_class=silent)
    yield run(lived(request.param))
    structlog.reset_defaults()


def rows_of(town: Town, life: Life) -> list[State]:
    return [row.state for row in town.store._of(ACCOUNT.id, life.openid)]


def test_the_simulation_is_worth_its_name(outcome: tuple[Town, list[Life]]) -> None:
    town, lives = outcome

    assert sum(life.asked for life in lives) > 4_000
    assert sum(life.pushes for life in lives) > 8_000
    assert sum(life.has_left for life in lives) > 80
    assert town.red_lines["hung up"] > 0
    assert any("还在写" in page for life in lives for page in life.pages)


def test_no_question_is_lost(outcome: tuple[Town, list[Life]]) -> None:
    """Each that was taken is answered to its end, or its failure is told."""
    town, lives = outcome
    ended = Counter[State]()
    for life in lives:
        if life.has_left:
            continue
        told = "\n".join(life.pages)
        for row in town.store._of(ACCOUNT.id, life.openid):
            ended[row.state] += 1
            assert row.state in (State.COLLECTED, State.FAILED), row
            assert not row.is_uncollected
            if row.state is State.COLLECTED:
                tag = row.answer.rpartition("⟧")[2]  # a question without one is its own: a "1" when nothing waits
                assert f"⟦{tag}" in told, tag
                assert f"⟧{tag}" in told, tag
    assert ended[State.COLLECTED] > 2_500
    assert ended[State.FAILED] > 50


def test_nobody_reads_what_another_asked(outcome: tuple[Town, list[Life]]) -> None:
    _, lives = outcome

    for life in lives:
        assert {openid for page in life.pages for openid, _ in TAG.findall(page)} <= {life.openid}


def test_no_page_is_longer_than_wechat_shows(outcome: tuple[Town, list[Life]]) -> None:
    _, lives = outcome

    assert max(len(page.encode()) for life in lives for page in life.pages) <= 2048


def test_of_those_who_left_nothing_is_left(outcome: tuple[Town, list[Life]]) -> None:
    town, lives = outcome

    for life in lives:
        if life.has_left:
            assert rows_of(town, life) == []


def test_a_push_that_wechat_waits_for_is_never_a_red_line(outcome: tuple[Town, list[Life]]) -> None:
    town, _ = outcome

    assert town.red_lines["ours"] == 0


def test_no_question_is_asked_of_the_model_more_often_than_it_failed(outcome: tuple[Town, list[Life]]) -> None:
    """A redelivery is never a second model call: only a rest or a tap on a failure asks again."""
    town, _ = outcome
    twice = defaultdict(int)
    for calls in town.model.calls.values():
        twice[calls] += 1

    assert twice[1] > 0.9 * len(town.model.calls)
