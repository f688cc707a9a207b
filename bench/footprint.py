"""What the daemon takes before anybody asks for anything: memory, and the time until it answers."""

from __future__ import annotations

import asyncio
import time

from bench.caller import stream_steadily
from bench.machine import Memory, memory
from bench.report import Figure, at_most
from bench.samples import median
from bench.stage import Stage

STARTS = 7
IDLE_SECONDS = 2.0

HOW = f"""{STARTS} starts, medians; a first one, which compiles the source, is not counted. The time is from the
process's creation to the last event of the first answer through the gateway, model's time next to nothing.
Memory is read {IDLE_SECONDS:.0f} s after the listener opened, before any request: one account in safe mode, two
keys, one caller, an empty database. RSS counts the pages of shared libraries in full, PSS its share of them,
private memory none."""


async def measure(stage: Stage) -> Figure:
    seconds: list[float] = []
    idle: list[Memory] = []
    async with stage.upstream() as upstream:
        async with stage.posthouse(upstream):
            pass
        for _ in stage.rounds(STARTS):
            began = time.monotonic()
            async with stage.posthouse(upstream) as posthouse:
                await stream_steadily(posthouse.port, count=1, per_second=1.0)
                seconds.append(time.monotonic() - began)
            async with stage.posthouse(upstream) as posthouse:
                await asyncio.sleep(IDLE_SECONDS)
                idle.append(memory(posthouse.pid))
    resident = median([each.resident for each in idle])
    rows = (
        ("start to first answer", f"{median(seconds):.2f} s", f"{min(seconds):.2f} – {max(seconds):.2f} s"),
        *(
            (name, f"{median(values):.1f} MB", f"{min(values):.1f} – {max(values):.1f} MB")
            for name, values in (
                ("idle, RSS", [each.resident for each in idle]),
                ("idle, PSS", [each.proportional for each in idle]),
                ("idle, private", [each.private for each in idle]),
            )
        ),
    )
    claims = (
        at_most("start to first request served", median(seconds), "{:.2f} s", must=0.6, aim=0.35),
        at_most("idle memory (RSS)", resident, "{:.1f} MB", must=60.0, aim=45.0),
    )
    return Figure("Idle", HOW, ("", "median", "of all starts"), rows, claims)
