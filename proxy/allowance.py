"""
What a caller may still ask for: so many requests a minute, so many tokens a day, so many requests at once. Pure.

Rule 1: the clock is monotonic, so that a jump of the machine's time opens no minute early; only days follow the wall clock.
Rule 2: a minute is any sixty seconds: the next request is possible when the oldest that counts is sixty seconds old.
Rule 3: a request that is refused here uses nothing up. One that was admitted gives its place back once, however it ends.
Rule 4: an answer's tokens are known when it is over; requests admitted before that may go beyond the day's tokens.
Rule 5: of several limits that stand in the way the longest is told: before it is over, no other matters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from proxy.callers import Caller
from proxy.refusal import caller_limit_exceeded

MINUTE = 60.0
ROOM_SECONDS = 1.0  # when one of a caller's requests is over, nobody knows


class _Account:
    __slots__ = ("in_flight", "started_at")

    def __init__(self) -> None:
        self.in_flight = 0
        self.started_at: deque[float] = deque()  # of the last minute's requests, oldest first


class Allowances:
    def __init__(
        self,
        *,
        clock: Callable[[], float],
        tokens_today: Callable[[str], int],
        seconds_left_today: Callable[[], float],
    ) -> None:
        """`clock` is monotonic, in seconds; `tokens_today` is asked by a caller's name."""
        self._clock, self._tokens_today, self._seconds_left_today = clock, tokens_today, seconds_left_today
        self._accounts: dict[str, _Account] = {}

    def must_admit(self, caller: Caller) -> None:
        """Raises a Refusal where a request of `caller` would not be admitted now; uses nothing up."""
        if not (caller.max_concurrency or caller.requests_per_minute or caller.tokens_per_day):
            return
        if found := max(self._limits_reached(caller), default=None):
            raise caller_limit_exceeded(found[1], found[0])

    def in_flight(self, name: str) -> int:
        """A caller's requests that are on their way now."""
        account = self._accounts.get(name)
        return account.in_flight if account else 0

    def enter(self, caller: Caller | None) -> None:
        """
        One request, from here to the end of its answer, when `leave` is said, once. Raises a Refusal.

        None brings its own key and has no limits.
        """
        if caller is None:
            return
        self.must_admit(caller)
        account = self._account(caller)
        if caller.requests_per_minute:
            account.started_at.append(self._clock())
        account.in_flight += 1

    def leave(self, caller: Caller | None) -> None:
        if caller is not None:
            self._account(caller).in_flight -= 1

    def _account(self, caller: Caller) -> _Account:
        account = self._accounts.get(caller.name)
        if account is None:
            account = self._accounts[caller.name] = _Account()
        return account

    def _limits_reached(self, caller: Caller) -> Iterator[tuple[float, str]]:
        """How long each lasts, in seconds, and its name."""
        account, now = self._account(caller), self._clock()
        if 0 < caller.max_concurrency <= account.in_flight:
            yield ROOM_SECONDS, f"{caller.max_concurrency} requests at once"
        started_at = account.started_at
        while started_at and now >= started_at[0] + MINUTE:
            started_at.popleft()
        if 0 < caller.requests_per_minute <= len(started_at):
            yield (
                started_at[-caller.requests_per_minute] + MINUTE - now,
                f"{caller.requests_per_minute} requests a minute",
            )
        if 0 < caller.tokens_per_day <= self._tokens_today(caller.name):
            yield self._seconds_left_today(), f"{caller.tokens_per_day} tokens a day"
