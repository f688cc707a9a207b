"""What a plain request costs: how many a second one core passes on, and how much of the core each takes."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

from bench.caller import ask_without_pause
from bench.machine import cpu_seconds, memory
from bench.program import Program
from bench.report import Figure
from bench.samples import median
from bench.stage import Stage

ROUNDS = 5
CONNECTIONS, SECONDS, WARM_SECONDS = 64, 3.0, 1.0

HOW = f"""{CONNECTIONS} connections, each sending its next request (1 KB) as soon as it has its answer (1.5 KB);
{ROUNDS} interleaved rounds of {SECONDS:.0f} s for each, medians. CPU time is the measured program's own, user
and system, all threads, from /proc. A rate near the direct one is bound by the caller and the upstream, which
share a core: there, and on a busy machine, CPU per request is the figure to go by. Posthouse does what it
always does: callers by token, the pool, header hygiene, one log line a request (to a file); nginx replaces one
header and logs nothing."""


async def measure(stage: Stage) -> Figure:
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}

    async def once(target: Program) -> None:
        cpu, began = cpu_seconds(target.pid), time.monotonic()
        answered = await ask_without_pause(target.port, connections=CONNECTIONS, seconds=SECONDS)
        rates.setdefault(target.name, []).append(answered / (time.monotonic() - began))
        costs.setdefault(target.name, []).append((cpu_seconds(target.pid) - cpu) / answered * 1e6)

    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(stage.upstream())
        posthouse = await stack.enter_async_context(stage.posthouse(upstream))
        targets = [upstream, posthouse]
        if nginx := stage.nginx(upstream):
            targets.append(await stack.enter_async_context(nginx))
        for target in targets:
            await ask_without_pause(target.port, connections=CONNECTIONS, seconds=WARM_SECONDS)
        for _ in range(ROUNDS):
            for target in targets:
                await once(target)
        after = memory(posthouse.pid)

    def row(name: str) -> tuple[str, ...]:
        per_cpu = f"{median(costs['nginx']) / median(costs[name]):.3f}" if nginx else ""
        rate = median(rates[name])
        return (
            name,
            f"{rate:,.0f}",
            f"{min(rates[name]):,.0f} – {max(rates[name]):,.0f}",
            f"{median(costs[name]):,.1f}",
            per_cpu,
        )

    rows = [("direct", f"{median(rates['upstream']):,.0f}", "", "", ""), *(row(target.name) for target in targets[1:])]
    if not nginx:
        rows.append(("nginx", "not installed", "", "", ""))
    how = f"{HOW} After all of this Posthouse's resident memory was {after.resident:.0f} MB."
    head = ("one core", "requests a second", "of the rounds", "CPU µs a request", "requests per CPU second, nginx = 1")
    return Figure("Plain requests", how, head, tuple(rows))
