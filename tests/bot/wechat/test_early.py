"""What can be shown of an answer before it is whole, and where the rest begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.wechat.early import LEAST_CHARACTERS, next_part, rest_of
from bot.wechat.markdown import plain
from bot.wechat.pages import LIMIT_BYTES, clean

LINE = "这一行足够长，值得让人点一下链接去看后面的内容，所以写到这里为止。"
ROOM = 1500


@pytest.mark.parametrize(
    ("so_far", "shown"),
    [
        (f"{LINE}然后", LINE),
        (f"{LINE}\n{LINE}还没完", f"{LINE}\n{LINE}"),
        (f"{LINE}\n\n- 第一条没有写", f"{LINE}\n\n"),
        (f"{LINE}\n\n| 甲 | 乙 |\n|---|---|\n| 1 | 2", f"{LINE}\n"),
        (f"{LINE}\n```python\nprint(1)\n", LINE),
        (f"{LINE}\n```\nprint(1)\n```\n好。", f"{LINE}\nprint(1)\n好。"),
        (f"{LINE}\n$$\nx^2\n", LINE),
        (f"{LINE}\n> 引用\n", LINE),
        (f"{LINE}\n\\begin{{align}}\na &= b \\\\\n", LINE),
        (f"{LINE}\n1. ```sh\nls\n", LINE),
        (f"{LINE}\n1. ```sh\nls\n```\n好。", None),
        (f"{LINE}\n所以有 $$\nx^2\n", LINE),
        (f"{LINE}\n所以有 \\[\nx^2\n\\]\n", None),
        (f"{LINE}\n## 1. 标题很长", LINE),
        (f"<think>\n{LINE}\n", ""),
        (f"<think>\n{LINE}\n</think>\n{LINE}然后", LINE),
        (f"{LINE}**这一句有记号。可能还没完", ""),
        (f"**{LINE}**\n普通", f"{LINE}\n"),
        ("太短。", ""),
        ("", ""),
        ("Three dots are no end. " * 3 + "It goes 3.5", "Three dots are no end. " * 2 + "Three dots are no end."),
    ],
)
def test_a_part_ends_where_nothing_can_change_it_any_more(so_far, shown):
    expected = plain(so_far) if shown is None else shown
    assert next_part(so_far, "", ROOM).strip() == expected.strip()


def test_the_next_part_follows_the_one_before():
    first = next_part(f"{LINE}\n然后", "", ROOM)

    assert next_part(f"{LINE}\n{LINE}{LINE}", first, ROOM).strip() == f"{LINE}{LINE}"
    assert next_part(f"{LINE}\n然后", first, ROOM) == ""


def test_a_part_has_no_more_bytes_than_there_is_room():
    part = next_part(LINE * 30, "", 700)

    assert len(part.encode()) <= 700
    assert part.endswith("。")


def test_where_the_whole_reads_otherwise_a_line_is_shown_twice_and_none_is_lost():
    assert rest_of("甲乙丙\n丁戊己\n庚", ("甲乙丙\n丁戊",)) == "己\n庚"
    assert rest_of("甲乙丙\n丁X己\n庚", ("甲乙丙\n丁戊",)) == "丁X己\n庚"
    assert rest_of("短", ("甲乙丙",)) == "短"


BLOCKS = [LINE, "\n", "\n\n", "- ", "**粗**", "`码`", "```\n", "| a | b |\n", "|---|---|\n", "> 引\n"]
BLOCKS += ["# 题\n", "x。", "$$\n", "<think>\n", "</think>\n"]
PIECES = st.lists(
    st.sampled_from(
        [
            LINE,
            "\n",
            "\n\n",
            "- ",
            "**粗**",
            "`码`",
            "```\n",
            "| a | b |\n",
            "|---|---|\n",
            "> 引\n",
            "# 题\n",
            "x。",
            "$$\n",
        ]
    ),
    max_size=30,
)


@given(PIECES, st.lists(st.integers(0, 600), max_size=4))
def test_parts_and_rest_together_have_every_line_of_the_answer(pieces, moments):
    answer = "".join(pieces)
    parts = ()
    for moment in sorted(moments):
        if part := next_part(answer[:moment], "".join(parts), ROOM):
            assert len(part.strip()) >= LEAST_CHARACTERS
            assert len(part.encode()) <= LIMIT_BYTES
            parts = (*parts, part)

    whole = clean(plain(answer))
    shown = "".join(parts) + rest_of(whole, parts)

    for line in whole.split("\n"):
        assert line in shown
