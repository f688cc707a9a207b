"""How much later a caller has a plain answer because something stands between it and the upstream, at a steady rate."""

from __future__ import annotations

from contextlib import AsyncExitStack

from bench.caller import ask_steadily
from bench.chart import Bars
from bench.report import Claim, Figure, at_most, missing
from bench.samples import quantile
from bench.stage import Stage, absent

ROUNDS = 5
PER_SECOND, SECONDS = 1_000.0, 3.0
WARM_COUNT = 500

HOW = f"""{PER_SECOND:,.0f} plain requests a second, sent when they are due whether or not the ones before are answered;
{ROUNDS} interleaved rounds of {SECONDS:.0f} s for each. *Added* is the time from a request to its whole answer, less the
same without anything in between: p50 and p99 are of all requests of the rounds."""
HEAD = ("µs, p50 / p99", "request to whole answer", "added")


async def measure(stage: Stage) -> Figure:
    latencies: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(stage.upstream())
        targets = [upstream, await stack.enter_async_context(stage.posthouse(upstream))]
        for neighbour in stage.neighbours(upstream):
            targets.append(await stack.enter_async_context(neighbour))  # noqa: PERF401 - one after the other
        for target in targets:
            await ask_steadily(target.port, count=WARM_COUNT, per_second=PER_SECOND)
        for _ in stage.rounds(ROUNDS):
            for target in targets:
                count = round(stage.seconds(SECONDS) * PER_SECOND)
                answered = await ask_steadily(target.port, count=count, per_second=PER_SECOND)
                latencies.setdefault(target.name, []).extend(answered)

    def added(name: str, share: float) -> float:
        return quantile(latencies[name], share) - quantile(latencies["upstream"], share)

    def row(name: str) -> tuple[str, ...]:
        whole = f"{quantile(latencies[name], 0.5):,.0f} / {quantile(latencies[name], 0.99):,.0f}"
        if name == "upstream":
            return ("direct", whole, "")
        return (name, whole, f"{added(name, 0.5):,.0f} / {added(name, 0.99):,.0f}")

    claims: tuple[Claim, ...] = ()
    if "nginx" in latencies:
        ratio = added("posthouse", 0.5) / added("nginx", 0.5)
        what = f"added p50 at {PER_SECOND:,.0f} requests a second against nginx's"
        claims = (at_most(what, ratio, "{:.2f}×", must=2.5, aim=1.5),)
    bars = tuple((name, added(name, 0.5)) for name in latencies if name != "upstream")
    return Figure(
        "Latency at a steady rate",
        HOW,
        HEAD,
        (*map(row, latencies), *missing(absent(), HEAD)),
        claims,
        (Bars(f"{PER_SECOND:,.0f} requests a second: added, p50", "less", "{:,.0f} µs", bars),),
    )
