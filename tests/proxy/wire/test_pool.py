"""Which connection the next request goes out on, and when one goes away."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.key import Upstream
from proxy.wire.connection import NotSent
from proxy.wire.exchange import Lost
from proxy.wire.pool import WirePool
from tests.proxy.wire.conftest import CHUNKED, OK, Far, FarEnd, a_request, answered, ask, asked


async def test_the_next_request_goes_out_on_the_same_connection(wires: WirePool, far: Far) -> None:
    end = await ask(wires, far)
    await ask(wires, far, end=end)
    await ask(wires, far, CHUNKED + b"2\r\nok\r\n0\r\n\r\n", end=end)
    await ask(wires, far, end=end)
    assert far.count == 1


async def test_requests_at_the_same_time_have_a_connection_each(wires: WirePool, far: Far) -> None:
    first, second = await asked(wires, far.upstream()), await asked(wires, far.upstream())
    for end in (await far.end(), await far.end()):
        await end.heard()
        end.say(OK)
    assert await answered(first) == await answered(second) == (200, b"ok")


async def test_the_connection_used_last_is_used_first(wires: WirePool, far: Far) -> None:
    first, second = await asked(wires, far.upstream()), await asked(wires, far.upstream())
    ends = [await far.end(), await far.end()]
    for end, exchange in zip(ends, (first, second), strict=True):
        await end.heard()
        await end.heard(2)
        end.say(OK)
        await answered(exchange)
    await ask(wires, far, end=ends[1])
    await ask(wires, far, end=ends[1])


NO_MORE = {
    "it says so": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "it speaks HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "it said more than was asked": OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON",
}


@pytest.mark.parametrize("answer", NO_MORE.values(), ids=NO_MORE.keys())
async def test_a_connection_serves_no_other_request_where(wires: WirePool, far: Far, answer: bytes) -> None:
    end = await ask(wires, far, answer)
    assert await end.has_ended()
    assert await ask(wires, far) is not end


async def test_nor_where_its_answer_was_not_taken_to_the_end(wires: WirePool, far: Far) -> None:
    exchange = await asked(wires, far.upstream())
    end = await far.end()
    await end.heard()
    end.say(CHUNKED, b"2\r\nok\r\n")
    await exchange.head(5)
    exchange.close()
    exchange.close()
    assert await end.has_ended()
    assert await ask(wires, far) is not end


class Blunt:
    """A far end without a loop: what it does has reached this machine's kernel, and no event loop yet."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.upstream = Upstream("blunt", f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1")
        self._listener.settimeout(5)
        self.connections: list[socket.socket] = []

    def answer(self) -> socket.socket:
        if not self.connections:
            self.connections.append(self._listener.accept()[0])
        connection = self.connections[-1]
        connection.settimeout(5)
        connection.recv(65_536)
        connection.sendall(OK)
        return connection

    def close(self) -> None:
        for each in (self._listener, *self.connections):
            each.close()


@pytest.mark.parametrize("last", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"], ids=["ended", "spoke"])
async def test_one_that_has_ended_or_spoken_meanwhile_is_not_tried(wires: WirePool, last: bytes) -> None:
    blunt = Blunt()
    exchange = await asked(wires, blunt.upstream)
    connection = blunt.answer()
    assert await answered(exchange) == (200, b"ok")
    if last:
        connection.sendall(last)
    else:
        connection.close()
    blunt.connections.clear()
    # From here on to the next request no loop has had a turn.
    exchange = await asked(wires, blunt.upstream)
    blunt.answer()
    assert await answered(exchange) == (200, b"ok")
    connection.close()
    blunt.close()


async def test_an_idle_connection_is_dropped_in_time_each_in_its_own(far: Far) -> None:
    async with WirePool(idle_seconds=0.1) as wires:
        first, second = await asked(wires, far.upstream()), await asked(wires, far.upstream())
        ends = [await far.end(), await far.end()]
        await ends[0].heard()
        ends[0].say(OK)
        await answered(first)
        with pytest.raises(TimeoutError):
            await second.head(0.03)
        await ends[1].heard()
        ends[1].say(OK)
        await answered(second)
        assert await ends[0].has_ended()
        assert await ends[1].has_ended()


async def test_no_more_connections_are_idle_than_may_be(far: Far) -> None:
    async with WirePool(most_idle=2) as wires:
        exchanges = [await asked(wires, far.upstream()) for _ in range(3)]
        ends: list[FarEnd] = [await far.end() for _ in exchanges]
        for end, exchange in zip(ends, exchanges, strict=True):
            await end.heard()
            end.say(OK)
            await answered(exchange)
        assert await ends[0].has_ended()
        await ends[2].heard(2)
        await ask(wires, far, end=ends[2])


async def test_at_the_end_all_are_closed_also_those_in_use(far: Far) -> None:
    async with WirePool() as wires:
        idle = await ask(wires, far)
        busy, _ = await asked(wires, far.upstream()), await idle.heard()
        other = await asked(wires, far.upstream())
        waiting = asyncio.ensure_future(busy.head(5))
        end = await far.end()
        await end.heard()
        end.say(OK)
        await answered(other)
    with pytest.raises(Lost):
        await waiting
    assert await idle.has_ended()
    assert await end.has_ended()


async def test_a_connection_leads_to_its_own_place_alone(wires: WirePool, far: Far) -> None:
    """Another name for the same address is another place, and so is another source."""
    await ask(wires, far)
    for upstream in (far.upstream("localhost"), Upstream("far", far.upstream().base_url, source_address="127.0.0.1")):
        exchange = await asked(wires, upstream)
        end = await far.end()
        await end.heard()
        end.say(OK)
        assert await answered(exchange) == (200, b"ok")
    assert far.count == 3


async def test_a_connection_sends_nothing_once_it_has_ended_or_while_it_serves(wires: WirePool, far: Far) -> None:
    connection = await wires.towards(far.upstream())
    end = await far.end()
    end.hang_up()
    while connection.is_open:
        await asyncio.sleep(0)
    with pytest.raises(NotSent):
        connection.send(a_request("GET", f"{far.upstream().base_url}/x", [], 0), b"", idle_seconds=5)
    assert await end.has_ended()
