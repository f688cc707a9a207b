"""What it costs the gateway that the operator's status page is open in many places, and that it always has something new."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from bench.caller import ask_without_pause, stream_steadily
from bench.machine import cpu_seconds
from bench.program import Program
from bench.report import Claim, Figure
from bench.samples import median, quantile
from bench.stage import PASSWORD, Stage

ROUNDS = 5
VIEWERS = (0, 50)
COUNT, PER_SECOND = 300, 100.0  # streams of a round
CONNECTIONS, SECONDS, WARM_SECONDS = 64, 3.0, 1.0
TARGET = 0.03  # of a core, for all viewers together

HOW = f"""{VIEWERS[-1]} connections to `/status/events`, read by the caller's process, beside {ROUNDS} rounds of
{COUNT} streams, {PER_SECOND:.0f} a second, and {ROUNDS} of plain requests without a pause on {CONNECTIONS} connections for
{SECONDS:.0f} s; each round the same without viewers, in turn. Every request changes what the page shows, so every second each
viewer is sent the page anew. *First event* is from the upstream's write to its arrival at the caller, p50 and p99; *CPU*
is the daemon's during the streams, in thousandths of a core."""


@dataclass(slots=True)
class Measured:
    first_delay: list[float] = field(default_factory=list)  # microseconds
    shares: list[float] = field(default_factory=list)  # of a core
    rates: list[float] = field(default_factory=list)
    received: int = 0  # bytes of the page


async def measure(stage: Stage) -> Figure:
    measured = {viewers: Measured() for viewers in VIEWERS}
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(stage.upstream())
        posthouse = await stack.enter_async_context(stage.posthouse(upstream))
        await ask_without_pause(posthouse.port, connections=CONNECTIONS, seconds=WARM_SECONDS)
        for _ in stage.rounds(ROUNDS):
            for viewers, so_far in measured.items():
                async with _watching(posthouse.port, viewers, so_far):
                    await _round(posthouse, so_far)
    alone, watched = (measured[viewers] for viewers in VIEWERS)
    more = median(watched.shares) - median(alone.shares)
    return Figure(
        "Open status pages",
        HOW,
        ("open pages", "first event, µs, p50 / p99", "CPU, ‰", "requests a second", "KB of the page a second"),
        tuple(_row(viewers, each) for viewers, each in measured.items()),
        (
            Claim(
                f"{VIEWERS[-1]} open status pages with something new every second",
                f"at most {TARGET:.0%} of a core",
                f"{more:.1%}",
                more <= TARGET,
            ),
        ),
    )


async def _round(posthouse: Program, so_far: Measured) -> None:
    cpu, began = cpu_seconds(posthouse.pid), time.monotonic()
    streamed = await stream_steadily(posthouse.port, count=COUNT, per_second=PER_SECOND)
    so_far.shares.append((cpu_seconds(posthouse.pid) - cpu) / (time.monotonic() - began))
    so_far.first_delay += streamed.first_delay
    began = time.monotonic()
    answered = await ask_without_pause(posthouse.port, connections=CONNECTIONS, seconds=SECONDS)
    so_far.rates.append(answered / (time.monotonic() - began))


def _row(viewers: int, measured: Measured) -> tuple[str, ...]:
    seconds = ROUNDS * (COUNT / PER_SECOND + SECONDS)
    return (
        str(viewers),
        f"{median(measured.first_delay):,.0f} / {quantile(measured.first_delay, 0.99):,.0f}",
        f"{median(measured.shares) * 1e3:,.0f}",
        f"{median(measured.rates):,.0f}",
        f"{measured.received / seconds / 1e3:,.0f}",
    )


@asynccontextmanager
async def _watching(port: int, viewers: int, so_far: Measured) -> AsyncIterator[None]:
    """So many pages are open inside the block, each with its first content."""
    credentials = b64encode(f"bench:{PASSWORD}".encode()).decode()
    head = f"GET /status/events?lang=zh HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic {credentials}\r\n\r\n"

    async def read(reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 16):
            so_far.received += len(data)

    async with asyncio.TaskGroup() as group:
        readers, writers = [], []
        for _ in range(viewers):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode())
            if not (answer := await reader.readline()).startswith(b"HTTP/1.1 200 "):
                raise ValueError(f"expected the page, got {answer!r}")
            readers.append(group.create_task(read(reader)))
            writers.append(writer)
        yield
        for task in readers:
            task.cancel()
        for writer in writers:
            writer.close()
