"""
What becomes of an exchange: when the model has answered, cannot be asked now, or failed; and when a page has gone out. Pure.

Rule 1: a rest of up to an hour is a promise to ask again; a longer one is a failure, because nobody waits for that.
Rule 2: an answer of nothing is a failure with a reason, never a blank page.
"""

from __future__ import annotations

import re

from bot.exchange import Event, Exchange, Reason, State, advance
from bot.value import replaced

LONGEST_REST = 3600.0  # seconds
SHORTEST_REST = 1.0  # seconds; a moment that is all but here must not become a busy loop

# How the article's prompt ("Q: … A: …") makes answers begin.
_MARK = re.compile(r"\A[\r\n]*(?:\s*A: )?[\r\n]*")


def given(exchange: Exchange, text: str, *, now: float) -> Exchange:
    answer = tidied(text)
    if not answer.strip():
        return failed(exchange, Reason.EMPTY)
    return advance(exchange, Event.ANSWER, answer=answer, answered_at=now)


def drawn(exchange: Exchange, picture: str, media_id: str, *, now: float) -> Exchange:
    """`picture` is its id in the gallery, `media_id` with WeChat, "" where it is not there."""
    return advance(exchange, Event.ANSWER, picture=picture, media_id=media_id, answered_at=now)


def rested(exchange: Exchange, back_in_seconds: float | None, *, now: float) -> Exchange:
    """`not_before` is the moment when a key is back, also of a failure: the subscriber is told of it."""
    if back_in_seconds is None:
        return failed(exchange, Reason.EXHAUSTED)
    not_before = now + max(back_in_seconds, SHORTEST_REST)
    if back_in_seconds > LONGEST_REST:
        return advance(exchange, Event.FAIL, reason=Reason.RESTING, not_before=not_before)
    return advance(exchange, Event.REST, not_before=not_before)


def failed(exchange: Exchange, reason: Reason) -> Exchange:
    return advance(exchange, Event.FAIL, reason=reason)


def collected(
    exchange: Exchange,
    push_id: str,
    *,
    page: int,
    is_last: bool,
    now: float,
    part: str = "",
    started_at: float | None = None,
) -> Exchange:
    """
    After `page` (from 0) of the answer, or the news of its failure, reached the subscriber as the reply to `push_id`.

    `part` is what that page showed of an answer that was still being written; `started_at` is when the model was asked for it.
    """
    if started_at is not None and started_at != exchange.started_at:
        return exchange  # asked again meanwhile: what was delivered is no part of this answer
    if page + 1 < exchange.next_page:
        return exchange  # the repetition of an earlier page does not take the mailbox back to it
    facts = {"next_page": page + 1, "collected_by": push_id, "collected_at": now}
    if part:
        is_next = page == len(exchange.parts) == exchange.next_page and exchange.state is not State.FAILED
        return advance(exchange, Event.SHOW, parts=(*exchange.parts, part), **facts) if is_next else exchange
    return advance(exchange, Event.COLLECT if is_last else Event.DELIVER, **facts)


def sent(exchange: Exchange) -> Exchange:
    """
    One page more is about to be given to WeChat's customer service, where there is one that nobody has collected. Not one that
    was given to it before, and of which nobody knows what became.
    """
    if exchange.state not in (State.ANSWERED, State.FAILED) or not exchange.is_uncollected:
        return exchange
    if exchange.sent_pages > exchange.next_page:
        return exchange
    return replaced(exchange, sent_pages=exchange.next_page + 1)


def unsent(exchange: Exchange) -> Exchange:
    """It certainly did not go out."""
    return replaced(exchange, sent_pages=min(exchange.sent_pages, exchange.next_page))


def tidied(text: str) -> str:
    """Without the mark it begins with, and of whole characters.

    An upstream may stream an emoji as two halves of a surrogate pair, each in a JSON document of its own. They are joined here;
    half a one becomes U+FFFD, for no database and no page can hold it.
    """
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _MARK.sub("", whole, count=1)
