"""
The page's section about WeChat as a value: of each account the last attempts at its path, and how its deliveries went. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bot.wechat.view import AccountView, Attempt
from daemon.operator.words import Words

ATTEMPTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class AttemptRow:
    view: Attempt
    age_seconds: int
    age: str
    kind: str
    outcome: str
    tone: str


@dataclass(frozen=True, slots=True)
class AccountCard:
    view: AccountView
    attempts: tuple[AttemptRow, ...]
    service: str  # "" without customer-service messages
    no_attempts_advice: str  # "" where deliveries came, so that nothing is to be done


def account_card(account: AccountView, now: float, words: Words) -> AccountCard:
    """`now` is epoch seconds."""
    counts = account.counts
    newest = account.attempts[: -ATTEMPTS_SHOWN - 1 : -1]
    return AccountCard(
        view=account,
        attempts=tuple(_row(attempt, now, words) for attempt in newest),
        service=words.wechat.service[account.service.standing] if account.service else "",
        no_attempts_advice="" if counts.deliveries else words.wechat.no_attempts_advice(account.path),
    )


def accounts_json(cards: Sequence[AccountCard]) -> list[dict[str, Any]]:
    return [
        {
            "account": card.view.id,
            "path": card.view.path,
            **asdict(card.view.counts),
            "customer_service": None if card.view.service is None else asdict(card.view.service),
            "attempts": [
                {"age_seconds": row.age_seconds, "kind": row.view.kind, "outcome": row.view.outcome}
                for row in card.attempts
            ],
        }
        for card in cards
    ]


def _row(attempt: Attempt, now: float, words: Words) -> AttemptRow:
    age = max(0, int(now - attempt.at))
    return AttemptRow(
        view=attempt,
        age_seconds=age,
        age=words.wechat.ago(words.duration(age)),
        kind=words.wechat.kinds.get(attempt.kind, attempt.kind),
        outcome=words.wechat.outcomes.get(attempt.outcome, attempt.outcome),
        tone="well" if attempt.outcome == "accepted" else "ill",
    )
