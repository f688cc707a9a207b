"""Both ends of a connection: a pool that asks, and a far end that the test plays byte by byte."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from proxy.key import Upstream
from proxy.wire.dial import Dialer, Resuming, verified
from proxy.wire.exchange import Exchange
from proxy.wire.pool import WirePool
from proxy.wire.request import Request, opening, request
from tests.pem import Authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test here on both loops that the daemon runs on."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if sys.platform != "win32":
        import uvloop

        loops["uvloop"] = uvloop.new_event_loop
    return loops


@dataclass(slots=True)
class FarEnd:
    """The other end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def heard(self, size: int | None = None) -> bytes:
        """The next head, or so many bytes."""
        async with asyncio.timeout(5):
            return await (self.reader.readuntil(b"\r\n\r\n") if size is None else self.reader.readexactly(size))

    async def has_ended(self) -> bool:
        """Once what was still on its way is read."""
        async with asyncio.timeout(5):
            try:
                while await self.reader.read(1 << 20):
                    pass
            except ConnectionError:
                pass
        return True

    def say(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    def hang_up(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def cut_off(self) -> None:
        """As somebody on the way would: the connection ends, and TLS has said no goodbye."""
        with socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno())) as own:
            own.shutdown(socket.SHUT_WR)

    @property
    def tls(self) -> ssl.SSLObject:
        found = self.writer.get_extra_info("ssl_object")
        assert isinstance(found, ssl.SSLObject)
        return found


@dataclass(slots=True)
class Far:
    """Whom the connections lead to. `ends` are those made and not taken yet, in their order."""

    port: int
    is_tls: bool
    ends: asyncio.Queue[FarEnd] = field(default_factory=asyncio.Queue)
    count: int = 0

    def upstream(self, host: str = "127.0.0.1", **settings: float) -> Upstream:
        return Upstream("far", f"http{'s' if self.is_tls else ''}://{host}:{self.port}/v1", **settings)  # type: ignore[arg-type]

    async def end(self) -> FarEnd:
        async with asyncio.timeout(5):
            return await self.ends.get()


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1") -> AsyncIterator[Far]:
    far, writers = Far(0, tls is not None), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far.count += 1
        writers.append(writer)
        far.ends.put_nowait(FarEnd(reader, writer))

    server = await asyncio.start_server(serve, host, 0, ssl=tls)
    far.port = server.sockets[0].getsockname()[1]
    async with server:
        yield far
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    async with listening() as far:
        yield far


@pytest.fixture
async def wires() -> AsyncIterator[WirePool]:
    async with WirePool() as wires:
        yield wires


def a_request(method: str, url: str, headers: list[tuple[str, str]], length: int | None) -> Request:
    return request(method, opening(method, url, ()), headers, length)


async def asked(
    wires: WirePool, upstream: Upstream, *, method: str = "POST", body: bytes = b"{}", **sending: float
) -> Exchange:
    connection = await wires.towards(upstream)
    sent = a_request(method, f"{upstream.base_url}/x", [], len(body))
    return connection.send(sent, body, **{"idle_seconds": 5.0, **sending})


async def answered(exchange: Exchange) -> tuple[int, bytes]:
    head, body = await exchange.head(5), b""
    while piece := await exchange.read(5):
        body += piece
    exchange.close()
    return head.status, body


async def ask(wires: WirePool, far: Far, answer: bytes = OK, end: FarEnd | None = None) -> FarEnd:
    """A whole exchange, on the far end's connection that is given, or else on a new one."""
    exchange = await asked(wires, far.upstream())
    end = end or await far.end()
    await end.heard()
    await end.heard(2)
    end.say(answer)
    status, _ = await answered(exchange)
    assert status == 200
    return end


# --- TLS


@dataclass(frozen=True, slots=True)
class Papers:
    """The far end's context, with a certificate for localhost and 127.0.0.1, and who vouches for it."""

    server: ssl.SSLContext
    authority: Authority

    def dialer(self) -> Dialer:
        """One that trusts the authority."""
        vouching = b"".join(self.authority.trust().get_ca_certs(binary_form=True))

        def trusting() -> Resuming:
            context = verified()
            context.load_verify_locations(cadata=vouching)
            return context

        return Dialer(trusting)


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    authority, server = Authority(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.write(tmp_path_factory.mktemp("papers")))
    server.set_alpn_protocols(["h2", "http/1.1"])
    return Papers(server, authority)
