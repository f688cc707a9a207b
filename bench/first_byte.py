"""How much later a caller has the first event of a stream because something stands between it and the upstream."""

from __future__ import annotations

from contextlib import AsyncExitStack

from bench.caller import Streamed, stream_steadily
from bench.chart import Bars
from bench.report import Claim, Figure, at_most, missing
from bench.samples import median, quantile
from bench.stage import Stage, absent

ROUNDS = 5
COUNT, PER_SECOND = 200, 100.0  # requests of a round, and how many of them in a second
TARGET = 1000.0  # microseconds

HOW = f"""One request at a time, {PER_SECOND:.0f} a second, on one connection; {ROUNDS} interleaved rounds of
{COUNT} for each. Every event of the stream carries the moment at which the upstream wrote it. *Added* is the
time from the request to the first event, less the same without anything in between: p50 and p99 are of all
requests. *Upstream to caller* is from the upstream's write to the event's arrival, for the first event and for
those after it."""

HEAD = ("µs, p50 / p99", "request to first event", "added", "upstream to caller, first event", "later events")


async def measure(stage: Stage) -> Figure:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(stage.upstream())
        targets = [upstream, await stack.enter_async_context(stage.posthouse(upstream))]
        for neighbour in stage.neighbours(upstream):
            targets.append(await stack.enter_async_context(neighbour))  # noqa: PERF401 - one after the other
        streams: dict[str, list[Streamed]] = {target.name: [] for target in targets}
        for target in targets:
            await stream_steadily(target.port, count=COUNT // 4, per_second=PER_SECOND)
        for _ in stage.rounds(ROUNDS):
            for target in targets:
                streams[target.name].append(await stream_steadily(target.port, count=COUNT, per_second=PER_SECOND))

    def first(name: str, share: float) -> float:
        return quantile([value for round_ in streams[name] for value in round_.first], share)

    def added(name: str, share: float) -> float:
        return first(name, share) - first("upstream", share)

    def row(name: str) -> tuple[str, ...]:
        first_delay = [value for round_ in streams[name] for value in round_.first_delay]
        later_delay = [value for round_ in streams[name] for value in round_.later_delay]
        is_direct = name == "upstream"
        return (
            "direct" if is_direct else name,
            f"{first(name, 0.5):,.0f} / {first(name, 0.99):,.0f}",
            "" if is_direct else f"{added(name, 0.5):,.0f} / {added(name, 0.99):,.0f}",
            f"{median(first_delay):,.0f} / {quantile(first_delay, 0.99):,.0f}",
            f"{median(later_delay):,.0f} / {quantile(later_delay, 0.99):,.0f}",
        )

    out = [value for round_ in streams["posthouse"] for value in round_.first_delay]
    in_time = sum(value <= TARGET for value in out) / len(out)
    claims = [
        Claim(
            "first event out after the upstream's, at low load",
            "within 1 ms (p50)",
            f"p50 {median(out) / 1e3:.2f} ms, p99 {quantile(out, 0.99) / 1e3:.2f} ms; {in_time:.1%} within 1 ms",
            median(out) <= TARGET,
        )
    ]
    if "nginx" in streams:
        ratio = added("posthouse", 0.5) / added("nginx", 0.5)
        claims.insert(0, at_most("first byte, added p50 against nginx's", ratio, "{:.2f}×", must=2.2, aim=1.3))
    bars = tuple((target.name, added(target.name, 0.5)) for target in targets[1:])
    return Figure(
        "First byte of a stream",
        HOW,
        HEAD,
        (*(row(target.name) for target in targets), *missing(absent(), HEAD)),
        tuple(claims),
        (Bars("First byte: added, p50", "less", "{:,.0f} µs", bars),),
    )
