"""
Where requests wait for a key: in the order of their arrival, one caller after the other.

Rule 1: whoever comes while others wait stands behind them; a key that one cannot use goes to the next who can.
Rule 2: callers take turns, so that one with many requests does not keep out one with few.
Rule 3: the line has so many places; whoever finds none, or has waited for as long as it may, is refused as if there were
        no line. A full line makes room for a caller with fewer in it: the last of the caller with the most has to go.
Rule 4: nobody polls: room that is made (`kick`) and the moment at which the soonest key is back are what moves the line.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator

from proxy.command import Command, Wait
from proxy.errand import Errand

PLACES = 64


class _Ticket:
    __slots__ = ("errand", "turn")

    def __init__(self, errand: Errand) -> None:
        self.errand = errand
        self.turn: asyncio.Future[Command] = asyncio.get_running_loop().create_future()


class Line:
    def __init__(self, places: int = PLACES) -> None:
        self._places = places
        self._waiting: OrderedDict[str, deque[_Ticket]] = OrderedDict()  # by caller; whose turn it is comes first
        self._alarm: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def begin(self, errand: Errand) -> Command:
        """The errand's first command, after as long a wait as it takes and as it may take."""
        if (command := self.at_once(errand)) is not None:
            return command
        if len(self) >= self._places and not self._makes_room(errand.call.caller):
            return errand.give_up()
        ticket = _Ticket(errand)
        self._waiting.setdefault(errand.call.caller, deque()).append(ticket)
        try:
            async with asyncio.timeout(errand.call.queue_seconds):
                self.kick()
                return await ticket.turn
        except TimeoutError:
            # Its turn may have come in the very moment in which its time was up.
            has_come = ticket.turn.done() and not ticket.turn.cancelled()
            return ticket.turn.result() if has_come else errand.give_up()
        finally:
            self._leave(errand.call.caller, ticket)

    def at_once(self, errand: Errand) -> Command | None:
        """The first command where that needs no waiting; None: it is for `begin` to say."""
        if self._waiting and errand.call.queue_seconds:
            return None
        command = errand.begin()
        return None if isinstance(command, Wait) else command

    def kick(self) -> None:
        """There may be room: let go whoever can, in turn."""
        if not self._waiting:
            return
        in_vain = set()
        soonest: float | None = None
        for caller, ticket in list(self._in_turn()):
            if ticket.turn.done() or ticket.errand.want in in_vain:
                continue
            command = ticket.errand.begin()
            if isinstance(command, Wait):
                in_vain.add(ticket.errand.want)
                if command.seconds is not None:
                    soonest = command.seconds if soonest is None else min(soonest, command.seconds)
                continue
            ticket.turn.set_result(command)
            self._waiting.move_to_end(caller)
        self._set_alarm(soonest)

    def _makes_room(self, newcomer: str) -> bool:
        standing = [ticket for ticket in max(self._waiting.values(), key=len, default=()) if not ticket.turn.done()]
        if len(standing) <= len(self._waiting.get(newcomer, ())) + 1:
            return False
        standing[-1].turn.set_result(standing[-1].errand.give_up())
        return True

    def _in_turn(self) -> Iterator[tuple[str, _Ticket]]:
        """The first of every caller, then the second of every caller, and so on."""
        for place in range(max(map(len, self._waiting.values()))):
            for caller, tickets in self._waiting.items():
                if place < len(tickets):
                    yield caller, tickets[place]

    def _set_alarm(self, seconds: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm = None if seconds is None else loop.call_later(seconds, self.kick)

    def _leave(self, caller: str, ticket: _Ticket) -> None:
        tickets = self._waiting[caller]
        tickets.remove(ticket)
        if not tickets:
            del self._waiting[caller]
        if not self._waiting:
            self._set_alarm(None)
