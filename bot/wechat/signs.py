"""
What LaTeX names, and the signs a phone has for it. Pure.

Rule 1: a table here says how a thing looks; how things stand together is the formula's own affair.
Rule 2: text is raised or lowered only if every character of it has such a form; half of it would read as something else.
"""

from __future__ import annotations


def _pairs(words: str) -> dict[str, str]:
    each = iter(words.split())
    return dict(zip(each, each, strict=True))


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Signs that stand where they are written, with nothing around them.
SIGNS = _pairs(
    r"""
    alpha α beta β gamma γ delta δ epsilon ε varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ lambda λ mu μ nu ν
    xi ξ omicron ο pi π varpi ϖ rho ρ varrho ϱ sigma σ varsigma ς tau τ upsilon υ phi φ varphi φ chi χ psi ψ omega ω
    Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω digamma ϝ
    infty ∞ partial ∂ nabla ∇ hbar ℏ ell ℓ Re ℜ Im ℑ aleph ℵ wp ℘ imath ı jmath ȷ
    forall ∀ exists ∃ nexists ∄ neg ¬ lnot ¬ emptyset ∅ varnothing ∅ complement ∁ top ⊤ bot ⊥
    angle ∠ measuredangle ∡ triangle △ square □ Box □ blacksquare ■ qed ∎ diamond ◇ bigcirc ○ odot ⊙ because ∵ therefore ∴
    ldots … cdots … dots … dotsc … dotsb … vdots ⋮ ddots ⋱ prime ′ degree ° celsius ℃ checkmark ✓ dagger † ddagger ‡ star ⋆
    bullet • uparrow ↑ downarrow ↓ Uparrow ⇑ Downarrow ⇓ nearrow ↗ searrow ↘ frown ⌒ smile ⌣
    lfloor ⌊ lceil ⌈ langle ⟨ lvert | vert | lVert ‖ Vert ‖ lbrace { lbrack [
    colon : backslash \ surd √ pounds £ yen ¥ euro € S § copyright © AA Å ordinarymark º textdegree °
    { { } } | ‖ % % # # $ $ & & _ _ / /
    """
)

# Signs that close something, with no space before them.
CLOSING = _pairs("rfloor ⌋ rceil ⌉ rangle ⟩ rvert | rVert ‖ rbrace } rbrack ]")

# Signs between two things, with a space on both sides.
INFIXES = _pairs(
    """
    times × div ÷ ast ∗ circ ∘ oplus ⊕ ominus ⊖ otimes ⊗ cup ∪ cap ∩ setminus ∖ land ∧ wedge ∧ lor ∨ vee ∨
    le ≤ leq ≤ leqslant ≤ ge ≥ geq ≥ geqslant ≥ ne ≠ neq ≠ lt < gt > ll ≪ gg ≫ approx ≈ equiv ≡ sim ~ simeq ≃ cong ≅ propto ∝
    asymp ≍ doteq ≐ triangleq ≜ coloneqq := prec ≺ succ ≻ preceq ⪯ succeq ⪰ in ∈ notin ∉ ni ∋ subset ⊂ subseteq ⊆ subsetneqq ⫋
    subsetneq ⊊ supset ⊃ supseteq ⊇ supsetneq ⊋ nsubseteq ⊈ perp ⊥ parallel ∥ nparallel ∦ mid | nmid ∤ models ⊨ vdash ⊢
    to → rightarrow → longrightarrow → gets ← leftarrow ← longleftarrow ← leftrightarrow ↔ longleftrightarrow ↔ mapsto ↦
    longmapsto ↦ Rightarrow ⇒ Longrightarrow ⇒ implies ⇒ Leftarrow ⇐ Longleftarrow ⇐ impliedby ⇐ Leftrightarrow ⇔ iff ⇔
    Longleftrightarrow ⇔ hookrightarrow ↪ rightleftharpoons ⇌ leftrightharpoons ⇋ rightharpoonup ⇀ rightsquigarrow ⇝ bmod mod
    """
)
RELATIONS = frozenset("=<>≤≥≠≈")  # as they are on the keyboard
SIGNED = _pairs("pm ± mp ∓")  # between two things, or before one
TIGHT = _pairs("cdot · cdotp ·")  # between two things, with no space at all

BIG = _pairs(
    """
    sum ∑ prod ∏ coprod ∐ int ∫ iint ∬ iiint ∭ oint ∮ bigcup ⋃ bigcap ⋂ bigoplus ⨁ bigotimes ⨂ bigvee ⋁ bigwedge ⋀
    lim lim limsup limsup liminf liminf max max min min sup sup inf inf argmax argmax argmin argmin
    """
)
FUNCTIONS = _names(
    """
    sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth log ln lg exp det dim ker gcd lcm deg hom arg Pr
    """
)

# Only how it looks on paper; the braces behind them go by themselves.
IGNORED = _names(
    """
    displaystyle textstyle scriptstyle scriptscriptstyle limits nolimits nonumber notag hline mathrm mathbf mathit mathsf
    mathtt mathnormal boldsymbol bm pmb rm bf it mathop mathbin mathrel mathord mathopen mathclose mathstrut strut smash
    centering tiny small normalsize large Large big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm Bigm
    middle allowbreak
    """
)
IGNORED_WITH_ARGUMENT = _names("color label hspace vspace phantom hphantom vphantom cline")
WORDS = _names("text textbf textit textrm textsf texttt textnormal mbox hbox emph")
SPACES = {",": " ", ":": " ", ";": " ", ">": " ", " ": " ", "quad": "  ", "qquad": "  ", "enspace": " ", "!": ""}
SPACES |= {"thinspace": " ", "medspace": " ", "thickspace": " ", "space": " ", "negthinspace": "", "\n": " "}

ACCENTS = {
    "overline": "\u0305",
    "bar": "\u0304",
    "hat": "\u0302",
    "widehat": "\u0302",
    "tilde": "\u0303",
    "widetilde": "\u0303",
    "vec": "\u20d7",
    "overrightarrow": "\u20d7",
    "dot": "\u0307",
    "ddot": "\u0308",
    "check": "\u030c",
    "acute": "\u0301",
    "grave": "\u0300",
    "underline": "\u0332",
    "cancel": "\u0336",
}
# What stands on both sides of a group.
AROUND = {
    **dict.fromkeys(("boxed", "fbox"), ("【", "】")),
    **dict.fromkeys(("overarc", "overparen", "wideparen"), ("⌒", "")),
    "substack": ("", ""),
    "pmod": (" (mod ", ")"),
    "tag": ("  (", ")"),
}
CIRCLED = {str(number): sign for number, sign in enumerate("①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳", 1)}
NEGATED = {"=": "≠", "∈": "∉", "⊂": "⊄", "⊆": "⊈", "≡": "≢", "∥": "∦", "|": "∤", "<": "≮", ">": "≯", "∃": "∄", "≈": "≉"}

_SCRIPT = dict(zip("BEFHILMRego", "ℬℰℱℋℐℒℳℛℯℊℴ", strict=True))
ALPHABETS = {
    "mathbb": dict(zip("CHNPQRZE1", "ℂℍℕℙℚℝℤ𝔼𝟙", strict=True)),
    "mathcal": _SCRIPT,
    "mathscr": _SCRIPT,
    "mathfrak": {},
}

# An arrow, or the like, with what is written over and under it.
ARROWS = {"xrightarrow": "→", "xleftarrow": "←", "xrightleftharpoons": "⇌", "xlongequal": "=", "xlongequals": "="}

# What stands around each of the lines an environment becomes.
ENVIRONMENTS = {
    **dict.fromkeys(("equation", "align", "aligned", "alignat", "alignedat", "gather", "gathered"), ("", "")),
    **dict.fromkeys(("split", "multline", "eqnarray", "array", "matrix", "smallmatrix", "subarray"), ("", "")),
    "pmatrix": ("(", ")"),
    "bmatrix": ("[", "]"),
    "Bmatrix": ("{", "}"),
    "vmatrix": ("|", "|"),
    "Vmatrix": ("‖", "‖"),
    "cases": ("{ ", ""),
    "dcases": ("{ ", ""),
    "rcases": ("", " }"),
}
WITH_COLUMNS = frozenset(("array", "alignat", "alignedat", "subarray"))  # a group behind their name says how many
# Lines of cells, each on one line; the others hold lines of formulas.
GRIDS = frozenset(("array", "matrix", "smallmatrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix"))
# What `&` is: "1  -2" is two numbers, but a&=b only stands under its like.
COLUMNS = {name: "  " if name in GRIDS else " " if "cases" in name else "" for name in ENVIRONMENTS}

_RAISED = dict(
    zip(
        "0123456789+-−=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVWβγδθφχ∘°′'*†⊤",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂᵝᵞᵟᶿᵠᵡ°°′′*†ᵀ",
        strict=True,
    )
)
_LOWERED = dict(
    zip(
        "0123456789+-−=()aehijklmnoprstuvxβγρφχ",
        "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ",
        strict=True,
    )
)


def raised(text: str) -> str:
    """`text` as a superscript: ², or ^q and ^(x/2) where there is none."""
    return _scripted(text, "^", _RAISED)


def lowered(text: str) -> str:
    """`text` as a subscript: ₂, or _q and _(AB) where there is none."""
    return _scripted(text, "_", _LOWERED)


def _scripted(text: str, mark: str, forms: dict[str, str]) -> str:
    if all(character in forms for character in text):
        return "".join(forms[character] for character in text)
    is_enclosed = len(text) == 1 or (text[0] == "(" and text.find(")") == len(text) - 1)
    return mark + text if is_enclosed else f"{mark}({text})"
