"""
`python -m bench [FIGURE …]`: measures, prints each figure when it has it, and writes docs/performance.md when it has them all.

Rule 1: everything is on loopback, bounded in count and time, and ended by its own process id.
Rule 2: the page is written by a whole run alone, so that its figures belong together.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from importlib import metadata
from pathlib import Path

import uvloop

from bench import choice, first_byte, footprint, machine, open_streams, report, requests, subscribers, viewers
from bench.report import Figure
from bench.stage import Stage, nginx_program

FIGURES: Mapping[str, Callable[[Stage], Awaitable[Figure]]] = {
    "first-byte": first_byte.measure,
    "requests": requests.measure,
    "streams": open_streams.measure,
    "idle": footprint.measure,
    "subscribers": subscribers.measure,
    "choice": choice.measure,
    "viewers": viewers.measure,
}
FIGURE_SECONDS = 300.0  # the longest takes a third of it


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; without any, all")
    wanted = parser.parse_args().figures or list(FIGURES)
    if unknown := set(wanted) - set(FIGURES):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    if not sys.platform.startswith("linux"):
        parser.error("cores and CPU time are read from /proc, so this needs Linux")
    machine.raise_open_files()
    cores = machine.cores()
    about = _about(cores)  # while this process may still use every core, and so sees how many there are
    machine.stay_on(cores.others)
    with tempfile.TemporaryDirectory(prefix="posthouse-bench-") as folder:
        stage = Stage(Path(folder), cores)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = [runner.run(_measured(name, stage)) for name in wanted]
    if wanted == list(FIGURES):
        report.PAGE.write_text(report.page(figures, about=about))
        print(f"wrote {report.PAGE}", file=sys.stderr)
    return 0


async def _measured(name: str, stage: Stage) -> Figure:
    print(f"measuring: {name} …", file=sys.stderr)
    async with asyncio.timeout(FIGURE_SECONDS):
        figure = await FIGURES[name](stage)
    print(figure)
    return figure


def _about(cores: machine.Cores) -> str:
    versions = [f"{name} {metadata.version(name)}" for name in ("aiohttp", "uvloop")]
    if nginx := nginx_program():
        said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
        versions.append(f"nginx {said.strip().rpartition('/')[2]}")
    placing = "The measured program has one core to itself, the caller and the upstream share another."
    return report.ABOUT.format(
        machine=machine.description(),
        placing=placing if cores.measured is not None else "All programs share the cores.",
        software=f"With {', '.join(versions)}.",
    )


if __name__ == "__main__":
    sys.exit(main())
