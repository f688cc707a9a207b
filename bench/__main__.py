"""
`python -m bench [FIGURE …]`: measures, prints each figure when it has it, and writes docs/performance.md when it has them all.

Rule 1: everything is on loopback, bounded in count and time, and ended by its own process id.
Rule 2: the page is written by a whole run alone, so that its figures belong together.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Mapping
from importlib import metadata
from pathlib import Path

import uvloop

from bench import (
    busy_streams,
    chart,
    choice,
    first_byte,
    footprint,
    latency,
    load,
    machine,
    open_streams,
    profile,
    proxies,
    pushes,
    report,
    requests,
    subscribers,
    viewers,
)
from bench.program import DidNotStart
from bench.report import Figure
from bench.stage import NEIGHBOURS, Stage

FIGURES: Mapping[str, Callable[[Stage], Awaitable[Figure]]] = {
    "requests": requests.measure,
    "requests-tls": requests.measure_tls,
    "latency": latency.measure,
    "first-byte": first_byte.measure,
    "busy-streams": busy_streams.measure,
    "streams": open_streams.measure,
    "streams-tls": open_streams.measure_tls,
    "idle": footprint.measure,
    "pushes": pushes.measure,
    "subscribers": subscribers.measure,
    "choice": choice.measure,
    "viewers": viewers.measure,
    "profile": profile.measure,
    "profile-pushes": profile.measure_pushes,
}
FIGURE_SECONDS = 600.0  # the longest takes a quarter of it


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; without any, all")
    parser.add_argument("--quick", action="store_true", help="short rounds, printed only: to see that it runs")
    options = parser.parse_args()
    wanted = options.figures or list(FIGURES)
    if unknown := set(wanted) - set(FIGURES):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    if not sys.platform.startswith("linux"):
        parser.error("cores and CPU time are read from /proc, so this needs Linux")
    machine.raise_open_files()
    cores = machine.cores()
    about = _about(cores)  # while this process may still use every core, and so sees how many there are
    machine.stay_on(cores.others)
    with tempfile.TemporaryDirectory(prefix="posthouse-bench-") as folder:
        stage = Stage(Path(folder), cores, options.quick)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            attempts = [runner.run(_measured(name, stage)) for name in wanted]
    figures = [figure for figure in attempts if figure]
    if claims := [claim for figure in figures for claim in figure.claims]:
        print(report.promises(claims))
    if len(figures) < len(wanted):
        return 1
    if wanted == list(FIGURES) and not options.quick:
        panels = [bars for figure in figures for bars in figure.bars]
        report.CHART.write_text(chart.svg("Posthouse beside its peers, on one core", panels))
        report.PAGE.write_text(report.page(figures, about=about))
        print(f"wrote {report.PAGE}", file=sys.stderr)
    return 0


async def _measured(name: str, stage: Stage) -> Figure | None:
    """None where it could not be: what went wrong is printed, and the next one has its turn."""
    at, of = list(FIGURES).index(name) + 1, len(FIGURES)
    print(f"measuring {at} of {of}: {name} …", file=sys.stderr)
    try:
        async with asyncio.timeout(FIGURE_SECONDS):
            figure = await FIGURES[name](stage)
    except (DidNotStart, OSError, ValueError):  # a time-out is an OSError
        traceback.print_exc()
        return None
    print(figure)
    return figure


def _about(cores: machine.Cores) -> str:
    versions = [f"{name} {metadata.version(name)}" for name in ("aiohttp", "uvloop")]
    versions += [f"{proxy.name} {proxy.version}" for proxy in map(proxies.installed, NEIGHBOURS) if proxy]
    placing = "The measured program has one core to itself, the load and the upstream share another."
    return report.ABOUT.format(
        machine=machine.description(),
        placing=placing if cores.measured is not None else "All programs share the cores.",
        software=f"With {', '.join(versions)}.",
        load=f"Plain requests come from {'wrk' if load.program() else 'a caller in Python (wrk is not installed)'}.",
    )


if __name__ == "__main__":
    sys.exit(main())
