"""
Formulas that have lines of their own: between $$ and $$, \\[ and \\], or \\begin{align} and its end. Pure.

Rule 1: one that has no end is none, nor is one with a blank line in the middle: then its lines are words like others.
Rule 2: what stands before it on its first line and behind it on its last is not part of it.
"""

from __future__ import annotations

import re

from bot.value import value_type
from bot.wechat.formula import readable

MAX_LINES = 80  # what goes on for longer is not one

ENVIRONMENTS = "equation|align|aligned|gather|gathered|multline|split|eqnarray|cases"
OPENING = re.compile(
    rf"([ \t]*|[^$\\]*(?=(?:\$\$|\\\[)\s*$))(\$\$|\\\[|\\begin\{{(?:{ENVIRONMENTS})\*?\}})",
)
CLOSINGS = {"$$": "$$", "\\[": "\\]"}
PUNCTUATION = re.compile(r"[\s.,;:。，；：、]*")
STRAY = frozenset({"$$", "\\[", "\\]"})  # alone on a line, the mark of a formula that has no end yet


@value_type
class Display:
    """`end` is the number of the line behind it; `before` is only its indentation where it begins the line."""

    end: int
    before: str
    latex: str
    after: str

    def lines(self) -> list[str]:
        """The formula in signs, indented as it was, with the full stop or comma behind it."""
        indentation = "" if self.before.strip() else self.before
        text = readable(self.latex) + self._punctuation.strip()
        return [indentation + line.strip() for line in text.split("\n")]

    @property
    def words_after(self) -> str:
        return self.after[len(self._punctuation) :].rstrip()

    @property
    def _punctuation(self) -> str:
        found = PUNCTUATION.match(self.after)
        return found[0] if found else ""


def display_at(lines: list[str], first: int) -> Display | None:
    """The formula that opens on the line `first`."""
    opening = OPENING.match(lines[first])
    if not opening:
        return None
    before, mark = opening.groups()
    closing = CLOSINGS.get(mark) or mark.replace("\\begin", "\\end")
    rest = lines[first][opening.end() :]
    if closing in rest:
        latex, _, after = rest.partition(closing)
        is_alone = latex.strip() and PUNCTUATION.fullmatch(after)
        return Display(first + 1, before, _with_marks(mark, latex, closing), after) if is_alone else None
    body = [rest]
    for at in range(first + 1, min(first + MAX_LINES, len(lines))):
        line = lines[at]
        if closing in line:
            latex, _, after = line.partition(closing)
            return Display(at + 1, before, _with_marks(mark, "\n".join([*body, latex]), closing), after)
        if not line.strip() and "".join(body).strip() and lines[at + 1 : at + 2] != [closing]:
            return None
        body.append(line)
    return None


def _with_marks(mark: str, latex: str, closing: str) -> str:
    return latex if mark in CLOSINGS else mark + latex + closing
