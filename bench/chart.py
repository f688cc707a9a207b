"""
Bars beside each other, as SVG that reads on light and on dark ground. Pure.

Rule 1: the length of a bar is its value, from zero, in a scale of its own panel's; the value stands at its end.
Rule 2: no script, no font and no colour from elsewhere: the file is all there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

OURS = "posthouse"
COLUMNS, PANEL, GAP, MARGIN = 2, 464, 32, 24  # in pixels, but for the first
ROW, HEAD, NAMES, VALUES = 24, 72, 128, 92

_FRAME = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title"
  font-family="system-ui, 'Segoe UI', 'Noto Sans', sans-serif">
  <title id="title">{title}</title>
  <style>
    .ground {{ fill: #fffdf9 }} text {{ fill: #26221c; font-size: 13px }} .name {{ font-weight: 600; font-size: 15px }}
    .faint {{ fill: #6b6357 }} .bar {{ fill: #b9ad99 }} .ours {{ fill: #a63c24 }}
    @media (prefers-color-scheme: dark) {{
      .ground {{ fill: #1d1a16 }} text {{ fill: #ece5d8 }} .faint {{ fill: #a59b8b }}
      .bar {{ fill: #6f6657 }} .ours {{ fill: #d9684d }}
    }}
  </style>
  <rect class="ground" width="{width}" height="{height}" rx="12"/>
{panels}
</svg>
"""


@dataclass(frozen=True, slots=True)
class Bars:
    """One panel: `better` is "more" or "less", `form` writes a value."""

    title: str
    better: str
    form: str
    values: tuple[tuple[str, float], ...]


def svg(title: str, panels: Sequence[Bars]) -> str:
    lines, y = [], float(MARGIN)
    for first in range(0, len(panels), COLUMNS):
        row = panels[first : first + COLUMNS]
        lines += [_panel(bars, MARGIN + column * (PANEL + GAP), y) for column, bars in enumerate(row)]
        y += max(HEAD + ROW * len(bars.values) for bars in row)
    width = 2 * MARGIN + COLUMNS * PANEL + (COLUMNS - 1) * GAP
    return _FRAME.format(width=width, height=round(y), title=escape(title), panels="\n".join(lines))


def _panel(bars: Bars, x: float, y: float) -> str:
    most = max((value for _, value in bars.values), default=0.0) or 1.0
    lines = [
        f'  <text class="name" x="{x}" y="{y + 14:.0f}">{escape(bars.title)}</text>',
        f'  <text class="faint" x="{x}" y="{y + 32:.0f}">{bars.better} is better</text>',
    ]
    for number, (name, value) in enumerate(bars.values):
        top = y + 44 + number * ROW
        length = max(1.0, (PANEL - NAMES - VALUES) * value / most)
        kind = "bar ours" if name.startswith(OURS) else "bar"
        end, said = x + NAMES + length + 8, escape(bars.form.format(value))
        lines += [
            f'  <text x="{x}" y="{top + 13:.0f}">{escape(name)}</text>',
            f'  <rect class="{kind}" x="{x + NAMES}" y="{top:.0f}" width="{length:.1f}" height="16" rx="2"/>',
            f'  <text class="faint" x="{end:.1f}" y="{top + 13:.0f}">{said}</text>',
        ]
    return "\n".join(lines)
