"""
The visitors' phones: what each has sent, and how WeChat's deliveries of it go.

Rule 1: a push is delivered by a task of its own, which belongs to the phones: they cancel it when they are switched off.
Rule 2: what a visitor can make us remember is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from daemon.demo.envelope import Link
from daemon.demo.subscriber import Outcome, Watch, WeChatSide

VISITORS = 50
BUBBLES = 40  # of one visitor


@dataclass(slots=True)
class Bubble:
    """What the visitor did, and what came of it so far. `since` is when the last delivery began, on the monotonic clock."""

    number: int
    said: str
    is_event: bool = False
    outcome: Outcome = field(default_factory=Outcome)
    since: float = field(default_factory=time.monotonic)

    def watch(self, outcome: Outcome) -> None:
        if len(outcome.deliveries) != len(self.outcome.deliveries):
            self.since = time.monotonic()
        self.outcome = outcome


class Phones:
    """`async with Phones(side) as phones:` A visitor is a name of the browser's own making."""

    def __init__(self, side: WeChatSide) -> None:
        self._side = side
        self._chats: OrderedDict[str, list[Bubble]] = OrderedDict()
        self._tasks: set[asyncio.Task[object]] = set()
        self._count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def chat(self, visitor: str) -> Sequence[Bubble]:
        return self._chats.get(visitor, ())

    def say(self, visitor: str, text: str) -> None:
        self._send(visitor, text, lambda openid, watch: self._side.say(openid, text, watch=watch))

    def tap(self, visitor: str, link: Link) -> None:
        self._send(visitor, link.content, lambda openid, watch: self._side.tap(openid, link, watch=watch))

    def follow(self, visitor: str) -> None:
        self._send(visitor, "", lambda openid, watch: self._side.follow(openid, watch=watch), is_event=True)

    def _send(
        self, visitor: str, said: str, send: Callable[[str, Watch], Awaitable[object]], *, is_event: bool = False
    ) -> None:
        self._count += 1
        bubble = Bubble(self._count, said, is_event)
        chat = self._chats.setdefault(visitor, [])
        self._chats.move_to_end(visitor)
        chat.append(bubble)
        del chat[:-BUBBLES]
        if len(self._chats) > VISITORS:
            self._chats.popitem(last=False)
        task = asyncio.ensure_future(send(f"oDemo{visitor}", bubble.watch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
