"""Markdown for a phone: marks go, words stay, and no text takes long."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.wechat.markdown import MAX_QUOTES, RULER, plain


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("# 标题", "【标题】"),
        ("### **步骤**：", "【步骤】"),
        ("## 标题 ##", "【标题】"),
        ("# C#", "【C#】"),
        ("# 【公告】", "【公告】"),
        ("#", "#"),
        ("#话题#", "#话题#"),
        ("- 一\n* 二\n+ 三", "• 一\n• 二\n• 三"),
        ("- 一\n  - 二\n\t- 三", "• 一\n  • 二\n\t• 三"),
        ("1. 一\n2) **二**", "1. 一\n2) 二"),
        ("- [ ] 买菜\n- [x] 做饭", "☐ 买菜\n☑ 做饭"),
        ("-5 度\n-", "-5 度\n-"),
        ("---", RULER),
        (" * * *", RULER),
        ("--", "--"),
        ("> 引用 **重点**\n> - 项\n后", "｜引用 重点\n｜• 项\n后"),
        ("> > 深", "｜｜深"),
        (">>> print(1)", ">>> print(1)"),
        (">5 就行", ">5 就行"),
    ],
)
def test_blocks_become_lines(markdown, text):
    assert plain(markdown) == text


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("**重点**", "重点"),
        ("**重点：**内容", "重点：内容"),
        ("使用**加粗**和**强调**文字", "使用加粗和强调文字"),
        ("***都要***", "都要"),
        ("**a *b***", "a b"),
        ("*斜体* and _it_ and __bold text__", "斜体 and it and bold text"),
        ("~~旧~~新", "旧新"),
        ("用 `pip install a_b` 和 **`x`**", "用 pip install a_b 和 x"),
        ("``a`b``", "a`b"),
        ("`*a*` `[x](y)` `$z$`", "*a* [x](y) $z$"),
        ("[文档](https://e.com/a_b_c)", "文档（https://e.com/a_b_c）"),
        ('[维基](https://e.com/A_(b) "题") 好', "维基（https://e.com/A_(b)） 好"),
        ("[https://e.com](https://e.com)", "https://e.com"),
        ("[](https://e.com)", "https://e.com"),
        ("[[1]](https://e.com/_1_)", "[1]（https://e.com/_1_）"),
        ("<https://e.com/_a_>", "https://e.com/_a_"),
        ("https://e.com/_a_/*b*", "https://e.com/_a_/b"),
        ("![一只猫](https://e.com/c.png)", "一只猫"),
        ("![](https://e.com/c.png)", "https://e.com/c.png"),
        ("[![图](i)](https://e.com)", "图（https://e.com）"),
        (r"\*不是斜体\* 和 1\. 点", "*不是斜体* 和 1. 点"),
        (r"当\(x_1 + y_1\)时，$a^2$ 与 $n$", "当x_1 + y_1时，a^2 与 n"),
        ("\\[\nE = mc^2\n\\]", "E = mc^2"),
        ("$$\nx = 1\n$$\n$$y_2$$", "x = 1\ny_2"),
        ("一<br>二<br/>三", "一\n二\n三"),
    ],
)
def test_marks_go_and_words_stay(markdown, text):
    assert plain(markdown) == text


@pytest.mark.parametrize(
    "text",
    [
        "snake_case_name and __init__ and _private",
        "2*3*4 = 24, 2**3**2, (x)**2 + (y)**2",
        "长*宽*高",
        "int *p, *q; char **argv; (*f)(*g); const char *s, size_t *n",
        "def f(*args, **kwargs): return g(*args, **kwargs)",
        "SELECT *, COUNT(*) FROM t",
        "*p = *q * 2",
        "a[*i] + b[*j]",
        "It costs $5 and $6, US$7/US$8; echo $HOME:$PATH and $MY_VAR:$OTHER",
        "handlers[0](event) and [f]()",
        "if a < b and c > d: e | f",
        "~/bin 和 ~5%",
        "* \n-\n+",
        "一个 ` 和两个 `` 不成对",
        "**没有结束",
        "[没有](结束",
        "行尾  \n\n\n  缩进",
    ],
)
def test_what_might_not_be_markup_stays(text):
    assert plain(text) == text


CODE = "a = *b*\n# no heading\n- no list\n| a | b |\n|---|---|\n> q\n[t](u) **x** `y` \\* $z_1$\n\n    end  "


@pytest.mark.parametrize("fence", ["```", "```python", "~~~", "````md", "   ```"])
def test_fenced_code_is_kept_to_the_letter_without_its_fences(fence):
    closing = fence.strip().rstrip("pythonmd")

    assert plain(f"**前**\n{fence}\n{CODE}\n{closing}\n**后**") == f"前\n{CODE}\n后"


def test_a_fence_that_is_still_open_has_code_to_the_end():
    assert plain(f"```\n{CODE}") == CODE


def test_a_longer_fence_may_have_a_shorter_one_inside():
    assert plain("````\n```\n*a*\n```\n````\n*b*") == "```\n*a*\n```\nb"


def test_code_in_a_quote_is_code():
    assert plain("> ```\n> *a*\n> ```") == "｜*a*"


def test_quotes_deeper_than_any_person_writes_keep_their_marks():
    assert plain("> " * 10_000 + "x") == "｜" * MAX_QUOTES + "> " * (10_000 - MAX_QUOTES) + "x"


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        ("| 名 | 价 |\n|---|:-:|\n| **苹果** | 5 元 |\n| 梨 | |\n后", "• 名：苹果；价：5 元\n• 名：梨\n后"),
        ("a | b\n--- | ---\n1 | 2", "• a：1；b：2"),
        ("| | 甲 |\n|--|--|\n| 快 | 是<br>否 |", "• 快；甲：是，否"),
        ("| a |\n|---|\n| 1 | 2 |", "• a：1；2"),
        (r"| a |" + "\n|---|\n" + r"| x \| y |", "• a：x | y"),
        ("| a | b |\n|---|---|", "a；b"),
        ("| a | b |\n|---|", "| a | b |\n|---|"),
    ],
)
def test_a_table_row_becomes_a_line_that_names_its_columns(table, lines):
    assert plain(table) == lines


@given(st.text(alphabet=st.characters(exclude_characters="\0#*_`~>|-+[]()<>$\\!", exclude_categories=["Cs"])))
def test_a_text_without_marks_comes_back_as_it_is(text):
    assert plain(text) == text


@given(st.text(alphabet="#*_`~>|-+[]()<>$\\:/. \n\x00\x01a1字"))
def test_no_text_raises_and_no_character_is_lost(text):
    """Only marks go; a table may say its column names more than once. A fence's own line names a language, no words."""
    words = "".join(line for line in text.split("\n") if "```" not in line and "~~~" not in line)

    assert plain(text).count("字") >= words.count("字")


HOSTILE = [
    "*", "**", "*a", "**a", "**a*", "***", "***a", " *a", "_", "_a", " __a", "`", "`a", "``a", "``a`", "[", "[a](", "[](",
    "[](()", "[[a]", "![", "]", "$", "$a", "$_", " $_a", "\\(", "\\[a", "\\", "~~", "~~a", "|", "|a", "|-", "> ", ">", "# ",
    "#", "- ", " ", "(", "<br", "http://", "https://a_", "\x00", "\x001", "a|b\n-|-\n", "\n> ", "```\n", "1",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_text_takes_no_longer_than_its_length_allows(piece):
    """Eight times the text may take eight times as long; a quadratic pattern would take 64 times, on any machine."""

    def seconds(characters: int) -> float:
        started = time.process_time()
        for opening in ("", "**", "`", "[", " $", "| "):
            plain(opening + piece * (characters // len(piece)))
        return time.process_time() - started

    assert seconds(100_000) < 1 + 24 * seconds(12_500)
