"""
That a config is wrong, as whoever is told of it hears it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from proxy.value import value_type

LOOKS_SECRET = re.compile(r"\b(sk|ph)-[A-Za-z0-9_-]{6,}|//[^/\s@]+@")


@value_type
class Problem:
    """One line, which never shows anything that looks like an API key, and moves no cursor."""

    path: str
    sentence: str

    def __str__(self) -> str:
        line = LOOKS_SECRET.sub("…", f"{self.path}: {self.sentence}")
        return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


class WrongConfig(Exception):
    """Everything that is wrong, at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))
