"""
The connections that wait for their next request.

Rule 1: a connection is used again only towards the place it leads to: the same host, port and kind, from the same address.
Rule 2: before it is used again it is looked at: one that has ended meanwhile, or said something, is dropped, not tried.
Rule 3: the one used last is used first, so that those too many grow old and go, after 50 s at the latest.
Rule 4: at the end every connection is closed, also those in use.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from proxy.key import Upstream
from proxy.wire.connection import Connection, NotSent
from proxy.wire.dial import Dialer, Place
from proxy.wire.request import origin_of

IDLE_SECONDS = 50.0  # what lies between us and an upstream commonly forgets after 60
MOST_IDLE = 256  # towards one place; a burst may have more, whose connections are then closed


@dataclass(slots=True)
class _Shelf:
    """The connections to one place that wait, the oldest first. `keep` and `forget` are told of each, and made once."""

    place: Place
    keep: Callable[[Connection], None]
    forget: Callable[[Connection], None]
    idle: deque[Connection] = field(default_factory=deque)


class WirePool:
    """`async with WirePool() as wires:` closes every connection at the end."""

    def __init__(
        self, dialer: Dialer | None = None, *, idle_seconds: float = IDLE_SECONDS, most_idle: int = MOST_IDLE
    ) -> None:
        self._dialer = dialer or Dialer()
        self._idle_seconds, self._most_idle = idle_seconds, most_idle
        self._shelves: dict[Place, _Shelf] = {}
        self._known: dict[tuple[str, str], _Shelf] = {}  # by base URL and source address; several may lead to one place
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Future[None] | None = None  # there from the end on

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._all_closed = asyncio.get_running_loop().create_future()
        for connection in tuple(self._open):
            connection.abort()
        if self._open:
            await self._all_closed

    async def towards(self, upstream: Upstream) -> Connection:
        """One to send with, at once: after an `await` it may be gone again. Raises NotSent."""
        if (kept := self.at_hand(upstream)) is not None:
            return kept
        shelf = self._shelf_of(upstream)
        try:
            async with asyncio.timeout(upstream.connect_seconds):
                connection = await self._dialer.dial(shelf.place, lambda: Connection(shelf.keep, shelf.forget))
        except TimeoutError as failure:
            raise NotSent from failure
        if connection.is_open:  # else it has been forgotten already
            self._open.add(connection)
        return connection

    def at_hand(self, upstream: Upstream) -> Connection | None:
        """One that has served before, to send with at once; None where there is none."""
        idle = self._shelf_of(upstream).idle
        while idle:
            connection = idle.pop()
            if self._is_fresh(connection):
                return connection
            connection.abort()
        return None

    def _shelf_of(self, upstream: Upstream) -> _Shelf:
        known = self._known.get((upstream.base_url, upstream.source_address))
        if known is None:
            place = Place(origin_of(upstream.base_url), upstream.source_address)
            known = self._shelves.get(place) or self._new_shelf(place)
            self._known[upstream.base_url, upstream.source_address] = known
        return known

    def _new_shelf(self, place: Place) -> _Shelf:
        shelf = self._shelves[place] = _Shelf(
            place, lambda free: self._keep(shelf, free), lambda lost: self._forget(shelf, lost)
        )
        return shelf

    def _is_fresh(self, connection: Connection) -> bool:
        """Whether nothing has come of it since: neither bytes nor an end that the loop has not got to yet."""
        now = asyncio.get_running_loop().time()
        return connection.is_open and now - connection.idle_since < self._idle_seconds and not connection.has_news()

    def _keep(self, shelf: _Shelf, connection: Connection) -> None:
        if self._all_closed is not None:
            connection.abort()
            return
        if connection.is_new:
            connection.is_new = False
            self._dialer.remember(shelf.place, connection)
        loop, idle = asyncio.get_running_loop(), shelf.idle
        connection.idle_since = loop.time()
        idle.append(connection)
        if len(idle) > self._most_idle:
            idle.popleft().abort()
        if self._sweep is None:
            self._sweep = loop.call_later(self._idle_seconds, self._drop_old)

    def _drop_old(self) -> None:
        loop, self._sweep = asyncio.get_running_loop(), None
        shelves = self._shelves.values()
        for shelf in shelves:
            while shelf.idle and loop.time() - shelf.idle[0].idle_since >= self._idle_seconds:
                shelf.idle.popleft().abort()
        oldest = min((shelf.idle[0].idle_since for shelf in shelves if shelf.idle), default=None)
        if oldest is not None:
            self._sweep = loop.call_at(oldest + self._idle_seconds, self._drop_old)

    def _forget(self, shelf: _Shelf, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in shelf.idle:
            shelf.idle.remove(connection)
        if self._all_closed is not None and not self._open and not self._all_closed.done():
            self._all_closed.set_result(None)
