"""
Markdown as plain text for a phone, because WeChat shows it raw. Pure.

Rule 1: code leaves as it came, but for the indentation that its fence has too; only its fences go. A fence of `math` has
        a formula.
Rule 2: the time is linear in the text, whatever the text: a block is looked through once, or a bounded way.
Rule 3: a beginning of the text reads as the beginning of the whole, where it ends at a line's end. Not so inside of, or at the
        first line of, what is only known by its end: a table, a fence, a quote, a formula over several lines, a `<think>`.
        So a line underlined by === is no title, and `[words][1]` has its address where that is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bot.wechat.display import STRAY, display_at
from bot.wechat.formula import readable
from bot.wechat.inline import inline
from bot.wechat.table import is_table, rows

RULER = "————————"
MAX_QUOTES = 4  # levels; deeper ones keep their marks

THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)

ITEM = r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+"
FENCE = re.compile(r"([ \t]*)(`{3,}(?=[^`]*$)|~{3,}(?=[^~]*$))")
FENCE_IN_ITEM = re.compile(rf"({ITEM})(?=`{{3,}}[^`]*$|~{{3,}}[^~]*$)")
QUOTE = re.compile(r"[ \t]*>(?: |$)")
HEADING = re.compile(r" {0,3}(?:#{1,6}[ \t]+|#{2,6}(?=[\w*【]))(.*)")
BULLET = re.compile(r"([ \t]*)[-*+][ \t]+(?=\S)")
ORDERED = re.compile(r"[ \t]*\d{1,9}[.)][ \t]+(?=\S)")
TASK = re.compile(r"\[([ xX])\] ")
ALERT = re.compile(r"\[!([A-Z]{3,12})\]\s*$")
DEFINITION = re.compile(
    r" {0,3}\[([^\[\]\n^]{1,200})\]: {1,3}<?(https?://[^\s<>]+)>?(?: {1,3}(?:\"[^\"]*\"|'[^']*'))?\s*$"
)
NOTE = re.compile(r" {0,3}\[\^(\d{1,3})\]:\s*")
DETAILS = re.compile(r"(?:\s*</?details(?: open)?>)+\s*", re.IGNORECASE)
SUMMARY = re.compile(r"\s*<summary>(.*)</summary>\s*$", re.IGNORECASE)


def plain(text: str) -> str:
    """`text` without its marks, and without the thoughts before it. What has neither comes back as it is."""
    text = text.replace("\x00", "")
    if thought := THOUGHT.match(text):
        text = text[thought.end() :]
    return "\n".join(_blocks(text.split("\n"), 0))


def _blocks(lines: list[str], quotes: int) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line, first = lines[at], at
        at += 1
        if fence := FENCE.match(line):
            while at < len(lines) and not _closes(lines[at], fence[2]):
                at += 1
            code = _without_indentation(lines[first + 1 : at], fence[1])
            yield from readable("\n".join(code)).split("\n") if line[fence.end() :].strip() == "math" else code
            at += 1
        elif item := FENCE_IN_ITEM.match(line):
            yield _line(f"{item[1]}\x00").rstrip("\x00 ")
            at = first
            lines[at] = " " * item.end() + line[item.end() :]
        elif quotes < MAX_QUOTES and QUOTE.match(line):
            while at < len(lines) and QUOTE.match(lines[at]):
                at += 1
            inner = [QUOTE.sub("", quoted, count=1) for quoted in lines[first:at]]
            yield from (f"｜{row}" for quoted in _blocks(inner, quotes + 1) for row in quoted.split("\n"))
        elif display := display_at(lines, first):
            if display.before.strip():
                yield _line(display.before.rstrip())
            yield from display.lines()
            if display.words_after:
                yield _line(display.words_after)
            at = display.end
        elif details := DETAILS.match(line):
            if rest := line[details.end() :]:
                lines[first], at = rest, first
            elif at < len(lines) and not lines[at].strip():
                at += 1  # or two blank lines would be left in its place
        elif "|" in line and at < len(lines) and is_table(line, lines[at]):
            at += 1
            while at < len(lines) and "|" in lines[at]:
                at += 1
            yield from rows(lines[first:at])
        elif line.strip() not in STRAY:
            yield _line(line)


def _closes(line: str, fence: str) -> bool:
    mark = line.strip()
    return len(mark) >= len(fence) and set(mark) == {fence[0]}


def _without_indentation(code: list[str], of_fence: str) -> list[str]:
    """The code without what it is indented by together, at most as far as its fence."""
    width = min((len(line) - len(line.lstrip()) for line in code if line.strip()), default=0)
    return [line[min(width, len(of_fence)) :] for line in code]


def _line(line: str) -> str:
    marks = line.replace(" ", "").strip()
    if len(marks) >= 3 and marks in (mark * len(marks) for mark in "-*_="):
        return RULER
    if heading := HEADING.match(line):
        return _heading(_without_closing_hashes(heading[1].strip()))
    if summary := SUMMARY.match(line):
        return _heading(summary[1])
    if alert := ALERT.match(line):
        return f"【{alert[1]}】"
    if address := DEFINITION.match(line):
        return f"[{address[1]}] {address[2]}"
    if note := NOTE.match(line):
        return f"[{note[1]}] {inline(line[note.end() :])}"
    if item := BULLET.match(line):
        sign = f"{item[1]}• "
    elif item := ORDERED.match(line):
        sign = item[0]
    else:
        return inline(line)
    rest = line[item.end() :]
    if task := TASK.match(rest):
        box = "☐ " if task[1] == " " else "☑ "
        sign = (item[1] if item.re is BULLET else sign) + box
        rest = rest[task.end() :]
    words = _heading(heading[1]) if (heading := HEADING.match(rest)) else inline(rest)
    return sign + words.replace("\n", "\n" + " " * (len(sign) - len(sign.lstrip())) + "  ")


def _heading(title: str) -> str:
    title = inline(title).strip().rstrip("：:")
    return title if not title or title.startswith("【") else f"【{title}】"


def _without_closing_hashes(title: str) -> str:
    bare = title.rstrip("#")
    return bare.rstrip() if not bare or bare[-1].isspace() else title  # C# keeps its own
