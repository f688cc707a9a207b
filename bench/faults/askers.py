"""Those who ask while something is broken: a few subscribers, each with one question, and callers of the gateway."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.faults.books import is_refusal
from bench.faults.plan import Plan
from bench.faults.stand import Stand, standing
from daemon.demo.subscriber import Outcome

ASKERS = 20
HOLD_SECONDS = 4.0  # the default
LONGEST_REPLY_SECONDS = 4.8  # WeChat closes after five


@dataclass(frozen=True, slots=True)
class Asked:
    outcomes: dict[str, Outcome]  # by what was asked

    @property
    def told(self) -> int:
        return sum(is_refusal(outcome.words) for outcome in self.outcomes.values())

    @property
    def red(self) -> int:
        return sum(bool(outcome.red_line) for outcome in self.outcomes.values())

    @property
    def acknowledged(self) -> int:
        return len(self.outcomes) - self.told - self.red

    @property
    def is_all_acknowledged(self) -> bool:
        return self.acknowledged == len(self.outcomes)

    @property
    def longest(self) -> float:
        return max(delivery.seconds for outcome in self.outcomes.values() for delivery in outcome.deliveries)

    def is_honest(self, kept: set[str]) -> bool:
        """Whether all that was acknowledged is kept, and every reply came in time."""
        for question, outcome in self.outcomes.items():
            if not (is_refusal(outcome.words) or outcome.red_line or question in kept):
                return False
        return not self.red and self.longest < LONGEST_REPLY_SECONDS

    def kept_all_the_same(self, kept: set[str]) -> int:
        """Of those who were told that it was not kept, and asked to send it again."""
        return sum(is_refusal(outcome.words) and question in kept for question, outcome in self.outcomes.items())

    def __str__(self) -> str:
        red = f", {self.red} red" if self.red else ""
        return f"{self.acknowledged} acknowledged, {self.told} told{red}, {self.longest:.1f} s at most"


@asynccontextmanager
async def furnished(folder: Path, plan: Plan, **house: Any) -> AsyncIterator[Stand]:
    settings = {"hold_seconds": HOLD_SECONDS, **house}
    async with standing(folder, random.Random(plan.seed), think_seconds=0.1, **settings) as stand:
        await stand.house.start()
        yield stand


@asynccontextmanager
async def calling(stand: Stand, count: int = 1) -> AsyncIterator[Counter[str]]:
    """Callers beside the fault, and what became of their requests so far."""
    outcomes = Counter[str]()
    callers = stand.callers(count)
    for caller in callers:
        caller.outcomes = outcomes
    tasks = [asyncio.create_task(caller.live()) for caller in callers]
    try:
        yield outcomes
        stand.scene.is_over = True
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def ask(stand: Stand, name: str, *, count: int = ASKERS) -> Asked:
    side = next(iter(stand.sides.values()))
    questions = [f"问题 {name}{number}" for number in range(count)]
    outcomes = await asyncio.gather(
        *(side.say(f"{name}{number}", question) for number, question in enumerate(questions))
    )
    return Asked(dict(zip(questions, outcomes, strict=True)))


def kept_by(stand: Stand) -> set[str]:
    with closing(sqlite3.connect(stand.house.file)) as database:
        return {question for (question,) in database.execute("SELECT question FROM exchange")}


def is_whole(outcomes: Counter[str]) -> bool:
    return outcomes["whole"] == outcomes.total() > 0


def shown(outcomes: Counter[str]) -> str:
    others = "".join(f", {count} {what}" for what, count in sorted(outcomes.items()) if what != "whole")
    return f"{outcomes['whole']:,} whole{others}"
