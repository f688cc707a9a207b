"""
The states a key can be in, what moves it between them, and how it looks from outside. Pure.

Rule 1: a key's state changes only by `TRANSITIONS`; an event that a state's row does not name changes nothing.
Rule 2: cooling is not a state: it is a deadline (`proxy.cells`), and only `KeyView` shows it like one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from proxy.history import HistoryView
from proxy.value import value_type


class State(StrEnum):
    READY = "ready"
    SUSPECT = "suspect"  # a 401 that waits for its free check
    EXHAUSTED = "exhausted"  # no quota
    DEAD = "dead"
    BLOCKED_IP = "blocked_ip"
    DISABLED = "disabled"  # by the operator


class Event(StrEnum):
    """What can happen to a key: the rules of `proxy.verdict` that touch it, checks, and the operator's buttons."""

    OK = "ok"
    QUOTA = "quota"
    AUTH = "auth"
    DEAD = "dead"
    ADDRESS = "address"
    CHECK_PASSED = "check_passed"
    CHECK_REJECTED = "check_rejected"
    PARDON = "pardon"  # so many keys were rejected at once that none of them is to blame
    CLEAR = "clear"
    DISABLE = "disable"
    ENABLE = "enable"


# A late success (of a request sent before the key changed its state) is not an OK here: the pool drops it.
TRANSITIONS: Mapping[State, Mapping[Event, State]] = {
    State.READY: {
        Event.QUOTA: State.EXHAUSTED,
        Event.AUTH: State.SUSPECT,
        Event.DEAD: State.DEAD,
        Event.ADDRESS: State.BLOCKED_IP,
        Event.PARDON: State.SUSPECT,
        Event.DISABLE: State.DISABLED,
    },
    State.SUSPECT: {
        Event.OK: State.READY,
        Event.QUOTA: State.EXHAUSTED,
        Event.DEAD: State.DEAD,
        Event.ADDRESS: State.BLOCKED_IP,
        Event.CHECK_PASSED: State.READY,
        Event.CHECK_REJECTED: State.DEAD,
        Event.PARDON: State.SUSPECT,
        Event.CLEAR: State.READY,
        Event.DISABLE: State.DISABLED,
    },
    State.EXHAUSTED: {
        Event.OK: State.READY,
        Event.QUOTA: State.EXHAUSTED,
        Event.AUTH: State.SUSPECT,
        Event.DEAD: State.DEAD,
        Event.ADDRESS: State.BLOCKED_IP,
        Event.CLEAR: State.READY,
        Event.DISABLE: State.DISABLED,
    },
    State.DEAD: {
        Event.OK: State.READY,
        Event.CHECK_PASSED: State.READY,
        Event.CHECK_REJECTED: State.DEAD,
        Event.PARDON: State.SUSPECT,
        Event.CLEAR: State.READY,
        Event.DISABLE: State.DISABLED,
    },
    State.BLOCKED_IP: {
        Event.OK: State.READY,
        Event.QUOTA: State.EXHAUSTED,
        Event.AUTH: State.SUSPECT,
        Event.DEAD: State.DEAD,
        Event.ADDRESS: State.BLOCKED_IP,
        Event.CLEAR: State.READY,
        Event.DISABLE: State.DISABLED,
    },
    State.DISABLED: {Event.ENABLE: State.READY},
}


@value_type
class CellView:
    """A cooldown that concerns one key. `model` is empty where it holds for every model."""

    scope: str  # "key", "key-model", "organization", "organization-model", "upstream-model", "upstream"
    model: str
    seconds_left: float
    rule: str
    reason: str


@value_type
class KeyView:
    """
    A key as the page, `/status.json` and `/metrics` show it; no secret but its last four characters.

    `state` is a name of `State`, or "cooling" where it is ready and any cooldown holds but that of a model it does not have.
    `seconds_left` is the time until it may serve again (of several cooldowns the longest), None when that is unknown.
    `reason` is one plain sentence, such as "429, try again in 34 s".
    """

    name: str
    last4: str
    upstream: str
    organization: str
    state: str
    rule: str
    reason: str
    since_seconds: float | None
    seconds_left: float | None
    in_flight: int
    answered: int
    failed: int
    last_request_id: str
    cells: tuple[CellView, ...] = ()
    history: HistoryView = field(default_factory=HistoryView)
