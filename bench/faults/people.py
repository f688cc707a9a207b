"""
Those who use the daemon while it is being broken: subscribers of a passive and of a verified account, and callers of the
gateway.

Rule 1: nobody gives up: a push whose deliveries all broke is delivered again, the same bytes, when the daemon is back, as
        a subscriber's tap is; so whatever is lost is lost by the daemon.
Rule 2: everything that is read goes into the books; people judge nothing, except for an answer that is falsely whole.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from aiohttp import ClientError, ClientSession, ClientTimeout

from bench.faults.books import END, Books, is_refusal
from bench.faults.house import MODEL, House
from bench.wire import TOKEN
from daemon.demo.envelope import LINK, Link, Signed
from daemon.demo.subscriber import Outcome, WeChatSide, What
from daemon.demo.wechat_server import WeChatServer

TRIES = 8  # times three deliveries; between two of them the daemon came back
TAPS = 3  # after which a subscriber turns to something else, and comes back in the end
LAST_TAPS = 60
PAUSE_SECONDS = 0.3
CALLER_SECONDS = 30.0
SENTENCES = 12
AGAIN = "再"  # in a link that has a failed question asked again


class Point(StrEnum):
    """A moment in a question's life that can be seen from outside."""

    PUSHED = "a push goes out to us"
    ASKED = "the model is asked"
    ANSWERING = "the model begins to answer"
    WAITING = "a subscriber is told to wait"
    GIVEN = "a reply has given the answer"
    TAPPED = "a tap goes out to us"
    SENT = "WeChat has taken a message of ours, and we do not know it yet"
    STREAMING = "a caller has the first bytes of a stream"


@dataclass(slots=True)
class Scene:
    """What everybody here shares. `pass_by` hears of every point of a question's life as it happens."""

    house: House
    books: Books
    chance: random.Random
    session: ClientSession = field(repr=False)
    pass_by: Callable[[Point], None] = lambda point: None
    is_over: bool = False

    async def pause(self, most_seconds: float) -> None:
        await asyncio.sleep(self.chance.uniform(0, most_seconds))


@dataclass(slots=True)
class Reader:
    """A subscriber. `server` is WeChat's server API where the account is verified: it hears of what they write."""

    openid: str
    side: WeChatSide = field(repr=False)
    scene: Scene = field(repr=False)
    server: WeChatServer | None = None
    links: dict[str, Link] = field(default_factory=dict)  # seen and not tapped since, by the exchange that they name
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def live(self) -> None:
        scene = self.scene
        while not scene.is_over:
            await scene.pause(2 * PAUSE_SECONDS)
            await self.ask()
            for _ in range(TAPS):
                if scene.is_over or not self.links:
                    break
                await scene.pause(PAUSE_SECONDS)
                await self.tap()

    async def ask(self) -> None:
        name = f"{self.openid}#{next(self.numbers)}"
        books = self.scene.books
        books.asked.add(name)
        push = self.side.signed("text", self.openid, Content=f"问题 {name}")
        outcome = await self._delivered(push, Point.PUSHED)
        if not outcome.red_line:
            books.told(name, outcome.words)

    async def tap(self) -> None:
        """The link that was seen last; what it leads to may bring others."""
        _, link = self.links.popitem()
        self.scene.books.retries[self.openid] += AGAIN in link.shown
        push = self.side.signed("text", self.openid, Content=link.content, bizmsgmenuid=link.id)
        outcome = await self._delivered(push, Point.TAPPED)
        if outcome.red_line or is_refusal(outcome.words):
            self.links[link.id] = link

    async def say_more(self) -> None:
        await self._delivered(self.side.signed("text", self.openid, Content="继续"), Point.TAPPED)

    async def collect_all(self) -> None:
        """What was promised and has not been read yet."""
        for _ in range(LAST_TAPS):
            if not any(name.partition("#")[0] == self.openid for name in self.scene.books.lost):
                return
            await (self.tap() if self.links else self.say_more())
            await self.scene.pause(PAUSE_SECONDS)

    def read(self, words: str) -> None:
        """Whatever came, as a reply or as a message."""
        self.scene.books.read(self.openid, words)
        for content, to, shown in LINK.findall(words):
            self.links.pop(to, None)
            self.links[to] = Link(shown, content, to)

    async def _delivered(self, push: Signed, point: Point) -> Outcome:
        scene = self.scene

        def watch(outcome: Outcome) -> None:
            if outcome.deliveries and outcome.deliveries[-1].what is What.OPEN:
                scene.pass_by(point)

        for _ in range(TRIES):
            await scene.house.up.wait()
            if self.server is not None:
                self.server.heard(self.openid)
            outcome = await self.side.deliver(push, self.openid, watch=watch)
            if not outcome.red_line:
                break
            await asyncio.sleep(0)  # else a daemon that is up and refuses would keep everybody else waiting
        if outcome.words is not None:
            self.read(outcome.words)
            scene.pass_by(Point.GIVEN if END.search(outcome.words) else Point.WAITING)
        return outcome


@dataclass(slots=True)
class Caller:
    """A program that uses the gateway, one request after the other, streams and plain ones in turn."""

    name: str
    scene: Scene = field(repr=False)
    pause_seconds: float = 0.1
    outcomes: Counter[str] = field(default_factory=Counter)

    async def live(self) -> None:
        for number in itertools.count():
            if self.scene.is_over:
                return
            await self.scene.house.up.wait()
            await self.ask(f"{self.name}#{number}", streams=bool(number % 2))
            await self.scene.pause(self.pause_seconds)

    async def ask(self, name: str, *, streams: bool) -> str:
        outcome = await self._asked(name, streams=streams)
        self.outcomes[outcome] += 1
        return outcome

    async def _asked(self, name: str, *, streams: bool) -> str:
        question = {"role": "user", "content": f"问题 {name}"}
        body = {"model": MODEL, "messages": [question], "stream": streams}
        received = b""
        try:
            async with self.scene.session.post(
                f"{self.scene.house.url}/v1/chat/completions",
                json=body,
                headers={"Authorization": f"Bearer {TOKEN}"},
                timeout=ClientTimeout(total=CALLER_SECONDS),
            ) as response:
                if response.status != 200:
                    return f"status {response.status}"
                async for piece in response.content.iter_any():
                    if streams and not received:
                        self.scene.pass_by(Point.STREAMING)
                    received += piece
        except (ClientError, TimeoutError, OSError):
            says_so = streams and b'"error"' in received.rpartition(b"data: ")[2]
            return "visibly cut" if says_so else "cut" if received else "no answer"
        text = _streamed(received) if streams else _plain(received)
        if text is None:
            return "visibly cut"
        self.scene.books.read(self.name, text)
        return "whole" if text.endswith(f"{name}⟧") else "falsely whole"


def _plain(received: bytes) -> str | None:
    return str(json.loads(received)["choices"][0]["message"]["content"])


def _streamed(received: bytes) -> str | None:
    """None where the stream says that it did not come to its end."""
    events = [line.removeprefix(b"data: ") for line in received.split(b"\n") if line.startswith(b"data: ")]
    if not events or events[-1] != b"[DONE]":
        return None
    pieces = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1]]
    return "".join(pieces)
