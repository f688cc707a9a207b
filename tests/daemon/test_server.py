import asyncio
import contextlib
import errno
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from daemon.errors import error_middleware
from daemon.loop_faults import QUIET_SECONDS, LoopFaults
from daemon.server import CannotListen, Limits, serving

ROOT = Path(__file__).parents[2]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_AND_CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

FEW_FILES = """
import asyncio, resource, sys
from aiohttp import web
from daemon.server import Limits, serving

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

async def main():
    async with serving(web.Application(), ["127.0.0.1:0"], Limits()) as (name,):
        print(name, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"{request.remote} {request.scheme}", headers={"Content-Type": "text/plain"})


def app_of(handler: Callable[[web.Request], Awaitable[web.StreamResponse]] = hello) -> web.Application:
    app = web.Application(middlewares=[error_middleware])
    app.router.add_route("*", "/{rest:.*}", handler)
    return app


async def connected(name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if name.startswith("unix:"):
        return await asyncio.open_unix_connection(name.removeprefix("unix:"))
    host, _, port = name.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))


async def converse(name: str, sent: bytes, *, until_closed: bool = True) -> bytes:
    """The answer, or only its head where the connection may stay open."""
    reader, writer = await connected(name)
    try:
        async with asyncio.timeout(10):
            writer.write(sent)
            return await (reader.read() if until_closed else reader.readuntil(b"\r\n\r\n"))
    finally:
        writer.close()


async def has_closed(name: str) -> None:
    """Returns when nobody listens there any more; each connection before that is accepted."""
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            (await connected(name))[1].close()


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200),
        (b"GET /%00/../%2e HTTP/1.1\r\nHost: a\r\n\r\n", 200),  # whether it means anything is its handler's question
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a\x7fb HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xe4\xbd\xa0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 200 + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"x" * 8000 + b"\r\n") * 3 + b"\r\n", 431),
    ],
)
async def test_a_request_is_plain_http_or_refused(request_head: bytes, status: int) -> None:
    async with serving(app_of(), ["127.0.0.1:0"], Limits(), drain_seconds=0) as (name,):
        answer = await converse(name, request_head, until_closed=status != 200)
    assert int(answer.split()[1]) == status


@pytest.mark.parametrize(
    ("trusted", "headers", "seen"),
    [
        ([], "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n", "127.0.0.1 http"),
        (["127.0.0.0/8"], "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n", "203.0.113.9 https"),
        (["127.0.0.0/8"], "X-Forwarded-Proto: gopher\r\n", "127.0.0.1 http"),
        (["127.0.0.0/8"], "", "127.0.0.1 http"),
    ],
)
async def test_a_trusted_proxy_says_who_calls_and_by_which_scheme(trusted: list[str], headers: str, seen: str) -> None:
    proxies = [ip_network(network) for network in trusted]
    async with serving(app_of(), ["127.0.0.1:0"], Limits(), trusted_proxies=proxies, drain_seconds=0) as (name,):
        answer = await converse(name, f"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n".encode())
    assert answer.endswith(b"\r\n\r\n" + seen.encode())


async def test_every_address_serves_and_a_unix_sockets_file_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    async with serving(app_of(), [f"unix:{path}", "[::1]:0"], Limits(), drain_seconds=0) as names:
        answers = [await converse(name, GET_AND_CLOSE) for name in names]
        assert path.is_socket()
    assert [answer.split()[1] for answer in answers] == [b"200", b"200"]
    assert not path.exists()


async def test_an_address_in_use_ends_the_start_and_the_application_is_cleaned_up() -> None:
    cleaned = []

    async def resource(app: web.Application) -> AsyncIterator[None]:
        yield
        cleaned.append(True)

    app = app_of()
    app.cleanup_ctx.append(resource)
    async with serving(app_of(), ["127.0.0.1:0"], Limits()) as (name,):
        with pytest.raises(CannotListen, match="another program listens there"):
            async with serving(app, [name], Limits()):
                pass
    assert cleaned == [True]


@contextlib.asynccontextmanager
async def stoppable(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], drain_seconds: float
) -> AsyncIterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """The address, and what stops the server."""
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(20):
        (name,) = await stack.enter_async_context(
            serving(app_of(handler), ["127.0.0.1:0"], Limits(), drain_seconds=drain_seconds)
        )
        yield name, stack.aclose


async def test_a_running_request_is_answered_to_its_end_and_its_connection_closed() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def think(request: web.Request) -> web.Response:
        begun.set()
        await may_end.wait()
        return web.Response(text="thought")

    async with stoppable(think, drain_seconds=10) as (name, stop):
        reader, writer = await connected(name)
        writer.write(GET)
        await begun.wait()
        stopping = asyncio.ensure_future(stop())
        await has_closed(name)
        assert not stopping.done()
        may_end.set()
        assert (await reader.read()).endswith(b"\r\n\r\nthought")
        await stopping
        writer.close()


async def test_a_request_that_outlasts_the_drain_is_cancelled_and_can_end_honestly() -> None:
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

    async with stoppable(never_ends, drain_seconds=0.1) as (name, stop):
        reader, writer = await connected(name)
        writer.write(GET)
        await reader.readuntil(b"begun ")
        with capture_logs() as logs:
            await stop()
        rest = await reader.read()
        writer.close()
    assert b"cut off" in rest
    assert not rest.endswith(b"0\r\n\r\n"), "a stream that was cut must not look complete"
    assert logs == [{"event": "server.stopped", "cancelled": 1, "log_level": "info"}]


async def test_a_request_on_a_connection_that_was_already_open_is_answered_with_close() -> None:
    async with stoppable(hello, drain_seconds=10) as (name, stop):
        unread, idle = await connected(name), await connected(name)
        idle[1].write(GET)
        await idle[0].readuntil(b"127.0.0.1 http")
        stopping = asyncio.ensure_future(stop())
        await has_closed(name)
        for reader, writer in (unread, idle):
            writer.write(GET)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert b"Connection: close" in answer
            writer.close()
        await stopping


async def test_idle_connections_do_not_hold_up_the_stop() -> None:
    async with stoppable(hello, drain_seconds=3600) as (name, stop):
        reader, writer = await connected(name)
        writer.write(GET)
        await reader.readuntil(b"127.0.0.1 http")
        await stop()
        assert await reader.read() == b""
        writer.close()


async def answered_and_refused() -> list[bytes]:
    heads = [GET_AND_CLOSE, b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\n"]
    async with serving(app_of(), ["127.0.0.1:0"], Limits(head_seconds=0.2), drain_seconds=0) as (name,):
        return [(await converse(name, head)).split()[1] for head in heads]


def test_uvloop_makes_no_difference() -> None:
    import uvloop  # locked for every platform but Windows: where it is missing the test must fail

    assert uvloop.run(answered_and_refused()) == asyncio.run(answered_and_refused()) == [b"200", b"400", b"408"]


def test_with_few_files_the_server_takes_fewer_callers_and_stays_quiet() -> None:
    """64 files are enough for 12 callers; 60 come at once, and the log does not grow with them."""

    async def crowd(name: str) -> tuple[list[bytes], bytes]:
        callers = [await connected(name) for _ in range(60)]
        turned_away = [await reader.read() for reader, _ in callers[12:]]
        for _, writer in callers:
            writer.close()
        while (answer := await converse(name, GET_AND_CLOSE)).startswith(b"HTTP/1.1 503"):
            pass  # until the server has seen them leave
        return turned_away, answer

    with subprocess.Popen(
        [sys.executable, "-c", FEW_FILES], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(3)]
        turned_away, answer = asyncio.run(crowd(lines[-1].strip()))
        server.stdin.close()
        rest = server.stdout.read()
    assert {words.split()[1] for words in turned_away} == {b"503"}
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert "connections.lowered" in lines[0]
    assert len(rest.splitlines()) == 1, rest


def test_a_fault_of_the_event_loop_is_told_once_in_a_while_and_without_words() -> None:
    now = 0.0
    faults = LoopFaults(lambda: now)
    loop: Any = None
    out_of_files = {"message": "socket.accept() out of system resource", "exception": OSError(errno.EMFILE, "words")}
    with capture_logs() as logs:
        for _ in range(100):
            faults(loop, out_of_files)
        faults(loop, {"message": "Exception in callback f('words')", "exception": ValueError("words")})
        faults(loop, {"message": "Task was destroyed but it is pending!"})
        now = QUIET_SECONDS
        faults(loop, out_of_files)
    assert [(log["error"], log["errno"]) for log in logs] == [
        ("OSError", "EMFILE"),
        ("ValueError", None),
        ("Task was destroyed but it is pending!", None),
        ("OSError", "EMFILE"),
    ]
    assert "words" not in str(logs)


@pytest.mark.parametrize(
    "asked",
    [
        GET,
        b"GET /# HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"no request\r\n\r\n",
    ],
    ids=["the application's", "one refused before it", "a proxy's", "none"],
)
async def test_no_answer_says_which_version_of_what_gives_it(asked: bytes) -> None:
    """Only those of the application did not; others named the versions of Python and aiohttp."""

    async with serving(app_of(), ["127.0.0.1:0"], Limits()) as (name,):
        said = await converse(name, asked, until_closed=False)
    assert said.startswith(b"HTTP/1.")
    assert b"server:" not in said.lower()
