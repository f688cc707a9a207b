"""
A table of Markdown as lines, because a phone is too narrow for columns. Pure.

Rule 1: a row is a line, each cell with its column's name: • 名：苹果；价：5 元
Rule 2: where a row of three cells or more would be too long to be looked through, every row of the table has a line to a cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bot.wechat.inline import TAG_BREAK, inline

LONG = 72  # half-widths, of which a Chinese character has two; two lines on a phone

DELIMITER = re.compile(r":?-+:?")
BAR = re.compile(r"(?<!\\)\|")


def is_table(header: str, delimiter: str) -> bool:
    cells = _cells(delimiter)
    return all(DELIMITER.fullmatch(cell) for cell in cells) and len(cells) == len(_cells(header, len(cells)))


def rows(lines: list[str]) -> Iterator[str]:
    """The rows of the table as lines of text; of one without rows, the names of its columns."""
    header, delimiter, *body = lines
    names = [inline(cell).rstrip("：:") for cell in _cells(header, len(_cells(delimiter)))]
    if not body:
        yield "；".join(names)
    table = [row for line in body if (row := _row(names, line))]
    is_wide = any(len(row) > 2 and sum(map(_width, row)) + 2 * len(row) > LONG for row in table)
    for row in table:
        yield "• " + ("\n  " if is_wide else "；").join(row)


def _width(cell: str) -> int:
    return sum(2 if character >= "\u2e80" else 1 for character in cell)


def _row(names: list[str], line: str) -> list[str]:
    cells = [inline(TAG_BREAK.sub("，", cell)) for cell in _cells(line, len(names))]
    named = zip(names + [""] * (len(cells) - len(names)), cells, strict=False)
    return [f"{name}：{cell}" if name else cell for name, cell in named if cell]


def _cells(row: str, columns: int = 0) -> list[str]:
    row = row.strip().removeprefix("|")
    if not row.endswith("\\|"):
        row = row.removesuffix("|")
    cells = BAR.split(row)
    if 0 < columns < len(cells) and len(whole := _with_their_bars(cells)) == columns:
        cells = whole
    return [cell.strip().replace("\\|", "|") for cell in cells]


def _with_their_bars(cells: list[str]) -> list[str]:
    """The cells where a bar between ticks or dollars is no end of one: people write `a|b` and $P(A|B)$."""
    whole: list[list[str]] = []
    is_open = False
    for cell in cells:
        if is_open:
            whole[-1].append(cell)
        else:
            whole.append([cell])
        is_open ^= (cell.count("`") + cell.count("$")) % 2 == 1
    return [] if is_open else ["|".join(parts) for parts in whole]
