"""
When an upstream is to blame, not its keys: the breaker, and the guard against rejecting all keys at once. Pure.

Rule 1: five or more failures (connect, server, unknown) within 30 s, and at least half of all answers, open the breaker.
Rule 2: when half of an upstream's keys, and at least two, are rejected within 60 s, the keys are not to blame: something in
        between is (an egress address, a captive portal). They go back to suspect, and the upstream rests.
Rule 3: a success shows that rejections before it were about keys: they no longer count. After three rounds, with no pardoned
        key succeeding in between, rejections stand.
"""

from __future__ import annotations

from collections import deque

from proxy.verdict import Rule

FAILURES = frozenset({Rule.CONNECT, Rule.SERVER, Rule.UNKNOWN})
REJECTIONS = frozenset({Rule.AUTH, Rule.DEAD, Rule.REGION})
SILENT = frozenset({Rule.GONE})  # says nothing about the upstream

BREAKER_WINDOW = 30.0  # seconds
BREAKER_FAILURES = 5
BREAKER_BASE, BREAKER_MOST = 5.0, 60.0  # seconds open, doubled each time the trial fails
INCIDENT_WINDOW = 60.0  # seconds
INCIDENT_KEYS = 2  # at least
INCIDENT_REST = 30.0  # seconds
INCIDENT_ROUNDS = 3
INCIDENT_REASON = "all keys rejected at once: look at the egress address"


class UpstreamGuard:
    """What one upstream answered lately. Times are on the pool's clock."""

    __slots__ = ("_pardoned", "_rejected", "_rounds", "_seconds")

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int, int]] = deque()  # a second, its answers, its failures
        self._rejected: dict[str, float] = {}  # a key's fingerprint, and when it was rejected
        self._pardoned: frozenset[str] = frozenset()
        self._rounds = 0

    def breaks(self, rule: Rule, now: float) -> bool:
        """Count an answer. Whether the breaker opens by it; it counts anew from then on."""
        if rule in SILENT:
            return False
        failed = rule in FAILURES
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            _, answers, failures = self._seconds.pop()
        else:
            answers = failures = 0
        self._seconds.append((second, answers + 1, failures + failed))
        while self._seconds[0][0] <= now - BREAKER_WINDOW:
            self._seconds.popleft()
        if not failed:
            return False
        failures = sum(entry[2] for entry in self._seconds)
        if failures < BREAKER_FAILURES or 2 * failures < sum(entry[1] for entry in self._seconds):
            return False
        self._seconds.clear()
        return True

    def pardons(self, key: str, now: float, *, keys: int) -> frozenset[str]:
        """Count the rejection of a key, one of so many. The keys to be pardoned by it, none where it stands."""
        self._rejected[key] = now
        recent = frozenset(name for name, at in self._rejected.items() if now - at <= INCIDENT_WINDOW)
        if len(recent) < INCIDENT_KEYS or 2 * len(recent) < keys or self._rounds >= INCIDENT_ROUNDS:
            return frozenset()
        self._rounds += 1
        self._rejected.clear()
        self._pardoned |= recent
        return recent

    def succeeded(self, key: str, sent_at: float) -> None:
        """A request sent at `sent_at` was answered."""
        if self._rejected:
            self._rejected = {name: at for name, at in self._rejected.items() if at >= sent_at and name != key}
        if key in self._pardoned:
            self._pardoned, self._rounds = frozenset(), 0
