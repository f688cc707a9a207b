import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, ip_network

import pytest
from aiohttp import ClientSession, web
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from daemon.connections import Connections, Limits
from daemon.errors import error_middleware
from daemon.server import serving

SOON = 0.2  # seconds; the limit under test
NEVER = 3600.0  # seconds; every other limit
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LOOSE = Limits(head_seconds=NEVER, body_idle_seconds=NEVER)


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


@asynccontextmanager
async def port_of(
    limits: Limits, handler: Callable[[web.Request], Awaitable[web.StreamResponse]] = echo
) -> AsyncIterator[int]:
    app = web.Application(middlewares=[error_middleware])
    app.router.add_route("*", "/{rest:.*}", handler)
    async with serving(app, ["127.0.0.1:0"], limits, drain_seconds=0) as (name,):
        yield int(name.rpartition(":")[2])


async def converse(port: int, *pieces: bytes, until: bytes | None = None) -> bytes:
    """What came back until the server closed, or until `until` came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(10):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await (reader.readuntil(until) if until else reader.read())
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ((), b""),
        ((b"GET / HT",), b"HTTP/1.1 408 Request Timeout"),
        ((b"GET / HTTP/1.1\r\nHost: a\r\n",), b"HTTP/1.1 408 Request Timeout"),
    ],
)
async def test_a_head_that_is_not_whole_in_time_ends_the_connection(pieces: Iterable[bytes], answer: bytes) -> None:
    async with port_of(Limits(head_seconds=SOON, body_idle_seconds=NEVER)) as port:
        assert (await converse(port, *pieces)).partition(b"\r\n")[0] == answer


async def test_a_head_that_drips_has_no_more_time_than_another() -> None:
    async with port_of(Limits(head_seconds=SOON)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = asyncio.ensure_future(reader.read())
        async with asyncio.timeout(10):
            writer.write(b"GET / HTTP/1.1\r\nX: ")
            while not answer.done():
                writer.write(b"x")
                await asyncio.wait([answer], timeout=SOON / 10)
        assert answer.result().startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_bytes_that_nobody_has_read_do_not_take_the_last_word_with_them() -> None:
    """The loop is held up until two things are due: one more byte is sent, and time is up before anybody can read it."""
    loop = asyncio.get_running_loop()
    async with port_of(Limits(head_seconds=SOON)) as port:
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.setblocking(False)
            loop.call_later(SOON * 0.5, time.sleep, SOON)
            loop.call_later(SOON * 0.9, caller.send, b"x")
            caller.send(b"GET / HT")
            answer = b""
            async with asyncio.timeout(10):
                while piece := await loop.sock_recv(caller, 1000):
                    answer += piece
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_caller_who_was_refused_and_drips_on_is_listened_to_for_a_moment_only() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(SOON / 10)  # a slow caller is what this is about

    async with port_of(Limits(head_seconds=SOON)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(drip(writer), 10)
        writer.close()


async def test_the_second_head_on_a_connection_has_its_own_time() -> None:
    async with port_of(Limits(head_seconds=SOON)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(GET[:10])
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_connection_that_waits_between_requests_is_not_held_to_the_time_of_a_head() -> None:
    async with port_of(Limits(head_seconds=SOON)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        assert await converse(port) == b"", "a silent connection that came later has been closed meanwhile"
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        writer.close()


@pytest.mark.parametrize("ending", [b"", b"\r\n"], ids=["endless", "whole"])
async def test_a_head_above_the_limit_is_431(ending: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: yyyyyyyyyyyyyyyyyyyy\r\n" * 50
    async with port_of(Limits(head_bytes=1000, head_seconds=NEVER)) as port:
        assert (await converse(port, head + ending)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_body_is_not_counted_as_a_head_however_it_is_cut(size: int) -> None:
    body = b"b" * 5000
    whole = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + body
    closing = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    sent = whole * 2 + closing
    pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
    async with port_of(Limits(head_bytes=200, head_seconds=NEVER)) as port:
        answers = await converse(port, *pieces)
    assert (answers.count(b"HTTP/1.1 200 OK"), answers.count(body)) == (3, 2)


async def test_a_body_that_stops_coming_is_408() -> None:
    async with port_of(Limits(head_seconds=NEVER, body_idle_seconds=SOON)) as port:
        answer = await converse(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", b"ab")
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_slow_body_that_keeps_coming_is_read_to_its_end() -> None:
    """The pieces come well within the limit each, and all together beyond it."""
    limit, pieces = 0.6, 6
    async with port_of(Limits(body_idle_seconds=limit)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % pieces)
        for _ in range(pieces):
            await asyncio.sleep(limit / 4)  # a slow caller is what this is about
            writer.write(b"x")
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"x" * pieces)).startswith(b"HTTP/1.1 200 OK")
        writer.close()


async def test_a_caller_is_not_blamed_for_a_handler_that_reads_late() -> None:
    may_read = asyncio.Event()

    async def read_late(request: web.Request) -> web.Response:
        await may_read.wait()
        return web.Response(text=str(len(await request.read())))

    async with port_of(Limits(head_seconds=SOON * 2, body_idle_seconds=SOON), read_late) as port:
        size = 1_000_000  # beyond what the server's buffers take
        sent = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size + b"b" * size
        answer = asyncio.ensure_future(converse(port, sent))
        await converse(port)  # closed for its silence, after twice the time of a body
        may_read.set()
        assert (await answer).endswith(b"\r\n\r\n1000000")


async def test_a_head_that_waits_behind_a_request_does_not_end_that_request() -> None:
    begun, may_answer = asyncio.Event(), asyncio.Event()

    async def think(request: web.Request) -> web.Response:
        begun.set()
        await may_answer.wait()
        return web.Response(text="thought")

    async with port_of(Limits(head_seconds=SOON), think) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await begun.wait()
        writer.write(GET[:10])
        for _ in range(2):
            await converse(port)  # closed for its silence, after the time of a head
        may_answer.set()
        assert b"thought" in await reader.read()
        writer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
async def test_a_caller_that_reads_nothing_is_let_go() -> None:
    gone = asyncio.Event()

    async def pour(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"x" * 65536)
        finally:
            gone.set()

    async with port_of(Limits(body_idle_seconds=SOON), pour) as port:
        with socket.socket() as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.connect(("127.0.0.1", port))
            caller.sendall(GET)
            async with asyncio.timeout(10):
                await gone.wait()


async def test_a_caller_who_leaves_cancels_the_handler() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def think(request: web.Request) -> web.Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with port_of(LOOSE, think) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        async with asyncio.timeout(5):
            await begun.wait()
            writer.close()
            await cancelled.wait()


async def test_one_connection_too_many_hears_503_until_another_leaves() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with port_of(Limits(connections=1)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request.replace(b"Connection: close\r\n", b""))
        await reader.readuntil(b"\r\n\r\n")
        assert (await converse(port)).startswith(b"HTTP/1.1 503 ")
        assert (await converse(port, request)).startswith(b"HTTP/1.1 503 ")
        writer.write(request)
        await reader.read()  # until the server has closed
        writer.close()
        assert (await converse(port, request)).startswith(b"HTTP/1.1 200 OK")


async def test_no_way_to_leave_keeps_a_place() -> None:
    async with port_of(Limits(connections=20)) as port:
        for way in range(300):
            with socket.create_connection(("127.0.0.1", port)) as caller:
                caller.sendall((b"", GET[:10], GET, b"nonsense\r\n\r\n")[way % 4])
                if way % 3 == 0:  # leave with a reset
                    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if way % 10 == 9:
                await converse(port, b"GET / HTTP/1.0\r\n\r\n")  # the server has seen those before
        answers = await asyncio.gather(*(converse(port, GET, until=b"\r\n\r\n") for _ in range(20)))
    assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}


async def test_a_websocket_is_held_to_none_of_these_limits() -> None:
    async def chat(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(str(len(message.data)))
        return socket

    tight = Limits(head_bytes=1000, head_seconds=SOON, body_idle_seconds=SOON)
    async with (
        port_of(tight, chat) as port,
        ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}/") as peer,
    ):
        await converse(port)  # closed for its silence, after the time of a head
        for _ in range(3):
            await peer.send_str("x" * 5000)
            assert await peer.receive_str(timeout=5) == "5000"


async def test_what_aiohttp_cannot_parse_is_no_news() -> None:
    with capture_logs() as logs:
        async with port_of(LOOSE) as port:
            for nonsense in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"):
                assert (await converse(port, nonsense)).startswith(b"HTTP/1.0 400 ")
    assert {log["event"] for log in logs} == {"server.started", "server.stopped"}


def test_an_address_has_its_share_and_no_more() -> None:
    connections = Connections(10, 2)
    assert [connections.admit("203.0.113.9") for _ in range(3)] == [True, True, False]
    assert connections.admit("203.0.113.10")
    connections.leave("203.0.113.9")
    assert connections.admit("203.0.113.9")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "", "10.1.2.3"])
def test_loopback_unix_sockets_and_exempt_networks_share_the_whole(address: str) -> None:
    connections = Connections(10, 2, {ip_network("10.0.0.0/8")})
    assert [connections.admit(address) for _ in range(11)] == [True] * 10 + [False]


def test_a_network_becomes_exempt_while_we_run() -> None:
    exempt: set[IPv4Network] = set()
    connections = Connections(10, 1, exempt)
    assert [connections.admit("203.0.113.9") for _ in range(2)] == [True, False]
    exempt.add(IPv4Network("203.0.113.9"))
    assert connections.admit("203.0.113.9")


@given(st.lists(st.sampled_from(["203.0.113.9", "203.0.113.10", "127.0.0.1", ""])))
def test_whoever_was_admitted_and_left_has_left_no_trace(addresses: list[str]) -> None:
    connections = Connections(5, 2)
    inside = [address for address in addresses if connections.admit(address)]
    assert len(connections) == len(inside) <= 5
    for address in inside:
        connections.leave(address)
    assert len(connections) == 0
    assert connections.admit("203.0.113.9")
