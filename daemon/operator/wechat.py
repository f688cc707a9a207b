"""
The page's section about WeChat as a value: of each account the last attempts at its path, why its verification fails, and
how its deliveries went; and what knocked at no account's path. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bot.wechat.view import AccountView, Attempt
from daemon.operator.figures import share
from daemon.operator.seen import Seen
from daemon.operator.verification_words import said
from daemon.operator.words import Language, Words
from daemon.verification import YOUR_SERVER, Cause, Misdirected, causes
from proxy.value import value_type

ATTEMPTS_SHOWN = 5
PATHS_SHOWN = 5
NOT_WECHAT = frozenset({"missing_parameter", "duplicate_parameter", "malformed", "too_large"})


@value_type
class AttemptRow:
    view: Attempt
    age_seconds: int
    age: str
    kind: str
    outcome: str
    tone: str


@value_type
class CauseRow:
    """Why WeChat's console would say “Token 验证失败”, and what to do."""

    code: str
    what: str
    to_do: str


@value_type
class AccountCard:
    view: AccountView
    attempts: tuple[AttemptRow, ...]
    causes: tuple[CauseRow, ...]
    in_time: str  # the share of deliveries, beside its words
    service: str  # "" without customer-service messages
    no_attempts_advice: str  # "" where deliveries came, so that nothing is to be done


@value_type
class PathRow:
    view: Misdirected
    age_seconds: int
    age: str


def account_card(account: AccountView, seen: Seen, now: float, language: Language, words: Words) -> AccountCard:
    """`now` is epoch seconds."""
    counts = account.counts
    newest = account.attempts[: -ATTEMPTS_SHOWN - 1 : -1]
    url = (seen.public_url or words.wechat.your_server) + account.path
    answered = share(counts.answered, counts.deliveries)
    return AccountCard(
        view=account,
        attempts=tuple(_attempt(attempt, now, words) for attempt in newest),
        causes=tuple(cause_row(cause, language, words) for cause in account_causes(account, seen)),
        in_time=words.wechat.in_time(answered) if answered else words.wechat.in_time_of_none,
        service=words.wechat.service[account.service.standing] if account.service else "",
        no_attempts_advice="" if counts.deliveries else words.wechat.no_attempts_advice(url),
    )


def account_causes(account: AccountView, seen: Seen) -> tuple[Cause, ...]:
    return causes(
        path=account.path,
        attempts=account.attempts,
        misdirected=seen.misdirected,
        deliveries=account.counts.deliveries,
        public_url=seen.public_url,
        listen=seen.listen,
    )


def cause_row(cause: Cause, language: Language, words: Words) -> CauseRow:
    saying = said(cause, language)
    return CauseRow(cause.code, saying.what, saying.to_do.replace(YOUR_SERVER, words.wechat.your_server))


def path_rows(misdirected: Sequence[Misdirected], now: float, words: Words) -> tuple[PathRow, ...]:
    """The last request to each path, the newest first."""
    newest = {each.path: each for each in misdirected}
    rows = sorted(newest.values(), key=lambda each: each.at, reverse=True)[:PATHS_SHOWN]
    ages = [max(0, int(now - each.at)) for each in rows]
    return tuple(PathRow(each, age, words.key.ago(words.duration(age))) for each, age in zip(rows, ages, strict=True))


def accounts_json(cards: Sequence[AccountCard]) -> list[dict[str, Any]]:
    return [
        {
            "account": card.view.id,
            "path": card.view.path,
            **asdict(card.view.counts),
            "customer_service": None if card.view.service is None else asdict(card.view.service),
            "causes": [cause.code for cause in card.causes],
            "attempts": [
                {"age_seconds": row.age_seconds, "kind": row.view.kind, "outcome": row.view.outcome}
                for row in card.attempts
            ],
        }
        for card in cards
    ]


def _attempt(attempt: Attempt, now: float, words: Words) -> AttemptRow:
    age = max(0, int(now - attempt.at))
    return AttemptRow(
        view=attempt,
        age_seconds=age,
        age=words.key.ago(words.duration(age)),
        kind=words.wechat.kinds.get(attempt.kind, attempt.kind),
        outcome=words.wechat.outcomes.get(attempt.outcome, attempt.outcome),
        tone="well" if attempt.outcome == "accepted" else "off" if attempt.outcome in NOT_WECHAT else "ill",
    )
