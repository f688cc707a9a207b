"""
The callers of many streams at once, each on a connection of its own.

Rule: they run in the benchmark's own process, on the core that the measured program does not have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field

from bench import wire
from bench.caller import ANSWER_SECONDS, Connection, connected

NEW_PER_SECOND = 1_000
TIMED_EACH = 10
CONNECT_AT_ONCE = 50  # fewer than any listener's backlog


@dataclass(slots=True)
class Streams:
    """What has come of them so far: each is unbegun, then begun, then whole; or it is lost, and `fault` is the first one's."""

    unbegun: set[Connection] = field(default_factory=set)
    whole: int = 0
    lost: int = 0
    events: int = 0
    delays: list[float] = field(default_factory=list)  # from an event's sending to its arrival, in microseconds
    fault: Exception | None = None
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            while not is_so():
                self.moved.clear()
                await self.moved.wait()

    async def begun(self) -> None:
        await self.until(lambda: not self.unbegun)

    def check(self) -> None:
        """Raises what went wrong with the first stream that was lost."""
        if self.fault:
            raise self.fault


@asynccontextmanager
async def streams_open(port: int, count: int, *, are_timed: bool = False) -> AsyncIterator[Streams]:
    """So many streams at once, all asked for. With `are_timed` events are counted, those of every tenth timed."""
    streams, request, loop = Streams(), wire.request(stream=True), asyncio.get_running_loop()
    over, timed = set[Connection](), set[Connection]()

    def on_data(connection: Connection, data: bytes, is_whole: bool) -> None:
        if are_timed:
            streams.events += data.count(b"data: {")
        if connection in timed:
            now = time.monotonic_ns()
            streams.delays.extend((now - sent_at) / 1e3 for sent_at in wire.sent_at(data))
        if connection in streams.unbegun and wire.sent_at(data):
            streams.unbegun.discard(connection)
            streams.moved.set()
        if is_whole:
            over.add(connection)
            streams.whole += 1
            streams.moved.set()

    def on_loss(connection: Connection, fault: Exception) -> None:
        if connection not in over:
            over.add(connection)
            streams.unbegun.discard(connection)
            streams.lost += 1
            streams.fault = streams.fault or fault
            streams.moved.set()

    async with AsyncExitStack() as stack:
        began, opened = loop.time(), 0
        while opened < count:
            await asyncio.sleep(began + opened / NEW_PER_SECOND - loop.time())
            some = min(CONNECT_AT_ONCE, count - opened)
            for connection in await asyncio.gather(*(connected(port, on_data, on_loss) for _ in range(some))):
                stack.enter_context(closing(connection))
                if connection not in over:
                    streams.unbegun.add(connection)
                    connection.ask(request)
                    if are_timed and len(streams.unbegun) % TIMED_EACH == 0:
                        timed.add(connection)
            opened += some
        yield streams
