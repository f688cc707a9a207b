"""
The exchanges whose tasks run, each with its ticket, and the lines of their subscribers. Awaits nothing.

Rule 1: a push has one ticket at most, whatever ids its deliveries brought.
Rule 2: a ticket is in its subscriber's line from its opening to its closing; the first in line has the turn.
Rule 3: nothing is left of a closed ticket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from bot.exchange import Exchange
from bot.store import StoreUnavailable


class Ticket:
    """The exchange as it stands, ahead of the store while a write is on its way."""

    task: asyncio.Task[None]

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.ids: set[str] = set()
        self.refusal: StoreUnavailable | None = StoreUnavailable("the question is not written yet")
        self.decided = asyncio.Event()  # whether the store has it is known
        self.turn = asyncio.Event()
        self.settled = asyncio.Event()  # or over without an answer
        self.heard: list[str] = []  # the pieces of the answer that is being given
        self.is_idle = False  # it waits, and nothing is lost by cancelling it
        self.is_forgotten = False

    def __repr__(self) -> str:
        return f"<Ticket {self.exchange!r}>"


class Tickets:
    def __init__(self) -> None:
        self._by_id: dict[str, Ticket] = {}
        self._lines: dict[tuple[str, str], list[Ticket]] = {}  # (account, openid) -> in order of arrival
        self.delivered: dict[str, Exchange] = {}  # by id: a page of them has gone out, and that is being written

    def __iter__(self) -> Iterator[Ticket]:
        return (ticket for line in self._lines.values() for ticket in line)

    def get(self, exchange_id: str) -> Ticket | None:
        return self._by_id.get(exchange_id)

    def line(self, account: str, openid: str) -> Sequence[Ticket]:
        return tuple(self._lines.get((account, openid), ()))

    def of_push(self, exchange: Exchange) -> Ticket | None:
        line = self.line(exchange.account, exchange.openid)
        return next((ticket for ticket in line if ticket.exchange.push_id == exchange.push_id), None)

    def newest(self, row: Exchange) -> Exchange:
        """The exchange of a row that was just read, as it really stands."""
        ticket = self._by_id.get(row.id)
        return self.delivered.get(row.id, row) if ticket is None else ticket.exchange

    def uncollected(self, rows: Iterable[Exchange]) -> Sequence[Exchange]:
        """Those of a mailbox that was just read."""
        return [exchange for exchange in map(self.newest, rows) if exchange.is_uncollected]

    def open(self, exchange: Exchange) -> Ticket:
        ticket = Ticket(exchange)
        self.name(ticket, exchange.id)
        line = self._lines.setdefault((exchange.account, exchange.openid), [])
        line.append(ticket)
        line[0].turn.set()
        return ticket

    def name(self, ticket: Ticket, exchange_id: str) -> None:
        """Let the ticket be found by this id, too."""
        ticket.ids.add(exchange_id)
        self._by_id[exchange_id] = ticket

    def decide(self, ticket: Ticket) -> None:
        """The store has it, by the id that its exchange has now."""
        ticket.refusal = None
        ticket.decided.set()
        self.name(ticket, ticket.exchange.id)

    def close(self, ticket: Ticket) -> None:
        subscriber = (ticket.exchange.account, ticket.exchange.openid)
        line = self._lines.get(subscriber, [])
        if ticket not in line:
            return  # closed before
        for exchange_id in ticket.ids:
            del self._by_id[exchange_id]
        line.remove(ticket)
        if line:
            line[0].turn.set()
        else:
            del self._lines[subscriber]
        ticket.decided.set()
        ticket.settled.set()
