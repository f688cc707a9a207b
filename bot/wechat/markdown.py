"""
Markdown as plain text for a phone, because WeChat shows it raw. Pure.

Rule 1: what might not be markup stays: a lost `*` in 2*3*4, `char **argv` or snake_case is worse than one too many.
Rule 2: code, fenced or in ticks, and addresses leave as they came; only the marks around them go.
Rule 3: the time is linear in the text, whatever the text: patterns look ahead a bounded way or stop at their own mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

RULER = "————————"
MAX_QUOTES = 4  # levels; deeper ones keep their marks

FENCE = re.compile(r"\s*(`{3,}|~{3,})[^`~]*$")
HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*)")
QUOTE = re.compile(r" {0,3}>(?: |$)")
BULLET = re.compile(r"([ \t]*)[-*+][ \t]+(?=\S)")
TASK = re.compile(r"\[([ xX])\] ")
DELIMITER = re.compile(r":?-+:?")
DISPLAY_MATHS = frozenset({"$$", "\\[", "\\]"})

MARK = re.compile(r"[`\\$\[<*_~]")  # most lines have none

# Taken out of the line first, in this order, and put back last; nothing else looks inside them.
HELD = re.compile(r"\x00(\d+)\x01")  # stands for one of them; a NUL cannot be sent, so a text has none to lose
CODE = re.compile(r"(?<!`)(?:`([^`]+)`|``((?:[^`]|`(?!`))+)``)(?!`)")
BRACKETED_MATHS = re.compile(r"\\\(((?:[^\\\n]|\\(?![()])){1,400})\\\)|\\\[((?:[^\\\n]|\\(?![\[\]])){1,400})\\\]")
DOUBLE_DOLLAR = re.compile(r"\$\$([^$\n]+)\$\$")
# "$5 and $6" is money: a formula has no space inside its marks, no letter or digit beside them.
DOLLAR = re.compile(r"(?<![A-Za-z0-9$\\])\$(?=\S)([^$\n]+)(?<=\S)\$(?![A-Za-z0-9$])")
FORMULA = re.compile(r"[\\^_{=]|^[A-Za-z]$")
ADDRESS = r"([^\s()]*(?:\([^\s()]*\)[^\s()]*)*)(?: \"[^\"\n]*\")?"
IMAGE = re.compile(rf"!\[([^\[\]\n]*)\]\({ADDRESS}\)")
LINK = re.compile(rf"(?<!!)\[((?:[^\[\]\n]|\[[^\[\]\n]*\]){{0,400}})\]\({ADDRESS}\)")
A_PLACE = re.compile(r"[./:#]")  # what every address has; the call in `handlers[0](event)` has none
AUTOLINK = re.compile(r"<(https?://[^\s<>]+)>")
BARE_ADDRESS = re.compile(r"https?://[^\s<>()（）。，；\"*]+")
TAG_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|~>$])")

# A mark opens before a word or what opens one, closes after a word or what ends one. Chinese is written without spaces,
# so `**` may stand between its characters; a single star may not: 长*宽*高 is a product.
OPENS = r"(?=[\w“‘\"'「『《【（(\[\x00])"
CLOSES = r"(?<=[\w”’\"'」』》】）)\].,。，！？!?…%：:；;\x01])"
EMPHASIS = (
    re.compile(rf"(?<![\w*)\]])\*\*\*{OPENS}([^*\n]+){CLOSES}\*\*\*(?![A-Za-z0-9*])"),
    re.compile(r"(?<![A-Za-z0-9)\]])\*\*(?=[^\s*])((?:[^*\n]|\*(?!\*))+)(?<=\S)\*\*(?![A-Za-z0-9])"),
    re.compile(rf"(?<![\w*)\]])\*{OPENS}([^*\n]+){CLOSES}\*(?![\w*])"),
    # `__init__` is a name; what a name cannot be is bold.
    re.compile(rf"(?<!\w)__{OPENS}(?![A-Za-z0-9_]+__)((?:[^_\n]|_(?!_))+){CLOSES}__(?!\w)"),
    re.compile(rf"(?<!\w)_{OPENS}([^_\n]+){CLOSES}_(?!\w)"),
    re.compile(rf"~~{OPENS}([^~\n]+){CLOSES}~~"),
)


def plain(text: str) -> str:
    """`text` without its marks. What has none comes back as it is."""
    return "\n".join(_blocks(text.replace("\x00", "").split("\n"), 0))


def _blocks(lines: list[str], quotes: int) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line, first = lines[at], at
        at += 1
        if fence := FENCE.match(line):
            while at < len(lines) and not _closes(lines[at], fence[1]):
                at += 1
            yield from lines[first + 1 : at]
            at += 1
        elif quotes < MAX_QUOTES and QUOTE.match(line):
            while at < len(lines) and QUOTE.match(lines[at]):
                at += 1
            inner = [QUOTE.sub("", quoted, count=1) for quoted in lines[first:at]]
            yield from (f"｜{quoted}" for quoted in _blocks(inner, quotes + 1))
        elif "|" in line and at < len(lines) and _is_table(line, lines[at]):
            at += 1
            while at < len(lines) and "|" in lines[at]:
                at += 1
            yield from _table(lines[first], lines[first + 2 : at])
        elif line.strip() not in DISPLAY_MATHS:
            yield _line(line)


def _closes(line: str, fence: str) -> bool:
    mark = line.strip()
    return len(mark) >= len(fence) and set(mark) == {fence[0]}


def _line(line: str) -> str:
    marks = line.replace(" ", "").strip()
    if len(marks) >= 3 and marks in (mark * len(marks) for mark in "-*_"):
        return RULER
    if heading := HEADING.match(line):
        title = _inline(_without_closing_hashes(heading[1].strip())).strip().rstrip("：:")
        return title if not title or title.startswith("【") else f"【{title}】"
    if bullet := BULLET.match(line):
        rest = line[bullet.end() :]
        if task := TASK.match(rest):
            return f"{bullet[1]}{'☐' if task[1] == ' ' else '☑'} {_inline(rest[task.end() :])}"
        return f"{bullet[1]}• {_inline(rest)}"
    return _inline(line)


def _without_closing_hashes(title: str) -> str:
    bare = title.rstrip("#")
    return bare.rstrip() if not bare or bare[-1].isspace() else title  # C# keeps its own


def _is_table(header: str, delimiter: str) -> bool:
    cells = _cells(delimiter)
    return len(cells) == len(_cells(header)) and all(DELIMITER.fullmatch(cell) for cell in cells)


def _cells(row: str) -> list[str]:
    row = row.strip().removeprefix("|")
    if not row.endswith("\\|"):
        row = row.removesuffix("|")
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)]


def _table(header: str, rows: list[str]) -> Iterator[str]:
    """A row is a line, each cell with its column's name: a phone is too narrow for columns."""
    names = [_inline(cell) for cell in _cells(header)]
    if not rows:
        yield "；".join(names)
    for row in rows:
        cells = [_inline(TAG_BREAK.sub("，", cell)) for cell in _cells(row)]
        named = zip(names + [""] * (len(cells) - len(names)), cells, strict=False)
        yield "• " + "；".join(f"{name}：{cell}" if name else cell for name, cell in named if cell)


def _inline(line: str) -> str:
    if not MARK.search(line):
        return line
    held: list[str] = []

    def put_back(words: str) -> str:
        return HELD.sub(lambda found: held[int(found[1])], words)

    def hold(words: str) -> str:
        held.append(put_back(words))
        return f"\x00{len(held) - 1}\x01"

    def formula(found: re.Match[str]) -> str:
        return hold(found[1]) if FORMULA.search(found[1]) else found[0]

    def link(found: re.Match[str]) -> str:
        words, address = found[1].strip(), found[2]
        if not A_PLACE.search(address):
            return found[0]
        if words == address:
            return hold(address)
        return f"{words}（{hold(address)}）" if words else hold(address)

    line = CODE.sub(lambda found: hold((found[1] or found[2]).strip() or found[0]), line)
    line = BRACKETED_MATHS.sub(lambda found: hold((found[1] or found[2]).strip()), line)
    line = DOUBLE_DOLLAR.sub(lambda found: hold(found[1].strip()), line)
    line = DOLLAR.sub(formula, line)
    line = IMAGE.sub(lambda found: found[1].strip() or hold(found[2]), line)
    line = LINK.sub(link, line)
    line = AUTOLINK.sub(lambda found: hold(found[1]), line)
    line = BARE_ADDRESS.sub(lambda found: hold(found[0]), line)
    line = TAG_BREAK.sub("\n", line)
    line = ESCAPE.sub(lambda found: hold(found[1]), line)
    for mark in EMPHASIS:
        line = mark.sub(r"\1", line)
    return put_back(line)
