"""
LaTeX, as people write it in answers, as a line a phone can show. Pure.

Rule 1: what is not known stays as it came: a command with its arguments, and the whole formula where its braces do not pair
        or things stand in one another deeper than `MAX_DEPTH`.
Rule 2: brackets are added where reading would go wrong without them, (a+b)/(2c), and nowhere else: a/b.
Rule 3: tokens are read once, from left to right; nothing goes back.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bot.wechat import signs
from bot.wechat.chemistry import arrow, equation
from bot.wechat.typeset import Kind, Piece, accented, block, fraction, joined, lines_of, on_one_line, root, tightened

MAX_DEPTH = 24  # groups and arguments in one another; people get to six

TOKEN = re.compile(r"\\(?:operatorname\*|[A-Za-z]+|.)|\s+|.", re.DOTALL)
DISTANCE = re.compile(r"\[-?\d+(?:\.\d+)?[a-z]{2}\]")  # of the next line; it may stand behind a line's end
ESCAPED = re.compile(r"\\([%$#&_{} \\])|[{}$]")


class _Unreadable(Exception):
    """The formula is left as it came."""


def readable(latex: str, *, in_line: bool = False) -> str:
    """`latex`, without the marks around it, in signs; with `in_line` on one line, else on as many as it has."""
    try:
        text = joined(_Reader(latex, in_line).sequence("")).strip()
    except _Unreadable:
        return latex.strip()
    return on_one_line(text) if in_line else text


class _Reader:
    def __init__(self, latex: str, in_line: bool) -> None:
        self._tokens = TOKEN.findall(latex)
        self._at = 0
        self._depth = 0
        self._in_line = in_line
        self._column = " "

    def sequence(self, stop: str) -> list[Piece]:
        """All up to the word `stop`, which is taken; "" is the end."""
        self._enter()
        pieces: list[Piece] = []
        is_bare = False
        while (word := self._take()) != stop:
            if word in ("", "}"):
                raise _Unreadable
            if word in ("^", "_"):
                kind = Kind.TEXT if is_bare else Kind.SCRIPT
                pieces.append((kind, self._script(word, pieces[-1][1] if pieces else "")))
                is_bare = False
            else:
                before = len(pieces)
                pieces += self._pieces(word)
                is_bare = word == "{" and len(pieces) == before  # {}^{14}C: it belongs to what follows
        self._depth -= 1
        return pieces

    def _pieces(self, word: str) -> list[Piece]:
        if word == "{":
            return self.sequence("}")
        if word == "&":
            return [(Kind.SPACE, self._column)]
        if word == "~" or word.isspace():
            return [(Kind.SPACE, " ")]
        if word == "\\\\":
            return self._line_end()
        if word[0] != "\\" or word == "\\":
            return [(Kind.INFIX if word in signs.RELATIONS else Kind.TEXT, word)]
        return self._command(word[1:])

    def _command(self, name: str) -> list[Piece]:
        for kind, table in TABLES:
            if name in table:
                self._skip_space_of(name)
                return [(kind, table[name])]
        if name in signs.IGNORED:
            self._skip_space_of(name)
            return []
        if name in signs.IGNORED_WITH_ARGUMENT:
            self._raw()
            return []
        if name in signs.WORDS:
            return [(Kind.TEXT, ESCAPED.sub(lambda found: found[1] or "", self._raw()))]
        if accent := signs.ACCENTS.get(name):
            return [(Kind.TEXT, accented(self._argument(), accent))]
        if around := signs.AROUND.get(name):
            return [(Kind.TEXT, self._argument().join(around))]
        if (alphabet := signs.ALPHABETS.get(name)) is not None:
            return [(Kind.TEXT, "".join(alphabet.get(letter, letter) for letter in self._argument()))]
        if sign := signs.ARROWS.get(name):
            return self._arrow(sign)
        if shape := SHAPES.get(name):
            return shape(self)
        return [(Kind.TEXT, f"\\{name}{self._raw_groups()}")]

    def negated(self) -> list[Piece]:
        sign = self._argument()
        return [(Kind.INFIX, signs.NEGATED.get(sign, f"{sign}\u0338"))]

    def fraction(self) -> list[Piece]:
        return [fraction(self._argument(), self._argument())]

    def root(self) -> list[Piece]:
        index, inside = self._option(), self._argument()
        sign = {"": "√", "2": "√", "3": "∛", "4": "∜"}.get(index) or f"{signs.raised(index)}√"
        return [root(sign, inside)]

    def binomial(self) -> list[Piece]:
        return [(Kind.TEXT, f"C({self._argument()},{self._argument()})")]

    def name(self) -> list[Piece]:
        return [(Kind.FUNCTION, self._argument())]

    def circled(self) -> list[Piece]:
        words = self._raw()
        return [(Kind.TEXT, signs.CIRCLED.get(words, f"({words})"))]

    def chemistry(self) -> list[Piece]:
        return [(Kind.TEXT, equation(self._raw()))]

    def over(self) -> list[Piece]:
        """What stands over or under another thing, which says more of it."""
        said, base = tightened(self._argument()), self._argument()
        if said == "⌒":
            return [(Kind.TEXT, said + base)]
        kind = Kind.BIG if base in signs.BIG.values() else Kind.TEXT if base.isalnum() else Kind.INFIX
        return [(kind, f"{base}({said})" if said else base)]

    def brace(self) -> list[Piece]:
        """What a brace over or under a part says of it; as a script it would be a power."""
        part = self._argument()
        if self._peek() not in ("^", "_"):
            return [(Kind.TEXT, part)]
        self._take()
        return [(Kind.TEXT, f"{part}〔{self._argument()}〕")]

    def coloured(self) -> list[Piece]:
        self._raw()
        return []  # what is coloured follows as a group

    def _arrow(self, sign: str) -> list[Piece]:
        under, over = self._option(), self._argument()
        return [(Kind.INFIX, arrow(sign, over, under))]

    def brackets(self) -> list[Piece]:
        """\\left( … \\right), of which a full stop stands for none."""
        opening = self._delimiter()
        inside = joined(self.sequence("\\right")).strip()
        closing = self._delimiter()
        if opening == "{" and not closing:  # of a system of equations
            opening = "{ "
        if "\n" in inside:
            return block(inside.split("\n"), opening, closing, is_flat=False)
        return [(Kind.TEXT, opening + inside + closing)]

    def stray_bracket(self) -> list[Piece]:
        return [(Kind.TEXT, self._delimiter())]

    def environment(self) -> list[Piece]:
        name = self._raw()
        bare = name.removesuffix("*")
        if bare not in signs.ENVIRONMENTS:
            return [(Kind.TEXT, f"\\begin{{{name}}}")]
        if bare in signs.WITH_COLUMNS:
            self._raw()
        column, in_line = self._column, self._in_line
        self._column = signs.COLUMNS[bare]
        if bare in signs.GRIDS:
            self._in_line = True
        body = self.sequence("\\end")
        self._column, self._in_line = column, in_line
        if self._raw() != name:
            raise _Unreadable
        return block(lines_of(body), *signs.ENVIRONMENTS[bare], is_flat=self._in_line)

    def _line_end(self) -> list[Piece]:
        if distance := DISTANCE.match("".join(self._tokens[self._at : self._at + 12])):
            self._at += len(distance[0])
        return [(Kind.BREAK, "\\")]

    def _script(self, mark: str, after: str) -> str:
        text = tightened(self._argument())
        if not text:
            return ""
        if mark == "^":
            return signs.raised(text)
        low = signs.lowered(text)
        return low[1:] if after.isalpha() and after in signs.BIG and low.startswith("_(") else low

    def _argument(self) -> str:
        """The next group, command or character, on one line."""
        self._enter()
        self._skip_space()
        word, in_line = self._take(), self._in_line
        while word[1:] in signs.IGNORED:  # \frac\mathrm{d}… : the argument is what follows
            self._skip_space()
            word = self._take()
        if word in ("", "}", "^", "_", "&", "\\\\"):
            raise _Unreadable
        self._in_line = True
        text = joined(self._pieces(word)).strip()
        self._in_line = in_line
        self._depth -= 1
        return on_one_line(text)

    def _option(self) -> str:
        if self._peek() != "[":
            return ""
        self._take()
        return joined(self.sequence("]")).strip()

    def _raw(self) -> str:
        """The next group to the letter, without its braces, or the next word."""
        self._skip_space()
        if (word := self._take()) in ("", "}"):
            raise _Unreadable
        if word != "{":
            return word
        start, open_braces = self._at, 1
        while open_braces:
            if not (word := self._take()):
                raise _Unreadable
            open_braces += (word == "{") - (word == "}")
        return "".join(self._tokens[start : self._at - 1])

    def _raw_groups(self) -> str:
        start = self._at
        while self._peek() == "{":
            self._raw()
        return "".join(self._tokens[start : self._at])

    def _delimiter(self) -> str:
        self._skip_space()
        word = self._take()
        if word in ("", "{", "}"):
            raise _Unreadable
        if word[0] == "\\":
            return signs.CLOSING.get(word[1:]) or signs.SIGNS.get(word[1:], word)
        return "" if word == "." else word

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Unreadable

    def _skip_space(self) -> None:
        if self._peek().isspace():
            self._at += 1

    def _skip_space_of(self, name: str) -> None:
        """The space that only ends a command's name; not the one before an operator: `\\pi r` and `\\pi + 1`."""
        after = self._peek(1)
        if name[-1].isalpha() and (after.isalnum() or after[:1] in ("\\", "(", "[", "{", "")):
            self._skip_space()

    def _peek(self, ahead: int = 0) -> str:
        place = self._at + ahead
        return self._tokens[place] if place < len(self._tokens) else ""

    def _take(self) -> str:
        word = self._peek()
        self._at += 1
        return word


# In this order a command's name is looked up; those that are not here are known by what they do.
TABLES: tuple[tuple[Kind, dict[str, str]], ...] = (
    (Kind.TEXT, signs.SIGNS),
    (Kind.CLOSING, signs.CLOSING),
    (Kind.INFIX, signs.INFIXES),
    (Kind.SIGNED, signs.SIGNED),
    (Kind.TIGHT, signs.TIGHT),
    (Kind.BIG, signs.BIG),
    (Kind.FUNCTION, {name: name for name in signs.FUNCTIONS}),
    (Kind.SPACE, signs.SPACES),
)
SHAPES: dict[str, Callable[[_Reader], list[Piece]]] = {
    **dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac"), _Reader.fraction),
    **dict.fromkeys(("binom", "dbinom", "tbinom"), _Reader.binomial),
    **dict.fromkeys(("operatorname", "operatorname*"), _Reader.name),
    **dict.fromkeys(("overset", "underset", "stackrel"), _Reader.over),
    **dict.fromkeys(("underbrace", "overbrace"), _Reader.brace),
    "textcircled": _Reader.circled,
    "not": _Reader.negated,
    "sqrt": _Reader.root,
    "ce": _Reader.chemistry,
    "textcolor": _Reader.coloured,
    "left": _Reader.brackets,
    "right": _Reader.stray_bracket,
    "begin": _Reader.environment,
}
