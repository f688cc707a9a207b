"""
The visitors' phones: what each has sent to either account, how WeChat's deliveries of it go, and what came by itself.

Rule 1: a push is delivered by a task of its own, which belongs to the phones: they cancel it when they are switched off.
Rule 2: what a visitor can make us remember is bounded.
Rule 3: the verified account's WeChat hears of a push before the callback does, as it lets nobody be written to unheard.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self

from daemon.demo.envelope import Link, Reply
from daemon.demo.subscriber import Outcome, Watch, WeChatSide
from daemon.demo.wechat_platform import Sent
from daemon.demo.wechat_server import WeChatServer

CHATS = 100
BUBBLES = 40  # of one chat
OPENID = "oDemo"  # what a visitor's begins with
PHOTO = "photo.png"  # of the server's pictures, the one that visitors send


class Kind(StrEnum):
    """Of an account."""

    PERSONAL = "personal"
    VERIFIED = "verified"


class Chat(NamedTuple):
    """A visitor is a name of the browser's own making."""

    visitor: str
    account: Kind


class Did(StrEnum):
    """What a bubble is about; all but the last are the visitor's doing."""

    SAY = "say"
    PHOTO = "photo"
    MENU = "menu"
    FOLLOW = "follow"
    UNFOLLOW = "unfollow"
    SERVED = "served"  # a customer-service message came


@dataclass(slots=True)
class Bubble:
    """What happened, and what came of it so far. `since` is when the last delivery began, on the monotonic clock."""

    number: int
    did: Did
    said: str = ""
    outcome: Outcome = field(default_factory=Outcome)
    since: float = field(default_factory=time.monotonic)

    def watch(self, outcome: Outcome) -> None:
        if len(outcome.deliveries) != len(self.outcome.deliveries):
            self.since = time.monotonic()
        self.outcome = outcome


class Phones:
    """`async with Phones(sides, server) as phones:` `server` is the verified account's, and has everybody's photos."""

    def __init__(self, sides: Mapping[Kind, WeChatSide], server: WeChatServer, *, menu_key: str) -> None:
        self._sides = sides
        self._server = server
        self._menu_key = menu_key
        self._chats: OrderedDict[Chat, list[Bubble]] = OrderedDict()
        self._tasks: set[asyncio.Task[object]] = set()
        self._count = 0

    async def __aenter__(self) -> Self:
        self._server.on_sent = self._served
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def bubbles(self, chat: Chat) -> Sequence[Bubble]:
        return self._chats.get(chat, ())

    def is_typing(self, chat: Chat) -> bool:
        return chat.account is Kind.VERIFIED and self._server.is_typing(_openid(chat))

    def say(self, chat: Chat, text: str) -> None:
        self._send(chat, Did.SAY, lambda side, openid, watch: side.say(openid, text, watch=watch), text)

    def tap(self, chat: Chat, link: Link) -> None:
        self._send(chat, Did.SAY, lambda side, openid, watch: side.tap(openid, link, watch=watch), link.content)

    def photo(self, chat: Chat) -> None:
        url = f"{self._server.base_url}/pictures/{PHOTO}"
        self._send(chat, Did.PHOTO, lambda side, openid, watch: side.photo(openid, url, watch=watch))

    def menu(self, chat: Chat) -> None:
        self._send(chat, Did.MENU, lambda side, openid, watch: side.click(openid, self._menu_key, watch=watch))

    def follow(self, chat: Chat) -> None:
        self._send(chat, Did.FOLLOW, lambda side, openid, watch: side.follow(openid, watch=watch))

    def unfollow(self, chat: Chat) -> None:
        self._send(chat, Did.UNFOLLOW, lambda side, openid, watch: side.unfollow(openid, watch=watch))

    def _send(
        self, chat: Chat, did: Did, send: Callable[[WeChatSide, str, Watch], Awaitable[object]], said: str = ""
    ) -> None:
        bubble, openid = self._add(chat, did, said), _openid(chat)
        if chat.account is Kind.VERIFIED and did is not Did.UNFOLLOW:
            (self._server.followed if did is Did.FOLLOW else self._server.heard)(openid)
        task = asyncio.ensure_future(send(self._sides[chat.account], openid, bubble.watch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _served(self, sent: Sent) -> None:
        chat = Chat(sent.openid.removeprefix(OPENID), Kind.VERIFIED)
        self._add(chat, Did.SERVED).outcome = Outcome(reply=Reply(sent.kind, sent.words, sent.media_id))

    def _add(self, chat: Chat, did: Did, said: str = "") -> Bubble:
        self._count += 1
        bubble = Bubble(self._count, did, said)
        bubbles = self._chats.setdefault(chat, [])
        self._chats.move_to_end(chat)
        bubbles.append(bubble)
        del bubbles[:-BUBBLES]
        if len(self._chats) > CHATS:
            self._chats.popitem(last=False)
        return bubble


def _openid(chat: Chat) -> str:
    return OPENID + chat.visitor
