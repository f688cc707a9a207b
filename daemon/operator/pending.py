"""
The answers that wait to be collected, a page of them at a time. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.exchange import Exchange
from daemon.operator.cards import TONES
from daemon.operator.figures import excerpt, masked
from daemon.operator.words import Words
from proxy.value import value_type

PENDING_SHOWN = 50  # on one page


@value_type
class PendingRow:
    age_seconds: int
    age: str
    subscriber: str
    question: str
    tone: str
    state: str
    state_name: str


@value_type
class Pager:
    """Page numbers, from 1; 0 where there is no such page. The oldest exchanges are on the first."""

    shown: str
    older: int
    newer: int


def pending_rows(pending: Sequence[Exchange], now: float, words: Words, *, show_words: bool) -> tuple[PendingRow, ...]:
    """`now` is epoch seconds."""
    return tuple(_row(exchange, now, words, show_words=show_words) for exchange in pending)


def pager(page: int, *, rows: int, count: int, words: Words) -> Pager | None:
    """`page` is from 1, with so many `rows` on it, of `count` in all. None where all of them are on one page."""
    last_page = max(1, -(-count // PENDING_SHOWN))
    if page == last_page == 1:
        return None
    first = (page - 1) * PENDING_SHOWN + 1
    shown = words.pending.shown(f"{first:,}", f"{first + rows - 1:,}", f"{count:,}")
    return Pager(
        shown=shown if rows else words.pending.nothing_here,
        older=min(page - 1, last_page),
        newer=page + 1 if page < last_page else 0,
    )


def _row(exchange: Exchange, now: float, words: Words, *, show_words: bool) -> PendingRow:
    age = max(0, int(now - exchange.asked_at))
    return PendingRow(
        age_seconds=age,
        age=words.duration(age),
        subscriber=masked(exchange.openid),
        question=excerpt(exchange.question) if show_words else "",
        tone=TONES.get(exchange.state, "off"),
        state=words.question_states.get(exchange.state, exchange.state),
        state_name=exchange.state.value,
    )
