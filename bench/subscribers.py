"""A thousand subscribers who ask within one second: who is answered, on which delivery, and what it costs."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass

import aiohttp

from bench.machine import cpu_seconds, memory
from bench.program import Program
from bench.report import Claim, Figure
from bench.samples import quantile
from bench.stage import ACCOUNT, PATH, Stage
from daemon.demo.envelope import Signed
from daemon.demo.subscriber import Outcome, WeChatSide

ROUNDS = 3
SUBSCRIBERS, WITHIN_SECONDS = 1000, 1.0
THINK_SECONDS = 3.0
LONGEST_SECONDS = 60.0  # three deliveries of five seconds, four times over

HOW = f"""{SUBSCRIBERS:,} subscribers, one question each, spread evenly over {WITHIN_SECONDS:.0f} s; the model
answers {THINK_SECONDS:.0f} s after it is asked. WeChat's side is played as it behaves: safe mode, signed and
sealed, a new connection for every delivery, which it closes after 5 s in order to deliver again, three times at
most; every reply is opened and judged. *Seconds* are what a subscriber waits, from the push to the answer.
*Later* means "still thinking" and a link to tap instead of the answer. Every question is in the database
(SQLite, `synchronous=FULL`) before the model is asked, and every answer before it is given out. CPU time is the
daemon's, all threads, from the first push to the last answer; memory is its highest. Each of {ROUNDS} rounds
has a daemon of its own."""


@dataclass(frozen=True, slots=True)
class Round:
    outcomes: tuple[Outcome, ...]
    calls: Counter[str]  # by question
    asked_within_seconds: float
    daemon_cpu_seconds: float
    player_cpu_seconds: float
    most_megabytes: float

    @property
    def answered(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.words and not outcome.links]

    @property
    def later(self) -> int:
        return sum(bool(outcome.links) for outcome in self.outcomes)

    def on_delivery(self, number: int) -> int:
        return sum(len(outcome.deliveries) == number for outcome in self.answered)

    @property
    def waited(self) -> list[float]:
        return [sum(delivery.seconds for delivery in outcome.deliveries) for outcome in self.answered]

    @property
    def is_met(self) -> bool:
        once = len(self.calls) == SUBSCRIBERS and set(self.calls.values()) == {1}
        return len(self.answered) == SUBSCRIBERS and once


async def measure(stage: Stage) -> Figure:
    rounds = [await _play(stage) for _ in stage.rounds(ROUNDS)]
    head = (
        *("round", "answered on delivery 1 / 2 / 3", "later", "nothing", "model calls", "seconds p50 / p99 / max"),
        *("CPU ms a question", "memory"),
    )
    claim = Claim(
        f"{SUBSCRIBERS:,} subscribers within one second, a {THINK_SECONDS:.0f} s model",
        "all answered within their three deliveries, one model call each",
        f"{min(len(each.answered) for each in rounds):,} of {SUBSCRIBERS:,} in the worst of {ROUNDS} rounds",
        all(each.is_met for each in rounds),
    )
    player = max(each.player_cpu_seconds for each in rounds)
    within = max(each.asked_within_seconds for each in rounds)
    how = f"{HOW} WeChat's side took {player:.1f} s of CPU time, and its last push went out {within:.2f} s after the first."
    rows = tuple(_row(number, each) for number, each in enumerate(rounds, start=1))
    return Figure("Subscribers", how, head, rows, (claim,))


async def _play(stage: Stage) -> Round:
    thinking = stage.upstream("--think-seconds", str(THINK_SECONDS))
    async with thinking as upstream, stage.posthouse(upstream) as posthouse:
        async with WeChatSide(f"http://127.0.0.1:{posthouse.port}{PATH}", ACCOUNT) as side:
            pushes = [
                (openid, side.signed("text", openid, Content=f"第 {number} 个问题"))
                for number, openid in ((number, f"o-bench-{number}") for number in range(SUBSCRIBERS))
            ]
            daemon_cpu, player_cpu = cpu_seconds(posthouse.pid), time.process_time()
            async with asyncio.timeout(LONGEST_SECONDS):
                outcomes, asked_within = await _ask_all(side, pushes)
            player_cpu, daemon_cpu = time.process_time() - player_cpu, cpu_seconds(posthouse.pid) - daemon_cpu
        most = memory(posthouse.pid).most
        return Round(tuple(outcomes), await _calls(upstream), asked_within, daemon_cpu, player_cpu, most)


async def _ask_all(side: WeChatSide, pushes: list[tuple[str, Signed]]) -> tuple[list[Outcome], float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number, (openid, push) in enumerate(pushes):
            await asyncio.sleep(began + number * WITHIN_SECONDS / len(pushes) - loop.time())
            tasks.append(group.create_task(side.deliver(push, openid)))
        asked_within = loop.time() - began
    return [task.result() for task in tasks], asked_within


async def _calls(upstream: Program) -> Counter[str]:
    url = f"http://127.0.0.1:{upstream.port}/asked"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return Counter(json.loads(await answer.read()))


def _row(number: int, each: Round) -> tuple[str, ...]:
    nothing = Counter(outcome.red_line for outcome in each.outcomes if outcome.red_line)
    waited = each.waited or [0.0]
    return (
        str(number),
        " / ".join(f"{each.on_delivery(delivery):,}" for delivery in (1, 2, 3)),
        f"{each.later:,}",
        ", ".join(f"{count:,} {why}" for why, count in nothing.most_common(3)) or "0",
        f"{each.calls.total():,} of {len(each.calls):,} questions",
        f"{quantile(waited, 0.5):.2f} / {quantile(waited, 0.99):.2f} / {max(waited):.2f}",
        f"{each.daemon_cpu_seconds / SUBSCRIBERS * 1e3:.2f}",
        f"{each.most_megabytes:.0f} MB",
    )
