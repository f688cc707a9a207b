"""
Where exchanges are kept: the port. Its engines are `bot.memory_store` and those of the daemon.

Rule 1: the store is the one home of an exchange; memory beside it has only the running tasks.
Rule 2: one method is one transaction; when it returns, what it wrote survives a `kill -9` (engines on disk).
Rule 3: every question to the store about a subscriber names the account and the openid.
Rule 4: any method may raise StoreUnavailable; it has changed nothing then.
Rule 5: "oldest" is by `asked_at`, and by arrival where two were asked at the same moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.exchange import Exchange
from bot.subscriber import Subscriber
from bot.value import value_type


class StoreUnavailable(Exception):
    """The engine cannot read or write now (disk full, locked, read-only); the same call may succeed later.

    `reason` is for logs and the operator: it holds no words of a subscriber and no SQL.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the store is unavailable: {self.reason}"


@value_type
class Glance:
    """`known` is the exchange that the push asked or, where there is none, the one it collected last (`collected_by`)."""

    known: Exchange | None
    waiting: Sequence[Exchange]  # the mailbox
    subscriber: Subscriber


@value_type
class Conversation:
    recent: Sequence[Exchange]
    persona: str


class ExchangeStore(Protocol):
    """Every engine passes `tests/contract/test_exchange_store.py`."""

    async def begin(self, exchange: Exchange) -> Exchange:
        """Insert a new exchange, QUEUED or THINKING; where (account, openid, push_id) is known already, return that one."""

    async def save(self, exchange: Exchange, *, instead_of: Exchange | None = None) -> bool:
        """
        Write what has changed of the exchange; the fields that it was ASKED with stay as they are.

        False, and nothing is written, when it is gone (the subscriber left), or stands no longer as `instead_of` says.
        """

    async def get(self, exchange_id: str) -> Exchange | None: ...

    async def glance(self, account: str, openid: str, push_id: str, *, today: float, lately: float) -> Glance:
        """All that tells what a push asks for, of one moment; `today` and `lately` as for `subscriber()`."""

    async def conversation(self, account: str, openid: str, *, limit: int) -> Conversation:
        """All that tells what a question is asked with: `recent()` since ever, and the persona that the subscriber chose."""

    async def mailbox(self, account: str, openid: str) -> Sequence[Exchange]:
        """The subscriber's uncollected exchanges (`Exchange.is_uncollected`), oldest first."""

    async def recent(self, account: str, openid: str, *, since: float, limit: int) -> Sequence[Exchange]:
        """The `limit` ANSWERED or COLLECTED exchanges answered last, at or after `since`; in the order of their answers.

        Those that a 清空 (`clear_memory`) came after are left out.
        """

    async def last_collected(self, account: str, openid: str, *, since: float) -> Exchange | None:
        """The exchange whose page went out last, if that was at or after `since` (by `collected_at`).

        One that is asked again after its failure (no `collected_by` any more) has nothing to repeat.
        """

    async def clear_memory(self, account: str, openid: str, *, now: float) -> None:
        """Exchanges asked at or before `now` are no longer part of the conversation; answers stay collectable."""

    async def pending(self, limit: int, offset: int = 0) -> Sequence[Exchange]:
        """Uncollected exchanges of every account, oldest first."""

    async def count_pending(self) -> int: ...

    async def counts(self) -> dict[str, int]:
        """How many exchanges stand in each state, by its name; states nobody is in are 0."""

    async def unfinished(self) -> Sequence[Exchange]:
        """QUEUED and THINKING exchanges of every account, oldest first: what a start takes up again."""

    async def of(self, account: str, openid: str) -> Sequence[Exchange]:
        """Everything the subscriber ever asked and that is still kept, oldest first."""

    async def forget(self, account: str, openid: str) -> int:
        """
        Delete every row about the subscriber, from the file and its write-ahead log. How many exchanges there were.

        Left are, under a name that cannot be traced back, a block and when what was asked (for `subscriber()`).
        """

    async def expire(self, *, before: float) -> int:
        """Delete exchanges asked before `before` that are not QUEUED or THINKING. How many there were.

        What `clear_memory` and `forget` noted before `before` goes too.
        """

    async def subscriber(self, account: str, openid: str, *, today: float, lately: float) -> Subscriber:
        """`today` and `lately` are the moments from which on questions count, epoch seconds."""

    async def choose_persona(self, account: str, openid: str, persona: str) -> None:
        """`persona` is a name, "" for none."""

    async def block(self, account: str, openid: str, *, is_blocked: bool) -> None: ...

    async def want_notices(self, account: str, openid: str, *, wants: bool) -> None: ...

    async def notified(self) -> Sequence[tuple[str, str]]:
        """(account, openid) of everybody who wants notices."""
