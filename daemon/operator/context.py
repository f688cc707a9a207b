"""
The status page as a value: everything the template shows, worked out from views and exchanges. Pure.

Rule 1: ages, countdowns, masks and sentences are made here and in the modules beside; the template only lays them out.
Rule 2: no secret enters: a key is its name and last four characters, a subscriber six characters of an openid.
Rule 3: every field of StatusPage is used by the template, and the template uses nothing else (a test compares them).
Rule 4: but for `form_token`, which `_main.html` does not use, a page is the same for all who look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bot.exchange import Exchange
from daemon.operator.banners import Banner, banners
from daemon.operator.cards import KeyCard, MomentRow, is_table, key_cards, last_moments
from daemon.operator.pending import Pager, PendingRow, pager, pending_rows
from daemon.operator.seen import Seen
from daemon.operator.traffic import CallerRow, UpstreamRow, caller_row, upstream_row
from daemon.operator.wechat import AccountCard, PathRow, account_card, accounts_json, path_rows
from daemon.operator.words import WORDS, Language, Words
from proxy.value import value_type


@value_type
class Figure:
    state: str
    count: int
    text: str


@value_type
class Mail:
    """
    What the store knew at one moment: a page of `pending.PENDING_SHOWN` uncollected exchanges, oldest first, how many there are
    in all, and every state's count.
    """

    pending: Sequence[Exchange]
    pending_count: int
    counts: Mapping[str, int]


@value_type
class StatusPage:
    """The whole context of `status.html`. `form_token` guards its forms; `mail_is_known` is the database's answer."""

    language: Language
    other_language: Language
    words: Words
    headline: str
    tone: str
    banners: tuple[Banner, ...]
    keys: tuple[KeyCard, ...]
    is_table: bool
    mail_is_known: bool
    pending_count: int  # on all pages
    pending: tuple[PendingRow, ...]
    pager: Pager | None
    callers: tuple[CallerRow, ...]
    upstreams: tuple[UpstreamRow, ...]
    accounts: tuple[AccountCard, ...]
    misdirected: tuple[PathRow, ...]
    moments: tuple[MomentRow, ...]
    questions: tuple[Figure, ...]  # empty where none was ever asked
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
    pending_page: int = 1,
) -> StatusPage:
    """
    `mail` is None where the database did not answer; it holds the `pending_page`, from 1. `now` is epoch seconds.
    """
    words = WORDS[language]
    keys = seen.keys
    usable = sum(key.state == "ready" for key in keys)
    return StatusPage(
        language=language,
        other_language="en" if language == "zh" else "zh",
        words=words,
        headline=words.headline(usable, len(keys), mail.pending_count if mail else None),
        tone="ill" if not usable or mail is None else "well" if usable == len(keys) else "resting",
        banners=banners(seen, database_answers=mail is not None, now=now, language=language, words=words),
        keys=key_cards(keys, seen.tokens_today, words),
        is_table=is_table(keys),
        mail_is_known=mail is not None,
        pending_count=mail.pending_count if mail else 0,
        pending=pending_rows(mail.pending, now, words, show_words=show_words) if mail else (),
        pager=pager(pending_page, rows=len(mail.pending), count=mail.pending_count, words=words) if mail else None,
        callers=tuple(caller_row(caller, now, words) for caller in seen.callers),
        upstreams=tuple(upstream_row(upstream, words) for upstream in seen.upstreams),
        accounts=tuple(account_card(account, seen, now, language, words) for account in seen.accounts),
        misdirected=path_rows(seen.misdirected, now, words),
        moments=last_moments(keys, words),
        questions=_figures(mail.counts, words) if mail else (),
        show_words=show_words,
        form_token=form_token,
    )


def as_json(page: StatusPage) -> dict[str, Any]:
    """The same view for programs: names instead of sentences, seconds instead of countdowns."""
    return {
        "headline": page.headline,
        "banners": [{"code": each.code, "about": each.about} for each in page.banners],
        "keys": [{**asdict(card.view), "tokens_today": card.tokens_today} for card in page.keys],
        "callers": [asdict(row.view) for row in page.callers],
        "upstreams": [asdict(row.view) for row in page.upstreams],
        "accounts": accounts_json(page.accounts),
        "misdirected": [
            {"age_seconds": row.age_seconds, "path": row.view.path, "method": row.view.method}
            for row in page.misdirected
        ],
        "database_answers": page.mail_is_known,
        "pending_count": page.pending_count if page.mail_is_known else None,
        "pending": [
            {
                "age_seconds": row.age_seconds,
                "subscriber": row.subscriber,
                "question": row.question if page.show_words else None,
                "state": row.state_name,
            }
            for row in page.pending
        ],
        "questions": {figure.state: figure.count for figure in page.questions},
    }


def _figures(counts: Mapping[str, int], words: Words) -> tuple[Figure, ...]:
    if not any(counts.values()):
        return ()
    return tuple(Figure(state, count, words.question_states.get(state, state)) for state, count in counts.items())
