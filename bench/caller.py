"""
The callers who ask one after the other: streams and plain requests at a steady pace, plain requests without a pause.

Rule 1: they run in the benchmark's own process, on the core that the measured program does not have.
Rule 2: a steady caller sends when a request is due, whether or not the one before was answered, and spends no CPU on waiting:
        it looks once a millisecond what is due. A latency begins when the request was written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import cast

from bench import wire

ANSWER_SECONDS = (
    30.0  # a stub answers at once; longer is a fault of the benchmark, or of a machine with other things to do
)
LOOK_SECONDS = 0.001


@dataclass(slots=True)
class Streamed:
    """In microseconds: `first` from the request to the first event, the delays from an event's sending to its arrival."""

    first: list[float] = field(default_factory=list)
    first_delay: list[float] = field(default_factory=list)
    later_delay: list[float] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """`on_data` gets what arrived, and whether the answer is whole with it."""

    def __init__(
        self, on_data: Callable[[Connection, bytes, bool], None], on_loss: Callable[[Connection, Exception], None]
    ) -> None:
        self._on_data, self._on_loss = on_data, on_loss
        self._end = wire.AnswerEnd()
        self.asked_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> None:
        self.asked_at = time.monotonic_ns()
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            is_whole = self._end.feed(data)
        except ValueError as fault:
            self._on_loss(self, fault)
            return
        self._on_data(self, data, is_whole)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_loss(self, exc or ConnectionError("the connection was closed"))


async def connected(
    port: int, on_data: Callable[[Connection, bytes, bool], None], on_loss: Callable[[Connection, Exception], None]
) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(on_data, on_loss), "127.0.0.1", port)
    return connection


async def stream_steadily(port: int, *, count: int, per_second: float) -> Streamed:
    """Streams one after the other on one connection."""
    streamed, request = Streamed(), wire.request(stream=True)
    loop = asyncio.get_running_loop()
    arrivals, over = list[tuple[int, int]](), loop.create_future()

    def on_data(_: Connection, data: bytes, is_whole: bool) -> None:
        now = time.monotonic_ns()
        arrivals.extend((sent_at, now) for sent_at in wire.sent_at(data))
        if is_whole:
            over.set_result(None)

    def on_loss(_: Connection, fault: Exception) -> None:
        if not over.done():
            over.set_exception(fault)

    connection = await connected(port, on_data, on_loss)
    with closing(connection):
        began = loop.time()
        for number in range(count):
            await asyncio.sleep(began + number / per_second - loop.time())
            over = loop.create_future()
            arrivals.clear()
            connection.ask(request)
            async with asyncio.timeout(ANSWER_SECONDS):
                await over
            if len(arrivals) != wire.EVENTS:
                raise ValueError(f"expected {wire.EVENTS} events, got {len(arrivals)}")
            delays = [(arrived_at - sent_at) / 1e3 for sent_at, arrived_at in arrivals]
            streamed.first.append((arrivals[0][1] - connection.asked_at) / 1e3)
            streamed.first_delay.append(delays[0])
            streamed.later_delay += delays[1:]
    return streamed


async def ask_steadily(port: int, *, count: int, per_second: float) -> list[float]:
    """Plain requests: the latency of each, in microseconds, in the order of the answers."""
    request, loop = wire.request(stream=False), asyncio.get_running_loop()
    all_answered: asyncio.Future[None] = loop.create_future()
    latencies, idle = list[float](), list[Connection]()

    def on_data(connection: Connection, _: bytes, is_whole: bool) -> None:
        if is_whole:
            latencies.append((time.monotonic_ns() - connection.asked_at) / 1e3)
            idle.append(connection)
            if len(latencies) == count:
                all_answered.set_result(None)

    def on_loss(_: Connection, fault: Exception) -> None:
        if not all_answered.done():
            all_answered.set_exception(fault)

    async with AsyncExitStack() as stack:
        began, sent = loop.time(), 0
        while sent < count and not all_answered.done():
            due = min(count, int((loop.time() - began) * per_second) + 1)
            for _ in range(sent, due):
                if not idle:
                    idle.append(stack.enter_context(closing(await connected(port, on_data, on_loss))))
                idle.pop().ask(request)
            sent = due
            await asyncio.sleep(LOOK_SECONDS)
        async with asyncio.timeout(ANSWER_SECONDS):
            await all_answered
    return latencies


async def ask_without_pause(
    port: int, *, connections: int, seconds: float, request: Callable[[], bytes] | None = None
) -> int:
    """
    Requests, each connection sending the next as soon as it has its answer: how many were answered. `request` makes the
    next one; without it they are all the same plain one.
    """
    loop = asyncio.get_running_loop()
    same = wire.request(stream=False)
    next_request = request or (lambda: same)
    over: asyncio.Future[None] = loop.create_future()
    answered = 0

    def on_data(connection: Connection, _: bytes, is_whole: bool) -> None:
        nonlocal answered
        if is_whole:
            answered += 1
            connection.ask(next_request())

    def on_loss(_: Connection, fault: Exception) -> None:
        if not over.done():
            over.set_exception(fault)

    async with AsyncExitStack() as stack:
        for _ in range(connections):
            connection = stack.enter_context(closing(await connected(port, on_data, on_loss)))
            connection.ask(next_request())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await over
    return answered
