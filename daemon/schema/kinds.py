"""
Kinds of value: what each expects, in words, and what a value of TOML becomes of it. Pure.

Rule 1: every kind says in words what it expects; errors and the reference quote those words.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable

from daemon.secret import Sources


class Unexpected(ValueError):
    """For a kind to raise that can say better what was expected than its own words do."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class Kind(ABC):
    """`is_secret`: an error never shows what was given."""

    is_secret = False

    def __init__(self, words: str) -> None:
        self.words = words

    @abstractmethod
    def parse(self, given: object, sources: Sources) -> object:
        """Raises Unexpected, and ValueError or OverflowError for what the words say."""


class Exactly(Kind):
    """A value of one of TOML's own types."""

    def __init__(self, words: str, kind: type) -> None:
        super().__init__(words)
        self.kind = kind

    def parse(self, given: object, sources: Sources) -> object:
        if type(given) is not self.kind:  # True is an int to Python, and a time of a day a date
            raise ValueError
        return given


MOST_WHOLE = 2**53  # TOML has numbers beyond what a float holds exactly, and a database's column at all


class Whole(Kind):
    """A whole number."""

    def __init__(self, words: str, least: int) -> None:
        super().__init__(words)
        self.least = least

    def parse(self, given: object, sources: Sources) -> int:
        if type(given) is not int or not self.least <= given <= MOST_WHOLE:
            raise ValueError
        return given


class Number(Kind):
    """Any number within its bounds. TOML knows inf and nan; neither is a duration or a size."""

    def __init__(
        self,
        words: str,
        *,
        above: float = -math.inf,
        below: float = math.inf,
        least: float = -math.inf,
        most: float = math.inf,
    ) -> None:
        super().__init__(words)
        self.above, self.below, self.least, self.most = above, below, least, most

    def parse(self, given: object, sources: Sources) -> float:
        if type(given) not in (int, float):
            raise ValueError
        number = float(given)  # type: ignore[arg-type]
        if not (self.above < number < self.below and self.least <= number <= self.most):
            raise ValueError
        return number


class Matching(Kind):
    """A string, the whole of which has a pattern."""

    def __init__(self, words: str, pattern: str) -> None:
        super().__init__(words)
        self.pattern = pattern

    def parse(self, given: object, sources: Sources) -> str:
        if not isinstance(given, str) or not re.fullmatch(self.pattern, given):
            raise ValueError
        return given


class OneOf(Kind):
    """One of some words."""

    def __init__(self, *values: str) -> None:
        *others, last = (f'"{value}"' for value in values)
        super().__init__(" or ".join(filter(None, (", ".join(others), last))))
        self.values = values

    def parse(self, given: object, sources: Sources) -> object:
        if given not in self.values:
            raise ValueError
        return given


class Placed(Kind):
    """A string that `place` makes something of, seen from where the config lies, or raises ValueError."""

    def __init__(self, words: str, place: Callable[[str, Sources], object]) -> None:
        super().__init__(words)
        self._place = place

    def parse(self, given: object, sources: Sources) -> object:
        if not isinstance(given, str):
            raise ValueError
        return self._place(given, sources)


class Read(Placed):
    """The same, wherever the config lies."""

    def __init__(self, words: str, read: Callable[[str], object]) -> None:
        super().__init__(words, lambda given, _: read(given))
