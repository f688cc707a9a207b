"""Markdown for a phone: marks go, words stay, and no text takes long."""

import re
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
        ("标题\n===\n标题\n---", f"标题\n{RULER}\n标题\n{RULER}"),
        ("==", "=="),
        ("###标题\n##二", "【标题】\n【二】"),
        ("##", "##"),
        ("- ### 小标题", "• 【小标题】"),
        ("1. [ ] 买菜\n2. [x] 做饭", "1. ☐ 买菜\n2. ☑ 做饭"),
        ("- 一<br>二\n  - 三<br>四", "• 一\n  二\n  • 三\n    四"),
        ("> 一<br>二", "｜一\n｜二"),
        ("1. 一\n   > 引用", "1. 一\n｜引用"),
        ("> [!NOTE]\n> 好", "｜【NOTE】\n｜好"),
        ('[1]: https://e.com/a_b "题"\n[文档]: <https://e.com>', "[1] https://e.com/a_b\n[文档] https://e.com"),
        ("[注]: 不是", "[注]: 不是"),
        ("[^1]: **注**", "[1] 注"),
        ("<details>\n<summary>**点开**</summary>\n\n文\n</details>\n\n后", "【点开】\n\n文\n后"),
        ("<details open><summary>点开</summary>\n文", "【点开】\n文"),
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
        ("[https://e.com/](https://e.com)", "https://e.com"),
        ("[文档](<https://e.com> '题')", "文档（https://e.com）"),
        ("[第一章](#第一章)", "第一章"),
        ("[写信](mailto:a@e.com) <a@e.com>", "写信（a@e.com） a@e.com"),
        ("见[文档][1]、[文档][]、[文档]", "见文档[1]、[文档]、[文档]"),
        ("有研究[^1]说", "有研究[1]说"),
        ("![图](data:image/png;base64,AAAA)", "图"),
        ("一![](data:image/png;base64,AAAA)二", "一二"),
        ("[![图](https://e.com/b.svg)](https://e.com)", "图（https://e.com）"),
        ("```a`b``c```", "a`b``c"),
        ("5 &lt; 6&nbsp;&amp;&#38; `&lt;`", "5 < 6 && &lt;"),
        ("&#42;不是斜体&#42;", "*不是斜体*"),
        ("H<sub>2</sub>O 与 <b>x<sup>2</sup></b> 与 <u><i>线</i></u>", "H₂O 与 x² 与 线"),
        ("硬换行。\\\n下一行", "硬换行。\n下一行"),
        ("[[1]](https://e.com/_1_)", "[1]（https://e.com/_1_）"),
        ("<https://e.com/_a_>", "https://e.com/_a_"),
        ("https://e.com/_a_/*b*", "https://e.com/_a_/b"),
        ("![一只猫](https://e.com/c.png)", "一只猫（https://e.com/c.png）"),
        ("![](https://e.com/c.png)", "https://e.com/c.png"),
        ("[![图](i)](https://e.com)", "图（https://e.com）"),
        (r"\*不是斜体\* 和 1\. 点", "*不是斜体* 和 1. 点"),
        (r"当\(x_1 + y_1\)时，$a^2$ 与 $n$", "当x₁ + y₁时，a² 与 n"),
        ("\\[\nE = mc^2\n\\]", "E = mc²"),
        ("$$\nx = 1\n$$\n$$y_2$$", "x = 1\ny₂"),
        ("一<br>二<br/>三", "一\n二\n三"),
        ("$a+b$、$f(x)$、$2n$、$100$、$AB$、$(1, 2)$", "a+b、f(x)、2n、100、AB、(1, 2)"),
        ("the $n$th term, $ x_1 $ and $`x^2`$", "the nth term, x₁ and x²"),
        (r"\[x^2\] \[1\] \(注\)", "x² [1] (注)"),
        (r"$\begin{pmatrix} 1 \\ 2 \end{pmatrix}$ 是列", "(1; 2) 是列"),
        (r"**解：$x^2$**", "解：x²"),
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
        "从$5涨到$6，又花$7。$5（约 ¥36），还剩 $3。",
        "It costs $5, you have 6$, or $7 and $8.",
        "$a, $b = $c; $ ls -l $ x",
        "arr[i][j] = m[0][1] + f[2](x); [0][1]; [^a-z]+",
        "&nosuchthing; &amp AT&T",
        "<p> 标签和 </p>，List<String>，<div>",
        "cat a.txt \\\n  | wc\nC:\\new\\",
        "前<think>想</think>后",
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


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("1. 一\n   ```sh\n   if a\n     b\n\n   fi\n   ```\n   二", "1. 一\nif a\n  b\n\nfi\n   二"),
        ("- ```\n  a\n  ```\n- 二", "•\na\n• 二"),
        ("1. ```sh\n   *a*\n   ```", "1.\n*a*"),
        ("  ```\n a\n```", "a"),
    ],
)
def test_code_is_indented_no_further_than_it_is_itself(markdown, text):
    assert plain(markdown) == text


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("$$\n\nx^2\n\n$$\n后", "x²\n后"),
        ("$$ x^2\n+ 1 $$\n后", "x² + 1\n后"),
        ("$$x_1$$，", "x₁，"),
        ("1. 得\n   \\[\n   x^2 \\\\ y^2\n   \\]\n2. 好", "1. 得\n   x²\n   y²\n2. 好"),
        ("解得 $$\nx^2\n$$", "解得\nx²"),
        ("- 解得：\\[\nx^2\n\\]，其中 $y_1$ 是**数**", "• 解得：\nx²，\n其中 y₁ 是数"),
        ("\\begin{align}\na &= b \\\\\nc &= d\n\\end{align}", "a = b\nc = d"),
        ("> $$\n> x^2\n> $$", "｜x²"),
        ("$$\nx^2\n\n**后**\n\n$$y^2$$", "x^2\n\n后\n\ny²"),
        ("$$a^2$$，$$b^2$$", "a²，b²"),
        ("\\begin{foo}\n**a**\n\\end{foo}", "\\begin{foo}\na\n\\end{foo}"),
        ("$$\n\\frac{a}{b\n$$", "\\frac{a}{b"),
        ("```math\nx^2 \\\\\ny^2\n```\n```latex\nx^2\n```", "x²\ny²\nx^2"),
        ("$$\n" + "x\n" * 100 + "$$", "x\n" * 99 + "x"),
    ],
)
def test_a_formula_over_several_lines_is_one_formula(markdown, text):
    assert plain(markdown) == text


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("<think>\n想 **想**\n```\n</think>\n\n答", "答"),
        ("\n<think></think>答</think>", "答</think>"),
        ("<think>\n想", "<think>\n想"),
        ("`<think>` 是标签", "<think> 是标签"),
    ],
)
def test_thoughts_go_where_they_are_over_and_come_first(markdown, text):
    assert plain(markdown) == text


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
        ("| 名： | `x` |\n|--|--|\n| | |\n| `a \\| b` | $x^2$ |", "• 名：a | b；x：x²"),
        (
            f"| 名 | 长 | 短 |\n|--|--|--|\n| 甲 | {'字' * 30} | 一 |\n| 乙 | | 二 |",
            f"• 名：甲\n  长：{'字' * 30}\n  短：一\n• 名：乙\n  短：二",
        ),
        ("| a | b |\n|---|", "| a | b |\n|---|"),
        ("| $x$ | $|x|$ |\n|--|--|\n| $P(A|B)$ | `a|b` |\n| $5 | $6 |", "• x：P(A|B)；|x|：a|b\n• x：$5；|x|：$6"),
        ("| a | b |\n|--|--|\n| `x | y | z |\n| 1 | `x | y |", "• a：`x；b：y；z\n• a：1；b：`x；y"),
    ],
)
def test_a_table_row_becomes_a_line_that_names_its_columns(table, lines):
    assert plain(table) == lines


@given(st.text(alphabet=st.characters(exclude_characters="\0#*_`~>|-+=&[]()<>$\\!", exclude_categories=["Cs"])))
def test_a_text_without_marks_comes_back_as_it_is(text):
    assert plain(text) == text


@given(st.text(alphabet="#*_`~>|-+[]()<>$\\:/. \n\x00\x01a1字"))
def test_no_text_raises_and_no_character_is_lost(text):
    """
    Only marks go; a table may say its column names more than once. A fence's own line names a language, and a place in the
    text itself is no word.
    """
    words = "".join(line for line in text.split("\n") if "```" not in line and "~~~" not in line)
    words = re.sub(r"\]\(<?#[^\s]*", "", words)

    assert plain(text).count("字") >= words.count("字")


HOSTILE = [
    "*", "**", "*a", "**a", "**a*", "***", "***a", " *a", "_", "_a", " __a", "`", "`a", "``a", "``a`", "[", "[a](", "[](",
    "[](()", "[[a]", "![", "]", "$", "$a", "$_", " $_a", "\\(", "\\[a", "\\", "~~", "~~a", "|", "|a", "|-", "> ", ">", "# ",
    "#", "- ", " ", "(", "<br", "http://", "https://a_", "\x00", "\x001", "a|b\n-|-\n", "\n> ", "```\n", "1",
    "$$\n", "\\[\n", "$$\\frac{", "$\\sqrt", "$x^", "\\begin{align}\n", "a $$\n", "- ```\n", "```a", "<details>",
    "<summary>", "<b>", "a|b\n-|-\n`|$|", "```math\n",
    "<b>a", "<b", "<think>", "&lt", "&lt;", "&#", "[^1]", "[ab][", "[ab][1]", "[a]: http://a ", "[^1]: ", "=", "= ", "\\\n",
    "$ ", "$ a", "a@", "<a", "<a@", "- [ ] ", "1. ", "![a](b", "[![a](b)",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_text_takes_no_longer_than_its_length_allows(piece):
    """Eight times the text may take eight times as long; a quadratic pattern would take 64 times, on any machine."""

    def seconds(characters: int) -> float:
        started = time.process_time()
        for opening in ("", "**", "`", "[", " $", "| "):
            plain(opening + piece * (characters // len(piece)))
        return time.process_time() - started

    assert seconds(40_000) < 1 + 24 * seconds(5_000)
