"""
The status page as a value: everything the template shows, worked out from views and exchanges. Pure.

Rule 1: ages, countdowns, masks and sentences are made here; the template only lays them out.
Rule 2: no secret enters: a key is its name and last four characters, a subscriber six characters of an openid.
Rule 3: every field of StatusPage is used by the template, and the template uses nothing else (a test compares them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bot.exchange import Exchange
from daemon.operator.seen import Seen
from daemon.operator.wechat import AccountCard, account_card, accounts_json
from daemon.operator.words import WORDS, Language, Words
from proxy.health import CellView, KeyView

CELLS_SHOWN = 6  # of one key; a key that lacks many models would push the others off the screen
WORDS_SHOWN = 20  # characters of a question: enough to recognise it, too few to read along

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


@dataclass(frozen=True, slots=True)
class Countdown:
    """Whole seconds until something ends, as "0:34", and how many there were when it began (0: not known)."""

    seconds: int
    of_seconds: int
    text: str


@dataclass(frozen=True, slots=True)
class CellRow:
    model: str
    scope: str
    reason: str
    countdown: Countdown


@dataclass(frozen=True, slots=True)
class KeyCard:
    view: KeyView
    tone: str
    state: str
    reason: str
    detail: str  # the pool's own sentence, in English
    advice: str
    until: str  # what the countdown counts down to
    countdown: Countdown | None
    cells: tuple[CellRow, ...]
    more_cells: str


@dataclass(frozen=True, slots=True)
class PendingRow:
    age_seconds: int
    age: str
    subscriber: str
    question: str
    tone: str
    state: str
    state_name: str


@dataclass(frozen=True, slots=True)
class Figure:
    state: str
    count: int


@dataclass(frozen=True, slots=True)
class Mail:
    """What the store knew at one moment: uncollected exchanges, how many there are in all, and every state's count."""

    pending: Sequence[Exchange]
    pending_count: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StatusPage:
    """The whole context of `status.html`. `form_token` guards the sign-out form; `mail_is_known` is the database's answer."""

    language: Language
    other_language: Language
    words: Words
    headline: str
    tone: str
    keys: tuple[KeyCard, ...]
    mail_is_known: bool
    pending: tuple[PendingRow, ...]
    more_pending: str
    questions: tuple[Figure, ...]  # empty where none was ever asked
    accounts: tuple[AccountCard, ...]
    show_words: bool
    form_token: str


def status_page(
    *,
    seen: Seen,
    mail: Mail | None,
    now: float,
    language: Language,
    show_words: bool,
    form_token: str = "",
) -> StatusPage:
    """`mail` is None where the database did not answer; `now` is epoch seconds."""
    words = WORDS[language]
    keys = seen.keys
    usable = sum(key.state == "ready" for key in keys)
    pending = tuple(_pending_row(each, now, words, show_words=show_words) for each in mail.pending) if mail else ()
    hidden = mail.pending_count - len(pending) if mail else 0
    return StatusPage(
        language=language,
        other_language="en" if language == "zh" else "zh",
        words=words,
        headline=words.headline(usable, len(keys), mail.pending_count if mail else None),
        tone="ill" if not usable or mail is None else "well" if usable == len(keys) else "resting",
        keys=tuple(_key_card(key, words) for key in keys),
        mail_is_known=mail is not None,
        pending=pending,
        more_pending=words.more(hidden) if hidden > 0 else "",
        questions=_figures(mail.counts, words) if mail else (),
        accounts=tuple(account_card(account, now, words) for account in seen.accounts),
        show_words=show_words,
        form_token=form_token,
    )


def as_json(page: StatusPage) -> dict[str, Any]:
    """The same view for programs: names instead of sentences, seconds instead of countdowns."""
    return {
        "headline": page.headline,
        "keys": [asdict(card.view) for card in page.keys],
        "accounts": accounts_json(page.accounts),
        "database_answers": page.mail_is_known,
        "pending": [
            {
                "age_seconds": row.age_seconds,
                "subscriber": row.subscriber,
                "question": row.question if page.show_words else None,
                "state": row.state_name,
            }
            for row in page.pending
        ],
    }


def countdown(seconds_left: float | None, since_seconds: float | None = None) -> Countdown | None:
    """None where nothing is to be waited for, or nobody can tell. Rounded up: "0:00" would promise too much."""
    if seconds_left is None or seconds_left <= 0:
        return None
    seconds = -int(-seconds_left // 1)
    of_seconds = 0 if since_seconds is None else round(since_seconds + seconds_left)
    hours, rest = divmod(seconds, 3_600)
    clock = f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
    return Countdown(seconds, of_seconds, clock)


def masked(openid: str) -> str:
    """First four and last two characters; nothing of an openid so short that those would tell most of it."""
    return f"{openid[:4]}…{openid[-2:]}" if len(openid) > 12 else "…"


def excerpt(question: str) -> str:
    """The first characters in one line. Control and direction marks go: they could rearrange the page around them."""
    line = " ".join("".join(each if each.isprintable() else " " for each in question[:200]).split())
    return line if len(line) <= WORDS_SHOWN else line[:WORDS_SHOWN] + "…"


def _figures(counts: Mapping[str, int], words: Words) -> tuple[Figure, ...]:
    if not any(counts.values()):
        return ()
    return tuple(Figure(words.question_states.get(state, state), count) for state, count in counts.items())


def _key_card(key: KeyView, words: Words) -> KeyCard:
    models = sorted((cell for cell in key.cells if cell.model), key=lambda cell: cell.seconds_left)
    hidden = len(models) - CELLS_SHOWN
    return KeyCard(
        view=key,
        tone=TONES.get(key.state, "off"),
        state=words.key_states.get(key.state, key.state),
        reason="" if key.state == "ready" else words.rules.get(key.rule, ""),
        detail="" if key.state == "ready" else key.reason,
        advice=words.key_advice.get(key.state, ""),
        until=words.key_until.get(key.state, ""),
        countdown=None if key.state == "ready" else countdown(key.seconds_left, key.since_seconds),
        cells=tuple(row for cell in models[:CELLS_SHOWN] if (row := _cell_row(cell, words))),
        more_cells=words.more(hidden) if hidden > 0 else "",
    )


def _cell_row(cell: CellView, words: Words) -> CellRow | None:
    left = countdown(cell.seconds_left)
    if left is None:
        return None
    return CellRow(cell.model, words.scopes.get(cell.scope, cell.scope), words.rules.get(cell.rule, cell.reason), left)


def _pending_row(exchange: Exchange, now: float, words: Words, *, show_words: bool) -> PendingRow:
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
