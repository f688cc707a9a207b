"""TLS on the listeners, on both event loops that the daemon runs on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import inspect
import io
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import ClientSession, web
from structlog.testing import capture_logs

from daemon.certificate import Certificate
from daemon.connections import Connections
from daemon.errors import error_middleware
from daemon.listeners import CannotListen
from daemon.server import Limits, serving
from daemon.tls import Handshakes
from tests.pem import Authority

SOON = 0.2  # seconds; the limit under test
NEVER = 3600.0  # seconds; every other limit
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_AND_CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
AUTHORITY = Authority()
TRUST = AUTHORITY.trust()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def on_both_loops(test: Callable[..., Any]) -> Callable[..., None]:
    """The test twice: on asyncio's own loop, and on uvloop."""

    @pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
    @functools.wraps(test)
    def both(run: Callable[[Any], None], **given: Any) -> None:
        async def within_time() -> None:
            async with asyncio.timeout(20):
                await test(**given)

        run(within_time())

    parameters = inspect.signature(test).parameters.values()
    run = inspect.Parameter("run", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    both.__signature__ = inspect.Signature([run, *parameters])  # type: ignore[attr-defined]
    return both


async def echo(request: web.Request) -> web.Response:
    text = f"{request.scheme} {request.remote}"
    return web.Response(body=await request.read() or text.encode())


@contextlib.asynccontextmanager
async def secure(
    folder: Path, handler: Handler = echo, *, limits: Limits | None = None, drain_seconds: float = 0
) -> AsyncIterator[int]:
    """The port of a server with the certificate in `folder`."""
    app = web.Application(middlewares=[error_middleware], client_max_size=1 << 30)
    app.router.add_route("*", "/{rest:.*}", handler)
    tls = Certificate(*AUTHORITY.write(folder)).context
    async with serving(app, ["127.0.0.1:0"], limits or Limits(), tls=tls, drain_seconds=drain_seconds) as (name,):
        yield int(name.rpartition(":")[2])


async def connected(port: int, context: ssl.SSLContext | None = TRUST) -> Pipe:
    """Over TLS; with None, over TCP alone."""
    return await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="server.test" if context else None
    )


async def converse(port: int, *pieces: bytes, context: ssl.SSLContext | None = TRUST) -> bytes:
    """What came back until the server closed."""
    reader, writer = await connected(port, context)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await rest_of(reader)
    finally:
        writer.close()


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Whether the end of a connection comes as an end or as a reset is the kernel's chance."""
    read = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            read += piece
    return read


def hello() -> bytes:
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = TRUST.wrap_bio(incoming, outgoing, server_hostname="server.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@on_both_loops
async def test_a_request_over_tls_knows_that_it_is_https(tmp_path: Path) -> None:
    async with secure(tmp_path) as port:
        assert (await converse(port, GET_AND_CLOSE)).endswith(b"\r\n\r\nhttps 127.0.0.1")


@on_both_loops
async def test_tls_is_of_today_and_carries_http_1_1(tmp_path: Path) -> None:
    async with secure(tmp_path) as port:
        _, writer = await connected(port)
        spoken = writer.get_extra_info("ssl_object")
        assert (spoken.version(), spoken.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        writer.close()

        of_2008 = AUTHORITY.trust()
        of_2008.maximum_version = ssl.TLSVersion.TLSv1_2
        assert b"https" in await converse(port, GET_AND_CLOSE, context=of_2008)

        of_2006 = AUTHORITY.trust()
        of_2006.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            of_2006.minimum_version = of_2006.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connected(port, of_2006)


@on_both_loops
async def test_unix_sockets_stay_plain(tmp_path: Path) -> None:
    app = web.Application()
    app.router.add_get("/", echo)
    tls = Certificate(*AUTHORITY.write(tmp_path)).context
    async with serving(app, [f"unix:{tmp_path}/http.sock", "127.0.0.1:0"], Limits(), tls=tls, drain_seconds=0) as names:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "http.sock"))
        writer.write(GET_AND_CLOSE)
        assert (await reader.read()).endswith(b"\r\n\r\nhttp ")
        writer.close()
        assert b"https" in await converse(int(names[1].rpartition(":")[2]), GET_AND_CLOSE)


@on_both_loops
async def test_port_80_stays_plain_beside_others(tmp_path: Path) -> None:
    app = web.Application()
    app.router.add_get("/", echo)
    tls = Certificate(*AUTHORITY.write(tmp_path)).context
    try:
        async with serving(app, ["127.77.80.1:80", "127.0.0.1:0"], Limits(), tls=tls, drain_seconds=0) as names:
            reader, writer = await asyncio.open_connection("127.77.80.1", 80)
            writer.write(GET_AND_CLOSE)
            assert (await reader.read()).endswith(b"\r\n\r\nhttp 127.0.0.1")
            writer.close()
            assert b"https" in await converse(int(names[1].rpartition(":")[2]), GET_AND_CLOSE)
    except CannotListen as refused:
        pytest.skip(str(refused))


async def test_a_certificate_that_no_listener_can_use_is_told(tmp_path: Path) -> None:
    tls = Certificate(*AUTHORITY.write(tmp_path)).context
    with capture_logs() as logs:
        async with serving(web.Application(), [f"unix:{tmp_path}/http.sock"], Limits(), tls=tls, drain_seconds=0):
            pass
    assert "certificate.unused" in [log["event"] for log in logs]


@on_both_loops
@pytest.mark.parametrize("pieces", [(), (hello()[:50],)], ids=["silent", "half a greeting"])
async def test_a_handshake_that_is_not_done_in_time_ends_the_connection(
    tmp_path: Path, pieces: tuple[bytes, ...]
) -> None:
    limits = Limits(head_seconds=SOON, body_idle_seconds=NEVER)
    async with secure(tmp_path, limits=limits) as port:
        assert await converse(port, *pieces, context=None) == b""


@on_both_loops
async def test_who_shook_hands_has_as_much_time_for_a_head_as_others(tmp_path: Path) -> None:
    async with secure(tmp_path, limits=Limits(head_bytes=1000, head_seconds=SOON, body_idle_seconds=SOON)) as port:
        post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
        sent = ((), (b"GET / HT",), (b"GET /", b"x" * 1000), (post, b"ab"))
        answers = await asyncio.gather(*(converse(port, *pieces) for pieces in sent))
    assert [answer[:12] for answer in answers] == [b"", b"HTTP/1.1 408", b"HTTP/1.1 431", b"HTTP/1.1 408"]


@on_both_loops
async def test_whoever_speaks_anything_else_is_closed_without_news(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with secure(tmp_path) as port:
            for nonsense in (GET, b"\x16\x03\x01\x00\x04\xff\xff\xff\xff", b"\x00" * 600):
                assert not (await converse(port, nonsense, context=None)).startswith(b"HTTP")
            stranger = ssl.create_default_context()
            with pytest.raises(ssl.SSLError):
                await connected(port, stranger)
    told = {log["event"] for log in logs if log["log_level"] != "debug"}
    assert told == {"server.started", "server.stopped"}
    assert next(log["why"] for log in logs if log["event"] == "handshake.failed") == "HTTP_REQUEST"


@on_both_loops
async def test_a_caller_counts_before_the_handshake_and_one_too_many_is_closed(tmp_path: Path) -> None:
    async with secure(tmp_path, limits=Limits(connections=1)) as port:
        _, silent = await connected(port, None)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connected(port)
        silent.close()
        reader, writer = await admitted(port)
        writer.write(GET_AND_CLOSE)
        assert b"200 OK" in await rest_of(reader)
        writer.close()


async def admitted(port: int) -> Pipe:
    """Returns when there is room for one more."""
    while True:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            return await connected(port)


@on_both_loops
async def test_no_way_to_leave_keeps_a_place(tmp_path: Path) -> None:
    async with secure(tmp_path, limits=Limits(connections=20)) as port:
        for way in range(120):
            with socket.create_connection(("127.0.0.1", port)) as caller:
                if way % 2:
                    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leave with a reset
                if (piece := (b"", hello()[:50], hello(), GET)[way // 2 % 4]) and way % 3:
                    caller.sendall(piece)
            if way % 10 == 9:
                _, writer = await admitted(port)  # the server has seen those before
                writer.transport.abort()
                writer.close()
        pipes = [await admitted(port) for _ in range(20)]
        for _, writer in pipes:
            writer.write(GET_AND_CLOSE)
        answers = [await rest_of(reader) for reader, _ in pipes]
        for _, writer in pipes:
            writer.close()
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 200"}


@on_both_loops
async def test_much_comes_and_goes_whole(tmp_path: Path) -> None:
    body = bytes(range(256)) * 20_000
    async with secure(tmp_path) as port, ClientSession() as session:
        for _ in range(2):
            async with session.post(f"https://127.0.0.1:{port}/", data=io.BytesIO(body), ssl=TRUST) as answer:
                assert await answer.read() == body


@on_both_loops
async def test_a_caller_who_leaves_cancels_the_handler(tmp_path: Path) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def think(request: web.Request) -> web.Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with secure(tmp_path, think) as port:
        _, writer = await connected(port)
        writer.write(GET)
        await begun.wait()
        writer.close()
        await cancelled.wait()


@on_both_loops
async def test_a_new_certificate_is_for_new_handshakes_and_what_is_open_stays(tmp_path: Path) -> None:
    certificate = Certificate(*AUTHORITY.write(tmp_path))
    app = web.Application()
    app.router.add_get("/", echo)
    async with serving(app, ["127.0.0.1:0"], Limits(), tls=certificate.context, drain_seconds=0) as (name,):
        port = int(name.rpartition(":")[2])
        old, new = await connected(port), None
        AUTHORITY.write(tmp_path)
        await certificate.refresh()
        new = await connected(port)
        serials = [writer.get_extra_info("peercert")["serialNumber"] for _, writer in (old, new)]
        assert serials[0] != serials[1]
        for reader, writer in (old, new):
            writer.write(GET_AND_CLOSE)
            assert (await rest_of(reader)).startswith(b"HTTP/1.1 200 OK")
            writer.close()


@contextlib.asynccontextmanager
async def stoppable(
    folder: Path, handler: Handler, drain_seconds: float, limits: Limits | None = None
) -> AsyncIterator[tuple[int, Callable[[], Awaitable[None]]]]:
    """The port, and what stops the server."""
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(secure(folder, handler, limits=limits, drain_seconds=drain_seconds))
        yield port, stack.aclose


async def has_closed(port: int) -> None:
    """Returns when nobody listens there any more."""
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            (await connected(port, None))[1].close()


@on_both_loops
async def test_what_was_accepted_before_the_stop_is_answered(tmp_path: Path) -> None:
    """One is in the middle of a request, one has shaken hands, and one has only connected."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def think(request: web.Request) -> web.Response:
        if request.path == "/slow":
            begun.set()
            await may_end.wait()
        return web.Response(text="thought")

    async with stoppable(tmp_path, think, drain_seconds=10) as (port, stop):
        running, shaken = await connected(port), await connected(port)
        raw = socket.create_connection(("127.0.0.1", port))
        running[1].write(GET.replace(b"/ ", b"/slow ", 1))
        await begun.wait()

        stopping = asyncio.ensure_future(stop())
        await has_closed(port)
        late = await asyncio.open_connection(sock=raw, ssl=TRUST, server_hostname="server.test")
        for reader, writer in (shaken, late):
            writer.write(GET)
            assert b"Connection: close" in (answer := await rest_of(reader))
            assert answer.endswith(b"\r\n\r\nthought")
            writer.close()
        assert not stopping.done()
        may_end.set()
        assert (await rest_of(running[0])).endswith(b"\r\n\r\nthought")
        running[1].close()
        await stopping


@on_both_loops
async def test_a_stream_that_outlasts_the_drain_ends_honestly(tmp_path: Path) -> None:
    async def never_ends(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            await answer.write(b"begun ")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await answer.write(b"cut off")
            raise
        raise AssertionError

    async with stoppable(tmp_path, never_ends, drain_seconds=0.1) as (port, stop):
        reader, writer = await connected(port)
        writer.write(GET)
        await reader.readuntil(b"begun ")
        await stop()
        rest = await rest_of(reader)
        writer.close()
    assert b"cut off" in rest
    assert not rest.endswith(b"0\r\n\r\n"), "a stream that was cut must not look complete"


@on_both_loops
async def test_a_handshake_that_never_ends_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    async with stoppable(tmp_path, echo, drain_seconds=0, limits=Limits(head_seconds=NEVER)) as (port, stop):
        reader, writer = await connected(port, None)
        writer.write(hello()[:50])
        await writer.drain()
        await stop()
        assert await rest_of(reader) == b""
        writer.close()


class Reluctant(socket.socket):
    """A listener on a machine that is out of files for its first caller."""

    tries = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.tries += 1
        if self.tries == 1:
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


async def test_out_of_files_the_listener_rests_and_the_caller_waits(tmp_path: Path) -> None:
    faults: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    tls = Certificate(*AUTHORITY.write(tmp_path)).context
    connections = Connections(0, 0)  # whoever is accepted is closed at once, which is all there is to see
    with Reluctant() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        begun = loop.time()
        async with Handshakes(connections, unreachable, tls, NEVER) as handshakes:
            handshakes.open([listener])
            assert await converse(listener.getsockname()[1], context=None) == b""
            assert loop.time() - begun > 0.9
            handshakes.shut()
    assert listener.tries == 3, "refused, accepted, and found empty"
    assert [type(fault["exception"]) for fault in faults] == [OSError]


def unreachable(address: str) -> Any:
    raise AssertionError(address)
