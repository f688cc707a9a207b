"""LaTeX as a reader without it would write it."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.wechat import signs
from bot.wechat.formula import MAX_DEPTH, SHAPES, readable


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\alpha \le \pi", "α ≤ π"),
        (r"a\le b,\ a\times b,\ \alpha + \beta", "a ≤ b, a × b, α + β"),
        (r"2\pi r", "2πr"),
        (r"x \to \infty", "x → ∞"),
        (r"a \cdot b", "a·b"),
        (r"\{x \mid x > 0\} \subseteq \mathbb{R}", "{x | x > 0} ⊆ ℝ"),
        (r"x = \pm 2 \pm a", "x = ±2 ± a"),
        (r"x \not= y, x \not\in A", "x ≠ y, x ∉ A"),
        (r"\angle A = 90^\circ, 37^{\circ}\text{C}", "∠A = 90°, 37°C"),
        (r"1, 2, \ldots, n", "1, 2, …, n"),
        (r"50\%\ \#\ \_", "50% # _"),
        (r"a\,b\;c\quad d\!e~f", "a b c  de f"),
        ("a   +\n b", "a + b"),
        (r"a \equiv b \pmod{n}", "a ≡ b (mod n)"),
        ("f'(x)", "f'(x)"),
        ("0<x<1, a=-1, a<=b, a==b, f:=g, a->b", "0 < x < 1, a = -1, a <= b, a == b, f:= g, a-> b"),
        ("", ""),
    ],
)
def test_signs_have_the_spaces_a_reader_expects(latex, text):
    assert readable(latex) == text


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        ("x^{2}", "x²"),
        ("a_{n+1}", "aₙ₊₁"),
        ("10^{-19}", "10⁻¹⁹"),
        ("x_1^2", "x₁²"),
        (r"e^{i\pi}", "e^(iπ)"),
        ("e^{-x^2}", "e^(-x²)"),
        ("x^q", "x^q"),
        ("U_{AB}", "U_(AB)"),
        (r"E_{\text{动}}", "E_动"),
        (r"v_{\text{平均}}", "v_(平均)"),
        (r"x_\mathrm{max}", "xₘₐₓ"),
        ("f^{(n)}(x)", "f⁽ⁿ⁾(x)"),
        ("A^T x^* y^\\prime", "Aᵀ x* y′"),
        ("{}^{14}C", "¹⁴C"),
        (r"{}^1_0n\to{}^{144}_{56}Ba", "¹₀n → ¹⁴⁴₅₆Ba"),
        (r"\nabla_\theta J, x^qy, E_{\text{动}}t", "∇_θ J, x^q y, E_动 t"),
        ("x ^ 2", "x²"),
        ("x_{}", "x"),
    ],
)
def test_a_script_is_small_only_if_all_of_it_can_be(latex, text):
    assert readable(latex) == text


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\frac{a}{b}", "a/b"),
        (r"\frac12 + \frac1n", "1/2 + 1/n"),
        (r"\dfrac{a+b}{c+d}", "(a+b)/(c+d)"),
        (r"\frac{-b \pm \sqrt{b^2 - 4ac}}{2a}", "(-b ± √(b² - 4ac))/(2a)"),
        (r"\frac{-1}{x}", "-1/x"),
        (r"\frac{1}{2}mv^2", "1/2 mv²"),
        (r"k\frac{q_1q_2}{r^2}", "k q₁q₂/r²"),
        (r"\frac{n(n+1)}{2}", "n(n+1)/2"),
        (r"\frac{dy}{dx} = \frac{\Delta y}{\Delta x}", "dy/dx = Δy/Δx"),
        (r"\frac{路程}{时间}", "路程/时间"),
        (r"\frac{1}{n!}", "1/n!"),
        (r"\frac{1}{f(x)}", "1/f(x)"),
        (r"\frac{1}{(a+b)(c+d)}", "1/((a+b)(c+d))"),
        (r"\frac{1}{n(n+1)}, \frac{1}{P(A \cap B)}", "1/(n(n+1)), 1/P(A ∩ B)"),
        (r"\frac{1}{(a+b)^2}, \frac{x}{e^x}, \frac{1}{n^s}", "1/(a+b)², x/eˣ, 1/nˢ"),
        (r"\frac{|Ax+C|}{\sqrt{A^2+B^2}}, \frac{a}{|b||c|}", "|Ax+C|/√(A²+B²), a/(|b||c|)"),
        (r"\frac{[A][B]}{[AB]}, \frac{a}{\lfloor x \rfloor}", "[A][B]/[AB], a/⌊x⌋"),
        (r"\frac{\sin x}{x}", "(sin x)/x"),
        (r"\frac{\frac{a}{b}}{c}", "(a/b)/c"),
        (r"\frac{a}{b}^2", "(a/b)²"),
        (r"\frac12\frac13", "1/2·1/3"),
        (r"\frac\mathrm{d}t", "d/t"),
        (r"\sqrt{2}, \sqrt x, \sqrt{x_1}", "√2, √x, √x₁"),
        (r"\sqrt{x^2}, \sqrt{2a}", "√(x²), √(2a)"),
        (r"\sqrt[3]{8}, \sqrt[n]{a+b}", "∛8, ⁿ√(a+b)"),
        (r"\binom{n}{k}", "C(n,k)"),
    ],
)
def test_brackets_stand_where_they_are_needed_and_nowhere_else(latex, text):
    assert readable(latex) == text


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\sin^2\theta+\cos^2\theta=1", "sin² θ+cos² θ = 1"),
        (r"\sin(x), \sin\frac{x}{2}, x\ln x", "sin(x), sin(x/2), x ln x"),
        (r"\log_2 8", "log₂ 8"),
        (r"\operatorname{rank} A", "rank A"),
        (r"\lim_{x \to 0} \frac{\sin x}{x}", "lim(x→0) (sin x)/x"),
        (r"\lim\limits_{n\to\infty}a_n", "lim(n→∞) aₙ"),
        (r"\lim_{n\to\infty}(1+n), \sum(a+b)", "lim(n→∞) (1+n), ∑ (a+b)"),
        (r"\max_{x \in A} f(x), \max(a, b)", "max(x∈A) f(x), max(a, b)"),
        (r"\underset{x \to 0}{\lim} f", "lim(x→0) f"),
        (r"\sum_{i=1}^{n} i^2", "∑ᵢ₌₁ⁿ i²"),
        (r"\int_0^1 x^2\,dx", "∫₀¹ x² dx"),
        (r"\int_0^{\pi}\sin x\,dx", "∫₀^π sin x dx"),
        (r"\left.\frac{x^3}{3}\right|_0^1", "x³/3|₀¹"),
    ],
)
def test_functions_and_sums_stand_apart_from_what_they_are_of(latex, text):
    assert readable(latex) == text


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\mathrm{kg \cdot m/s^2}", "kg·m/s²"),
        (r"x \text{ 且 } y", "x 且 y"),
        (r"5\text{ m}, 10\,\mathrm{cm}^3", "5 m, 10 cm³"),
        (r"\left( \frac{a}{b} \right)^2", "(a/b)²"),
        (r"\bigl[ x \bigr]", "[ x ]"),
        (r"\overline{AB}, \hat{p}, \bar x", "A\u0305B\u0305, p\u0302, x\u0304"),
        (r"\vec{a} \cdot \overrightarrow{AB}", "a\u20d7·A\u20d7B\u20d7"),
        (r"\boxed{x = 5}", "【x = 5】"),
        (r"\color{red}{x} + \textcolor{blue}{y}", "x + y"),
        (r"\underbrace{1+\cdots+1}_{n\text{ 个}}, \overbrace{a+b}^n, \overbrace{c}", "1+…+1〔n 个〕, a+b〔n〕, c"),
        (r"\overline{A \cup B} = \overline{A}", "A\u0305∪\u0305B\u0305 = A\u0305"),
        (r"\overline{a + bi}, \overline{\bar x}", "a\u0305+\u0305b\u0305i\u0305, x\u0305\u0304"),
        (r"(\underline{\qquad}), \underline{A}", "(____), A\u0332"),
        (r"\textcircled{2}, \textcircled{a}", "②, (a)"),
        (r"\lfloor x \rfloor, \lvert x-1 \rvert, \langle a, b \rangle", "⌊x⌋, |x-1|, ⟨a, b⟩"),
        (r"\left\lfloor x \right\rfloor + \left\lvert y \right\rvert", "⌊x⌋ + |y|"),
        (r"\sum_{\substack{i<j \\ k}} a", "∑_(i<j;k) a"),
        (r"\overset{\frown}{AB}, \wideparen{CD}", "⌒AB, ⌒CD"),
        (r"\mathcal{L} = \mathbb{E}[X]", "ℒ = 𝔼[X]"),
        (r"E = mc^2 \tag{1}", "E = mc²  (1)"),
        (r"\displaystyle\sum a_i \nonumber", "∑ aᵢ"),
    ],
)
def test_what_only_shapes_the_paper_goes(latex, text):
    assert readable(latex) == text


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"2\mathrm{H_2} + \mathrm{O_2} \xrightarrow{\text{点燃}} 2\mathrm{H_2O}", "2H₂ + O₂ —点燃→ 2H₂O"),
        (r"A \xlongequal[\Delta]{} B \overset{\triangle}{=} C", "A =(Δ) B =(△) C"),
        (r"\ce{CaCO3 + 2HCl -> CaCl2 + H2O + CO2 ^}", "CaCO₃ + 2HCl → CaCl₂ + H₂O + CO₂ ↑"),
        (r"\ce{N2 + 3H2 <=>[高温][催化剂] 2NH3}", "N₂ + 3H₂ ⇌(高温，催化剂) 2NH₃"),
        (r"\ce{Ba^{2+} + SO4^2- -> BaSO4 v}", "Ba²⁺ + SO₄²⁻ → BaSO₄ ↓"),
        (r"\ce{Na+ + Cl-}, \ce{Fe2(SO4)3}", "Na⁺ + Cl⁻, Fe₂(SO₄)₃"),
        (r"\ce{2KClO3 ->[MnO2][\Delta] 2KCl + 3O2}", "2KClO₃ —MnO₂，Δ→ 2KCl + 3O₂"),
        (r"\ce{2H2O ->[\text{通电}] 2H2 \uparrow + O2 \foo}", "2H₂O —通电→ 2H₂ ↑ + O₂ \\foo"),
        (r"\ce{^{14}_{6}C}, \ce{CuSO4.5H2O}, \ce{CaSO4 * 2H2O}", "¹⁴₆C, CuSO₄·5H₂O, CaSO₄ * 2H₂O"),
        (r"\mathrm{SO_4^{2-}}", "SO₄²⁻"),
    ],
)
def test_chemistry_has_its_numbers_below_and_its_charges_above(latex, text):
    assert readable(latex) == text


@pytest.mark.parametrize(
    ("latex", "lines", "line"),
    [
        (r"a &= b \\ &\le c", "a = b\n≤ c", "a = b; ≤ c"),
        (r"\begin{aligned} a&=b \\[6pt] c&=d \end{aligned}", "a = b\nc = d", "a = b; c = d"),
        (
            r"f(x) = \begin{cases} x, & x \ge 0 \\ -x, & x < 0 \end{cases}.",
            "f(x) =\n{ x, x ≥ 0\n{ -x, x < 0.",
            "f(x) = { x, x ≥ 0; -x, x < 0.",
        ),
        (
            r"\begin{cases} x+y=5, \\ x-y=1. \end{cases}",
            "{ x+y = 5,\n{ x-y = 1.",
            "{ x+y = 5; x-y = 1.",
        ),
        (
            r"\left\{\begin{array}{l} x+y=5 \\ x-y=1 \end{array}\right.",
            "{ x+y = 5\n{ x-y = 1",
            "{ x+y = 5; x-y = 1",
        ),
        (
            r"A = \begin{pmatrix} 1 & -2 \\ 3 & 4 \end{pmatrix}^T, B",
            "A =\n(1  -2)\n(3  4)ᵀ,\nB",
            "A = (1  -2; 3  4)ᵀ, B",
        ),
        (r"\begin{vmatrix} a & b \\ c & d \end{vmatrix}", "|a  b|\n|c  d|", "|a  b; c  d|"),
        (
            r"\begin{align*} x &= \begin{bmatrix} 1 \\ 2 \end{bmatrix} \\ y &= 3 \end{align*}",
            "x =\n[1]\n[2]\ny = 3",
            "x = [1; 2]; y = 3",
        ),
    ],
)
def test_what_has_lines_is_lines_or_one_line_where_there_is_room_for_one(latex, lines, line):
    assert readable(latex) == lines
    assert readable(latex, in_line=True) == line


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\foo + 1", r"\foo + 1"),
        (r"\foo{\alpha}{b} + \beta", r"\foo{\alpha}{b} + β"),
        (r"\begin{foo} x^2 \end{foo}", r"\begin{foo} x² \end{foo}"),
        (r"\right) x", ") x"),
        ("\\", "\\"),
    ],
)
def test_an_unknown_command_stays_as_it_came(latex, text):
    assert readable(latex) == text


@pytest.mark.parametrize(
    "latex",
    [
        r"\frac{1}{2",
        r"x^2}",
        r"x^",
        r"\frac{1}",
        r"\sqrt[3{8}",
        r"\left( x^2",
        r"\begin{cases} x^2",
        r"\begin{cases} x^2 \end{aligned}",
        r"\text{x",
        "{" * (MAX_DEPTH + 1) + "x^2" + "}" * (MAX_DEPTH + 1),
        r"\sqrt" * 10_000 + "x",
        "x" + "^{a" * 10_000 + "}" * 10_000,
        r"\left(" * 10_000,
    ],
    ids=lambda latex: latex[:20],
)
def test_a_formula_that_cannot_be_read_stays_as_it_came(latex):
    assert readable(latex) == latex


def test_no_name_has_two_meanings():
    tables = [signs.SIGNS, signs.INFIXES, signs.SIGNED, signs.TIGHT, signs.BIG, signs.FUNCTIONS, signs.SPACES, SHAPES]
    tables += [signs.IGNORED, signs.IGNORED_WITH_ARGUMENT, signs.WORDS, signs.ACCENTS, signs.ALPHABETS, signs.ARROWS]
    tables += [signs.CLOSING, signs.AROUND]
    names = [name for table in tables for name in table]

    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    "name", [*signs.SIGNS, *signs.CLOSING, *signs.INFIXES, *signs.SIGNED, *signs.TIGHT, *signs.BIG]
)
def test_a_sign_s_command_leaves_nothing_of_itself(name):
    assert "\\" not in readable(f"a \\{name} b").replace("\\", "", name == "backslash")


LATEX = st.text(alphabet="\\{}[]^_&$ ab12字+=\n") | st.lists(
    st.sampled_from(
        [
            *(f"\\{name}" for name in SHAPES),
            *("\\end", "{cases}", "{", "}", "[", "]", "^", "_", "&", "\\\\", "字", " ", "1", "(", ")"),
            *("\\text", "\\alpha", "\\le", "\\vec", "\\sum", "\\pm", "\\foo"),
        ]
    )
).map("".join)


@given(LATEX, st.booleans())
def test_no_formula_raises_and_no_word_is_lost(latex, in_line):
    """A colour and the columns of an array are no words of the formula."""
    words = 0 if re.search("textcolor|array", latex) else latex.count("字")

    assert readable(latex, in_line=in_line).count("字") >= words


@given(LATEX)
def test_a_formula_in_a_line_stays_in_it(latex):
    assert "\n" not in readable(latex.replace("\n", " "), in_line=True)


PIECES = [
    "{", "}", "{}", "\\frac", "\\frac12", "\\sqrt[", "^", "^1", "_a", "\\left(", "\\left(\\right)", "\\begin{cases}", "&",
    "\\\\", "\\\\[1", "\\text{", "\\text{ ", " ", "\\foo{", "\\foo{}", "\\ce{", "\\ce{ }", "\\ce{a1^", "\\vec{", "a", "字", "(",
    "\\not", "\\mathrm", "\\pm", "\\end{cases}", "\\over", "x_{a b}", "\\lim_",
    "\\overline{a ", "\\underbrace{a}_", "\\ce{\\text{", "\\frac1{[", "\\frac1{|a}",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_a_hostile_formula_takes_no_longer_than_its_length_allows(piece):
    def seconds(characters: int) -> float:
        started = time.process_time()
        for opening in ("", "\\frac{", "x^{\\text{"):
            for closing in ("", "}}"):
                readable(opening + piece * (characters // len(piece)) + closing)
        return time.process_time() - started

    assert seconds(24_000) < 1 + 24 * seconds(3_000)
