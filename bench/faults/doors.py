"""
Every door of the daemon, and what comes to it that is almost right.

Rule: whatever comes back is judged by one `Tally`: a 500 of ours, a traceback and a secret are faults; any other answer is one.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from bench.faults.house import PASSIVE, SEALED, SECRETS, House, inside
from bench.faults.mutations import mutated, reshaped, revalued
from bench.wire import TOKEN
from daemon.demo.envelope import Account, seal, signature, signed
from daemon.demo.steps import JSON, SSE, Act, Answer, Call, Chunk, Head

ANSWER_SECONDS = 15.0
SILENCE_SECONDS = 0.5  # after which a head that got no answer is taken for unfinished
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
MOST_CHOICES = 4
HALF = 0.5  # of what comes is changed byte by byte, the other half in what it says
NO_LINES = str.maketrans("\r\n\0", "   ")  # in a header's value, which would be another header
Fields = dict[str, str | int]
TRACEBACK = b"Traceback (most recent call last)"


@dataclass(slots=True)
class Tally:
    counts: Counter[str] = field(default_factory=Counter)  # statuses by their first digit, or what else came
    faults: list[str] = field(default_factory=list)

    def saw(self, data: bytes, status: int | None, given: bytes) -> None:
        self.counts[f"{status // 100}xx" if status else "closed"] += 1
        if status == 500 and b"internal error" in data:
            self.faults.append(f"500 for {given[:200]!r}")
        if TRACEBACK in data:
            self.faults.append(f"a traceback for {given[:200]!r}")
        if leaked := [secret for secret in SECRETS if secret.encode() in data and secret.encode() not in given]:
            self.faults.append(f"{len(leaked)} secrets for {given[:200]!r}")


@dataclass(frozen=True, slots=True)
class Discreet:
    """
    A step: a good answer, of no more choices than anybody wants, however many a changed body asks for; and no echo of the
    request where no model is asked, since that bears the pool's key.
    """

    text: str = "信会送到。"

    def play(self, call: Call) -> Iterator[Act]:
        asked = call.asked and replace(call.asked, choices=min(call.asked.choices, MOST_CHOICES))
        return Answer(self.text).play(replace(call, asked=asked, other=b"{}"))


@dataclass(frozen=True, slots=True)
class Almost:
    """A step: a good answer, changed at random."""

    chance: random.Random

    def play(self, call: Call) -> Iterator[Act]:
        acts = list(Discreet("信会送到。" * 5).play(call))
        body = b"".join(act.data for act in acts if isinstance(act, Chunk))
        is_stream = any(isinstance(act, Head) and act.headers is SSE for act in acts)
        yield Head(200, SSE if is_stream else JSON)
        yield Chunk(mutated(body, self.chance) if self.chance.random() < HALF else _reshaped(body, self.chance))


@dataclass(slots=True)
class Doors:
    house: House
    session: ClientSession
    chance: random.Random

    async def heads(self, tally: Tally) -> None:
        good = self.chance.choice(HEADS)
        given = mutated(good, self.chance) if self.chance.random() < HALF else _revalued(good, self.chance)
        answer = b""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.house.port)
        except OSError as error:
            tally.faults.append(f"nobody listens ({error}) for {given[:200]!r}")
            return
        try:
            writer.write(given)
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(SILENCE_SECONDS):
                    answer = await reader.read(65_536)
        finally:
            writer.close()
        status = STATUS.match(answer)
        tally.saw(answer, int(status[1]) if status else None, given)

    async def json(self, tally: Tally) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        good = self.chance.choice(BODIES)
        given = mutated(good, self.chance) if self.chance.random() < HALF else _reshaped(good, self.chance)
        await self._post(tally, "/v1/chat/completions", given, headers=headers)

    async def xml(self, tally: Tally) -> None:
        stamp, nonce = str(int(time.time())), str(self.chance.randrange(10**9))
        query = {"timestamp": stamp, "nonce": nonce, "signature": signature(PASSIVE.token, stamp, nonce)}
        await self._post(tally, "/passive", self._almost(PASSIVE), params=query)

    async def sealed(self, tally: Tally) -> None:
        stamp, nonce = str(int(time.time())), str(self.chance.randrange(10**9))
        how = self.chance.randrange(4)
        message = self._push(SEALED) if how else self._almost(SEALED)
        envelope = seal(SEALED, message, self.chance.randbytes(16))
        if how == 1:
            envelope = mutated(envelope.encode(), self.chance).decode("latin-1")
        query = {"timestamp": stamp, "nonce": nonce, "encrypt_type": "aes"}
        query |= {"signature": signature(SEALED.token, stamp, nonce)}
        query |= {"msg_signature": signature(SEALED.token, stamp, nonce, envelope)}
        if how == 2:
            name = self.chance.choice([*query])
            query[name] = mutated(query[name].encode(), self.chance).decode("latin-1")
        body = f"<xml><ToUserName>{SEALED.id}</ToUserName><Encrypt><![CDATA[{envelope}]]></Encrypt></xml>".encode()
        await self._post(tally, "/sealed", mutated(body, self.chance) if how == 3 else body, params=query)

    async def answers(self, tally: Tally) -> None:
        if self.chance.random() < 0.3:
            push = self._push(PASSIVE)
            stamp, nonce = str(int(time.time())), "7"
            query = {"timestamp": stamp, "nonce": nonce, "signature": signature(PASSIVE.token, stamp, nonce)}
            await self._post(tally, "/passive", push, params=query)
            return
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        await self._post(tally, "/v1/chat/completions", self.chance.choice(BODIES), headers=headers)

    def _almost(self, account: Account) -> bytes:
        if self.chance.random() < HALF:
            return mutated(self._push(account), self.chance)
        return self._push(account, change=lambda fields: revalued(fields, self.chance))

    def _push(self, account: Account, change: Callable[[Fields], Fields] = dict) -> bytes:
        fields: Fields = {
            "FromUserName": f"o{self.chance.randrange(200)}",
            "MsgType": self.chance.choice(("text", "text", "text", "image", "voice", "event", "location")),
            "Content": self.chance.choice(("继续", "清空", "帮助", "问题", "作画 一只猫", "角色 老师")),
            "MsgId": self.chance.randrange(1, 2**62),
            "Event": self.chance.choice(("subscribe", "unsubscribe", "CLICK")),
            "PicUrl": "http://mmbiz.qpic.cn.invalid/x",
        }
        plain = Account(account.id, account.token)
        return signed(plain, change(fields), timestamp=int(time.time()), nonce="1", random=bytes(16)).body

    async def _post(self, tally: Tally, path: str, body: bytes, **more: object) -> None:
        data, status = b"", None
        try:
            async with self.session.post(f"{self.house.url}{path}", data=body, **more) as response:  # type: ignore[arg-type]
                status = response.status
                data = str(response.raw_headers).encode() + await response.read()
        except (ClientError, OSError):
            pass
        except TimeoutError:
            tally.counts["no answer in time"] += 1
            tally.faults.append(f"no answer for {body[:200]!r}")
            return
        tally.saw(data, status, body)


def _reshaped(body: bytes, chance: random.Random) -> bytes:
    """A JSON document, or each event of a stream now and then."""
    if not body.startswith(b"data: "):
        return json.dumps(reshaped(json.loads(body), chance)).encode()
    events = body.split(b"\n\n")
    for number, event in enumerate(events):
        if event.startswith(b"data: {") and chance.random() < HALF:
            events[number] = b"data: " + json.dumps(reshaped(json.loads(event[6:]), chance)).encode()
    return b"\n\n".join(events)


def _revalued(request: bytes, chance: random.Random) -> bytes:
    """The body stays as long as the head says, unless it is that which is changed."""
    head, blank, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = revalued(dict(line.split(": ", 1) for line in lines), chance)
    said = [f"{name}: {str(value).translate(NO_LINES)}" for name, value in fields.items()]
    return "\r\n".join([first, *said]).encode() + blank + body


def _request(method: str, path: str, *lines: str, body: bytes = b"") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    head = [f"{method} {path} HTTP/1.1", "Host: posthouse", f"Authorization: Bearer {TOKEN}", *lines, *length, "", ""]
    return "\r\n".join(head).encode() + body


def _body(**more: object) -> bytes:
    return json.dumps({"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hi"}], **more}).encode()


BODIES = (_body(), _body(stream=True), _body(stream=True, stream_options={"include_usage": True}), _body(n=2, seed=1))
HEADS = (
    _request("GET", "/v1/models"),
    _request("POST", "/v1/chat/completions", "Content-Type: application/json", body=BODIES[0]),
    _request("POST", "/v1/chat/completions", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    _request("GET", "/status", "Cookie: posthouse_session=abc.def", "Accept-Language: zh-CN"),
    _request(
        "POST", "/status/sign-in", "Content-Type: application/x-www-form-urlencoded", body=b"password=x&form_token=y"
    ),
    _request("GET", "/metrics", "Authorization: Basic b3BlcmF0b3I6eA=="),
    _request("GET", "/passive?signature=a&timestamp=1&nonce=2&echostr=3"),
    _request("GET", "/v1/realtime?model=gpt-realtime", "Connection: Upgrade", "Upgrade: websocket"),
    _request("GET", "/static/status.css", 'If-None-Match: "x"', "Range: bytes=0-1"),
    _request("OPTIONS", "*"),
)


@asynccontextmanager
async def opened(house: House, chance: random.Random) -> AsyncIterator[Doors]:
    timeout = ClientTimeout(total=ANSWER_SECONDS)
    async with ClientSession(connector=TCPConnector(limit=0), timeout=timeout) as session, inside(house):
        await house.start()
        yield Doors(house, session, chance)
