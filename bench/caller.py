"""
The caller: one request at a time at a steady pace, or as many as the other side takes.

Rule: it runs in the benchmark's own process, on the core that the measured program does not have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from typing import cast

from bench import wire

ANSWER_SECONDS = 10.0  # a stub answers at once; longer is a fault of the benchmark


@dataclass(slots=True)
class Streamed:
    """In microseconds: `first` from the request to the first event, the delays from an event's sending to its arrival."""

    first: list[float] = field(default_factory=list)
    first_delay: list[float] = field(default_factory=list)
    later_delay: list[float] = field(default_factory=list)


class _Connection(asyncio.Protocol):
    """`on_data` gets what arrived, and whether the answer is whole with it."""

    def __init__(
        self, on_data: Callable[[_Connection, bytes, bool], None], on_loss: Callable[[Exception], None]
    ) -> None:
        self._on_data, self._on_loss = on_data, on_loss
        self._end = wire.AnswerEnd()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            is_whole = self._end.feed(data)
        except ValueError as fault:
            self._on_loss(fault)
            return
        self._on_data(self, data, is_whole)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_loss(exc or ConnectionError("the connection was closed"))


async def stream_steadily(port: int, *, count: int, per_second: float) -> Streamed:
    """Streams one after the other on one connection."""
    streamed, request = Streamed(), wire.request(stream=True)
    loop = asyncio.get_running_loop()
    asked_at, arrivals, over = 0, list[tuple[int, int]](), loop.create_future()

    def on_data(_: _Connection, data: bytes, is_whole: bool) -> None:
        now = time.monotonic_ns()
        arrivals.extend((sent_at, now) for sent_at in wire.sent_at(data))
        if is_whole:
            over.set_result(None)

    def on_loss(fault: Exception) -> None:
        if not over.done():
            over.set_exception(fault)

    _, connection = await loop.create_connection(lambda: _Connection(on_data, on_loss), "127.0.0.1", port)
    with closing(connection.transport):
        began = loop.time()
        for number in range(count):
            await asyncio.sleep(began + number / per_second - loop.time())
            over = loop.create_future()
            arrivals.clear()
            asked_at = time.monotonic_ns()
            connection.transport.write(request)
            async with asyncio.timeout(ANSWER_SECONDS):
                await over
            if len(arrivals) != wire.EVENTS:
                raise ValueError(f"expected {wire.EVENTS} events, got {len(arrivals)}")
            delays = [(arrived_at - sent_at) / 1e3 for sent_at, arrived_at in arrivals]
            streamed.first.append((arrivals[0][1] - asked_at) / 1e3)
            streamed.first_delay.append(delays[0])
            streamed.later_delay += delays[1:]
    return streamed


@asynccontextmanager
async def streams_open(port: int, count: int) -> AsyncIterator[None]:
    """So many streams at once, each on a connection of its own, of which the first event has come and the last has not."""
    request, loop = wire.request(stream=True), asyncio.get_running_loop()
    missing, all_begun = count, loop.create_future()

    def on_loss(fault: Exception) -> None:
        if not all_begun.done():
            all_begun.set_exception(fault)

    def on_data(_: _Connection, data: bytes, is_whole: bool) -> None:
        nonlocal missing
        missing -= len(wire.sent_at(data))
        if not missing and not all_begun.done():
            all_begun.set_result(None)

    async with AsyncExitStack() as stack:
        for _ in range(count):
            _, connection = await loop.create_connection(lambda: _Connection(on_data, on_loss), "127.0.0.1", port)
            stack.enter_context(closing(connection.transport))
            connection.transport.write(request)
        async with asyncio.timeout(ANSWER_SECONDS):
            await all_begun
        yield


async def ask_without_pause(port: int, *, connections: int, seconds: float) -> int:
    """Plain requests, each connection sending the next as soon as it has its answer: how many were answered."""
    request, loop = wire.request(stream=False), asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    answered = 0

    def on_loss(fault: Exception) -> None:
        if not over.done():
            over.set_exception(fault)

    def on_data(connection: _Connection, _: bytes, is_whole: bool) -> None:
        nonlocal answered
        if is_whole:
            answered += 1
            connection.transport.write(request)

    async with AsyncExitStack() as stack:
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: _Connection(on_data, on_loss), "127.0.0.1", port)
            stack.enter_context(closing(connection.transport))
            connection.transport.write(request)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await over
    return answered
