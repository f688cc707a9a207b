"""
What is learned from an answer on its way to the caller: what it used, what it made, which key will remember it. Pure.

Rule 1: it sees every byte before the caller has it, and changes none.
Rule 2: what an answer makes is remembered only where the answer came whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from proxy.affinity import Affinity, Claim
from proxy.command import Begin, End, Part
from proxy.errand import Errand
from proxy.made import MadeWatch
from proxy.objects import NameWatch
from proxy.peek import Peek
from proxy.soft_affinity import SoftAffinity
from proxy.target import Target
from proxy.usage import UsageWatch
from proxy.usage_book import UsageBook
from proxy.value import value_type


@value_type
class Bond:
    """Which key a request is bound to (`claim`) and which it would rather have (`soft_key`)."""

    claim: Claim = field(default_factory=Claim)
    soft_key: bytes | None = None
    preferred: str = ""


@value_type
class Witnesses:
    """`clock` is monotonic, `wall_clock` gives epoch seconds."""

    book: UsageBook
    affinity: Affinity
    soft: SoftAffinity
    clock: Callable[[], float]
    wall_clock: Callable[[], float]

    def bond(self, method: str, target: Target, seen: Peek, *, caller: str, sees_all: bool) -> Bond:
        """Raises a Refusal where the request names what is not the caller's."""
        now = self.wall_clock()
        claim = self.affinity.claim(method, target, seen, caller=caller, sees_all=sees_all, now=now)
        soft_key = self.soft.soft_key(seen.model, seen.opening)
        return Bond(claim, soft_key, self.soft.preferred(soft_key, self.clock()))

    def names_of(self, caller: str) -> NameWatch:
        """For a body that is sent before it was read: raises a Refusal at what another caller made."""
        return NameWatch(lambda names: self.affinity.must_own(names, caller))

    def of(self, errand: Errand, sent: bytes, bond: Bond) -> Witness:
        """To be closed when the answer is over, however that came. `sent`: see UsageWatch."""
        return Witness(self, errand, bond, UsageWatch(errand.call, sent))


class Witness:
    """Show it every part of the answer."""

    __slots__ = ("_bond", "_errand", "_made", "_usage", "_witnesses")

    def __init__(self, witnesses: Witnesses, errand: Errand, bond: Bond, usage: UsageWatch) -> None:
        self._witnesses, self._errand, self._bond, self._usage = witnesses, errand, bond, usage
        self._made: MadeWatch | None = None

    def see(self, part: Part) -> None:
        match part:
            case bytes():
                self._feed(part)
            case Begin():
                self._begin(part)
            case End():
                self._end()

    def close(self) -> None:
        self._witnesses.book.close(self._usage, self._errand)

    def _begin(self, begin: Begin) -> None:
        self._usage.begin(begin)
        key = self._errand.served_by
        if key is None or not key.fingerprint:
            return
        witnesses, bond = self._witnesses, self._bond
        witnesses.soft.remember(bond.soft_key, key.fingerprint, witnesses.clock())
        self._made = witnesses.affinity.watch(
            bond.claim, key.fingerprint, begin.status, begin.headers, now=witnesses.wall_clock()
        )
        if self._made is not None and begin.data:
            self._made.feed(begin.data)
        if begin.is_whole:
            self._end()

    def _feed(self, chunk: bytes) -> None:
        self._usage.feed(chunk)
        if self._made is not None:
            self._made.feed(chunk)

    def _end(self) -> None:
        if self._made is not None:
            self._made.end()
