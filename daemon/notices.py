"""
What an operator is told without asking: keys that fall, a pool that is empty, upstreams that rest, and back. Pure.

Rule 1: what was so already when the daemon started, or when a key was added, is no news.
Rule 2: the same fall of the same subject is news once in ten minutes; one that lasts is told when they are over.
Rule 3: a fall of the pool or of an upstream that was told is followed by its recovery; one that was not, by none.
Rule 4: an upstream or the pool is back when an answer has shown it. That a rest is over shows nothing: the next request only
        tries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from math import inf

from bot.texts import Texts
from daemon.operator.words import WORDS
from proxy.health import KeyView, State
from proxy.ledger import Health
from proxy.value import value_type


class Event(StrEnum):
    """The names stand in what is posted to `alerts.webhook`: they are relied on from outside."""

    KEY_DEAD = "key.dead"
    KEY_EXHAUSTED = "key.exhausted"
    KEY_BLOCKED_IP = "key.blocked_ip"
    KEY_WELL = "key.well"  # news to nobody: the status page shows it
    POOL_EMPTY = "pool.empty"
    POOL_TRIED = "pool.tried"  # neither: rests are over, and no answer has come since; news to nobody
    POOL_USABLE = "pool.usable"
    UPSTREAM_DOWN = "upstream.down"
    UPSTREAM_UP = "upstream.up"


FALL_OF_STATE: Mapping[str, Event] = {
    State.DEAD: Event.KEY_DEAD,
    State.EXHAUSTED: Event.KEY_EXHAUSTED,
    State.BLOCKED_IP: Event.KEY_BLOCKED_IP,
}
FALLS = frozenset({*FALL_OF_STATE.values(), Event.POOL_EMPTY, Event.UPSTREAM_DOWN})
AGAIN_SECONDS = 600.0  # between two notices of one fall
# How long a thing must be so before it counts. Requests wait in line for about as long as a pool may be empty unnoticed; and a
# key that cools again and again is usable for moments.
STEADY_SECONDS: Mapping[Event, float] = {Event.POOL_EMPTY: 10.0, Event.POOL_TRIED: inf, Event.POOL_USABLE: 30.0}
# What a subject was of which nothing is known; any other was as it is.
BEFORE: Mapping[Event, Event] = {
    Event.POOL_EMPTY: Event.POOL_USABLE,
    Event.POOL_TRIED: Event.POOL_USABLE,
    Event.UPSTREAM_DOWN: Event.UPSTREAM_UP,
}

TEXT_OF_EVENT: Mapping[Event, str] = {
    Event.KEY_DEAD: "notice_key",
    Event.KEY_EXHAUSTED: "notice_key",
    Event.KEY_BLOCKED_IP: "notice_key",
    Event.POOL_EMPTY: "notice_no_key",
    Event.POOL_USABLE: "notice_key_again",
    Event.UPSTREAM_DOWN: "notice_upstream_down",
    Event.UPSTREAM_UP: "notice_upstream_up",
}


@value_type
class Notice:
    """How a subject is. `name` is the key's or the upstream's, "" of the pool; `rule` and `reason` are those of the page."""

    event: Event
    name: str = ""
    rule: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.event} {self.name}".rstrip()


Seen = Mapping[str, Notice]  # how every subject is, at one moment


def seen(keys: Sequence[KeyView], health: Health, *, has_eligible: bool) -> Seen:
    """`keys` and `health` are of one pool at one moment. A key goes by its fingerprint, so that another name is no news."""
    resting = {cell.cell[1]: cell for cell in health.cells if cell.cell[0] == "upstream"}
    is_proven = any(key.state in (State.READY, "cooling") and key.upstream not in resting for key in keys)
    usable = Event.POOL_USABLE if is_proven else Event.POOL_TRIED
    return {
        "pool": Notice(usable if has_eligible else Event.POOL_EMPTY),
        **{
            f"key {key.fingerprint}": Notice(
                FALL_OF_STATE.get(key.state, Event.KEY_WELL), key.name, key.rule, key.reason
            )
            for key in health.keys
        },
        **{
            f"upstream {name}": Notice(Event.UPSTREAM_DOWN, name, cell.rule, cell.reason)
            for name, cell in resting.items()
        },
    }


class Watch:
    """Times are monotonic seconds."""

    def __init__(self, start: Seen, now: float) -> None:
        self._told = {subject: notice for subject, notice in start.items() if notice.event is not Event.POOL_TRIED}
        self._since = {subject: (notice.event, now) for subject, notice in start.items()}
        self._told_at: dict[tuple[str, Event], float] = {}

    def news(self, after: Seen, now: float) -> list[Notice]:
        """What is to be told now that things are as in `after`."""
        after = {**after, **self._back(after)}
        self._forget(after)
        new = [notice for subject, notice in after.items() if self._is_new(subject, notice, now)]
        return [notice for notice in new if notice.event is not Event.KEY_WELL]

    def _back(self, after: Seen) -> Seen:
        """Upstreams that rested when they were last spoken of, and have nothing against them any more."""
        return {
            subject: Notice(Event.UPSTREAM_UP, told.name)
            for subject, told in self._told.items()
            if subject not in after and told.event in (Event.UPSTREAM_DOWN, Event.UPSTREAM_UP)
        }

    def _forget(self, after: Seen) -> None:
        """Keys that are no longer configured."""
        for gone in self._told.keys() - after.keys():
            del self._told[gone], self._since[gone]
        self._told_at = {told: at for told, at in self._told_at.items() if told[0] in after}

    def _is_new(self, subject: str, notice: Notice, now: float) -> bool:
        event = notice.event
        was, since = self._since.get(subject, (event, now))
        since = since if was is event else now
        self._since[subject] = event, since
        told = self._told.setdefault(subject, Notice(BEFORE.get(event, event), notice.name))
        if event is told.event or now - since < STEADY_SECONDS.get(event, 0.0):
            return False
        if event in FALLS:
            if now - self._told_at.get((subject, event), float("-inf")) < AGAIN_SECONDS:
                return False
            self._told_at[subject, event] = now
        self._told[subject] = notice
        return True


def sentence(notice: Notice, texts: Texts) -> str:
    """A line for people, in Chinese where the operator has not worded it otherwise."""
    words, state = WORDS["zh"], notice.event.partition(".")[2]
    return texts.say(
        TEXT_OF_EVENT[notice.event],
        key=notice.name,
        upstream=notice.name,
        state=words.key_states.get(state, state),
        advice=words.key_advice.get(state, ""),
        reason=words.rules.get(notice.rule, ""),
    )
