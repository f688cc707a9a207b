"""
Stands between the daemon and its model: passes on what both say, or spoils it.

Rule 1: the model's answer is fetched whole before a byte of it goes on. So a fault is only what is done with good bytes, and
        whatever gets through all the same is the right answer.
Rule 2: every request that arrives here is counted by the name of its question: it has cost something.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

from bench.faults.books import named_in

REUSE_SECONDS = 5.0  # for the port to be free again
Fault = Callable[["Reply"], Awaitable[None]]


@dataclass(slots=True)
class Reply:
    """One answer on its way to the daemon: `answer` are its bytes, the `number`th that the relay was asked for."""

    answer: bytes = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)
    number: int

    @property
    def head(self) -> bytes:
        head, blank, _ = self.answer.partition(b"\r\n\r\n")
        return head + blank

    @property
    def body(self) -> bytes:
        return self.answer.partition(b"\r\n\r\n")[2]

    async def write(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionError
        self.writer.write(data)
        await self.writer.drain()

    async def hold(self) -> None:
        """Until the other end has gone, or the relay closes."""
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        # Linger of zero seconds: closing sends RST instead of FIN.
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def faithful(reply: Reply) -> None:
    await reply.write(reply.answer)


@dataclass(slots=True)
class Relay:
    """`async with Relay(port_of_the_model) as relay:` listens until the block ends. `tls` makes a server's context anew."""

    model: int
    tls: ssl.SSLContext | None = None
    fault: Fault = faithful
    asked: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Nobody listens then, and whoever was connected is cut off."""
        if self._server is not None:
            self._server.close()
        self.cut_off()

    def cut_off(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while request := await _request(reader):
                    self.asked[named_in(request.decode(errors="replace"))] += 1
                    number = self.asked.total()
                    answer = await self._answer(request)
                    await self.fault(Reply(answer, writer, number))
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.model)
        with contextlib.closing(writer):
            head, blank, body = request.partition(b"\r\n\r\n")
            writer.write(head + b"\r\nConnection: close" + blank + body)
            return await reader.read()


async def _request(reader: asyncio.StreamReader) -> bytes:
    """The next one, head and body; b"" when no more come. All bodies here have a length."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    return head + await reader.readexactly(int(length or 0))
