"""
Heads of answers whose like has come before, read at one look. Pure.

Rule 1: a shape is a first line and the names below it, as they are spelled and in their order: what a vendor says of one kind
        of answer. What the names mean is then known; only the values differ.
Rule 2: a shape is learned from heads that were read the long way, and takes nothing that the long way would refuse, or read
        otherwise (`tests/proxy/wire/test_head_shape.py` compares them).
Rule 3: learning takes longer than reading: only what comes again and again is learned, and but a few are known at a time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from proxy.headers import VALUE, Fields, use_of

SIGHTS = 16  # after so many a shape is learned
MOST_SHAPES = 8  # the latest first; a head is held against each
MOST_COUNTED = 64
MOST_BYTES = 8_192  # of a head


class Shape:
    __slots__ = ("_passing", "_pattern", "_said", "_skip", "status")

    def __init__(self, status: int, first: bytes, names: Sequence[bytes]) -> None:
        self.status, self._skip = status, len(first)
        self._said: list[tuple[str, int]] = []  # names that somebody reads, and the group of their value
        self._passing: list[int] = []  # groups of neighbouring lines that go on
        pattern, groups, was_passing = re.escape(first), -1, False
        for name in names:
            passes, plain = use_of(name)
            if was_passing and not passes:
                pattern += b")"
            elif passes and not was_passing:
                groups += 1
                self._passing.append(groups)
                pattern += b"("
            was_passing = passes
            pattern += b"\r\n" + re.escape(name) + b":"
            if plain:
                groups += 1
                self._said.append((plain, groups))
            pattern += b"(%b)" % VALUE if plain else VALUE
        self._pattern = re.compile(pattern + b")" if was_passing else pattern)

    def read(self, head: bytes) -> Fields | None:
        """None where it is of another shape."""
        found = self._pattern.fullmatch(head)
        if found is None:
            return None
        groups = found.groups()
        said = {name: [groups[number].strip(b" \t")] for name, number in self._said}
        return Fields.sound(head[self._skip :], said, b"".join([groups[number] for number in self._passing]))


class Shapes:
    """Those that are known."""

    def __init__(self) -> None:
        self._known: list[Shape] = []
        self._sights: Counter[tuple[bytes, ...]] = Counter()

    def read(self, head: bytes) -> tuple[int, Fields] | None:
        """The status and the headers; None where the shape is not known, or a line might be too long."""
        if len(head) > MOST_BYTES:
            return None
        for place, shape in enumerate(self._known):
            if (fields := shape.read(head)) is not None:
                if place:
                    self._known.insert(0, self._known.pop(place))
                return shape.status, fields
        return None

    def saw(self, status: int, head: bytes) -> None:
        """A head that was read the long way, and is sound."""
        if len(head) > MOST_BYTES:
            return
        first, *lines = head.split(b"\r\n")
        names = [line[: line.find(b":")] for line in lines]
        sight = (first, *names)
        self._sights[sight] += 1
        if self._sights[sight] >= SIGHTS:
            del self._sights[sight]
            said = [plain for _, plain in map(use_of, names) if plain]
            if len(set(said)) == len(said):
                self._known[MOST_SHAPES - 1 :] = []
                self._known.insert(0, Shape(status, first, names))
        elif len(self._sights) > MOST_COUNTED:
            self._sights.clear()
