"""
One line of Markdown, or a cell of a table, without the marks inside it. Pure.

Rule 1: what might not be markup stays: a lost `*` in 2*3*4, `char **argv` or snake_case is worse than one too many.
Rule 2: code in ticks and addresses leave as they came; only the marks around them go.
Rule 3: a line reads the same whatever stands above or below it: `[words][1]` is not looked up.
Rule 4: the time is linear in the line: patterns look ahead a bounded way or stop at their own mark.
"""

from __future__ import annotations

import html
import re
from html.entities import html5

from bot.wechat.formula import readable
from bot.wechat.signs import lowered, raised

MAX_TAGS = 4  # in one another; people get to two

MARK = re.compile(r"[`\\$\[<*_~&]")  # most lines have none

# Taken out of the line first, in this order, and put back last; nothing else looks inside them.
HELD = re.compile(r"\x00(\d+)\x01")  # stands for one of them; a NUL cannot be sent, so a text has none to lose
CODE = re.compile(r"(?<!`)(?:`(?!`)([^`]+)`|``(?!`)((?:[^`]|`(?!`))+)``|```(?!`)((?:[^`]|`{1,2}(?!`))+)```)(?!`)")
BRACKETED_MATHS = re.compile(r"\\\(((?:[^\\\n]|\\(?![()])){1,400})\\\)|\\\[((?:[^\\\n]|\\(?![\[\]])){1,400})\\\]")
DOUBLE_DOLLAR = re.compile(r"\$\$([^$\n]+)\$\$")
# "$5 and $6" is money: a formula has no space inside its marks, or one at both ends, and no letter or digit beside them.
DOLLAR = re.compile(r"(?<![A-Za-z0-9$\\])\$(?=\S)([^$\n]+)(?<=\S)\$(?!(?!th\b)[A-Za-z0-9$\\])")
SPACED_DOLLAR = re.compile(r"(?<![A-Za-z0-9$\\])\$ ([^$\n\u2e80-\uffef]+) \$(?![A-Za-z0-9$])")
FORMULA = re.compile(r"[\\^_{=]")
SENTENCE = re.compile(r"[。！？]")
HAN = re.compile(r"[\u2e80-\u9fff\uff00-\uffef]")
WORD = re.compile(r"[A-Za-z]+")
NAMES = frozenset({"sin", "cos", "tan", "log", "ln", "lg", "max", "min", "lim"})

ADDRESS = r"(<[^\s<>]*>|[^\s()]*(?:\([^\s()]*\)[^\s()]*)*)(?: {1,3}(?:\"[^\"\n]*\"|'[^'\n]*'))?"
IMAGE = re.compile(rf"!\[([^\[\]\n]*)\]\({ADDRESS}\)")
PICTURE_WITH_LINK = re.compile(rf"\[!\[([^\[\]\n]*)\]\({ADDRESS}\)\](?=\()")
LINK = re.compile(rf"(?<!!)\[((?:[^\[\]\n]|\[[^\[\]\n]*\]){{0,400}})\]\({ADDRESS}\)")
A_PLACE = re.compile(r"[./:#]")  # what every address has; the call in `handlers[0](event)` has none
AUTOLINK = re.compile(r"<(https?://[^\s<>]+|[\w.+-]{1,64}@[\w.-]+)>")
BARE_ADDRESS = re.compile(r"https?://[^\s<>()（）。，；\"*]+")
REFERENCE = re.compile(r"(?<![A-Za-z0-9_)\]!])\[([^\[\]\n]{2,200})\]\[([^\[\]\n]{0,40})\]")  # not matrix[0][1]
FOOTNOTE = re.compile(r"\[\^(\d{1,3})\]")

TAG_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
TAGGED = re.compile(
    r"<(b|strong|i|em|u|s|del|ins|mark|kbd|small|big|sub|sup|span|font|center|p|div)(?: [^<>\n]{0,200})?>"
    r"(?=[^\s<])([^<>\n]+)(?<=\S)</\1>",
    re.IGNORECASE,
)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|~>$<&])")
HARD_BREAK = re.compile(r"(?<=[\u2e80-\u9fff\uff00-\uffef.,;!?])\\$")  # a shell has a space before its own

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


def inline(line: str) -> str:
    """`line` without its marks; lines of its own only where it has `<br>`."""
    if not MARK.search(line):
        return line
    held: list[str] = []

    def put_back(words: str) -> str:
        return HELD.sub(lambda found: held[int(found[1])], words)

    def hold(words: str) -> str:
        held.append(put_back(words))
        return f"\x00{len(held) - 1}\x01"

    def formula(found: re.Match[str]) -> str:
        words = next(filter(None, found.groups()))
        if "\x00" in words and not HELD.fullmatch(words):  # code in between, and two dollars by chance
            return found[0]
        latex = put_back(words)
        is_number_of_a_note = found[0].startswith("\\[") and latex.isdigit()
        return hold(readable(latex, in_line=True)) if is_formula(latex) and not is_number_of_a_note else found[0]

    def link(found: re.Match[str]) -> str:
        words, address = found[1].strip(), found[2].strip("<>").removeprefix("mailto:")
        if not A_PLACE.search(found[2]):
            return found[0]
        if address.startswith("data:"):  # a whole picture
            return words
        if words and address.startswith("#"):  # a place in the same text
            return words
        return f"{words}（{hold(address)}）" if words.rstrip("/") not in ("", address.rstrip("/")) else hold(address)

    line = CODE.sub(lambda found: hold((found[1] or found[2] or found[3]).strip() or found[0]), line)
    line = BRACKETED_MATHS.sub(formula, line)
    line = DOUBLE_DOLLAR.sub(lambda found: hold(readable(put_back(found[1]), in_line=True)), line)
    line = SPACED_DOLLAR.sub(formula, DOLLAR.sub(formula, line))
    line = PICTURE_WITH_LINK.sub(lambda found: f"[{found[1].strip()}]", line)
    line = LINK.sub(link, IMAGE.sub(link, line))
    line = AUTOLINK.sub(lambda found: hold(found[1]), line)
    line = BARE_ADDRESS.sub(lambda found: hold(found[0]), line)
    line = REFERENCE.sub(reference, FOOTNOTE.sub(r"[\1]", line))
    line = TAG_BREAK.sub("\n", line)
    for _ in range(MAX_TAGS):
        line, count = TAGGED.subn(without_tags, line)
        if not count:
            break
    line = ENTITY.sub(lambda found: hold(character(found[0])), line)
    line = HARD_BREAK.sub("", line)
    line = ESCAPE.sub(lambda found: hold(found[1]), line)
    for mark in EMPHASIS:
        line = mark.sub(r"\1", line)
    return put_back(line)


def is_formula(words: str) -> bool:
    """Whether the words between marks are maths: they have a sign of LaTeX's, or no word longer than f(x), dx or AB."""
    if SENTENCE.search(words) and "\\" not in words:
        return False
    if FORMULA.search(words):
        return True
    if HAN.search(words):
        return False
    is_prose = " " in words
    return all(
        len(word) == 1 or word in NAMES or (len(word) <= 4 if word.isupper() else len(word) <= 3 and not is_prose)
        for word in WORD.findall(words)
    )


def reference(found: re.Match[str]) -> str:
    """`[words][1]` keeps its number, by which the reader finds the address further down."""
    words, name = found[1], found[2]
    if words.isdigit():
        return found[0]
    return f"{words}[{name}]" if name else f"[{words}]"


def character(entity: str) -> str:
    """What `&lt;` or `&#60;` stands for; an unknown one stands for itself."""
    is_known = entity[1] == "#" or entity[1:] in html5
    return html.unescape(entity).replace("\xa0", " ") if is_known else entity


def without_tags(found: re.Match[str]) -> str:
    match found[1].lower():
        case "sup":
            return raised(found[2])
        case "sub":
            return lowered(found[2])
        case _:
            return found[2]
