"""
What is known of a subscriber beside their questions, and how much of their share they have used. Pure.

Rule 1: what was asked is counted from the exchanges themselves. In a day's share one that failed does not count, unless the
        model had its work with it (COSTLY); in a minute's everything does.
Rule 2: a block and the counts outlive a 取消关注 (unfollow), under a name from which nobody can tell the subscriber; all else
        goes.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.exchange import Exchange, Reason, State
from bot.value import value_type

MINUTE = 60.0  # seconds
COSTLY = (Reason.FILTERED, Reason.EMPTY, Reason.TIMEOUT)


def counts(exchange: Exchange) -> bool:
    """Whether it is of the day's share."""
    return exchange.state is not State.FAILED or exchange.reason in COSTLY


@value_type
class Subscriber:
    """`persona` is the chosen role's name, "" for none; `wants_notices` is for administrators."""

    persona: str = ""
    is_blocked: bool = False
    wants_notices: bool = False
    asked_today: int = 0
    drawn_today: int = 0
    asked_lately: int = 0  # within the last minute


@value_type
class Share:
    """What one subscriber of an account may cost; 0 and empty are no limit. Administrators have none."""

    questions_per_day: int = 0
    questions_per_minute: int = 0
    images_per_day: int = 0
    allow: frozenset[str] = frozenset()
    block: frozenset[str] = frozenset()

    def admits(self, openid: str) -> bool:
        return not self.allow or openid in self.allow

    def refusal(self, subscriber: Subscriber, *, draws: bool) -> tuple[str, int] | None:
        """Why one question more is too much: the name of the text that says so, and the limit."""
        if _is_spent(self.questions_per_minute, subscriber.asked_lately):
            return "too_fast", self.questions_per_minute
        if draws and _is_spent(self.images_per_day, subscriber.drawn_today):
            return "no_drawings_left", self.images_per_day
        if _is_spent(self.questions_per_day, subscriber.asked_today):
            return "no_questions_left", self.questions_per_day
        return None


# Maps epoch seconds to the moment at which that day began, in the operator's time zone.
DayStart = Callable[[float], float]


def _is_spent(limit: int, used: int) -> bool:
    return 0 < limit <= used
