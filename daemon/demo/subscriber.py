"""
WeChat's servers and one of their subscribers, towards our callback over HTTP.

Rule 1: a delivery that is not answered within `patience` seconds is closed by us, and the same push is delivered again, three
        deliveries in all; then the subscriber sees the red line. (Source: developers.weixin.qq.com, passive replies.)
Rule 2: a refusal (any status but 200) and a broken connection count as not answered; a malformed answer is a red line at once.
Rule 3: a redelivery is the same bytes under the same signature: whether WeChat signs it anew is not documented, and a callback
        that refuses a repeated nonce would lose such pushes.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import aiohttp

from daemon.demo.envelope import Account, Link, RedLine, Reply, Signed, opened, signature, signed

DELIVERIES = 3
PATIENCE = 5.0  # seconds
FIRST_MSG_ID = 25033203329280739  # a real one's size: beyond what a double can hold


class What(StrEnum):
    """What became of a delivery."""

    OPEN = "open"
    ANSWERED = "answered"
    DECLINED = "declined"  # "success", or nothing: no words, and no second delivery
    CLOSED = "closed"  # by WeChat, out of patience
    REFUSED = "refused"
    BROKEN = "broken"  # the connection failed
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Delivery:
    what: What
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a push, so far: `reply` is None where the subscriber was shown none."""

    deliveries: tuple[Delivery, ...] = ()
    reply: Reply | None = None
    red_line: str = ""  # why the subscriber saw the red line; empty when not

    @property
    def words(self) -> str | None:
        return self.reply.words if self.reply else None

    @property
    def links(self) -> tuple[Link, ...]:
        return self.reply.links if self.reply else ()


Watch = Callable[[Outcome], None]


def _unwatched(outcome: Outcome) -> None:
    pass


class WeChatSide:
    """`async with WeChatSide(url, account) as side:` `url` is the callback's; `patience` is in seconds."""

    def __init__(self, url: str, account: Account, *, patience: float = PATIENCE) -> None:
        self.account = account
        self._url = url
        self._patience = patience
        self._msg_ids = itertools.count(FIRST_MSG_ID)

    async def __aenter__(self) -> Self:
        # WeChat comes with a new connection each time, and with as many at once as there are subscribers.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def verify(self, token: str | None = None) -> bool:
        """The console's "submit": whether the callback answers the echo string, and nothing else, to a signed GET."""
        stamp, nonce, echo = str(int(time.time())), secrets.token_hex(5), str(secrets.randbits(62))
        proof = signature(self.account.token if token is None else token, stamp, nonce)
        query = {"signature": proof, "timestamp": stamp, "nonce": nonce, "echostr": echo}
        async with self._session.get(self._url, params=query) as answer:
            return answer.status == 200 and await answer.read() == echo.encode()

    async def say(self, openid: str, text: str, *, watch: Watch = _unwatched) -> Outcome:
        return await self.push("text", openid, watch=watch, Content=text)

    async def tap(self, openid: str, link: Link, *, watch: Watch = _unwatched) -> Outcome:
        return await self.push("text", openid, watch=watch, Content=link.content, bizmsgmenuid=link.id)

    async def follow(self, openid: str, *, watch: Watch = _unwatched) -> Outcome:
        return await self.push("event", openid, watch=watch, Event="subscribe", EventKey="")

    async def unfollow(self, openid: str, *, watch: Watch = _unwatched) -> Outcome:
        return await self.push("event", openid, watch=watch, Event="unsubscribe", EventKey="")

    async def click(self, openid: str, key: str, *, watch: Watch = _unwatched) -> Outcome:
        """A tap on the account's menu."""
        return await self.push("event", openid, watch=watch, Event="CLICK", EventKey=key)

    async def photo(self, openid: str, url: str, *, watch: Watch = _unwatched) -> Outcome:
        """A picture that WeChat keeps at `url`."""
        return await self.push("image", openid, watch=watch, PicUrl=url, MediaId=secrets.token_urlsafe(24))

    async def push(self, kind: str, openid: str, *, watch: Watch = _unwatched, **fields: str | int) -> Outcome:
        """Any push: `fields` are its own, by WeChat's names."""
        return await self.deliver(self.signed(kind, openid, **fields), openid, watch=watch)

    def signed(self, kind: str, openid: str, **fields: str | int) -> Signed:
        """A push that can be delivered later, or again, or spoilt."""
        every: dict[str, str | int] = {"FromUserName": openid, "MsgType": kind, **fields}
        if kind != "event":
            every.setdefault("MsgId", next(self._msg_ids))
        now, nonce = int(time.time()), str(secrets.randbelow(10**10))
        return signed(self.account, every, timestamp=now, nonce=nonce, random=secrets.token_bytes(16))

    async def deliver(self, push: Signed, openid: str, *, watch: Watch = _unwatched) -> Outcome:
        past: tuple[Delivery, ...] = ()
        for _ in range(DELIVERIES):
            watch(Outcome((*past, Delivery(What.OPEN, 0.0))))
            began = time.monotonic()
            what, detail, reply = await self._deliver_once(push, openid)
            past = (*past, Delivery(what, time.monotonic() - began, detail))
            if what in (What.ANSWERED, What.DECLINED, What.MALFORMED):
                break
            watch(Outcome(past))
        red_line = "" if what in (What.ANSWERED, What.DECLINED) else detail or f"no answer in {DELIVERIES} deliveries"
        outcome = Outcome(past, reply, red_line)
        watch(outcome)
        return outcome

    async def _deliver_once(self, push: Signed, openid: str) -> tuple[What, str, Reply | None]:
        try:
            async with asyncio.timeout(self._patience):
                status, body = await self._post(push)
        except TimeoutError:
            return What.CLOSED, "", None
        except aiohttp.ClientError as fault:
            return What.BROKEN, type(fault).__name__, None
        if status != 200:
            return What.REFUSED, f"status {status}", None
        try:
            reply = opened(self.account, body, openid=openid, nonce=push.query["nonce"])
        except RedLine as fault:
            return What.MALFORMED, str(fault), None
        return (What.ANSWERED if reply else What.DECLINED), "", reply

    async def _post(self, push: Signed) -> tuple[int, bytes]:
        kind = {"Content-Type": "application/json" if self.account.form == "json" else "text/xml"}
        async with self._session.post(self._url, params=push.query, data=push.body, headers=kind) as answer:
            return answer.status, await answer.read()
