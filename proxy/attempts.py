"""
How often a request may be sent, and with which keys not again. Pure.

Rule 1: at most four attempts, two when the client says it is already retrying; within them each rule allows so many more.
Rule 2: never the same key twice, unless the request did not reach it (`connect`) or asks for nothing but reading.
Rule 3: what was sent and not answered (`unknown`) is sent again only if it asks for nothing but reading.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.value import value_type
from proxy.verdict import Rule

MOST = 4
MOST_OF_RETRIES = 2
READING = frozenset({"GET", "HEAD"})

# How many more attempts a rule allows within one request; a rule that is not here allows none.
MORE: Mapping[Rule, int] = {
    Rule.RATE: MOST,
    Rule.QUOTA: MOST,
    Rule.AUTH: MOST,
    Rule.DEAD: MOST,
    Rule.ADDRESS: MOST,
    Rule.MODEL: 2,
    Rule.TOO_LARGE: 1,
    Rule.SLOW_DOWN: 1,
    Rule.OVERLOAD: 1,
    Rule.SERVER: 1,
    Rule.CONNECT: 1,
}


@value_type
class Attempt:
    """One line of a request's record: which key, what came of it, and how long after it was sent that was known."""

    key: str
    rule: Rule
    seconds: float
    upstream: str = ""

    def __str__(self) -> str:
        return f"{self.key}:{self.rule}:{self.seconds:.3f}"


class Attempts:
    __slots__ = ("_left", "_used", "is_reading", "tried")

    def __init__(self, method: str, *, is_client_retry: bool) -> None:
        self.is_reading = method in READING
        self.tried: tuple[str, ...] = ()  # names of keys
        self._left = MOST_OF_RETRIES if is_client_retry else MOST
        self._used: tuple[Rule, ...] = ()

    def begun(self) -> None:
        self._left -= 1

    def failed(self, key: str, rule: Rule) -> None:
        """The key is not to be used again, where that is so."""
        if rule is not Rule.CONNECT and not (rule is Rule.UNKNOWN and self.is_reading):
            self.tried += (key,)

    def takes_another(self, rule: Rule) -> bool:
        """Whether there is one more after `rule`; asking uses it up."""
        most = 1 if rule is Rule.UNKNOWN and self.is_reading else MORE.get(rule, 0)
        if self._left <= 0 or self._used.count(rule) >= most:
            return False
        self._used += (rule,)
        return True
