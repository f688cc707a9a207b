"""How much is done: the seed that all chance comes from, and what share of the whole."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """`folder` is the run's own and goes away with it. `share` 1.0 is the whole run."""

    folder: Path
    seed: int
    share: float = 1.0

    def of(self, count: int) -> int:
        return max(1, round(count * self.share))

    def say(self, words: str) -> None:
        print(f"  {words}", file=sys.stderr, flush=True)
