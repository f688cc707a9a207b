"""
`python -m bench.faults [--seed N] [--share S] [--keep FOLDER] [FIGURE …]`: breaks the daemon, prints each figure when it has
it, and writes docs/reliability.md when it has them all.

Rule 1: everything is on loopback, bounded in count and time, and ended by its own process id.
Rule 2: the page is written by a whole run alone (every figure, share 1), so that its figures belong together. One that was
        interrupted goes on where it was, if it kept its figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import uvloop

from bench import machine, report
from bench.faults import crowds, durability, fuzz, kills, restart, soak, troubles, upstreams
from bench.faults.house import BYTECODE
from bench.faults.plan import Plan
from bench.report import Claim, Figure

FIGURES: Mapping[str, Callable[[Plan], Awaitable[Figure]]] = {
    "kills": kills.measure,
    "restart": restart.measure,
    "durability": durability.measure,
    "slow": crowds.measure_slow,
    "stalled": crowds.measure_stalled,
    "fuzz": fuzz.measure,
    "soak": soak.measure,
    "upstreams": upstreams.measure,
    "troubles": troubles.measure,
}
FIGURE_SECONDS = 10_800.0  # a thousand kills on a very busy machine; the others take minutes
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
SEED = 20261127
MOST_BYTES = 8 << 30  # of address space, for each process here: a fault of ours must not take the machine with it

HEAD = """# Reliability

What the daemon does when it is broken. `make faults` breaks it and writes this page.

"""
ABOUT = """Measured on {machine}, {load} after it; everything on loopback. All chance comes from the seed {seed}."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; without any, all")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--share", type=float, default=1.0, help="of the whole, 0.01 for a quick look")
    parser.add_argument("--keep", type=Path, help="where figures are kept as they come, and not measured again")
    options = parser.parse_args()
    wanted = options.figures or list(FIGURES)
    if unknown := set(wanted) - set(FIGURES):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    if not sys.platform.startswith("linux"):
        parser.error("processes are watched and broken by means of Linux (/proc, strace)")
    logging.getLogger("aiohttp.server").setLevel(
        logging.CRITICAL
    )  # our upstream is left in the middle, as it should be
    machine.raise_open_files()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    about = machine.description()
    with tempfile.TemporaryDirectory(prefix="posthouse-faults-") as folder:
        # An installed package is compiled; a source tree must not be, so its bytecode stands elsewhere.
        os.environ[BYTECODE] = str(Path(folder) / "bytecode")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        plan = Plan(Path(folder), options.seed, options.share)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = [_kept(name, options.keep) or runner.run(_measured(name, plan, options.keep)) for name in wanted]
    if wanted == list(FIGURES) and options.share == 1.0:
        load = f"{os.getloadavg()[0]:.1f}"
        PAGE.write_text(report.page(figures, about=ABOUT.format(machine=about, load=load, seed=plan.seed), head=HEAD))
        print(f"wrote {PAGE}", file=sys.stderr)
    return 0


def _kept(name: str, keep: Path | None) -> Figure | None:
    if keep is None or not (file := keep / f"{name}.json").exists():
        return None
    kept = json.loads(file.read_text())
    claims, rows = tuple(Claim(**claim) for claim in kept["claims"]), tuple(map(tuple, kept["rows"]))
    return Figure(kept["title"], kept["how"], tuple(kept["head"]), rows, claims)


async def _measured(name: str, plan: Plan, keep: Path | None) -> Figure:
    print(f"breaking: {name} …", file=sys.stderr)
    async with asyncio.timeout(FIGURE_SECONDS):
        figure = await FIGURES[name](plan)
    print(figure)
    for claim in figure.claims:
        print(f"{'met' if claim.is_met else 'NOT MET'}: {claim.what}: {claim.measured} ({claim.target})")
    print(flush=True)
    if keep is not None:
        keep.mkdir(exist_ok=True)
        (keep / f"{name}.json").write_text(json.dumps(asdict(figure)))
    return figure


if __name__ == "__main__":
    sys.exit(main())
