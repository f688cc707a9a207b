"""
Where the daemon's CPU time goes, by the part of the program and by function: for plain requests, and for pushes.

Rule: a sample belongs to the innermost Python function of ours or of a library; what that function calls in C, the kernel
      included, is its own.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench import load, pushes
from bench.caller import ask_without_pause
from bench.machine import cpu_seconds, cpu_seconds_of_main
from bench.peers import Absent, bin_of
from bench.program import ROOT, Program
from bench.report import Figure
from bench.stage import PLAIN_ACCOUNT, Stage

SECONDS, WARM_SECONDS, SAMPLES_PER_SECOND = 8.0, 1.0, 200
MOST = 18  # rows

HOW = f"""{{load}}, while py-spy takes {SAMPLES_PER_SECOND} samples a second of the daemon. A sample counts for the innermost
Python function; what that calls in C, and in the kernel, is in it (a write to a socket is in the function that writes). The
whole is the CPU time that one took while it was watched, which costs it some; the main thread's samples are scaled to
its own CPU time, those of the others to theirs."""
HEAD = ("CPU µs each", "module", "CPU µs each", "function")

Load = Callable[[float], Awaitable[int]]  # for so many seconds; how many were answered


async def measure(stage: Stage) -> Figure:
    async with stage.upstream() as upstream, stage.posthouse(upstream) as posthouse:

        async def requests(seconds: float) -> int:
            return (await load.plain(posthouse.port, seconds=seconds, folder=stage.folder)).answered

        how = HOW.format(load="The plain requests of above, without a pause")
        return await _watched(stage, posthouse, "Where a plain request's time goes", how, requests)


async def measure_pushes(stage: Stage) -> Figure:
    async with stage.upstream(*pushes.MODEL) as upstream, stage.posthouse(upstream, PLAIN_ACCOUNT) as posthouse:
        made = pushes.Pushes()

        async def questions(seconds: float) -> int:
            return await ask_without_pause(
                posthouse.port,
                connections=pushes.CONNECTIONS,
                seconds=seconds,
                request=lambda: made.next(pushes.WORDS),
            )

        how = HOW.format(load="The questions of above, without a pause")
        return await _watched(stage, posthouse, "Where a question's time goes", how, questions)


async def _watched(stage: Stage, posthouse: Program, title: str, how: str, load: Load) -> Figure:
    try:
        spy = bin_of("py-spy") / "py-spy"
    except Absent as fault:
        return Figure(title, how, HEAD, ((fault.why, "", "", ""),))
    seconds, stacks = max(2.0, stage.seconds(SECONDS)), stage.folder / "stacks"
    await load(WARM_SECONDS)
    options = [
        "--pid",
        str(posthouse.pid),
        "--format",
        "raw",
        "--output",
        str(stacks),
        "--full-filenames",
        "--nolineno",
    ]
    options += ["--rate", str(SAMPLES_PER_SECOND), "--duration", str(round(seconds))]
    process = await asyncio.create_subprocess_exec(str(spy), "record", *options, stdout=DEVNULL, stderr=DEVNULL)
    cpu, cpu_of_main = cpu_seconds(posthouse.pid), cpu_seconds_of_main(posthouse.pid)
    answered = await load(seconds + 1)  # it takes a moment to begin
    cpu, cpu_of_main = cpu_seconds(posthouse.pid) - cpu, cpu_seconds_of_main(posthouse.pid) - cpu_of_main
    await process.wait()
    of_main, of_others = cpu_of_main / answered * 1e6, max(0.0, cpu - cpu_of_main) / answered * 1e6
    return Figure(title, how, HEAD, tuple(_rows(stacks.read_text(), of_main, of_others)))


def _rows(stacks: str, of_main: float, of_others: float) -> list[tuple[str, ...]]:
    """The costs are the main thread's and all others', each spread over its own samples."""
    parts, functions, samples = dict[str, float](), dict[str, float](), Counter[bool]()
    counted = [(stack, int(count)) for stack, _, count in (line.rpartition(" ") for line in stacks.splitlines())]
    for stack, count in counted:
        samples[_is_main(stack)] += count
    for stack, count in counted:
        cost = (of_main if _is_main(stack) else of_others) * count / samples[_is_main(stack)]
        name, _, path = stack.split(";")[-1].removesuffix(")").partition(" (")
        part = _part(path)
        parts[part] = parts.get(part, 0.0) + cost
        functions[f"{part} {name}"] = functions.get(f"{part} {name}", 0.0) + cost
    most = zip(_most(parts), _most(functions), strict=False)
    rows = [(f"{of[1]:.1f}", of[0], f"{by[1]:.1f}", by[0]) for of, by in most]
    return [(f"{of_main + of_others:.1f}", "all", f"{of_others:.1f}", "all, in threads beside the main one"), *rows]


def _most(costs: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(costs.items(), key=lambda cost: -cost[1])[:MOST]


def _is_main(stack: str) -> bool:
    return "_bootstrap" not in stack.partition(";")[0]


def _part(path: str) -> str:
    """proxy/errand; of a library its name."""
    if path == "<string>":
        return "Python's dataclasses"
    if path.startswith(f"{ROOT}/") and "site-packages" not in path:
        return str(Path(path).relative_to(ROOT).with_suffix(""))
    _, found, inside = path.rpartition("site-packages/")
    if found:
        return inside.split("/")[0]
    module = Path(path)
    return f"Python's {module.parent.name if module.stem == '__init__' else module.stem}"
