"""
The pieces of a formula set side by side: where a space, a bracket or a new line goes between them. Pure.

Rule 1: a space that was written is kept, once; one is added around relations, behind sin and ∑, and beside a fraction.
Rule 2: what follows a group of lines begins a line of its own, but for the full stop or comma of the sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum, auto
from itertools import pairwise
from unicodedata import combining


class Kind(Enum):
    START = auto()  # of a line: what stands before its first piece
    TEXT = auto()
    CLOSING = auto()  # ⌋
    SCRIPT = auto()
    FUNCTION = auto()
    BIG = auto()  # ∑, lim
    FRACTION = auto()
    INFIX = auto()
    SIGNED = auto()  # ±, between two things or before one
    TIGHT = auto()
    SPACE = auto()
    BREAK = auto()


Piece = tuple[Kind, str]

LINES = ("\u0305", "\u0332")  # over and under
BLANK = "____"  # a line under nothing is there to be filled in

LETTER = r"[^\W\d_]"
NUMBER = r"\d+(?:[.,]\d+)?"
SCRIPTS = r"(?:[²³¹⁰-₎ⁱⱼⱽₐ-ₜᴬ-ᵪᵃ-ᶿʰ-ˤ′'!°%*\u0300-\u036f\u20d7]|[\^_](?:\w|\([^()]*\)))*"
CALL = r"(?:\([^()+\-−±×·/]*\))?"  # n(n+1) is a product
ENCLOSED = rf"[√∛∜]?\([^()]*\){SCRIPTS}|\[[^\[\]]*\]|\|[^|]*\||‖[^‖]*‖|⌊[^⌊⌋]*⌋|⌈[^⌈⌉]*⌉"
# What holds together at a fraction's line: a number, x₁, dx, Δt, f(x), √2, the segment AB, a word, (a+b), |a+b|.
ATOM = re.compile(rf"[√∛∜]?(?:{NUMBER}|[dΔδ∂]?{LETTER}|[A-Z]{{2,3}}|[\u4e00-\u9fff]+){SCRIPTS}{CALL}|{ENCLOSED}")
ROOTED = re.compile(rf"(?:{NUMBER}|{LETTER}[₀-₉ₐ-ₜᵢⱼᵣᵤᵥ]*|\([^()]*\))")  # √x² could be either
CALL_WITH_SPACE = re.compile(r"[a-z]{2}[²³¹⁰-₎]* ")  # sin x/y could be either
TIGHTENED = re.compile(r" *([^\w\s]) *")
OPERATORS = frozenset("+-−±∓×÷=<>≤≥≠≈→/,;:~∈\n")
LINE_END = re.compile(r"(?<![ ,;，；])[ ,;，；]*\n")
OPENING, CLOSING = ("(", "[", "{", "⟨"), (")", "]", "}", "⟩")


def joined(pieces: Iterable[Piece]) -> str:
    """The pieces as text; lines are parted by `\n`."""
    line = _Line()
    for (kind, text), (following, _) in pairwise([*pieces, (Kind.BREAK, "")]):
        line.add(kind, text, is_raised=following is Kind.SCRIPT)
    return "".join(line.out)


class _Line:
    """What was set so far: its text, the white space after it, its last character, and the kind of its last piece."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self._gap = ""
        self._tail = ""
        self._last = Kind.START
        self._is_broken = False
        self._ends_with_mark = False  # as ∇_θ does, whose script could swallow what follows

    def add(self, kind: Kind, text: str, *, is_raised: bool) -> None:
        if kind is Kind.SPACE:
            self._gap = max(self._gap, text)
        elif kind is Kind.BREAK:
            self._is_broken = bool(self.out)
        elif text:
            if self._is_broken and kind is not Kind.SCRIPT and text[0] not in ",.;，。；、":
                self.out.append("\n")
                self._gap, self._tail, self._last, self._is_broken = "", "", Kind.START, False
            self._set(*self._as_it_stands_here(kind, text, is_raised))

    def _as_it_stands_here(self, kind: Kind, text: str, is_raised: bool) -> Piece:
        if kind is Kind.FRACTION and (is_raised or self._last is Kind.FUNCTION):
            return Kind.TEXT, f"({text})"
        if kind is Kind.SIGNED:
            is_between = self._last is not Kind.INFIX and (self._tail.isalnum() or self._tail in CLOSING)
            return (Kind.INFIX if is_between else Kind.SIGNED), text
        return kind, text

    def _set(self, kind: Kind, text: str) -> None:
        self.out += (self._space_before(kind, text), text)
        self._gap, self._tail = "", text[-1]
        if kind is not Kind.SCRIPT:
            self._last = kind
        self._ends_with_mark = kind is Kind.SCRIPT and text[0] in "^_" and text[-1] != ")"

    def _space_before(self, kind: Kind, text: str) -> str:
        around = (self._last, kind)
        if kind in (Kind.SCRIPT, Kind.CLOSING) or self._last in (Kind.START, Kind.SIGNED) or Kind.TIGHT in around:
            return ""
        if around == (Kind.INFIX, Kind.INFIX) or (kind is Kind.INFIX and self._tail in (":", "!", "-")):
            return self._gap
        if Kind.INFIX in around:
            return " "
        if " " in (self._tail, text[0]):
            return ""
        if around == (Kind.FRACTION, Kind.FRACTION):
            return "·"
        return self._gap or (" " if self._stands_apart(kind, text[0]) else "")

    def _stands_apart(self, kind: Kind, first: str) -> bool:
        opens = first.isalnum() or first in ("√", "∛", "∜")
        is_name = self._tail.isascii() and self._tail.isalpha()
        if kind in (Kind.FUNCTION, Kind.BIG, Kind.FRACTION):
            return self._tail.isalnum() or self._tail in CLOSING or self._last is Kind.BIG
        match self._last:
            case Kind.FUNCTION:
                return opens
            case Kind.BIG:
                return opens or (not is_name and first in ("(", "[", "{", "|"))
            case Kind.FRACTION:
                return opens or first == "("
            case _:
                return self._ends_with_mark and opens


def lines_of(pieces: Iterable[Piece]) -> list[str]:
    """The text of each line, without those that are empty."""
    lines: list[list[Piece]] = [[]]
    for piece in pieces:
        if piece == (Kind.BREAK, "\\"):
            lines.append([])
        else:
            lines[-1].append(piece)
    return [text for line in lines if (text := joined(line).strip())]


def block(lines: Iterable[str], opening: str, closing: str, *, is_flat: bool) -> list[Piece]:
    """Lines with the same marks around each; or, flat, around all of them on one line."""
    if is_flat:
        return [(Kind.TEXT, opening + on_one_line("\n".join(lines)) + closing)]
    whole = "\n".join(f"{opening}{line}{closing}" for line in lines)
    return [(Kind.BREAK, ""), (Kind.TEXT, whole), (Kind.BREAK, "")]


def on_one_line(text: str) -> str:
    return LINE_END.sub("; ", text)


def fraction(over: str, under: str) -> Piece:
    is_sum = has_operator(over.removeprefix("-")) or CALL_WITH_SPACE.search(over)
    over = f"({over})" if is_sum and not ATOM.fullmatch(over) else over
    return Kind.FRACTION, f"{over}/{under if ATOM.fullmatch(under) else f'({under})'}"


def root(sign: str, inside: str) -> Piece:
    return Kind.TEXT, sign + (inside if ROOTED.fullmatch(inside) else f"({inside})")


def has_operator(text: str) -> bool:
    """Whether something in `text`, outside of brackets, binds no closer than a fraction's line."""
    depth = 0
    for character in text:
        depth += (character in OPENING) - (character in CLOSING)
        if depth == 0 and character in OPERATORS:
            return True
    return False


def tightened(text: str) -> str:
    """`text` as it stands in a script: x→0, with spaces only between words."""
    return TIGHTENED.sub(r"\1", " ".join(text.split()))


def accented(text: str, mark: str) -> str:
    """The combining `mark` on every letter and digit; a line goes on over the signs between them, as over all of A∪B."""
    if mark in LINES:
        text = tightened(text)
        return "".join(part if part == " " or combining(part) else part + mark for part in text) or BLANK
    return "".join(part + mark if part.isalnum() else part for part in text)
