"""
The daemon killed a thousand times with subscribers and callers on it: what is lost, doubled or crossed, and how soon it
answers again.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import ClientError

from bench.faults.books import Books
from bench.faults.house import MODEL
from bench.faults.people import Point
from bench.faults.plan import Plan
from bench.faults.stand import Stand, standing
from bench.report import Claim, Figure
from bench.samples import quantile
from bench.wire import TOKEN

KILLS = 1000
PASSIVE, VERIFIED, CALLERS = 24, 24, 6
THINK_SECONDS, HOLD_SECONDS = 1.6, 0.8  # so that about a quarter of them are told to wait
LIFE_SECONDS = 0.9  # at most, of a daemon that is killed at a random moment
POINT_SECONDS = 2.0  # a point that does not come by then was not waited for in vain: it is a random moment
ANSWER_SECONDS = 20.0
END_SECONDS = 60.0
P50_SECONDS, MAX_SECONDS = 0.5, 3.0
START, ANY = "it is starting", "any moment"

HOW = f"""{PASSIVE} subscribers of an account without rights, {VERIFIED} of a verified one, {CALLERS} callers of
the gateway, all at once and without end; a model that takes up to {THINK_SECONDS} s; replies are held for
{HOLD_SECONDS} s. The daemon is killed (SIGKILL), at the point that the row names or at a random moment of its
first {LIFE_SECONDS} s, and started again on the same file. A push whose deliveries broke is delivered again,
the same bytes. *Acknowledged* is a question whose subscriber was told to wait, or was promised a message by
`success`; in the end everybody collects what they were promised. *Lost*: acknowledged, and not read to its last
character. *Crossed*: read by somebody else. *Pushed twice*: a page that WeChat's server API took twice. *Too
often*: more than once, once more after a death, and the subscriber's own taps explain. *Falsely whole*: an
answer that looks complete to its caller, and is not. The time to the first answer is from the process's
creation to the last byte of a whole answer through the gateway: after every second kill the others hold back
until then, after the rest they all come back at the moment at which it listens. All programs share the
machine's cores."""


@dataclass(slots=True)
class Killer:
    """Strikes at the next passing of the point that is `armed`."""

    stand: Stand
    armed: Point | None = None
    struck: asyncio.Event = field(default_factory=asyncio.Event)

    def pass_by(self, point: Point) -> None:
        if point is self.armed and self.stand.house.is_alive:
            self.armed = None
            self.stand.house.kill()
            self.struck.set()


@dataclass(slots=True)
class Starts:
    """Seconds of each, from the process to its first answer."""

    quiet: list[float] = field(default_factory=list)
    crowded: list[float] = field(default_factory=list)  # everybody came back at once


@dataclass(slots=True)
class Killed:
    """What came of so many kills. `kinds` are the moments of them."""

    books: Books
    kinds: Counter[str]
    starts: Starts
    outcomes: Counter[str]  # of callers' requests
    troubles: dict[str, int]
    file: Path

    @property
    def is_kept(self) -> bool:
        books = self.books
        return not (books.lost or books.crossed or books.pushed_twice or self.outcomes["falsely whole"])


async def measure(plan: Plan) -> Figure:
    return _figure(await killed(plan, plan.of(KILLS), people=(PASSIVE, VERIFIED, CALLERS)))


async def killed(plan: Plan, kills: int, *, people: tuple[int, int, int]) -> Killed:
    """`people` are subscribers of the passive and of the verified account, and callers."""
    chance = random.Random(plan.seed)
    starts = Starts()
    kinds = Counter[str]()
    passive, verified, callers_too = people
    async with standing(plan.folder / "kills", chance, think_seconds=THINK_SECONDS, hold_seconds=HOLD_SECONDS) as stand:
        killer = Killer(stand)
        stand.scene.pass_by = killer.pass_by
        readers, callers = stand.readers(passive, verified), stand.callers(callers_too)
        async with asyncio.TaskGroup() as group:
            for life in [*(reader.live() for reader in readers), *(caller.live() for caller in callers)]:
                group.create_task(life)
            for number in range(1, kills + 1):
                kinds[await _cycle(killer, chance, starts)] += 1
                if number % 50 == 0:
                    plan.say(f"kills: {number}, {len(stand.books.asked):,} questions, {len(stand.books.lost)} open")
                    stand.upstream.requests.clear()
            stand.scene.is_over = True
            await stand.house.start()
        async with asyncio.timeout(END_SECONDS), asyncio.TaskGroup() as group:
            for reader in readers:
                group.create_task(reader.collect_all())
        await stand.house.stop()
        outcomes = sum((caller.outcomes for caller in callers), Counter[str]())
        return Killed(stand.books, kinds, starts, outcomes, stand.house.troubles(), stand.house.file)


async def _cycle(killer: Killer, chance: random.Random, starts: Starts) -> str:
    house = killer.stand.house
    began = time.monotonic()
    await house.spawn()
    if chance.random() < 0.1:
        await asyncio.sleep(chance.uniform(0, 0.6))
        house.kill()
        await house.gone()
        return START
    await house.listening()
    if is_crowded := len(starts.crowded) < len(starts.quiet):
        house.up.set()
    seconds = await first_answer(killer.stand) - began
    (starts.crowded if is_crowded else starts.quiet).append(seconds)
    house.up.set()
    point = chance.choice([None, *Point])
    if point is None:
        await asyncio.sleep(chance.uniform(0, LIFE_SECONDS))
    else:
        killer.struck.clear()
        killer.armed = point
        try:
            async with asyncio.timeout(POINT_SECONDS):
                await killer.struck.wait()
        except TimeoutError:
            point = None
        killer.armed = None
    house.kill()
    await house.gone()
    return point or ANY


async def first_answer(stand: Stand, within_seconds: float = ANSWER_SECONDS) -> float:
    """The moment (monotonic) of the first whole answer through the gateway. Raises TimeoutError."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "first"}]}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with asyncio.timeout(within_seconds):
        while True:
            try:
                async with stand.scene.session.post(
                    f"{stand.house.url}/v1/chat/completions", json=body, headers=headers
                ) as response:
                    await response.read()
                    if response.status == 200:
                        return time.monotonic()
            except (ClientError, OSError):
                await asyncio.sleep(0.005)


def _figure(killed: Killed) -> Figure:
    books, kinds, outcomes, starts = killed.books, killed.kinds, killed.outcomes, killed.starts
    with closing(sqlite3.connect(killed.file)) as database:
        [[integrity]] = database.execute("PRAGMA integrity_check")
        [[rows]] = database.execute("SELECT count(*) FROM exchange")
    kills = kinds.total()
    rows_of_page = [(f"killed when {point}", f"{kinds[point]:,}") for point in (ANY, START, *Point)]
    rows_of_page += [
        ("questions of subscribers / acknowledged", f"{len(books.asked):,} / {len(books.acknowledged):,}"),
        ("lost", f"{len(books.lost)}"),
        ("crossed", f"{len(books.crossed)}"),
        ("pages sent by customer service / twice", f"{books.pushed.total():,} / {len(books.pushed_twice)}"),
        ("questions asked of the model once / twice / more / too often", _calls(books)),
        ("callers' answers: whole / cut or none / falsely whole", _callers(outcomes)),
        ("errors in the log", _listed(killed.troubles)),
        ("the database afterwards", f"integrity_check {integrity}, {rows:,} questions"),
        ("start to first answer, p50 / p99 / max", _seconds(starts.quiet)),
        ("the same, with everybody coming back", _seconds(starts.crowded)),
    ]
    middle, longest = quantile(starts.quiet, 0.5), max(starts.quiet + starts.crowded)
    return Figure(
        "kill -9",
        HOW,
        ("", "count"),
        tuple(rows_of_page),
        (
            Claim(
                f"{kills:,} kills under load",
                "no question lost, none answered to another, none pushed twice",
                f"{len(books.lost)} lost, {len(books.crossed)} crossed, {len(books.pushed_twice)} pushed twice, "
                f"of {len(books.acknowledged):,}",
                killed.is_kept,
            ),
            Claim(
                "start to first answer after a kill",
                f"p50 ≤ {P50_SECONDS} s, max ≤ {MAX_SECONDS:.0f} s",
                f"p50 {middle:.2f} s, max {longest:.2f} s",
                middle <= P50_SECONDS and longest <= MAX_SECONDS,
            ),
        ),
    )


def _calls(books: Books) -> str:
    times = Counter(min(books.calls[name], 3) for name in books.asked)
    return f"{times[1]:,} / {times[2]:,} / {times[3]:,} / {len(books.overcalled)}"


def _callers(outcomes: Counter[str]) -> str:
    whole, false = outcomes["whole"], outcomes["falsely whole"]
    return f"{whole:,} / {outcomes.total() - whole - false:,} / {false}"


def _listed(counted: dict[str, int]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in sorted(counted.items())) or "none"


def _seconds(seconds: list[float]) -> str:
    return " / ".join(f"{quantile(seconds, share):.2f}" for share in (0.5, 0.99, 1.0)) + " s" if seconds else "none"
