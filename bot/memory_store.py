"""
The store that keeps exchanges in memory: for the demo, and for tests that are about something else.

Rule 1: no method awaits anything but another, so each is one transaction by construction.
Rule 2: a subscriber's rows are found without looking at anybody else's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from bot.exchange import Exchange, Kind, State
from bot.store import Conversation, Glance
from bot.subscriber import Subscriber, counts

_UNFINISHED = (State.QUEUED, State.THINKING)
_REMEMBERED = (State.ANSWERED, State.COLLECTED)


class MemoryStore:
    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], dict[str, Exchange]] = {}  # (account, openid) -> push_id -> exchange
        self._places: dict[str, tuple[str, str, str]] = {}  # id -> (account, openid, push_id), in order of arrival
        self._cleared_at: dict[tuple[str, str], float] = {}
        self._subscribers: dict[tuple[str, str], Subscriber] = {}  # without their counts
        self._blocked: set[tuple[str, str]] = set()
        self._asked: dict[tuple[str, str], list[tuple[float, Kind]]] = {}  # by subscribers who left since

    async def begin(self, exchange: Exchange) -> Exchange:
        rows = self._rows.setdefault((exchange.account, exchange.openid), {})
        if exchange.push_id not in rows:
            rows[exchange.push_id] = exchange
            self._places[exchange.id] = (exchange.account, exchange.openid, exchange.push_id)
        return rows[exchange.push_id]

    async def save(self, exchange: Exchange, *, instead_of: Exchange | None = None) -> bool:
        place = self._places.get(exchange.id)
        if place is None or (instead_of is not None and self._row(place) != instead_of):
            return False
        account, openid, push_id = place
        self._rows[account, openid][push_id] = exchange
        return True

    async def get(self, exchange_id: str) -> Exchange | None:
        place = self._places.get(exchange_id)
        return None if place is None else self._row(place)

    async def glance(self, account: str, openid: str, push_id: str, *, today: float, lately: float) -> Glance:
        collected = [row for row in self._of(account, openid) if row.collected_by == push_id]
        asked = self._rows.get((account, openid), {}).get(push_id)
        known = asked or max(collected, key=lambda row: row.collected_at, default=None)
        subscriber = await self.subscriber(account, openid, today=today, lately=lately)
        return Glance(known, await self.mailbox(account, openid), subscriber)

    async def conversation(self, account: str, openid: str, *, limit: int) -> Conversation:
        recent = await self.recent(account, openid, since=float("-inf"), limit=limit)
        return Conversation(recent, self._subscribers.get((account, openid), Subscriber()).persona)

    async def mailbox(self, account: str, openid: str) -> Sequence[Exchange]:
        return _oldest_first(row for row in self._of(account, openid) if row.is_uncollected)

    async def recent(self, account: str, openid: str, *, since: float, limit: int) -> Sequence[Exchange]:
        cleared_at = self._cleared_at.get((account, openid), float("-inf"))
        rows = [
            row
            for row in self._of(account, openid)
            if row.state in _REMEMBERED and row.answered_at >= since and row.asked_at > cleared_at
        ]
        rows.sort(key=lambda row: row.answered_at)
        return rows[max(len(rows) - limit, 0) :]

    async def last_collected(self, account: str, openid: str, *, since: float) -> Exchange | None:
        rows = [row for row in self._of(account, openid) if row.collected_by and row.collected_at >= since]
        return max(rows, key=lambda row: row.collected_at, default=None)

    async def clear_memory(self, account: str, openid: str, *, now: float) -> None:
        self._cleared_at[account, openid] = max(now, self._cleared_at.get((account, openid), now))

    async def pending(self, limit: int, offset: int = 0) -> Sequence[Exchange]:
        return _oldest_first(row for row in self._everyone() if row.is_uncollected)[offset : offset + limit]

    async def count_pending(self) -> int:
        return sum(row.is_uncollected for row in self._everyone())

    async def counts(self) -> dict[str, int]:
        counted = Counter(row.state for row in self._everyone())
        return {state.value: counted[state] for state in State}

    async def unfinished(self) -> Sequence[Exchange]:
        return _oldest_first(row for row in self._everyone() if row.state in _UNFINISHED)

    async def of(self, account: str, openid: str) -> Sequence[Exchange]:
        return _oldest_first(self._of(account, openid))

    async def forget(self, account: str, openid: str) -> int:
        self._cleared_at.pop((account, openid), None)
        self._subscribers.pop((account, openid), None)
        rows = self._rows.pop((account, openid), {})
        for row in rows.values():
            del self._places[row.id]
        if counted := [(row.asked_at, row.kind) for row in rows.values() if counts(row)]:
            self._asked.setdefault((account, openid), []).extend(counted)
        return len(rows)

    async def expire(self, *, before: float) -> int:
        expired = [row for row in self._everyone() if row.asked_at < before and row.state not in _UNFINISHED]
        for row in expired:
            account, openid, push_id = self._places.pop(row.id)
            del self._rows[account, openid][push_id]
        self._rows = {subscriber: rows for subscriber, rows in self._rows.items() if rows}
        self._cleared_at = {subscriber: at for subscriber, at in self._cleared_at.items() if at >= before}
        kept = {who: [asked for asked in rows if asked[0] >= before] for who, rows in self._asked.items()}
        self._asked = {who: rows for who, rows in kept.items() if rows}
        return len(expired)

    async def subscriber(self, account: str, openid: str, *, today: float, lately: float) -> Subscriber:
        who = (account, openid)
        left = self._asked.get(who, [])
        asked = [(row.asked_at, row.kind) for row in self._of(*who) if counts(row)] + left
        every = [row.asked_at for row in self._of(*who)] + [at for at, _ in left]
        return replace(
            self._subscribers.get(who, Subscriber()),
            is_blocked=who in self._blocked,
            asked_today=sum(at >= today for at, _ in asked),
            drawn_today=sum(at >= today and kind is Kind.DRAWING for at, kind in asked),
            asked_lately=sum(at >= lately for at in every),
        )

    async def choose_persona(self, account: str, openid: str, persona: str) -> None:
        self._note(account, openid, persona=persona)

    async def block(self, account: str, openid: str, *, is_blocked: bool) -> None:
        (self._blocked.add if is_blocked else self._blocked.discard)((account, openid))

    async def want_notices(self, account: str, openid: str, *, wants: bool) -> None:
        self._note(account, openid, wants_notices=wants)

    async def notified(self) -> Sequence[tuple[str, str]]:
        return sorted(who for who, subscriber in self._subscribers.items() if subscriber.wants_notices)

    def _note(self, account: str, openid: str, **facts: Any) -> None:
        known = self._subscribers.get((account, openid), Subscriber())
        self._subscribers[account, openid] = replace(known, **facts)

    def _row(self, place: tuple[str, str, str]) -> Exchange:
        account, openid, push_id = place
        return self._rows[account, openid][push_id]

    def _of(self, account: str, openid: str) -> Iterable[Exchange]:
        return self._rows.get((account, openid), {}).values()

    def _everyone(self) -> Iterator[Exchange]:
        return map(self._row, self._places.values())


def _oldest_first(rows: Iterable[Exchange]) -> list[Exchange]:
    return sorted(rows, key=lambda row: row.asked_at)
