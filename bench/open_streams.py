"""What a stream that is open takes: memory, while the model writes and the caller listens; and how many one core holds."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass

from bench.chart import Bars
from bench.listener import streams_open
from bench.machine import memory, open_files
from bench.program import Program
from bench.report import Claim, Figure, at_most, missing
from bench.stage import Stage, absent

SIZES = (1_000, 5_000, 9_500)
QUICK_SIZES = (500,)
WARM_STREAMS = 100
SPARE_FILES = 500  # a stream is two of the measured program's open files, and it has others

HOW = f"""So many streams at once, {1_000:,} new ones a second, each on a connection of its own, of which the first event has
come and the second has not; a process of its own for each number. Memory is the process's own (PSS) less what it had after
the first {WARM_STREAMS} streams had come and gone; the kernel's buffers are not counted. RSS is the whole process's at the
most streams. All are allowed as many connections as fit (Posthouse by `connections` of `server.limits`, 4,000 unless told
otherwise). Then all streams go on to their end: *complete* are those whose every byte came. The most are what the limit of
open files allows here ({{files:,}})."""


@dataclass(frozen=True, slots=True)
class Held:
    streams: int
    each_kilobytes: float
    resident: float
    complete: int


async def measure(stage: Stage) -> Figure:
    held = await _measured(stage, is_tls=False)
    ours = held["posthouse"][-1]
    claims = (
        _claim("http", held, must=8.0, aim=4.0),
        at_most(f"memory with {ours.streams:,} streams open (RSS)", ours.resident, "{:.0f} MB", must=130.0, aim=80.0),
        _all_complete("http", held),
    )
    return _figure("Open streams", held, claims)


async def measure_tls(stage: Stage) -> Figure:
    held = await _measured(stage, is_tls=True)
    claims = (_claim("TLS", held, must=55.0, aim=40.0), _all_complete("TLS", held))
    return _figure("Open streams, TLS upstream", held, claims)


def sizes(stage: Stage) -> tuple[int, ...]:
    most = (open_files() - SPARE_FILES) // 2
    return QUICK_SIZES if stage.is_quick else tuple(min(size, most) for size in SIZES)


async def _measured(stage: Stage, *, is_tls: bool) -> dict[str, list[Held]]:
    held: dict[str, list[Held]] = {}
    async with stage.upstream("--held", is_tls=is_tls) as upstream:
        for size in sizes(stage):
            for started in (stage.posthouse(upstream), *stage.neighbours(upstream)):
                async with started as target:
                    held.setdefault(target.name, []).append(await _held(target, upstream, size))
    return held


async def _held(target: Program, upstream: Program, size: int) -> Held:
    async with streams_open(target.port, WARM_STREAMS) as warm:
        await warm.begun()
        os.kill(upstream.pid, signal.SIGUSR1)
        await warm.until(lambda: warm.whole + warm.lost == WARM_STREAMS)
        warm.check()
    before = memory(target.pid).proportional
    async with streams_open(target.port, size) as streams:
        await streams.begun()
        now, held = memory(target.pid), size - streams.lost
        os.kill(upstream.pid, signal.SIGUSR1)
        await streams.until(lambda: streams.whole + streams.lost == size)
        if streams.fault:
            print(f"{target.name}: {streams.lost:,} of {size:,} streams lost: {streams.fault!r}", file=sys.stderr)
        return Held(size, (now.proportional - before) * 1000 / max(1, held), now.resident, streams.whole)


def _claim(kind: str, held: dict[str, list[Held]], *, must: float, aim: float) -> Claim:
    most = max(each.each_kilobytes for each in held["posthouse"])
    return at_most(f"memory of an open stream, {kind} upstream", most, "{:.1f} KB", must=must, aim=aim)


def _all_complete(kind: str, held: dict[str, list[Held]]) -> Claim:
    most = held["posthouse"][-1]
    what = f"streams held on one core, {kind} upstream"
    return Claim(what, f"{most.streams:,} complete", f"{most.complete:,} complete", most.complete == most.streams)


def _figure(title: str, held: dict[str, list[Held]], claims: tuple[Claim, ...]) -> Figure:
    counts = [each.streams for each in held["posthouse"]]
    head = ("memory of one open stream", *(f"at {count:,}" for count in counts), "RSS at the most", "complete")
    rows = [
        (
            name,
            *(f"{each.each_kilobytes:.1f} KB" for each in of_name),
            f"{of_name[-1].resident:.0f} MB",
            f"{of_name[-1].complete:,} of {of_name[-1].streams:,}",
        )
        for name, of_name in held.items()
    ]
    bars = Bars(
        f"{title}: memory of one, of {counts[-1]:,}",
        "less",
        "{:.1f} KB",
        tuple((name, of_name[-1].each_kilobytes) for name, of_name in held.items()),
    )
    how = HOW.format(files=open_files())
    return Figure(title, how, head, (*rows, *missing(absent(), head)), claims, (bars,))
