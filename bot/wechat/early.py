"""
The part of an answer that can be shown while the rest is still being written. Pure.

Rule 1: a part ends where a paragraph, a line or a sentence does, and is long enough to be worth a tap for the rest.
Rule 2: what is not yet certain is not shown: a table or a block of code that has no end yet, a line with marks that may pair
        up.
Rule 3: parts are cut from plain text, not from Markdown. Should the whole answer read otherwise than its beginning did, the
        rest begins where the two part ways, at the start of that line: rather a line twice than one lost.
"""

from __future__ import annotations

import re

from bot.wechat.pages import clean, cut
from bot.wechat.plain import plain

LEAST_CHARACTERS = 30  # less than a line and a half on a phone is not worth a tap

SENTENCE = re.compile(r"[。！？…；][”’」』）》】\"')\]]*(?![。！？…；”’」』）》】\"')\]])|[.!?;][”’\"')\]]*(?=\s)")
MARKS = re.compile(r"[`\\$\[<*_~&]")  # a line with one of them may read otherwise by its end
ITEM = r"(?:[-*+]|\d+[.)])\s+"
# What may still become something else by the lines that follow.
BLOCK = re.compile(rf"\s*(?:{ITEM})?(?:`{{3,}}|~{{3,}})|\s*(?:\$\$|\\\[|\\begin\{{|>|<)|.*(?:\||\$\$|\\\[)")
ENDS = (  # what opens a block on a line, and what closes it on a later one
    (re.compile(rf"(?:{ITEM})?(`{{3,}}|~{{3,}})"), "{}"),
    (re.compile(r"<([a-z]+)>(?!.*</)"), "</{}"),
    (re.compile(r"\\begin\{(\w+\*?)\}(?!.*\\end)"), "\\end{{{}}}"),
    (re.compile(r"(?:[^$]|\$(?!\$))*(\$\$)$"), "{}"),
    (re.compile(r".*(\\\[)$"), "\\]"),
)


def next_part(so_far: str, shown: str, room: int) -> str:
    """
    What may be shown next of an answer of which `so_far` is there (as the model wrote it) and `shown` was shown (as plain
    text).

    At most `room` bytes; "" while there is nothing worth it. It is the very text that follows `shown`, white space included.
    """
    certain = clean(plain(_certain(so_far)))
    if not certain.startswith(shown):
        return ""
    rest = certain[len(shown) :]
    if len(rest.encode()) > room:
        kept, left = cut(rest, room)
        rest = rest[: len(rest) - len(left)] if left else kept
    return rest if len(rest.strip()) >= LEAST_CHARACTERS else ""


def rest_of(answer: str, parts: tuple[str, ...]) -> str:
    """What of the plain text `answer` follows `parts`."""
    shown, answer = "".join(parts), clean(answer)
    if answer.startswith(shown):
        return answer[len(shown) :]
    same = next(
        (place for place, pair in enumerate(zip(answer, shown, strict=False)) if pair[0] != pair[1]), len(answer)
    )
    return answer[answer.rfind("\n", 0, same) + 1 :]


def _certain(so_far: str) -> str:
    """The beginning of Markdown that reads the same however it goes on, up to the end of a line or a sentence."""
    lines = so_far.split("\n")
    *whole, last = lines
    first_open = _first_open(whole)
    if first_open is not None:
        return "\n".join(whole[:first_open])
    begun = max((found.end() for found in SENTENCE.finditer(last)), default=0)
    if begun and not MARKS.search(last[:begun]) and not BLOCK.match(last) and not last.startswith("#"):
        return "\n".join([*whole, last[:begun]])
    return "\n".join(whole)


def _first_open(lines: list[str]) -> int | None:
    """The line from which on nothing is certain: where a block begins that has no end yet."""
    begin: int | None = None
    end = ""  # what the block that is open ends with; "" for those that end with the first line that is not like them
    for place, line in enumerate(lines):
        mark = line.strip()
        if end:
            if mark.startswith(end) or (end in ("$$", "\\]") and mark.endswith(end)):
                end, begin = "", None
        elif BLOCK.match(line):
            begin = place if begin is None else begin
            end = _end_of(mark)
        elif mark:
            begin = None
    return begin


def _end_of(mark: str) -> str:
    return next((end.format(found[1]) for begin, end in ENDS if (found := begin.match(mark))), "")
