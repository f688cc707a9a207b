"""
What is on the disk when the daemon says that it has a question: the order of its system calls under strace, and with disks
that fail.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.faults import trace
from bench.faults.askers import HOLD_SECONDS
from bench.faults.people import Reader
from bench.faults.plan import Plan
from bench.faults.stand import Stand, standing
from bench.program import ROOT
from bench.report import Claim, Figure

QUESTIONS, AT_ONCE = 300, 20
ROUND_SECONDS = 300.0
ATTACH_SECONDS, LOOK_SECONDS = 10.0, 0.01
ROOMS = ("bot", "daemon", "proxy", "static")
FULL, OFF = "PRAGMA synchronous = FULL", "PRAGMA synchronous = OFF"

HOW = f"""The whole daemon under strace; {QUESTIONS} subscribers with one question each, {AT_ONCE} at a time,
and a caller of the gateway beside them. A question is on the disk when its page of the write-ahead log was
written and the sync after that returned 0; a sync that fails loses what was written before it. *Too early* are
questions that were acknowledged (by a link to tap, an answer or a promise), or asked of the model, before that.
The system calls that a row names fail as it says from the moment on at which the daemon serves. After each
round the daemon is killed and the file read: *missing* are acknowledged questions that are not in it. The last
row shows that the check sees: the same daemon with `synchronous = OFF`, which no number of kills would tell
from a safe one."""


@dataclass(frozen=True, slots=True)
class Round:
    what: str
    inject: str = ""  # as strace takes it
    is_spoilt: bool = False


ROUNDS = (
    Round("a good disk"),
    Round("every third fdatasync: EIO", "fdatasync:error=EIO:when=1+3"),
    Round("every third fdatasync: ENOSPC", "fdatasync:error=ENOSPC:when=1+3"),
    Round("every 23rd write: ENOSPC", "pwrite64:error=ENOSPC:when=1+23"),
    Round("every 23rd write: EIO", "pwrite64:error=EIO:when=1+23"),
    Round("every write for a while: EROFS", "pwrite64:error=EROFS:when=20..200"),
    Round("synchronous = OFF, to see whether it is seen", is_spoilt=True),
)


@dataclass(frozen=True, slots=True)
class Result:
    round: Round
    finding: trace.Finding
    missing: set[str]
    outcomes: Counter[str]  # of the caller
    errors: dict[str, int]


async def measure(plan: Plan) -> Figure:
    if shutil.which("strace") is None:
        raise FileNotFoundError("strace is not installed; on Debian:  apt-get install strace")
    results = []
    for number, each in enumerate(ROUNDS):
        async with asyncio.timeout(ROUND_SECONDS):
            results.append(await _round(each, plan.folder / f"durability-{number}", plan))
        plan.say(f"durability: {each.what}")
    *honest, spoilt = results
    early, missing = (sum(len(names) for names in found) for found in zip(*map(_faults, honest), strict=True))
    acknowledged = sum(len(result.finding.acknowledged) for result in honest)
    failing = [result for result in honest if result.round.inject]
    return Figure(
        "Durability",
        HOW,
        (
            *("the disk", "acknowledged", "told that it was not kept", "failed syncs", "too early", "missing"),
            *("caller: whole / all", "errors in the log"),
        ),
        tuple(map(_row, results)),
        (
            Claim(
                "a question is on the disk before it is acknowledged",
                "always, and seen where it is not",
                f"{early} too early of {acknowledged:,}; {len(spoilt.finding.early):,} with `synchronous = OFF`",
                early == 0 and bool(spoilt.finding.early),
            ),
            Claim(
                "disks that fail (EIO, ENOSPC, EROFS)",
                "0 false acknowledgements",
                f"{sum(len(result.finding.early) for result in failing)} false of "
                f"{sum(len(result.finding.acknowledged) for result in failing):,}, {missing} missing",
                not missing and not any(result.finding.early for result in failing),
            ),
        ),
    )


def _faults(result: Result) -> tuple[set[str], set[str]]:
    return result.finding.early, result.missing


async def _round(each: Round, folder: Path, plan: Plan) -> Result:
    folder.mkdir()
    output = folder / "trace"
    tree = _spoilt(folder / "tree") if each.is_spoilt else ROOT
    async with standing(folder, random.Random(plan.seed), tree=tree, hold_seconds=HOLD_SECONDS) as stand:
        await stand.house.start()
        tracer = await traced(stand.house.pid, output, inject=each.inject)
        readers, [caller] = stand.readers(plan.of(QUESTIONS // 2), plan.of(QUESTIONS // 2)), stand.callers(1)
        calling = asyncio.create_task(caller.live())
        await ask_all(readers)
        stand.scene.is_over = True
        await calling
        stand.house.kill()
        await stand.house.gone()
        await tracer.wait()  # it ends with what it traces
        with output.open(errors="replace") as lines:
            finding = trace.read(lines)
        return Result(each, finding, finding.acknowledged - _kept(stand), caller.outcomes, stand.house.troubles())


async def ask_all(readers: list[Reader]) -> None:
    at_once = asyncio.Semaphore(AT_ONCE)

    async def ask(reader: Reader) -> None:
        async with at_once:
            await reader.ask()

    await asyncio.gather(*map(ask, readers))


async def traced(pid: int, output: Path, *, inject: str = "") -> asyncio.subprocess.Process:
    """A tracer of all of the process's threads, that is at work already; it ends when the process does."""
    faults = ["-e", f"inject={inject}"] if inject else []
    arguments = [
        "-f",
        "-qq",
        "-y",
        "-s",
        "16384",
        "-o",
        str(output),
        "-e",
        f"trace={trace.CALLS}",
        *faults,
        "-p",
        str(pid),
    ]
    tracer = await asyncio.create_subprocess_exec("strace", *arguments)
    async with asyncio.timeout(ATTACH_SECONDS):
        while not all(_is_traced(thread) for thread in Path(f"/proc/{pid}/task").iterdir()):
            await asyncio.sleep(LOOK_SECONDS)
    return tracer


def _is_traced(thread: Path) -> bool:
    return "\nTracerPid:\t0\n" not in (thread / "status").read_text()


def _kept(stand: Stand) -> set[str]:
    with closing(sqlite3.connect(stand.house.file)) as database:
        return {question.removeprefix("问题 ") for (question,) in database.execute("SELECT question FROM exchange")}


def _spoilt(tree: Path) -> Path:
    """The same daemon, but for one word."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    module = tree / "daemon" / "sqlite" / "database.py"
    source = module.read_text()
    if FULL not in source:
        raise LookupError(f"{module.name} has no {FULL!r} to spoil")
    module.write_text(source.replace(FULL, OFF))
    return tree


def _row(result: Result) -> tuple[str, ...]:
    finding, outcomes = result.finding, result.outcomes
    return (
        result.round.what,
        f"{len(finding.acknowledged):,}",
        f"{len(finding.refused):,}",
        f"{finding.failed_syncs:,}",
        f"{len(finding.early):,}",
        f"{len(result.missing):,}",
        f"{outcomes['whole']:,} / {outcomes.total():,}",
        ", ".join(f"{count} × {name}" for name, count in sorted(result.errors.items())) or "none",
    )
