"""
An hour of a key's requests as the outline of a skyline: what was answered, and on top of it what failed. Pure.

Rule: a house in which anything failed shows it, however many were answered beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import add

from proxy.value import value_type

HEIGHT = 10  # units, with one of width a house
MINUTES = 2  # of each house; thirty of them are broad enough to be seen on a card
LEAST_FAILED = 1  # unit


@value_type
class Sparkline:
    """`answered` and `failed` are the `d` of paths; the second lies behind the first. The counts are of the whole hour."""

    answered: str
    failed: str
    answered_count: int
    failed_count: int


def sparkline(minutes: Sequence[tuple[int, int]]) -> Sparkline | None:
    """`minutes` are (answered, failed), the oldest first; None where nothing was."""
    answered, failed = (_by_house([minute[place] for minute in minutes]) for place in (0, 1))
    highest = max(map(add, answered, failed), default=0)
    if not highest:
        return None
    roofs = [_roofs(*house, highest) for house in zip(answered, failed, strict=True)]
    return Sparkline(
        answered=_outline([roof for roof, _ in roofs]),
        failed=_outline([roof for _, roof in roofs]),
        answered_count=sum(answered),
        failed_count=sum(failed),
    )


def _by_house(counts: Sequence[int]) -> list[int]:
    return [sum(counts[at : at + MINUTES]) for at in range(0, len(counts), MINUTES)]


def _roofs(answered: int, failed: int, highest: int) -> tuple[int, int]:
    """How high what was answered reaches, and all of it; the second is 0 where nothing failed."""
    lower = -(-HEIGHT * answered // highest)
    if not failed:
        return lower, 0
    lower = min(lower, HEIGHT - LEAST_FAILED)
    return lower, max(-(-HEIGHT * (answered + failed) // highest), lower + LEAST_FAILED)


def _outline(roofs: Sequence[int]) -> str:
    """From the lower left corner along the roofs to the lower right one; "" where there is no house."""
    if not any(roofs):
        return ""
    steps, at, width = [f"M0 {HEIGHT}"], 0, 0
    for roof in roofs:
        if roof != at:
            steps.append(f"h{width}" * (width > 0) + f"V{HEIGHT - roof}")
            at, width = roof, 0
        width += 1
    return "".join([*steps, f"h{width}V{HEIGHT}z"])
