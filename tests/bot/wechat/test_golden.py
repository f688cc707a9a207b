"""
Whole answers, as models write them, beside what a reader gets: golden/NAME.md and golden/NAME.txt.

A text that should read otherwise is changed in its .txt by hand, so that somebody has read it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.wechat.markdown import plain

GOLDEN = Path(__file__).parent / "golden"
ANSWERS = sorted(GOLDEN.glob("*.md"))
NO_MARKS = ("hostile", "not_markup")  # these are about what only looks like marks
each_answer = pytest.mark.parametrize("answer", ANSWERS, ids=lambda path: path.stem)

LINES = (  # each is whole by itself
    *(
        "",
        "字",
        "  字  ",
        "# 题",
        "- **项**",
        "  - [ ] 项",
        "1. `码`",
        "---",
        "===",
        "[1]: https://e.com",
        "[^1]: 注",
        "$$x^2$$",
    ),
    *(
        "[甲乙][1] 与 [^1]",
        "**没完",
        "`没完",
        "$没完",
        "<b>没完",
        "</details>",
        "<summary>题</summary>",
        "字\\",
        "字。\\",
    ),
)


def test_no_golden_file_is_without_its_other_half():
    assert {path.stem for path in ANSWERS} == {path.stem for path in GOLDEN.glob("*.txt")}
    assert len(ANSWERS) >= 16


@each_answer
def test_an_answer_reads_as_its_golden_file_says(answer):
    expected = answer.with_suffix(".txt").read_text(encoding="utf-8")

    got = plain(answer.read_text(encoding="utf-8"))

    difference = difflib.unified_diff(
        expected.split("\n"), got.split("\n"), f"{answer.stem}.txt", "plain()", lineterm=""
    )
    assert got == expected, "\n" + "\n".join(difference)


@each_answer
def test_the_beginning_of_an_answer_reads_as_the_beginning_of_the_whole(answer):
    """At the end of every line at which nothing is open; most of an answer's lines are such."""
    text = answer.read_text(encoding="utf-8")
    lines, whole = text.split("\n"), plain(text)

    ends = list(certain_ends(lines))

    assert ends
    for end in ends:
        beginning = "\n".join(lines[:end])
        assert whole.startswith(plain(beginning)), f"{answer.name}:{end}"


@given(st.lists(st.sampled_from(LINES)), st.lists(st.sampled_from(LINES)))
def test_lines_that_follow_change_none_before_them(lines, following):
    assert plain("\n".join([*lines, *following])).startswith(plain("\n".join(lines)))


@pytest.mark.parametrize("answer", [path for path in ANSWERS if path.stem not in NO_MARKS], ids=lambda path: path.stem)
def test_a_reader_meets_nothing_of_the_model_s_own_marks(answer):
    """But in code, which is as it is."""
    got = re.sub(r"`[^`\n]+`", "", plain(answer.read_text(encoding="utf-8")))

    assert re.findall(r"\\(?:frac|text|begin|[a-z]+\{)|\$\$|^#{2,} |^```|\]\(http", got, re.MULTILINE) == []


def certain_ends(lines: list[str]) -> Iterator[int]:
    """The numbers of lines behind which a beginning may end: neither they nor what follows is part of an open block."""
    closing = ""
    for number, line in enumerate(lines, 1):
        mark = line.strip().removeprefix("- ")
        if closing:
            closing = "" if mark.endswith(closing) else closing
            continue
        closing = closing_of(mark)
        following = lines[number] if number < len(lines) else ""
        if not closing and not any(re.match(r"\s*>|.*\|", each) for each in (line, following)):
            yield number


def closing_of(mark: str) -> str:
    """What ends the block that begins with the line `mark`, "" where it is one line."""
    for opening, closing in (("```", "```"), ("~~~", "~~~"), ("$$", "$$"), ("\\[", "\\]"), ("<think>", "</think>")):
        if mark.startswith(opening):
            return "" if closing in mark[len(opening) :] else closing
    environment = re.match(r"\\begin\{(equation|align)\*?\}", mark)
    return f"\\end{{{environment[1]}}}" if environment else ""


@pytest.mark.parametrize(
    ("lines", "ends"),
    [
        (["a", "b"], [1, 2]),
        (["a", "```", "b", "```", "c"], [1, 5]),
        (["| a |", "|---|", "b", ""], [3, 4]),
        (["> a", "b"], [2]),
        (["$$", "x", "$$", "$$y$$"], [4]),
    ],
)
def test_what_is_open_is_known_here_without_asking_the_converter(lines, ends):
    assert list(certain_ends(lines)) == ends
