"""
An hour of a busy account's life, pressed into minutes, with everything going wrong at random: what of the daemon grows.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.faults.people import Caller, Reader
from bench.faults.plan import Plan
from bench.faults.stand import Stand, standing
from bench.machine import memory
from bench.report import Claim, Figure
from daemon.demo.refusals import Limited, Overloaded, ServerError, html_error
from daemon.demo.steps import Comments, CutStream, ErrorInStream, Hang, LyingLength, Raw, Reset, Step
from daemon.demo.wechat_steps import Cut, Fault, Garbage, Scripted, Slow

READERS, CALLERS = 60, 6
SECONDS = 240.0  # of ours
SAMPLES = 6
COUNT_SECONDS = 10.0
CALM_SECONDS, CALM_TASKS, CALM_FILES = 90.0, 30, 30  # calm is when so few are left; a visit is kept for a minute
LINGER_SECONDS = 17.0  # connections that nobody uses are kept for 15
MOST_GROWTH_MB, MOST_FILES, MOST_TASKS = 12.0, 8, 8

HOW = f"""{READERS} subscribers, half of them of a verified account, and {CALLERS} callers, who do in
{SECONDS:.0f} s what a busy account sees in an hour. Of the model's answers every fifth is a fault: refusals,
resets, streams that are cut or lie about their length, answers that never come. WeChat's server API fails as
often. Callers and subscribers hang up in the middle; every few seconds, at random, another program locks the
database for up to two seconds, the config is read again, connections are reset or left half-open, or a
subscriber unfollows. Memory, open files and tasks are read in calm moments: when everybody has paused and what
they began is over; the first is after a tenth of the time."""


@dataclass(frozen=True, slots=True)
class Sample:
    megabytes: float
    files: int
    tasks: int
    objects: int


@dataclass(frozen=True, slots=True)
class Sometimes:
    """A step: well four times of five, else one of the faults."""

    well: Step
    chance: random.Random
    met: Counter[str]

    def play(self, call: object) -> object:
        step = self.well if self.chance.random() < 0.8 else self.chance.choice(self._faults())
        self.met[type(step).__name__] += step is not self.well
        return step.play(call)  # type: ignore[arg-type]

    def _faults(self) -> list[Step]:
        well = self.well
        return [
            *(Limited(retry_after="1"), Overloaded(retry_after="1"), ServerError(), html_error(), Reset()),
            *(Reset("head", well), Reset("chunk", well), CutStream(1, "reset", well), CutStream(2, "clean", well)),
            *(
                CutStream(1, "inside_event", well),
                ErrorInStream(1, then=well),
                LyingLength(then=well),
                Comments(then=well),
            ),
            *(Raw(200, {"content-type": "text/html"}, b"<html>log in</html>"), Hang()),
        ]


async def measure(plan: Plan) -> Figure:
    chance = random.Random(plan.seed)
    folder = plan.folder / "soak"
    count = folder / "tasks"
    seconds = SECONDS * min(1.0, plan.share)
    own: dict[str, Any] = {
        "module": "bench.faults.watched",
        "environ": {"FAULTS_COUNT": str(count)},
        "queue_seconds": 2,
        "answer_seconds": 5,
    }
    async with standing(folder, chance, limits="head_seconds = 2\nbody_idle_seconds = 3", **own) as stand:
        met = Counter[str]()
        for key, [well] in list(stand.upstream.script.items()):
            stand.upstream.script[key] = [Sometimes(well, chance, met)]  # type: ignore[list-item]
        await stand.house.start()
        samples = []
        readers, callers = stand.readers(READERS // 2, READERS // 2), stand.callers(CALLERS)
        await _live(stand, readers, callers, chance, seconds / 10, met)
        samples.append(await _sample(stand, count))
        for number in range(SAMPLES):
            await _live(stand, readers, callers, chance, seconds * 0.9 / SAMPLES, met)
            samples.append(await _sample(stand, count))
            plan.say(f"soak: {number + 1} of {SAMPLES}: {samples[-1]}")
        troubles, outcomes = stand.house.troubles(), sum((caller.outcomes for caller in callers), Counter[str]())
        is_alive = stand.house.is_alive
        crossed, twice = len(stand.books.crossed), len(stand.books.pushed_twice)
        asked = len(stand.books.asked)
    first, last = samples[0], samples[-1]
    rows = [
        (f"{'at the beginning' if not number else f'after {number} of {SAMPLES} parts'}", *_shown(sample))
        for number, sample in enumerate(samples)
    ]
    grown = last.megabytes - first.megabytes
    is_flat = (
        grown < MOST_GROWTH_MB and last.files - first.files <= MOST_FILES and last.tasks - first.tasks <= MOST_TASKS
    )
    how = (
        f"{HOW} There were {asked:,} questions and {outcomes.total():,} requests of callers "
        f"({outcomes['falsely whole']} falsely whole), {crossed} answers crossed, "
        f"{twice} pushed twice. Faults: {_listed(met)}. In the log: {_listed(troubles)}."
    )
    claim = Claim(
        "an hour compressed, faults at random",
        "memory, open files and tasks flat",
        f"{grown:+.0f} MB, {last.files - first.files:+d} files, {last.tasks - first.tasks:+d} tasks",
        is_flat and is_alive and not (crossed or twice or outcomes["falsely whole"]),
    )
    return Figure("Soak", how, ("", "memory", "open files", "tasks", "objects"), tuple(rows), (claim,))


async def _live(
    stand: Stand, readers: list[Reader], callers: list[Caller], chance: random.Random, seconds: float, met: Counter[str]
) -> None:
    """So many seconds of it, and then calm."""
    stand.scene.is_over = False
    _trouble_wechat(stand, chance)
    lives = [*(reader.live() for reader in readers), *(caller.live() for caller in callers)]
    tasks = [asyncio.create_task(life) for life in lives]
    mischief = asyncio.create_task(_mischief(stand, readers, chance, met))
    await asyncio.sleep(seconds)
    stand.scene.is_over = True
    mischief.cancel()
    left = chance.sample(tasks, k=len(tasks) // 2)
    for task in left:  # half of them hang up where they stand
        task.cancel()
    await asyncio.gather(mischief, *tasks, return_exceptions=True)
    stand.upstream.requests.clear()
    stand.server.calls.clear()
    stand.server.script.clear()
    await asyncio.sleep(LINGER_SECONDS)


def _trouble_wechat(stand: Stand, chance: random.Random) -> None:
    faults: list[Scripted] = [Fault(-1), Fault(45015), Fault(40001), Cut(before=True), Cut(before=False), Slow(1.0)]
    faults.append(Garbage(502, b"<html>bad gateway</html>"))
    stand.server.script["custom/send"] = [chance.choice(faults) for _ in range(200)]


async def _mischief(stand: Stand, readers: list[Reader], chance: random.Random, met: Counter[str]) -> None:
    house = stand.house
    while True:
        await asyncio.sleep(chance.uniform(0.5, 3.0))
        match kind := chance.choice(("lock", "reload", "reset", "silence", "unfollow")):
            case "lock":
                with closing(sqlite3.connect(house.file, isolation_level=None)) as other, suppress(sqlite3.Error):
                    other.execute("BEGIN IMMEDIATE")
                    await asyncio.sleep(chance.uniform(0, 2.0))
                    other.execute("ROLLBACK")
            case "reload":
                house.signal(signal.SIGHUP)
            case "reset" | "silence":
                _, writer = await asyncio.open_connection("127.0.0.1", house.port)
                writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: posthouse\r\n")
                if kind == "reset":
                    writer.transport.abort()
            case "unfollow":
                reader = chance.choice(readers)
                with suppress(Exception):
                    await reader.side.unfollow(reader.openid)
        met[kind] += 1


async def _sample(stand: Stand, count: Path) -> Sample:
    """As soon as it is calm."""
    house, loop = stand.house, asyncio.get_running_loop()
    end = loop.time() + CALM_SECONDS
    while True:
        count.unlink(missing_ok=True)
        house.signal(signal.SIGUSR1)
        async with asyncio.timeout(COUNT_SECONDS):
            while not (count.exists() and count.read_text()):
                await asyncio.sleep(0.05)
        tasks, objects = map(int, count.read_text().split())
        files = len(list(Path(f"/proc/{house.pid}/fd").iterdir()))
        if (tasks <= CALM_TASKS and files <= CALM_FILES) or loop.time() > end:
            return Sample(memory(house.pid).resident, files, tasks, objects)
        await asyncio.sleep(1.0)


def _shown(sample: Sample) -> tuple[str, ...]:
    return f"{sample.megabytes:.0f} MB", str(sample.files), str(sample.tasks), f"{sample.objects:,}"


def _listed(counted: Counter[str] | dict[str, int]) -> str:
    return ", ".join(f"{count:,} × {name}" for name, count in sorted(counted.items())) or "none"
