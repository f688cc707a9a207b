"""The whole daemon between callers and upstreams who write bytes, for whatever no client and no server would send."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.flows import several

CALLERS = {"anna": "ph-anna-token", "bert": "ph-bert-token"}  # names and tokens of the same length
JSON = "Content-Type: application/json"
LANES = {"door": True, "aiohttp": False}  # whether there is a fast lane at all

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")


@dataclass(frozen=True, slots=True)
class Heard:
    """One request as it reached the upstream, byte for byte. `number`: on which connection."""

    head: bytes
    body: bytes
    number: int

    @property
    def key(self) -> str:
        """The secret that it came with."""
        (found,) = re.findall(rb"\r\nAuthorization: Bearer ([^\r\n]*)", self.head)
        return bytes(found).decode()


@dataclass(slots=True)
class FarEnd:
    """One connection that the daemon has made."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    def say(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def has_ended(self) -> bytes:
        """Once the daemon has hung up: what it had still said."""
        rest = b""
        with contextlib.suppress(ConnectionError):
            while piece := await self.reader.read(65_536):
                rest += piece
        return rest

    def reset(self) -> None:
        _reset(self.writer)


Play = Callable[[Heard, FarEnd], Awaitable[None]]


def answer(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", JSON, *lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode("latin-1") + body


async def echo(heard: Heard, end: FarEnd) -> None:
    """What was asked, and with which key: so that each caller can tell its own answer."""
    told = {"asked": heard.body.decode("latin-1"), "key": heard.key}
    end.say(answer(json.dumps(told).encode()))


class RawUpstream:
    """`play` answers each request; it may hang up. `closed` counts connections that have ended."""

    def __init__(self, play: Play = echo) -> None:
        self.play = play
        self.heard: list[Heard] = []
        self.ends: list[FarEnd] = []
        self.closed = self.playing = 0
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, claim: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not claim():
                self._news.clear()
                await self._news.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        end = FarEnd(reader, writer, len(self.ends))
        self.ends.append(end)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    heard = await _request(end)
                    self.heard.append(heard)
                    self._news.set()
                    self.playing += 1
                    try:
                        await self.play(heard, end)
                    finally:
                        self.playing -= 1
                    await writer.drain()
        finally:
            self._tasks.discard(task)
            self.closed += 1
            self._news.set()
            writer.close()


async def _request(end: FarEnd) -> Heard:
    """Raises IncompleteReadError where the connection ends before."""
    head, body = await end.reader.readuntil(b"\r\n\r\n"), b""
    if b"\r\ntransfer-encoding: chunked\r\n" in head.lower():
        while size := int(await end.reader.readuntil(b"\r\n"), 16):
            body += (await end.reader.readexactly(size + 2))[:-2]
        await end.reader.readexactly(2)
    elif found := _LENGTH.search(head):
        body = await end.reader.readexactly(int(found[1]))
    return Heard(head, body, end.number)


# --- callers


@dataclass(frozen=True, slots=True)
class Told:
    """One answer, its body without framing. `is_whole`: it ended as its framing promised."""

    status: int
    head: bytes = field(repr=False)
    body: bytes
    is_whole: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of an error in OpenAI's form."""
        return str(self.json["error"]["code"])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").strip().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@dataclass(slots=True)
class Caller:
    """One connection to the daemon."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, *pieces: bytes) -> None:
        """Each arrives by itself."""
        for piece in pieces:
            self.writer.write(piece)
            await until_heard()

    async def told(self) -> Told:
        """The next answer that is not an interim one. Raises IncompleteReadError where none comes."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status < 200:
            return await self.told()
        body, is_whole = b"", True
        try:
            if b"\r\ntransfer-encoding: chunked\r\n" in head.lower():
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readexactly(2)
            elif found := _LENGTH.search(head):
                body = await self.reader.readexactly(int(found[1]))
        except (asyncio.IncompleteReadError, ConnectionError) as early:
            body, is_whole = body + getattr(early, "partial", b""), False
        return Told(status, head, body, is_whole)

    async def rest(self) -> bytes:
        """All that comes until the connection ends."""
        said = b""
        with contextlib.suppress(ConnectionError):
            while piece := await self.reader.read(65_536):
                said += piece
        return said

    async def all_told(self) -> list[Told]:
        """Every answer until the connection ends."""
        answers = []
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                answers.append(await self.told())
        return answers

    def reset(self) -> None:
        _reset(self.writer)


async def until_heard() -> None:
    """Both ends are on this event loop, and loopback is quick: what was written has been read some turns later."""
    for _ in range(5):
        await asyncio.sleep(0)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def head(*lines: str, token: str = CALLERS["anna"], first: str = "POST /v1/chat/completions HTTP/1.1") -> bytes:
    """A head whose every line is given; without a length."""
    return "\r\n".join([first, "Host: x", f"Authorization: Bearer {token}", JSON, *lines, "", ""]).encode("latin-1")


def chat(word: str) -> bytes:
    return json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": word}]}).encode()


def post(body: bytes, *lines: str, token: str = CALLERS["anna"]) -> bytes:
    return head(*lines, f"Content-Length: {len(body)}", token=token) + body


# --- the daemon between them


@dataclass(slots=True)
class House:
    place: several.Place
    upstream: RawUpstream
    written: dict[str, Any]

    @contextlib.asynccontextmanager
    async def caller(self) -> AsyncIterator[Caller]:
        async with asyncio.timeout(20):
            port = int(self.place.daemon.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
            try:
                yield Caller(reader, writer)
            finally:
                writer.close()

    async def asked(self, *pieces: bytes) -> Told:
        async with self.caller() as caller:
            await caller.say(*pieces)
            return await caller.told()

    def reload(self, **proxy: Any) -> None:
        self.written["proxy"] |= proxy
        self.place.reload(self.written)

    @property
    def is_busy(self) -> bool:
        """Whether a key is held, or an answer is being played."""
        return self.upstream.playing > 0 or any(view.in_flight for view in self.place.daemon.pool.snapshot())

    async def nobody_holds_a_key(self) -> None:
        async with asyncio.timeout(5):
            while self.is_busy:
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def house(
    folder: Path,
    play: Play = echo,
    *,
    fast_lane: bool,
    keys: int = 1,
    callers: Sequence[Mapping[str, Any]] | None = None,
    upstream: Mapping[str, Any] | None = None,
    raw: RawUpstream | None = None,
    **proxy: Any,
) -> AsyncIterator[House]:
    """A daemon with its own upstream, which plays what it is told to; keys are called k1, k2 … and their secrets sk-k1, …"""
    raw = raw or RawUpstream(play)
    given = callers or [{"name": name, "token": token} for name, token in CALLERS.items()]
    async with raw.listening() as url:
        written = several.document(
            {"openai": {"base_url": url, **(upstream or {})}},
            [several.key(f"k{number + 1}", "openai") for number in range(keys)],
            callers=given,
            **proxy,
        )
        written["server"]["fast_lane"] = fast_lane
        async with several.serving(folder, written) as place:
            yield House(place, raw, written)
