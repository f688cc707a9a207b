"""One exchange on its connection: bytes both ways, who holds up whom, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest

from proxy.wire.connection import AT_ONCE, NotSent
from proxy.wire.exchange import MOST_WAITING, Exchange, Lost
from proxy.wire.pool import WirePool
from tests.proxy.wire.conftest import CHUNKED, OK, Far, FarEnd, a_request, answered, ask, asked

SOON, MEGABYTE = 0.05, 1 << 20
BUFFERS = 24 * MEGABYTE  # what the kernel's buffers of a connection over loopback take by themselves, and then some


async def begun(wires: WirePool, far: Far, *said: bytes) -> tuple[Exchange, FarEnd]:
    """An exchange whose request has arrived; and that much of its answer."""
    exchange = await asked(wires, far.upstream())
    end = await far.end()
    await end.heard()
    await end.heard(2)
    end.say(*said)
    return exchange, end


async def test_what_is_written_is_what_was_asked_and_what_is_read_is_what_was_said(wires: WirePool, far: Far) -> None:
    connection = await wires.towards(far.upstream())
    url = f"http://127.0.0.1:{far.port}/v1/things?a=%2F"
    made = a_request("POST", url, [("Authorization", "Bearer sk-1"), ("X-Odd", "é\udcff")], 4)
    exchange = connection.send(made, b"body", idle_seconds=5)
    end = await far.end()
    assert await end.heard() == (
        b"POST /v1/things?a=%%2F HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer sk-1\r\n"
        b"X-Odd: \xc3\xa9\xff\r\nContent-Length: 4\r\n\r\n" % far.port
    )
    assert await end.heard(4) == b"body"
    end.say(b"HTTP/1.1 418 Teapot\r\nX-A: b\r\nContent-Length: 3\r\n\r\n\x00\xff\n")
    head = await exchange.head(5)
    assert (head.status, head.headers) == (418, [("X-A", "b"), ("Content-Length", "3")])
    assert await exchange.read(5) == b"\x00\xff\n"
    assert await exchange.read(5) == b""
    exchange.close()


async def test_a_body_too_large_for_one_write_arrives_byte_for_byte(wires: WirePool, far: Far) -> None:
    body = bytes(range(256)) * (5 * AT_ONCE // 256) + b"odd"
    exchange = await asked(wires, far.upstream(), body=body)
    end = await far.end()
    await end.heard()
    assert await end.heard(len(body)) == body
    end.say(OK)
    assert await answered(exchange) == (200, b"ok")
    await ask(wires, far, end=end)


async def streamed(
    wires: WirePool, far: Far, pieces: AsyncGenerator[bytes], length: int | None, idle: float = 5.0
) -> Exchange:
    connection = await wires.towards(far.upstream())
    return connection.send(a_request("POST", f"{far.upstream().base_url}/x", [], length), pieces, idle_seconds=idle)


async def these(*pieces: bytes) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


async def test_a_body_of_unknown_length_goes_out_in_chunks_and_an_empty_piece_is_none(
    wires: WirePool, far: Far
) -> None:
    exchange = await streamed(wires, far, these(b"one", b"", b"x" * 16), None)
    end = await far.end()
    assert b"Transfer-Encoding: chunked\r\n" in await end.heard()
    wire = b"3\r\none\r\n10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n"
    assert await end.heard(len(wire)) == wire
    end.say(OK)
    assert await answered(exchange) == (200, b"ok")
    await ask(wires, far, end=end)


@pytest.mark.parametrize("pieces", [(b"abc",), (b"abcd", b"ef"), ()], ids=["shorter", "longer", "nothing"])
async def test_a_body_of_another_length_than_was_said_is_broken_off(
    wires: WirePool, far: Far, pieces: tuple[bytes, ...]
) -> None:
    """What is beyond the length would be the beginning of the next request."""
    exchange = await streamed(wires, far, these(*pieces), 5)
    with pytest.raises(Lost):
        await exchange.head(5)
    end = await far.end()
    await end.heard()
    rest = await end.reader.read(-1)
    assert len(rest) < 5
    exchange.close()


async def test_a_body_that_fails_is_broken_off_before_its_end(wires: WirePool, far: Far) -> None:
    async def failing() -> AsyncGenerator[bytes]:
        yield b"some"
        raise LookupError

    exchange = await streamed(wires, far, failing(), None)
    with pytest.raises(Lost):
        await exchange.head(5)
    end = await far.end()
    await end.heard()
    assert b"0\r\n\r\n" not in await end.reader.read(-1)


async def test_an_answer_before_the_end_of_the_request_ends_the_request(wires: WirePool, far: Far) -> None:
    closed, never = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncGenerator[bytes]:
        try:
            yield b"some"
            await never.wait()
        finally:
            closed.set()

    exchange = await streamed(wires, far, endless(), None)
    end = await far.end()
    await end.heard()
    await end.heard(len(b"4\r\nsome\r\n"))
    end.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    assert await answered(exchange) == (413, b"no")
    async with asyncio.timeout(5):
        await closed.wait()
    assert await end.has_ended()


# --- who holds up whom


async def test_an_answer_that_is_not_taken_is_not_read_and_then_arrives_whole(wires: WirePool, far: Far) -> None:
    size = 64 * MEGABYTE
    exchange, end = await begun(wires, far, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    await exchange.head(5)
    written = 0

    async def write() -> None:
        nonlocal written
        while written < size:
            end.say(bytes(MEGABYTE))
            await end.writer.drain()
            written += MEGABYTE

    writing = asyncio.ensure_future(write())
    await asyncio.wait([writing], timeout=0.3)
    assert 0 < written < BUFFERS
    taken = 0
    while piece := await exchange.read(5):
        taken += len(piece)
        assert len(piece) <= MOST_WAITING + MEGABYTE
    await writing
    assert taken == size
    await ask(wires, far, end=end)


async def test_a_connection_whose_answer_was_held_up_still_hears_that_it_has_ended(wires: WirePool, far: Far) -> None:
    size = 8 * MOST_WAITING
    exchange, end = await begun(wires, far, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, bytes(size))
    await exchange.head(5)
    await end.writer.drain()
    assert await answered(exchange) == (200, bytes(size))
    idle = await wires.towards(far.upstream())
    assert (idle.is_open, far.count) == (True, 1)
    end.hang_up()
    async with asyncio.timeout(5):
        while idle.is_open:
            await asyncio.sleep(0)


async def test_a_body_that_is_not_taken_is_not_asked_for_and_then_arrives_whole(wires: WirePool, far: Far) -> None:
    asked_for = 0

    async def pieces() -> AsyncGenerator[bytes]:
        nonlocal asked_for
        for _ in range(64):
            asked_for += 1
            yield bytes(MEGABYTE)

    exchange = await streamed(wires, far, pieces(), 64 * MEGABYTE)
    end = await far.end()
    await end.heard()
    head = asyncio.ensure_future(exchange.head(5))
    await asyncio.wait([head], timeout=0.3)
    assert 0 < asked_for < BUFFERS // MEGABYTE
    for _ in range(64):
        await end.heard(MEGABYTE)
    end.say(OK)
    assert (await head).status == 200
    assert await answered(exchange) == (200, b"ok")


async def test_an_upstream_that_takes_nothing_for_too_long_loses_the_request(wires: WirePool, far: Far) -> None:
    exchange = await streamed(wires, far, these(*[bytes(MEGABYTE)] * 64), 64 * MEGABYTE, idle=SOON)
    with pytest.raises(Lost):
        await exchange.head(5)
    assert await (await far.end()).has_ended()


# --- how it ends


async def test_the_wait_for_a_head_begins_when_the_request_has_gone_out(wires: WirePool, far: Far) -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncGenerator[bytes]:
        yield b"a"
        await go_on.wait()
        yield b"b"

    exchange = await streamed(wires, far, slow(), 2)
    waiting = asyncio.ensure_future(exchange.head(SOON))
    await asyncio.wait([waiting], timeout=4 * SOON)
    assert not waiting.done()
    go_on.set()
    with pytest.raises(TimeoutError):
        await waiting
    exchange.close()
    assert await (await far.end()).has_ended()


async def test_silence_is_told_within_its_time_and_what_comes_later_may_still_be_taken(
    wires: WirePool, far: Far
) -> None:
    """A stream whose first event is held for a while goes on when the hold ends."""
    exchange, end = await begun(wires, far)
    with pytest.raises(TimeoutError):
        await exchange.head(SOON)
    end.say(CHUNKED, b"2\r\nok\r\n")
    await exchange.head(600)
    assert await exchange.read(300) == b"ok"
    for seconds in (SOON, 0.0):
        async with asyncio.timeout(5):
            with pytest.raises(TimeoutError):
                await exchange.read(seconds)
    end.say(b"2\r\nno\r\n0\r\n\r\n")
    assert await answered(exchange) == (200, b"no")


@dataclass(slots=True)
class Hand:
    """A connection that the test moves. `done` is what it was told of its exchange's end."""

    done_with: list[bool] = field(default_factory=list)
    exchange: Exchange | None = None

    def ring_at(self, due: float) -> None:
        if self.exchange is not None:
            asyncio.get_running_loop().call_at(due, self.exchange.rang)

    def hold_up(self, *, is_held: bool) -> None: ...

    def done(self, *, is_reusable: bool) -> None:
        self.done_with.append(is_reusable)


@pytest.mark.parametrize("is_broken", [True, False], ids=["it breaks HTTP", "its connection ends"])
async def test_what_came_is_given_before_what_went_wrong(is_broken: bool) -> None:
    hand = Hand()
    exchange = Exchange(hand, "POST", asyncio.get_running_loop())
    exchange.came(CHUNKED + b"2\r\nok\r\n")
    exchange.came(b"4\r\nmore\r\n")
    if is_broken:
        exchange.came(b"no chunk\r\n")
    else:
        exchange.ended(is_in_order=True)
    assert (await exchange.head(5)).status == 200
    assert await exchange.read(5) == b"okmore"
    for _ in range(2):
        with pytest.raises(Lost):
            await exchange.read(5)
    exchange.close()
    assert hand.done_with == [False]


async def test_a_line_that_is_not_whole_ends_no_silence() -> None:
    """Else an upstream could keep a caller for as long as a chunk's line may be, a byte at a time."""
    hand = Hand()
    exchange = hand.exchange = Exchange(hand, "POST", asyncio.get_running_loop())
    exchange.came(CHUNKED)
    waiting = asyncio.ensure_future(exchange.read(2 * SOON))
    for byte in (b"1", b"0", b";", b"a", b"=", b"b"):
        await asyncio.wait([waiting], timeout=SOON)
        exchange.came(byte)
    assert waiting.done()
    with pytest.raises(TimeoutError):
        await waiting
    exchange.close()


@pytest.mark.parametrize("how", ["hang_up", "reset"])
async def test_an_answer_that_never_begins_is_lost_when_the_connection_ends(
    wires: WirePool, far: Far, how: str
) -> None:
    exchange, end = await begun(wires, far)
    getattr(end, how)()
    with pytest.raises(Lost):
        await exchange.head(5)


async def test_a_head_with_what_breaks_http_right_behind_it_is_no_answer(wires: WirePool, far: Far) -> None:
    exchange, end = await begun(wires, far, CHUNKED + b"no chunk\r\n")
    with pytest.raises(Lost):
        await exchange.head(5)
    assert await end.has_ended()


async def test_a_body_may_end_with_the_connection_but_not_with_its_reset(wires: WirePool, far: Far) -> None:
    exchange, end = await begun(wires, far, b"HTTP/1.1 200 OK\r\n\r\nsome")
    await exchange.head(5)
    end.hang_up()
    assert await answered(exchange) == (200, b"some")
    exchange, end = await begun(wires, far, b"HTTP/1.1 200 OK\r\n\r\nsome")
    await exchange.head(5)
    assert await exchange.read(5) == b"some"
    end.reset()
    with pytest.raises(Lost):
        await exchange.read(5)


async def test_whoever_leaves_while_it_waits_has_its_connection_closed(wires: WirePool, far: Far) -> None:
    exchange, end = await begun(wires, far)
    waiting = asyncio.ensure_future(exchange.head(600))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    exchange.close()
    assert await end.has_ended()


async def test_a_connection_takes_one_request_at_a_time(wires: WirePool, far: Far) -> None:
    connection = await wires.towards(far.upstream())
    sent = a_request("GET", f"{far.upstream().base_url}/x", [], 0)
    exchange = connection.send(sent, b"", idle_seconds=5)
    with pytest.raises(NotSent):
        connection.send(sent, b"", idle_seconds=5)
    exchange.close()


async def test_what_is_said_before_anything_was_asked_is_no_answer(wires: WirePool, far: Far) -> None:
    connection = await wires.towards(far.upstream())
    end = await far.end()
    end.say(OK)
    assert await end.has_ended()
    with pytest.raises(NotSent):
        connection.send(a_request("GET", f"{far.upstream().base_url}/x", [], 0), b"", idle_seconds=5)


async def test_nothing_of_a_request_is_in_what_is_shown_of_a_connection(wires: WirePool, far: Far) -> None:
    connection = await wires.towards(far.upstream())
    made = a_request("POST", f"{far.upstream().base_url}/x", [("Authorization", "Bearer sk-secret")], 0)
    exchange = connection.send(made, b"", idle_seconds=5)
    assert "secret" not in f"{connection!r} {exchange!r} {made!r}"
    exchange.close()
