"""What was measured, as values, and how it is written: one Markdown page, and the chart beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from bench.chart import Bars

COLUMNS = 120
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
CHART = PAGE.with_suffix(".svg")

HEAD = f"""# Performance

What the daemon costs and how fast it is. `make bench` measures it and writes this page.

![The same in bars, beside nginx, haproxy and others]({CHART.name})

"""
ABOUT = """The figures belong to this machine and to whatever else it did meanwhile: compare the rows of one table
with each other, not with another machine's. Measured on {machine}. {placing} Everything is on loopback.
{software} {load}"""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the product must do, and what came out. `aim` is better still; "" where there is none."""

    what: str
    target: str
    measured: str
    is_met: bool
    aim: str = ""
    reaches_aim: bool = False

    @property
    def verdict(self) -> str:
        if not self.is_met:
            return "**no**"
        return "yes, the aim too" if self.reaches_aim else "yes"


def at_most(what: str, value: float, form: str, *, must: float, aim: float) -> Claim:
    """`form` writes a value: "{:.2f}×"."""
    limits = f"≤ {form.format(must)}", f"≤ {form.format(aim)}"
    return Claim(what, limits[0], form.format(value), value <= must, limits[1], value <= aim)


def at_least(what: str, value: float, form: str, *, must: float, aim: float) -> Claim:
    limits = f"≥ {form.format(must)}", f"≥ {form.format(aim)}"
    return Claim(what, limits[0], form.format(value), value >= must, limits[1], value >= aim)


@dataclass(frozen=True, slots=True)
class Figure:
    """One table. `how` says how it was measured, in a few sentences; `bars` are its part of the chart."""

    title: str
    how: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    claims: tuple[Claim, ...] = ()
    bars: tuple[Bars, ...] = ()

    def __str__(self) -> str:
        return f"## {self.title}\n\n{_table(self.head, self.rows)}\n{_folded(self.how)}\n"


def page(figures: Sequence[Figure], *, about: str, head: str = HEAD) -> str:
    claims = [claim for figure in figures for claim in figure.claims]
    return head + "\n".join([f"{_folded(about)}\n", promises(claims), *map(str, figures)])


def promises(claims: Sequence[Claim]) -> str:
    if not any(claim.aim for claim in claims):
        rows = [(claim.what, claim.target, claim.measured, claim.verdict) for claim in claims]
        return _table(("promised", "target", "measured", "met"), rows)
    with_aims = [(claim.what, claim.target, claim.aim, claim.measured, claim.verdict) for claim in claims]
    return _table(("promised", "must", "aim", "measured", "met"), with_aims)


def missing(names: Sequence[str], head: Sequence[str]) -> list[tuple[str, ...]]:
    """The rows of those that are not installed."""
    return [(name, "not installed", *("" for _ in head[2:])) for name in names]


def _folded(text: str) -> str:
    return fill(" ".join(text.split()), COLUMNS, break_long_words=False, break_on_hyphens=False)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
