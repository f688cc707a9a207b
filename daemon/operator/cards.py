"""
A key as the page shows it, and what happened to all of them. Pure.

Rule 1: keys that need a hand come first; in a table, where nobody sees all of them at once, those that rest come next. The
        others stay as the config has them, so that no card jumps each time a key cools.
Rule 2: only what would do something has a button.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from daemon.operator.figures import NAME_SHOWN, Countdown, countdown, excerpt, share
from daemon.operator.sparkline import Sparkline, sparkline
from daemon.operator.words import Words
from proxy.health import CellView, KeyView, State
from proxy.history import Moment
from proxy.value import value_type

MOST_CARDS = 50  # more keys than these are rows of a table
CELLS_SHOWN = 6  # of one key; a key that lacks many models would push the others off the screen
MOMENTS_SHOWN = 10  # of all keys together

# What a state means for the operator at a glance; the colour goes by this, the word beside it by the state.
TONES: Mapping[str, str] = {
    "ready": "well",
    "cooling": "resting",
    "suspect": "resting",
    "exhausted": "ill",
    "dead": "ill",
    "blocked_ip": "ill",
    "disabled": "off",
    "queued": "off",
    "thinking": "resting",
    "answered": "well",
    "failed": "ill",
}
TONE_OF_EVENT: Mapping[str, str] = {
    "key.recovered": "well",
    "key.enabled": "well",
    "key.cleared": "well",
    "upstream.recovered": "well",
    "key.exhausted": "ill",
    "key.rejected": "ill",
    "key.blocked": "ill",
    "key.disabled": "off",
    "key.checked": "off",
}
RANK_IN_TABLE: Mapping[str, int] = {"ill": 0, "resting": 1, "well": 2, "off": 3}

# Of two looks within a minute most keys have the same hour behind them, and each look is told in two languages.
_drawn = lru_cache(maxsize=512)(sparkline)


@value_type
class CellRow:
    model: str
    scope: str
    rule: str
    countdown: Countdown


@value_type
class MomentRow:
    key: str
    ago: str
    tone: str
    event: str
    why: str  # the rule and the pool's own sentence, in English


@value_type
class Button:
    """`operation` is the last part of the URL; what pressing it does stands below all keys."""

    operation: str
    label: str


@value_type
class KeyCard:
    view: KeyView
    tone: str
    state: str
    organization: str
    shared: str  # "" where no other key is of its organization
    rule: str
    reason: str
    detail: str  # the pool's own sentence, in English
    advice: str
    until: str  # what the countdown counts down to
    countdown: Countdown | None
    cells: tuple[CellRow, ...]
    more_cells: str
    sparkline: Sparkline | None
    counts: str  # of the sparkline
    is_idle: bool  # nothing to count: not today, not in 24 hours, not now
    in_flight: str
    success: str
    tokens_today: int
    tokens: str
    request_id: str
    moments: tuple[MomentRow, ...]
    buttons: tuple[Button, ...]


def key_cards(keys: Sequence[KeyView], tokens_today: Mapping[str, int], words: Words) -> tuple[KeyCard, ...]:
    """`tokens_today` are by the key's name."""
    sharing = Counter(key.organization for key in keys if key.organization)
    cards = [_card(key, sharing[key.organization], tokens_today.get(key.name, 0), words) for key in keys]
    if is_table(keys):
        return tuple(sorted(cards, key=lambda card: RANK_IN_TABLE[card.tone]))
    return tuple(sorted(cards, key=lambda card: card.tone != "ill"))


def is_table(keys: Sequence[KeyView]) -> bool:
    return len(keys) > MOST_CARDS


def last_moments(keys: Sequence[KeyView], words: Words) -> tuple[MomentRow, ...]:
    """What happened last to any key, the newest first."""
    happened = [(moment, key.name) for key in keys for moment in key.history.moments]
    happened.sort(key=lambda each: each[0].seconds_ago)
    return tuple(_moment(moment, key, words) for moment, key in happened[:MOMENTS_SHOWN])


def _card(key: KeyView, sharing: int, tokens: int, words: Words) -> KeyCard:
    models = sorted((cell for cell in key.cells if cell.model), key=lambda cell: cell.seconds_left)
    hidden = len(models) - CELLS_SHOWN
    is_well, history, drawn = key.state == "ready", key.history, _drawn(key.history.minutes)
    rule = "" if is_well else _rule(key)
    is_idle = not (key.in_flight or history.answered or history.failed or tokens)
    return KeyCard(
        view=key,
        tone=TONES.get(key.state, "off"),
        state=words.key_states.get(key.state, key.state),
        organization=excerpt(key.organization, NAME_SHOWN),
        shared=words.key.shared(sharing) if sharing > 1 else "",
        rule=rule,
        reason=words.rules.get(rule, ""),
        detail="" if is_well else key.reason,
        advice=words.key_advice.get(key.state, ""),
        until=words.key_until.get(key.state, ""),
        countdown=None if is_well else countdown(key.seconds_left, key.since_seconds),
        cells=tuple(row for cell in models[:CELLS_SHOWN] if (row := _cell(cell, words))),
        more_cells=words.more(hidden) if hidden > 0 else "",
        sparkline=drawn,
        counts=words.key.counts(words.number(drawn.answered_count), words.number(drawn.failed_count)) if drawn else "",
        is_idle=is_idle,
        in_flight=words.number(key.in_flight),
        success=share(history.answered, history.answered + history.failed) or words.key.no_day,
        tokens_today=tokens,
        tokens=words.number(tokens),
        request_id=excerpt(key.last_request_id, NAME_SHOWN),
        moments=tuple(_moment(moment, key.name, words) for moment in history.moments),
        buttons=tuple(Button(each, words.key.operations[each].label) for each in _operations(key)),
    )


def _rule(key: KeyView) -> str:
    """Where all keys were rejected at once, the pool still knows by which answer; but that is not what is the matter."""
    return "incident" if any(cell.rule == "incident" for cell in key.cells) else key.rule


def _cell(cell: CellView, words: Words) -> CellRow | None:
    left = countdown(cell.seconds_left)
    if left is None:
        return None
    return CellRow(excerpt(cell.model, NAME_SHOWN), words.scopes.get(cell.scope, cell.scope), cell.rule, left)


def _moment(moment: Moment, key: str, words: Words) -> MomentRow:
    rule = "" if moment.event.endswith(".recovered") else moment.rule  # what is over matters no more
    return MomentRow(
        key=key,
        ago=words.key.ago(words.duration(moment.seconds_ago)),
        tone=TONE_OF_EVENT.get(moment.event, "resting"),
        event=words.key.events.get(moment.event, moment.event),
        why=" · ".join(filter(None, (rule, moment.reason))),
    )


def _operations(key: KeyView) -> Iterator[str]:
    yield "check"
    if key.state == State.DISABLED:
        yield "enable"
        return
    if key.state != State.READY or key.cells:
        yield "clear"
    yield "disable"
