"""What was measured, as values, and how it is written: one Markdown page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

COLUMNS = 120
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"

HEAD = """# Performance

What the daemon costs and how fast it is. `make bench` measures it and writes this page.

"""
ABOUT = """The figures belong to this machine and to whatever else it did meanwhile: compare the rows of one table
with each other, not with another machine's. Measured on {machine}. {placing} Everything is on loopback, without TLS.
{software}"""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the product promises, and what came out."""

    what: str
    target: str
    measured: str
    is_met: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """One table. `how` says how it was measured, in a few sentences."""

    title: str
    how: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    claims: tuple[Claim, ...] = ()

    def __str__(self) -> str:
        return f"## {self.title}\n\n{_table(self.head, self.rows)}\n{_folded(self.how)}\n"


def page(figures: Sequence[Figure], *, about: str, head: str = HEAD) -> str:
    claims = [claim for figure in figures for claim in figure.claims]
    rows = [(claim.what, claim.target, claim.measured, "yes" if claim.is_met else "**no**") for claim in claims]
    promised = _table(("promised", "target", "measured", "met"), rows)
    return head + "\n".join([f"{_folded(about)}\n", promised, *map(str, figures)])


def _folded(text: str) -> str:
    return fill(" ".join(text.split()), COLUMNS, break_long_words=False, break_on_hyphens=False)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
