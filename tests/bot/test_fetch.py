"""A picture from a host that may be hostile: what is taken, what is refused, and that a refusal comes at once."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bot.fetch import SENTENCES, CannotFetch, Fetch, Trouble, wechat_hosts
from bot.picture import Picture
from daemon.session import open_public_session

GIF = b"GIF89a\1\0\1\0\0\0\0\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0\x3b"
OK = b"HTTP/1.1 200 OK\r\n"
PLAIN = OK + b"Content-Length: %d\r\n\r\n" % len(GIF) + GIF
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

Play = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Host:
    """Plays the same on every connection, once. `heads` are the requests, `left` has an event for each connection's end."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/mmbiz_jpg/a%2Fb/%30/../0?sig=se%2bcret%7e"
        self.heads: list[bytes] = []
        self.left: list[asyncio.Event] = []

    def is_this(self, name: str, port: int) -> bool:
        return (name, port) == ("127.0.0.1", self.port)


@contextlib.asynccontextmanager
async def host(play: bytes | Play) -> AsyncIterator[Host]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.left.append(left := asyncio.Event())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            here.heads.append(await reader.readuntil(b"\r\n\r\n"))
            if isinstance(play, bytes):
                writer.write(play)
            else:
                await play(writer)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    here = Host(server.sockets[0].getsockname()[1])
    async with server:
        yield here
        async with asyncio.timeout(5):  # a connection that is kept for nothing is seen here
            for left in here.left:
                await left.wait()


async def fetched(here: Host, **limits: Any) -> Picture:
    async with open_public_session(allow_loopback=True) as session:
        return await Fetch(session, allows=here.is_this, **limits)(here.url)


async def refused(play: bytes | Play, **limits: Any) -> Trouble:
    async with host(play) as here:
        with pytest.raises(CannotFetch) as caught:
            await fetched(here, **limits)
        assert caught.value.__cause__ is None
        return caught.value.reason


async def test_a_picture_comes_with_its_kind_whatever_the_header_calls_it() -> None:
    async with host(OK + b"Content-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(GIF) + GIF) as here:
        assert await fetched(here) == Picture("gif", GIF)


@pytest.mark.parametrize(
    "answer",
    [
        PLAIN,
        CHUNKED + b"%x\r\n" % len(GIF) + GIF + b"\r\n0\r\n\r\n",
        OK + b"Content-Encoding: identity\r\nContent-Length: %d\r\n\r\n" % len(GIF) + GIF,
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + PLAIN,
    ],
)
async def test_a_picture_is_taken_however_it_is_framed(answer: bytes) -> None:
    async with host(answer) as here:
        assert await fetched(here, most_bytes=len(GIF)) == Picture("gif", GIF)


async def test_the_address_is_asked_for_letter_by_letter_and_nothing_is_told_but_what_is_wanted() -> None:
    async with host(PLAIN) as here:
        await fetched(here)
        lines = here.heads[0].decode().split("\r\n")
        assert lines[0] == "GET /mmbiz_jpg/a%2Fb/%30/../0?sig=se%2bcret%7e HTTP/1.1"
        assert {line.partition(":")[0] for line in lines[1:] if line} == {"Host", "Accept", "Accept-Encoding"}
        assert "Accept-Encoding: identity" in lines


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", Trouble.REDIRECT),
        (b"HTTP/1.1 301 Moved\r\nLocation: https://mmbiz.qpic.cn/\r\nContent-Length: 0\r\n\r\n", Trouble.REDIRECT),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(GIF) + GIF, Trouble.STATUS),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: %d\r\n\r\n" % len(GIF) + GIF, Trouble.STATUS),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Trouble.STATUS),
        (OK + b"Content-Type: image/png\r\nContent-Length: 6\r\n\r\n<html>", Trouble.NO_PICTURE),
        (OK + b"Content-Length: 0\r\n\r\n", Trouble.NO_PICTURE),
        (OK + b"Content-Length: 2000000000\r\n\r\n" + GIF, Trouble.TOO_LARGE),
        (OK + b"Content-Length: -1\r\n\r\n", Trouble.UNREACHABLE),
        (OK + b"A: " + b"b" * 20_000 + b"\r\n\r\n", Trouble.UNREACHABLE),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Trouble.UNREACHABLE),
        (CHUNKED + b"zz\r\n", Trouble.UNREACHABLE),
    ],
)
async def test_what_is_not_a_picture_from_that_very_place_is_refused(answer: bytes, reason: Trouble) -> None:
    assert await refused(answer) is reason


async def test_an_answer_that_breaks_off_is_no_picture() -> None:
    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 100\r\n\r\n" + GIF)
        writer.write_eof()

    assert await refused(play) is Trouble.UNREACHABLE


async def test_a_host_that_is_not_there_is_told_as_such() -> None:
    async with host(PLAIN) as here:
        pass
    with pytest.raises(CannotFetch) as caught:
        await fetched(here)
    assert caught.value.reason is Trouble.UNREACHABLE


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"GZIP", b"br", b"identity, gzip"])
async def test_a_bomb_is_not_unpacked(encoding: bytes) -> None:
    bomb = gzip.compress(bytes(8_000_000)) if b"gz" in encoding.lower() else zlib.compress(bytes(8_000_000))
    head = OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(bomb))
    assert await refused(head + bomb) is Trouble.PACKED


async def test_a_body_without_an_end_is_left_as_soon_as_it_is_too_large() -> None:
    sent = 0

    async def play(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(CHUNKED)
        while True:
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            sent += 0x10000
            await writer.drain()

    assert await refused(play, most_bytes=1_000_000) is Trouble.TOO_LARGE
    assert sent < 20_000_000, "what was in flight, not what a host can send in fifteen seconds"


async def test_a_body_until_the_end_of_the_connection_is_bounded_as_well() -> None:
    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\n" + GIF[:-1])
        while True:
            writer.write(bytes(0x10000))
            await writer.drain()

    assert await refused(play, most_bytes=100_000) is Trouble.TOO_LARGE


async def drip_the_head(writer: asyncio.StreamWriter) -> None:
    writer.write(OK)
    while True:
        writer.write(b"A: b\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drip_the_body(writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b"Content-Length: 100\r\n\r\n")
    while True:
        writer.write(b"G")
        await writer.drain()
        await asyncio.sleep(0.02)


async def say_nothing(writer: asyncio.StreamWriter) -> None:
    pass


async def hint_for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("play", [drip_the_head, drip_the_body, say_nothing, hint_for_ever])
async def test_a_slow_host_is_left_when_the_time_is_up(play: Play) -> None:
    started = time.monotonic()
    assert await refused(play, seconds=0.3) is Trouble.TOO_SLOW
    assert time.monotonic() - started < 3


async def test_whoever_gives_up_leaves_no_connection() -> None:
    async with host(say_nothing) as here:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fetched(here), 0.2)


async def test_a_connection_with_an_unwanted_rest_is_not_used_again() -> None:
    async with host(OK + b"Content-Length: 2000000000\r\n\r\n" + PLAIN) as here:
        async with open_public_session(allow_loopback=True) as session:
            fetch = Fetch(session, allows=here.is_this)
            for _ in range(2):
                with pytest.raises(CannotFetch, match="too large"):
                    await fetch(here.url)
        assert len(here.heads) == 2


ANY = pytest.mark.parametrize(
    "url",
    [
        "",
        "mmbiz.qpic.cn/a.png",
        "//mmbiz.qpic.cn/a.png",
        "ftp://mmbiz.qpic.cn/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "gopher://mmbiz.qpic.cn/",
        "http:/mmbiz.qpic.cn/",
        "http://",
        "http://user@mmbiz.qpic.cn/",
        "http://user:word@mmbiz.qpic.cn/",
        "http://@mmbiz.qpic.cn/",
        "http://127.0.0.1\\@mmbiz.qpic.cn/",
        "http://mmbiz.qpic.cn\\.evil.test/",
        "http://127.0.0.1#.qpic.cn/",
        "http://mmbiz.qpic.cn:/",
        "http://mmbiz.qpic.cn:99999/",
        "http://mmbiz.qpic.cn:1e3/",
        "http://a..qpic.cn/",
        "http://.qpic.cn/",
        f"http://{'a' * 64}.qpic.cn/",
        "http://mmbiz%2eqpic.cn/",
        "http://mmbiz。qpic。cn/",
        "http://ｍmbiz.qpic.cn/",
        "http://mmbiz.qpic.cn/图",
        "http://mmbiz.qpic.cn/a b",
        "http://mmbiz.qpic.cn/\r\nX: y",
        "http://mmbiz.qpic.cn/\n",
        " http://mmbiz.qpic.cn/",
        "http://mmbiz.qpic.cn/\t",
        "http://[::1/",
        "http://[....]/",
        f"http://mmbiz.qpic.cn/{'a' * 5000}",
    ],
)


@ANY
async def test_what_is_no_plain_web_address_is_refused_before_anybody_is_asked(url: str) -> None:
    def nobody(name: str, port: int) -> bool:
        raise AssertionError(name)

    async with open_public_session() as session:
        with pytest.raises(CannotFetch) as caught:
            await Fetch(session, allows=nobody)(url)
    assert caught.value.reason is Trouble.ADDRESS


@pytest.mark.parametrize(
    ("url", "name", "port"),
    [
        ("http://MMBIZ.qpic.cn/a", "mmbiz.qpic.cn", 80),
        ("HTTPS://mmbiz.qpic.cn/a", "mmbiz.qpic.cn", 443),
        ("http://mmbiz.qpic.cn:443?a", "mmbiz.qpic.cn", 443),
        ("https://mmbiz.qpic.cn:8443", "mmbiz.qpic.cn", 8443),
        ("https://mmbiz.qpic.cn:0/", "mmbiz.qpic.cn", 0),
        ("http://0x7f.1/", "0x7f.1", 80),
        ("http://[::ffff:7f00:1]/", "::ffff:7f00:1", 80),
    ],
)
async def test_whoever_allows_hosts_is_asked_for_the_one_that_would_be_connected_to(
    url: str, name: str, port: int
) -> None:
    asked: list[tuple[str, int]] = []

    def nowhere(name: str, port: int) -> bool:
        asked.append((name, port))
        return False

    async with open_public_session() as session:
        with pytest.raises(CannotFetch) as caught:
            await Fetch(session, allows=nowhere)(url)
    assert asked == [(name, port)]
    assert caught.value.reason is Trouble.HOST


@pytest.mark.parametrize(
    "name", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254"]
)
async def test_a_host_that_is_allowed_by_name_is_still_no_inner_one(name: str) -> None:
    async with host(PLAIN) as here, open_public_session() as session:
        with pytest.raises(CannotFetch) as caught:
            await Fetch(session, allows=lambda *_: True)(f"http://{name}:{here.port}/")
        assert caught.value.reason is Trouble.NOT_PUBLIC
        assert here.heads == []


@pytest.mark.parametrize("name", ["mmbiz.qpic.cn", "a.b.qpic.cn", "thirdwx.qlogo.cn", "wx.qlogo.cn"])
def test_wechat_keeps_pictures_in_two_domains(name: str) -> None:
    assert wechat_hosts(name, 80)
    assert wechat_hosts(name, 443)
    assert not wechat_hosts(name, 8080)


@pytest.mark.parametrize(
    "name",
    [
        "qpic.cn",
        "evilqpic.cn",
        "mmbiz.qpic.cn.evil.test",
        "mmbiz.qpic.cn:8080",
        "mmbiz.qpic.cn.",
        "qpic.com",
        "127.0.0.1",
        "",
    ],
)
def test_what_only_looks_like_wechat_is_not(name: str) -> None:
    assert not wechat_hosts(name, 80)


async def test_an_error_says_why_and_does_not_name_the_address() -> None:
    assert SENTENCES.keys() == set(Trouble)
    async with host(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as here:
        with pytest.raises(CannotFetch) as caught:
            await fetched(here)
    assert str(caught.value) == "the picture's host answered without the picture"
    assert not {"secret", "127.0.0.1"} & set(repr(caught.value).split())
