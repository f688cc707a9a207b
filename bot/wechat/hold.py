"""
How long a delivery of WeChat's may be left open, and how many may be left without an answer. Pure.

Rule: WeChat counts unanswered deliveries, and after repeated failures it stops pushing for a minute, for every subscriber of
the account; so they have a budget. Source: blog.wpjam.com/2014/07/19/weixin-mp-alarm (MarkFail; alarm at 30 in five minutes).
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from bot.value import value_type

DELIVERIES = 3  # of one push, five seconds each. Source: WeChat, Passive_user_reply_message


@value_type
class Timing:
    """
    How long deliveries stay open, in seconds from their arrival.

    `hold`: "three" leaves the first two deliveries of a push to WeChat's patience and answers the third; "one" answers
    the first.
    """

    hold: Literal["three", "one"] = "three"
    hold_seconds: float = 4.0  # the last delivery is answered then: WeChat's five include the way from China and back
    patience_seconds: float = 4.5  # an earlier one is about to be lost then, and goes on the budget
    longest_seconds: float = 6.0  # WeChat has left by then; a proxy in between may not have noticed
    hold_budget: int = 20  # WeChat raises its alarm at 30 failures
    budget_seconds: float = 300.0  # in five minutes
    repeat_seconds: float = 600.0  # a write into a socket that WeChat has just left succeeds, so 继续 can show it again
    worthwhile_seconds: float = 10.0  # what two more deliveries bring; a question that rests for longer is not held
    lookup_seconds: float = 0.3  # for a look into the store when time is up: 4.0 and this are still below five
    keep_seconds: float = 60.0  # of a visit, after its last delivery: a redelivery comes at once


@value_type
class Counts:
    """Since the start; `budget_left`, of the `budget`, is of the running five minutes."""

    deliveries: int
    answered: int  # written while the connection was open, so within WeChat's five seconds
    unanswered: int
    budget_left: int
    budget: int


class Budget:
    """How many deliveries may be left unanswered within the last `seconds`. Pure; `now` is monotonic."""

    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds
        self._spent_at: deque[float] = deque()

    def left(self, now: float) -> int:
        while self._spent_at and self._spent_at[0] <= now - self._seconds:
            self._spent_at.popleft()
        return max(self._size - len(self._spent_at), 0)

    def spend(self, now: float) -> None:
        """Also with nothing left: WeChat may leave before we give it a word."""
        self._spent_at.append(now)
