"""
One question and what became of it. Pure.

Rule 1: an exchange's state changes only by `advance()`, which follows `TRANSITIONS`; an event that a state's row does
        not name leaves the exchange as it is.
Rule 2: an exchange is found by its id or by (account, openid, push_id), never by its text.
Rule 3: THINKING goes back to QUEUED once when the process died meanwhile; the second time it is FAILED(interrupted).
Rule 4: what was shown of an answer while it was being written is `parts`. It is the beginning of that answer and of no other:
        an answer that is begun anew has none, and the subscriber is owed the whole of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from bot.value import replaced, value_type


class State(StrEnum):
    """The names stand in the table, on the page and in `posthouse_questions{state}` alike."""

    QUEUED = "queued"
    THINKING = "thinking"
    ANSWERED = "answered"
    COLLECTED = "collected"
    FAILED = "failed"


class Kind(StrEnum):
    """What an answer is made of."""

    TEXT = "text"  # a question, and words
    PHOTO = "photo"  # words about the subscriber's photo
    DRAWING = "drawing"  # a picture


class Event(StrEnum):
    START = "start"  # the model is being asked
    SHOW = "show"  # a part of the answer reached the subscriber before the whole was there
    ANSWER = "answer"  # the whole answer is here
    DELIVER = "deliver"  # a page was written into a connection that was still open, and more pages remain
    COLLECT = "collect"  # the same for the last page
    FAIL = "fail"
    REST = "rest"  # every key rests: ask again at `not_before`
    DIE = "die"  # found THINKING when the process started
    RETRY = "retry"  # the subscriber tapped the link of a failed question


class Reason(StrEnum):
    """Why a question failed. The sentence for each, in the subscriber's words, is in `bot.texts`."""

    RESTING = "resting"  # every key rests for longer than an hour
    EXHAUSTED = "exhausted"  # no key can ever serve: none configured, all dead or without quota
    REFUSED = "refused"  # the upstream refused the question itself (content, length, model)
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"  # the model took longer than `answer_seconds`
    TRUNCATED = "truncated"  # the answer was cut off on its way
    EMPTY = "empty"  # an answer of nothing that ended by length
    FILTERED = "filtered"  # the operator's list of words forbids to show the answer
    BLIND = "blind"  # the model does not look at pictures
    PHOTO = "photo"  # the subscriber's photo could not be fetched
    DRAWING = "drawing"  # the upstream refused to draw this
    INTERRUPTED = "interrupted"  # the process died twice while it was being thought about
    CRASHED = "crashed"  # our own fault; the log has it


TRANSITIONS: Mapping[State, Mapping[Event, State]] = {
    State.QUEUED: {Event.START: State.THINKING, Event.FAIL: State.FAILED, Event.REST: State.QUEUED},
    State.THINKING: {
        Event.SHOW: State.THINKING,
        Event.ANSWER: State.ANSWERED,
        Event.FAIL: State.FAILED,
        Event.REST: State.QUEUED,
        Event.DIE: State.QUEUED,
    },
    State.ANSWERED: {
        Event.SHOW: State.ANSWERED,  # written as the whole came
        Event.DELIVER: State.ANSWERED,
        Event.COLLECT: State.COLLECTED,
    },
    State.COLLECTED: {},
    State.FAILED: {Event.RETRY: State.QUEUED, Event.COLLECT: State.FAILED},
}


@value_type
class Exchange:
    """
    A row of the store. Times are epoch seconds; 0.0 means "not yet".

    `push_id` is the MsgId of the push that asked (for events a key made of CreateTime, Event and EventKey).
    `next_page` is the first page (from 0) that nobody has collected; each of `parts` is one. `collected_by` is the push id that
    got the page before it, or that was told of a failure: the same push gets the same words again.
    `sent_pages` is how many pages were given to WeChat's customer service, counted before the sending: of the last one nobody
    knows whether it arrived, unless `next_page` says so.
    `photo` is where the subscriber's photo lies (PicUrl); `picture` the drawn one's id with us, `media_id` its id with WeChat.
    """

    id: str
    account: str
    openid: str
    push_id: str
    question: str
    state: State = State.QUEUED
    answer: str = ""
    reason: Reason | None = None
    asked_at: float = 0.0
    started_at: float = 0.0
    answered_at: float = 0.0
    collected_at: float = 0.0
    not_before: float = 0.0
    next_page: int = 0
    collected_by: str = ""
    deaths: int = 0
    kind: Kind = Kind.TEXT
    photo: str = ""
    picture: str = ""
    media_id: str = ""
    parts: tuple[str, ...] = ()
    sent_pages: int = 0

    def __repr__(self) -> str:
        return f"<Exchange {self.id} {self.state}>"  # neither the subscriber nor the words

    @property
    def is_uncollected(self) -> bool:
        """Whether the subscriber is still owed something: an answer, or the news of a failure."""
        return self.state in (State.QUEUED, State.THINKING, State.ANSWERED) or (
            self.state is State.FAILED and not self.collected_by
        )


# Its fields that stay as it was asked.
ASKED = frozenset({"id", "account", "openid", "push_id", "question", "asked_at", "kind", "photo"})


def advance(exchange: Exchange, event: Event, **facts: Any) -> Exchange:
    """The exchange after `event`, with `facts` (its fields) set; unchanged where the state does not know the event."""
    state = TRANSITIONS[exchange.state].get(event)
    if state is None:
        return exchange
    if event is Event.DIE:
        facts["deaths"] = exchange.deaths + 1
        if exchange.deaths:
            state, facts = State.FAILED, {"reason": Reason.INTERRUPTED}
    if event in ANEW:
        facts = {**UNTOLD, **facts}
    if event is Event.RETRY:
        facts = {"reason": None, "deaths": 0, "not_before": 0.0, **facts}
    return replaced(exchange, state=state, **facts)


# What is told after these has nothing to do with what was told before.
ANEW = frozenset({Event.FAIL, Event.REST, Event.DIE, Event.RETRY})
UNTOLD: Mapping[str, Any] = {"parts": (), "next_page": 0, "collected_by": "", "sent_pages": 0}
