"""Small statistics over samples. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample below which `share` of them lie: 0.5 is the median, 0.99 the one that one in a hundred exceeds."""
    ordered = sorted(samples)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def median(samples: Sequence[float]) -> float:
    return quantile(samples, 0.5)
