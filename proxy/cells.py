"""
Cooldowns: independent deadlines, each of which keeps some keys from being chosen for some models. Pure.

Rule 1: a deadline only ever moves later; it ends by a success that proves it over, never by being forgotten.
Rule 2: after its deadline a cell is half-open: one request tries (the probe), the others wait for what becomes of it.
Rule 3: a success ends a cell only if its request was sent after the cell was made: a late success proves nothing.
Rule 4: of each kind of cell that names a model, at most 1,000 are kept; the oldest go first.

A cell is named by its kind and what it belongs to:
  ("key", KEY) · ("key-model", KEY, MODEL) · ("organization", ORG) · ("organization-model", ORG, MODEL) ·
  ("upstream", UPSTREAM) · ("upstream-model", UPSTREAM, MODEL)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

Name = tuple[str, ...]
MOST_MODEL_CELLS = 1_000  # a caller may invent model names; each refusal by a key makes one


@dataclass(slots=True)
class Cell:
    """Times on the pool's clock. `holder` is the fingerprint of the key that met it, `probe` the lease that tries."""

    until: float
    since: float
    rule: str
    reason: str
    holder: str
    strikes: int = 0
    probe: int = 0


class Cells:
    def __init__(self) -> None:
        self._cells: dict[Name, Cell] = {}

    def __bool__(self) -> bool:
        return bool(self._cells)

    def __iter__(self) -> Iterator[tuple[Name, Cell]]:
        return iter(self._cells.items())

    def get(self, name: Name) -> Cell | None:
        return self._cells.get(name)

    def hold(self, name: Name, cell: Cell) -> Cell:
        """Make the cell, or move it later. A probe in flight stays the only one, even when a late refusal moves it."""
        known = self._cells.get(name)
        if known is None:
            self._cells[name] = cell
            self._bound(name)
            return cell
        if cell.until > known.until:
            known.until, known.rule, known.reason, known.holder = cell.until, cell.rule, cell.reason, cell.holder
        known.since, known.strikes = max(known.since, cell.since), max(known.strikes, cell.strikes)
        return known

    def in_the_way(self, names: tuple[Name, ...], now: float) -> list[Cell]:
        """The cells among `names` that forbid a request now: not yet past, or with a probe in flight."""
        known = self._cells.get
        return [cell for name in names if (cell := known(name)) and (cell.until > now or cell.probe)]

    def try_out(self, names: tuple[Name, ...], lease: int) -> tuple[Name, ...]:
        """The request `lease` becomes the probe of those of `names` that exist; `give_back` wants them again."""
        cells = self._cells
        probed = tuple([name for name in names if name in cells])
        for name in probed:
            cells[name].probe = lease
        return probed

    def give_back(self, probed: tuple[Name, ...], lease: int) -> None:
        """The probe ended without proof either way: another may try."""
        for name in probed:
            if (cell := self._cells.get(name)) and cell.probe == lease:
                cell.probe = 0

    def end(self, name: Name, *, sent_at: float) -> Cell | None:
        """Take the cell away if a success of a request sent at `sent_at` proves it over. The cell, if it did."""
        cell = self._cells.get(name)
        return self._cells.pop(name) if cell and sent_at > cell.since else None

    def drop(self, stems: Collection[Name]) -> int:
        """Forget the cells of which one of `stems` says kind and owner, whatever their model; how many there were."""
        gone = [name for name in self._cells if name[:2] in stems]
        for name in gone:
            del self._cells[name]
        return len(gone)

    def _bound(self, name: Name) -> None:
        if not name[0].endswith("-model"):
            return
        kept = [known for known in self._cells if known[0] == name[0]]
        for known in kept[: max(0, len(kept) - MOST_MODEL_CELLS)]:
            del self._cells[known]
