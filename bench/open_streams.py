"""What a stream that is open takes: memory, while the model writes and the caller listens."""

from __future__ import annotations

from bench.caller import streams_open
from bench.machine import memory
from bench.program import Program
from bench.report import Claim, Figure
from bench.samples import median
from bench.stage import Stage

ROUNDS = 3
STREAMS = 1_000
EVENT_SECONDS = 60.0  # between two events: nothing moves while memory is read
TARGET_KB = 8.0

HOW = f"""{STREAMS:,} streams at once, each on a connection of its own, of which the first event has come and the
second has not; {ROUNDS} rounds, each with a process of its own, medians. Memory is the process's own (PSS) less
what it had after the first hundred streams had come and gone; the kernel's buffers are not counted."""


async def measure(stage: Stage) -> Figure:
    taken: dict[str, list[float]] = {}

    async def once(target: Program) -> None:
        async with streams_open(target.port, 100):
            pass
        before = memory(target.pid).proportional
        async with streams_open(target.port, STREAMS):
            taken.setdefault(target.name, []).append((memory(target.pid).proportional - before) * 1000 / STREAMS)

    async with stage.upstream(event_seconds=EVENT_SECONDS) as upstream:
        for _ in range(ROUNDS):
            async with stage.posthouse(upstream) as posthouse:
                await once(posthouse)
            if started := stage.nginx(upstream):
                async with started as nginx:
                    await once(nginx)
    rows = tuple(
        (name, f"{median(values):.1f} KB", f"{min(values):.1f} – {max(values):.1f} KB")
        for name, values in taken.items()
    )
    claim = Claim(
        "memory of an open stream",
        f"at most {TARGET_KB:.0f} KB",
        f"{median(taken['posthouse']):.1f} KB",
        median(taken["posthouse"]) <= TARGET_KB,
    )
    return Figure("Open streams", HOW, ("one open stream", "median", "of the rounds"), rows, (claim,))
