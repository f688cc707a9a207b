"""
What administrators are told without asking, where their account may send messages: keys that fall, a pool that is empty, and
back. Pure.

Rule 1: what was so already when the daemon started is no news.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from proxy.health import KeyView, State

FALLEN = (State.DEAD, State.EXHAUSTED, State.BLOCKED_IP)


@dataclass(frozen=True, slots=True)
class Seen:
    """The pool at one moment: each key's state by its name, and whether any could serve."""

    states: Mapping[str, str]
    has_eligible: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """The name of a text and its facts."""

    name: str
    facts: Mapping[str, str] = field(default_factory=dict)


def seen(keys: Sequence[KeyView], *, has_eligible: bool) -> Seen:
    return Seen({key.name: key.state for key in keys}, has_eligible)


def notices(before: Seen, after: Seen, state_words: Mapping[str, str]) -> list[Notice]:
    """What is new in `after`; `state_words` are the operator's words for states."""
    told = [
        Notice("notice_key", {"key": name, "state": state_words.get(state, state)})
        for name, state in after.states.items()
        if state in FALLEN and before.states.get(name, state) != state
    ]
    if before.has_eligible and not after.has_eligible:
        told.append(Notice("notice_no_key"))
    if after.has_eligible and not before.has_eligible:
        told.append(Notice("notice_key_again"))
    return told
