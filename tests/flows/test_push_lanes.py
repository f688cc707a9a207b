"""WeChat's pushes by the door and by the lane behind it: nobody can tell, and none is lost at the end."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from bot.wechat.delivery import MAX_BODY_BYTES, End, Way
from daemon.addresses import Network
from daemon.demo.envelope import Account, signed
from daemon.demo.steps import Answer
from daemon.server import Limits, serving
from tests.flows import daemon_bench
from tests.flows.daemon_bench import path_of, town
from tests.nobodys import nobodys_house

ACCOUNT = Account()
NUMBERS = itertools.count(1)
OF_ITS_MOMENT = re.compile(rb"Date: [^\r]+\r\n|<CreateTime>\d+|o-\d{5}|msgmenuid=\w+")


def push(
    text: str = "帮助",
    *more: str,
    timestamp: int | None = None,
    path: str = path_of(ACCOUNT),
    version: str = "1.1",
    query: str = "",
) -> bytes:
    number = next(NUMBERS)
    fields: dict[str, str | int] = {
        "FromUserName": f"o-{number:05}",
        "MsgType": "text",
        "Content": text,
        "MsgId": number,
    }
    made = signed(ACCOUNT, fields, timestamp=timestamp or int(time.time()), nonce="1", random=b"")
    asked = "&".join([f"{name}={value}" for name, value in made.query.items()]) + query
    lines = [f"POST {path}?{asked} HTTP/{version}", "Host: x", *more, f"Content-Length: {len(made.body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + made.body


def chunked(data: bytes) -> bytes:
    head, _, body = data.partition(b"\r\n\r\n")
    head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
    return b"%b\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body)


def without_a_body(data: bytes) -> bytes:
    return re.sub(rb"Content-Length: \d+\r\n\r\n.*", b"Content-Length: 0\r\n\r\n", data, flags=re.DOTALL)


def last() -> bytes:
    return push("帮助", "Connection: close")


SAID: dict[str, Callable[[], bytes]] = {
    "words at once": lambda: push("帮助"),
    "a question": lambda: push("一加一等于几？"),
    "a wrong signature": lambda: push().replace(b"signature=", b"signature=0"),
    "no signature": lambda: push().replace(b"signature=", b"signed="),
    "an old timestamp": lambda: push(timestamp=1),
    "a parameter that comes twice": lambda: push(query="&nonce=1"),
    "an escape in the query": lambda: push(query="&a=%20"),
    "a query that is empty": lambda: re.sub(rb"\?[^ ]+", b"?", push()),
    "no query": lambda: re.sub(rb"\?[^ ]+", b"", push()),
    "another path": lambda: push(path="/wechat/other"),
    "a path that is escaped": lambda: push(path=path_of(ACCOUNT).replace("w", "%77")),
    "a body that is no push": lambda: re.sub(rb"<xml>.*</xml>", lambda found: b"x" * len(found[0]), push()),
    "a body of no bytes": lambda: without_a_body(push()),
    "a body that is larger than any push": lambda: push("x" * MAX_BODY_BYTES),
    "a body in chunks": lambda: chunked(push()),
    "several at once": lambda: push() + push("一加一等于几？") + push(),
    "HTTP/1.0": lambda: push(version="1.0"),
    "HTTP/1.2": lambda: push(version="1.2"),
    "a name that stands twice": lambda: push("帮助", "X-A: 1", "x-a: 2"),
    "two lengths": lambda: push("帮助", "Content-Length: 1"),
    "a lone line feed in the head": lambda: push("帮助", "X-A: 1\nX-B: 2"),
    "an expectation": lambda: push("帮助", "Expect: 100-continue"),
    "another method": lambda: push().replace(b"POST", b"PUT"),
    "a head that is too large": lambda: push("帮助", "X-A: " + "a" * 20_000),
    "a head of too many lines": lambda: push("帮助", *(f"X-{number}: {'a' * 1_000}" for number in range(20))),
}


async def heard(port: int, pieces: Iterable[bytes]) -> bytes:
    """All that is answered until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20):
            with suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    for _ in range(3):  # both ends are on this event loop
                        await asyncio.sleep(0)
            return OF_ITS_MOMENT.sub(b"", await reader.read())
    finally:
        writer.close()


@asynccontextmanager
async def both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[int, int]]:
    """The ports of two daemons, the first with the fast lane."""
    for name in ("door", "aiohttp"):
        (folder / name).mkdir()
    async with town(folder / "door", {"sk-1": [Answer()]}, [ACCOUNT]) as first:
        monkeypatch.setattr(daemon_bench, "FAST_LANE", False)
        async with town(folder / "aiohttp", {"sk-1": [Answer()]}, [ACCOUNT]) as second:
            yield port_of(first.daemon.url), port_of(second.daemon.url)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def test_a_push_has_the_same_answer_by_either_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with both(tmp_path, monkeypatch) as ports:
        for name, said in SAID.items():
            door, other = [await heard(port, [said() + last()]) for port in ports]
            assert door == other, name
            assert door.startswith(b"HTTP/1."), name


async def test_a_push_that_comes_in_two_pieces_is_answered_wherever_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with both(tmp_path, monkeypatch) as (door, _):
        whole = await heard(door, [push() + last()])
        for at in range(1, len(push())):
            data = push()
            assert await heard(door, [data[:at], data[at:] + last()]) == whole, at


# --- the door alone


class Told:
    """Where pushes go; `answers` is what becomes of each."""

    def __init__(self, answers: Callable[[Way, bytes], Awaitable[End]]) -> None:
        self.answers = answers
        self.heard: list[tuple[list[tuple[str, str]], bytes, str]] = []
        self.begun = asyncio.Event()
        self.left = asyncio.Event()

    async def receive(self, way: Way, query: Iterable[tuple[str, str]], body: bytes, address: str) -> End:
        self.heard.append((list(query), body, address))
        self.begun.set()
        try:
            return await self.answers(way, body)
        except asyncio.CancelledError:
            self.left.set()
            raise


@asynccontextmanager
async def door(told: Told, *trusted: Network, drain_seconds: float = 0.2) -> AsyncIterator[int]:
    app = web.Application()
    async with serving(
        app,
        ["127.0.0.1:0"],
        Limits(),
        trusted_proxies=trusted,
        fast_lane=nobodys_house(),
        pushes={path_of(ACCOUNT): told},
        drain_seconds=drain_seconds,
    ) as (name,):
        yield port_of(name)


async def echo(way: Way, body: bytes) -> End:
    await way.write(body, "text/plain", now=0)
    return End.ANSWERED


async def never(way: Way, body: bytes) -> End:
    await asyncio.Event().wait()
    return End.SILENT


def of(body: bytes, *lines: str) -> bytes:
    return (
        "\r\n".join(
            [f"POST {path_of(ACCOUNT)}?a=1 HTTP/1.1", "Host: x", *lines, f"Content-Length: {len(body)}", "", ""]
        ).encode()
        + body
    )


def answered(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def test_plain_pushes_are_served_by_the_door_one_after_the_other() -> None:
    told = Told(echo)
    async with door(told) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(of(b"one") + of(b"two")[:-1])
        said = await reader.readuntil(b"one")
        writer.write(b"o")
        said += await reader.readuntil(b"two")
        assert OF_ITS_MOMENT.sub(b"", said) == answered(b"one") + answered(b"two")
        writer.close()
    assert [body for _, body, _ in told.heard] == [b"one", b"two"]


async def test_whoever_leaves_ends_its_delivery_at_once() -> None:
    told = Told(never)
    async with door(told) as port, asyncio.timeout(5):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(of(b"one"))
        await told.begun.wait()
        writer.close()
        await told.left.wait()


async def test_what_is_pipelined_behind_a_push_waits_and_is_bounded() -> None:
    goes_on = asyncio.Event()

    async def waits(way: Way, body: bytes) -> End:
        await goes_on.wait()
        return await echo(way, body)

    told, body = Told(waits), b"x" * 60_000
    async with door(told) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(100):  # 6 MB, of which neither the kernel nor the door takes all
            writer.write(of(body))
        await told.begun.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await writer.drain()
        assert len(told.heard) == 1
        goes_on.set()
        for _ in range(100):
            assert await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(body)) == body
        writer.close()


async def test_at_the_end_a_push_that_is_held_is_cut_off() -> None:
    told = Told(never)
    async with door(told) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(of(b"one"))
        await told.begun.wait()
    assert told.left.is_set()
    assert await reader.read() == b""
    writer.close()


async def test_an_answer_at_the_end_says_that_it_is_the_last() -> None:
    ends = asyncio.Event()

    async def at_the_end(way: Way, body: bytes) -> End:
        await ends.wait()
        return await echo(way, body)

    told = Told(at_the_end)
    async with door(told, drain_seconds=5.0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(of(b"one"))
        await told.begun.wait()
        asyncio.get_running_loop().call_later(0.05, ends.set)
    said = await reader.read()
    assert b"\r\nConnection: close\r\n" in said
    assert said.endswith(b"one")
    writer.close()


async def test_silence_closes_the_connection_without_a_byte() -> None:
    async def silent(way: Way, body: bytes) -> End:
        return End.SILENT

    async with door(Told(silent)) as port:
        assert await heard(port, [of(b"one")]) == b""


async def test_what_breaks_is_told_as_everywhere_and_without_words() -> None:
    async def breaks(way: Way, body: bytes) -> End:
        raise KeyError("a user's words")

    async with door(Told(breaks)) as port:
        with capture_logs() as events:
            said = await heard(port, [of(b"one")])
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"\r\nConnection: close" in head
    assert body == b"500: internal error\n"
    assert [event["event"] for event in events if event["log_level"] == "error"] == ["request.crashed"]
    assert "words" not in str(events)


async def test_what_breaks_behind_its_answer_breaks_the_connection_off() -> None:
    async def breaks(way: Way, body: bytes) -> End:
        await echo(way, body)
        raise KeyError("a user's words")

    async with door(Told(breaks)) as port:
        with capture_logs():
            assert b"500" not in await heard(port, [of(b"one")])


@pytest.mark.parametrize(("trusted", "address"), [((), "127.0.0.1"), (("127.0.0.0/8",), "192.0.2.1")])
async def test_whose_a_push_is_says_a_proxy_that_is_trusted(trusted: Iterator[str], address: str) -> None:
    told = Told(echo)
    async with door(told, *map(ip_network, trusted)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(of(b"one", "X-Forwarded-For: 198.51.100.1, 192.0.2.1"))
        await reader.readuntil(b"one")
        writer.close()
    assert told.heard == [([("a", "1")], b"one", address)]
