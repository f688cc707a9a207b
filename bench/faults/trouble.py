"""One fault with what should happen, what did, and how a list of them is played."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.faults.plan import Plan
from bench.report import Claim, Figure

TROUBLE_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Finding:
    happened: str
    is_well: bool
    is_tried: bool = True  # else its means are not there


@dataclass(frozen=True, slots=True)
class Trouble:
    what: str
    expected: str
    play: Callable[[Path, Plan], Awaitable[Finding]]


async def played(troubles: Iterable[Trouble], plan: Plan, *, title: str, how: str) -> Figure:
    """One after the other, each in a folder of its own."""
    rows: list[tuple[str, ...]] = []
    claims = []
    for trouble in troubles:
        async with asyncio.timeout(TROUBLE_SECONDS):
            finding = await trouble.play(plan.folder / f"{title}-{len(rows)}".lower().replace(" ", "-"), plan)
        plan.say(f"{trouble.what}: {finding.happened}{'' if finding.is_well else ' NOT WELL'}")
        rows.append((trouble.what, trouble.expected, finding.happened))
        if finding.is_tried:
            claims.append(Claim(trouble.what, trouble.expected, finding.happened, finding.is_well))
    return Figure(title, how, ("fault", "what should happen", "what happened"), tuple(rows), tuple(claims))
