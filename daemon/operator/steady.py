"""
What was seen, without what only time moves: two looks between which nothing happened are equal. Pure.

Rule: a countdown is taken for the moment at which it ends, an age for the moment at which it began, to GRAIN seconds; the
browser counts by itself.
"""

from __future__ import annotations

from dataclasses import replace

from daemon.operator.seen import Seen
from proxy.health import KeyView

GRAIN = 2.0  # seconds; a deadline that moves by less is the same to whoever looks


def steady(seen: Seen, now: float) -> Seen:
    """`now` is of any clock that goes evenly, the same one at each look."""
    return replace(
        seen,
        keys=tuple(_key(key, now) for key in seen.keys),
        upstreams=tuple(
            replace(each, trouble_seconds_ago=_began(each.trouble_seconds_ago, now)) for each in seen.upstreams
        ),
    )


def _key(key: KeyView, now: float) -> KeyView:
    return replace(
        key,
        since_seconds=_began(key.since_seconds, now),
        seconds_left=_ends(key.seconds_left, now)
        if key.seconds_left
        else key.seconds_left,  # what is over ends no more
        cells=tuple(replace(cell, seconds_left=_ends(cell.seconds_left, now)) for cell in key.cells),
        history=replace(
            key.history,
            moments=tuple(replace(each, seconds_ago=_ends(-each.seconds_ago, now)) for each in key.history.moments),
        ),
    )


def _began(seconds_ago: float | None, now: float) -> float | None:
    return None if seconds_ago is None else _ends(-seconds_ago, now)


def _ends(seconds_left: float, now: float) -> float:
    return float(round((now + seconds_left) / GRAIN))
