"""What it costs to pass on the events of many streams, each of which has many a second."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass

from bench.chart import Bars
from bench.listener import streams_open
from bench.machine import cpu_seconds
from bench.program import Program
from bench.report import Claim, Figure, at_most, missing
from bench.samples import median, quantile
from bench.stage import Stage, Started, absent

ROUNDS = 3
STREAMS, PER_SECOND = 1_000, 50
SECONDS, SETTLE_SECONDS = 4.0, 1.0

HOW = f"""{STREAMS:,} streams at once, each of which the upstream gives {PER_SECOND} events of 250 bytes a second;
{ROUNDS} interleaved rounds of {SECONDS:.0f} s, each with a process of its own, medians. CPU time is the measured program's.
*Events a second* falls short of {STREAMS * PER_SECOND:,} where somebody on the way is at the end of a core: *the load's core*
is how much of one the caller and the upstream took together. *Delay* is from the upstream's write to the arrival, of the
events of every tenth stream."""
HEAD = ("one core", "CPU µs an event", "of the rounds", "events a second", "delay, µs, p50 / p99", "the load's core")


@dataclass(frozen=True, slots=True)
class Round:
    cost: float
    rate: float
    delays: tuple[float, float]
    load_share: float


async def measure(stage: Stage) -> Figure:
    rounds: dict[str, list[Round]] = {}
    async with stage.upstream("--event-seconds", str(1 / PER_SECOND), "--held", "--endless") as upstream:

        async def once(started: Started) -> None:
            async with started as target:
                rounds.setdefault(target.name, []).append(await _round(target, upstream, stage.seconds(SECONDS)))

        for _ in stage.rounds(ROUNDS):
            for started in (stage.posthouse(upstream), *stage.neighbours(upstream)):
                await once(started)
    costs = {name: median([each.cost for each in of_name]) for name, of_name in rounds.items()}
    claims: tuple[Claim, ...] = ()
    if "nginx" in costs:
        ratio = costs["posthouse"] / costs["nginx"]
        what = f"CPU an event against nginx, {STREAMS:,} streams × {PER_SECOND} a second"
        claims = (at_most(what, ratio, "{:.2f}×", must=1.8, aim=1.1),)
    return Figure(
        "Busy streams",
        HOW,
        HEAD,
        (*(_row(name, of_name) for name, of_name in rounds.items()), *missing(absent(), HEAD)),
        claims,
        (Bars(f"An event of {STREAMS:,} streams: CPU", "less", "{:.1f} µs", tuple(costs.items())),),
    )


async def _round(target: Program, upstream: Program, seconds: float) -> Round:
    async with streams_open(target.port, STREAMS, are_timed=True) as streams:
        await streams.begun()
        os.kill(upstream.pid, signal.SIGUSR1)
        await asyncio.sleep(SETTLE_SECONDS)
        cpu, load, began = cpu_seconds(target.pid), time.process_time() + cpu_seconds(upstream.pid), time.monotonic()
        streams.events = 0
        streams.delays.clear()
        await asyncio.sleep(seconds)
        cpu = cpu_seconds(target.pid) - cpu
        load, took = time.process_time() + cpu_seconds(upstream.pid) - load, time.monotonic() - began
        streams.check()
        delays = quantile(streams.delays, 0.5), quantile(streams.delays, 0.99)
        return Round(cpu / streams.events * 1e6, streams.events / took, delays, load / took)


def _row(name: str, rounds: list[Round]) -> tuple[str, ...]:
    costs = [each.cost for each in rounds]
    p50, p99 = (median([each.delays[index] for each in rounds]) for index in (0, 1))
    return (
        name,
        f"{median(costs):.1f}",
        f"{min(costs):.1f} – {max(costs):.1f}",
        f"{median([each.rate for each in rounds]):,.0f}",
        f"{p50:,.0f} / {p99:,.0f}",
        f"{median([each.load_share for each in rounds]):.0%}",
    )
