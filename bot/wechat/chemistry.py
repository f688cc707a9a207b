"""
A chemical equation as LaTeX's \\ce{…} has it, in signs: 2H2 + O2 -> 2H2O is 2H₂ + O₂ → 2H₂O. Pure.

Rule 1: a digit behind a letter or a bracket counts atoms and goes down; one in front of a substance counts it and stays.
Rule 2: a sign at the end of a substance is its charge and goes up; one between spaces stays.
"""

from __future__ import annotations

import re

from bot.wechat.signs import SIGNS, lowered, raised

ARROWS = {"<=>": "⇌", "<-->": "↔", "<->": "↔", "->": "→", "<-": "←"}
ARROW = re.compile(r" ?(<=>|<-->|<->|->|<-)(?:\[([^\[\]]{0,200})\])?(?:\[([^\[\]]{0,200})\])? ?")
CHARGE = re.compile(r"\^\{([^{}]{1,20})\}|\^(\d*[+-])|(?<=[A-Za-z0-9)\]])([+-])(?=\s|$)")
COUNT = re.compile(r"(?<=[A-Za-z)\]])(\d{1,4})|_(\d{1,4}|\{[^{}]{1,20}\})")
WATER = re.compile(r"(?<=[A-Za-z₀-₉)])[.*](?=\d{0,2}[A-Z])")  # of a crystal: CuSO4.5H2O
NAMED = re.compile(r"\\(?:text|mathrm)\{([^{}]{0,200})\}|\\([A-Za-z]{1,30})(?: (?=\w))?")
ESCAPING = re.compile(r"(?<=\s)([v^])(?=\s|$)")  # it falls out, or rises


def equation(text: str) -> str:
    """The inside of \\ce{…} in signs."""
    text = " ".join(text.split())
    text = NAMED.sub(lambda found: SIGNS.get(found[2], found[0]) if found[2] else found[1], text)
    text = CHARGE.sub(lambda found: raised(found[1] or found[2] or found[3]), text)
    text = COUNT.sub(lambda found: lowered((found[1] or found[2]).strip("{}")), text)
    text = WATER.sub("·", text)
    text = ESCAPING.sub(lambda found: "↓" if found[1] == "v" else "↑", text)
    return ARROW.sub(lambda found: f" {arrow(ARROWS[found[1]], found[2], found[3])} ", text).strip()


def arrow(sign: str, *conditions: str | None) -> str:
    """An arrow with what stands over and under it: —△→ or ⇌(高温)."""
    said = "，".join(condition.strip() for condition in conditions if condition and condition.strip())
    if not said:
        return sign
    return f"—{said}→" if sign == "→" else f"{sign}({said})"
