"""
The keys that may serve one kind of request, in the order in which they should be chosen. Pure.

Rule 1: the lowest tier, then the least (in flight + 1) / weight, then the one that has rested longest.
Rule 2: a key that was found unable is set aside until it may be able again, so that a thousand resting keys cost nothing:
        until its moment where that is known, else until it changes, or all are woken.
Rule 3: being in the order is no promise: the pool asks each candidate again.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable
from heapq import heappop, heappush

from proxy.lease import Obstacle
from proxy.slot import Slot

Rank = tuple[int, float, int, str]


def rank_of(slot: Slot) -> Rank:
    return slot.key.tier, (slot.in_flight + 1) / slot.key.weight, slot.last_used, slot.key.fingerprint


class Ranking:
    """Slots by fingerprint; `_order` is sorted, and `_rank_of` knows where in it each slot stands."""

    def __init__(self, slots: Iterable[Slot]) -> None:
        self._slots = {slot.key.fingerprint: slot for slot in slots}
        self._rank_of = {fingerprint: rank_of(slot) for fingerprint, slot in self._slots.items()}
        self._order = sorted(self._rank_of.values())
        self._aside: set[str] = set()
        self._moments: list[tuple[float, str]] = []

    def first(
        self, now: float, obstacle: Callable[[Slot], Obstacle | None], avoiding: Collection[str] = ()
    ) -> Slot | None:
        """The best slot without an obstacle; `avoiding` are names of keys."""
        while self._moments and self._moments[0][0] <= now:
            _, fingerprint = heappop(self._moments)
            self._return(fingerprint)
        unable: list[tuple[str, float | None]] = []
        best = None
        for _, _, _, fingerprint in self._order:
            slot = self._slots[fingerprint]
            if slot.key.name in avoiding:
                continue
            found = obstacle(slot)
            if found is None:
                best = slot
                break
            unable.append((fingerprint, found.seconds))
        for fingerprint, seconds in unable:
            self._leave(fingerprint)
            self._aside.add(fingerprint)
            if seconds is not None:
                heappush(self._moments, (now + seconds, fingerprint))
        return best

    def changed(self, slot: Slot) -> None:
        """Its requests in flight have changed, and with them its rank and its room."""
        fingerprint = slot.key.fingerprint
        if fingerprint in self._aside:
            self._return(fingerprint)
        elif fingerprint in self._rank_of:
            self._leave(fingerprint)
            self._enter(fingerprint)

    def wake(self) -> None:
        """Something ended that may have stood in anybody's way."""
        for fingerprint in tuple(self._aside):
            self._return(fingerprint)
        self._moments.clear()

    def _return(self, fingerprint: str) -> None:
        if fingerprint in self._aside:
            self._aside.remove(fingerprint)
            self._enter(fingerprint)

    def _enter(self, fingerprint: str) -> None:
        rank = self._rank_of[fingerprint] = rank_of(self._slots[fingerprint])
        insort(self._order, rank)

    def _leave(self, fingerprint: str) -> None:
        rank = self._rank_of.pop(fingerprint)
        del self._order[bisect_left(self._order, rank)]


class Rankings:
    """One ranking for every (use, model) that is asked for; those least asked for are dropped, and made anew."""

    MOST = 32  # a deployment has a handful of models; a caller that invents names must not fill the memory

    def __init__(self, slots: Collection[Slot]) -> None:
        self._slots = slots
        self._rankings: dict[tuple[str, str], Ranking] = {}

    def of(self, use: str, model: str) -> Ranking:
        ranking = self._rankings.get((use, model))
        if ranking is None:
            if len(self._rankings) >= self.MOST:
                del self._rankings[next(iter(self._rankings))]
            ranking = Ranking(slot for slot in self._slots if slot.key.serves(use, model))
            self._rankings[use, model] = ranking
        return ranking

    def changed(self, slot: Slot) -> None:
        for ranking in self._rankings.values():
            ranking.changed(slot)

    def wake(self) -> None:
        for ranking in self._rankings.values():
            ranking.wake()
