"""
The door: a caller's connection for as long as it asks strictly plainly. Then aiohttp's, for good.

Rule 1: a request is taken that `door_head` takes, below /v1 or to where pushes go, whose body is small and comes at once. With
        anything else the connection is handed over at the boundary of a message, with every byte that is not served yet;
        nobody can tell the difference.
Rule 2: whoever is admitted leaves exactly once: in `connection_lost`, or with the connection that takes over.
Rule 3: one request at a time; what comes behind it waits, and when too much waits, nothing is read.
Rule 4: the timer runs only while we wait for the caller. Patience with slow ones is for the other lane.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from daemon.connections import KEEPALIVE_SECONDS, Connection, Connections, Limits
from daemon.doors import Doors
from daemon.push_passage import Posts, PushPassage
from proxy.door_head import Posted, Taken, posted, taken
from proxy.passage import Passage
from proxy.refusal import Refusal
from proxy.visit import House

API = b"POST /v1/"
BODY_BYTES = 65_536  # larger ones are for the other lane; so much goes upstream in one write
BODY_SECONDS = 1.0  # for a body to come behind its head
LAST_WORD_SECONDS = 0.5  # for the request of a caller who could not know that the answer before it was the last
MOST_WRITTEN = 16_384  # and not yet taken by the caller; above it nothing more is read of its answer
RESOLUTION = 0.001  # seconds; a loop may be so much early
WAITING_BYTES = 2 * BODY_BYTES  # of what was pipelined behind a request; above it we stop reading

TakeOver = Callable[[str | None, float], Connection]


class Door(asyncio.Protocol):
    """`take_over` makes aiohttp's protocol for the connection. `admitted`: as `Connection` has it."""

    __slots__ = (
        *("_address", "_alarm", "_alarm_at", "_awaits_body", "_connections", "_doors", "_due", "_has_asked", "_house"),
        *("_has_said_so", "_is_full", "_kept", "_limits", "_loop", "_passage", "_posts", "_take_over", "_transport"),
    )

    def __init__(
        self,
        house: House,
        doors: Doors,
        connections: Connections,
        limits: Limits,
        posts: Posts,
        take_over: TakeOver,
        admitted: str | None = None,
    ) -> None:
        self._house, self._doors, self._connections, self._limits = house, doors, connections, limits
        self._posts, self._take_over, self._address = posts, take_over, admitted
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._passage: Passage | PushPassage | None = None  # of the request that is under way
        self._kept = b""  # what came and is not served yet
        self._is_full = False  # the caller takes no more for now
        self._has_asked = self._awaits_body = False
        self._has_said_so = False  # that this answer is the connection's last
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._due: float | None = None  # when we have waited for the caller long enough

    # --- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(MOST_WRITTEN)
        self._doors.opened(self)
        if self._address is None:
            peer = transport.get_extra_info("peername")
            address = str(peer[0]) if isinstance(peer, tuple) else ""
            if not self._connections.admit(address):
                self._hand_over()  # which turns it away
                return
            self._address = address
        self._wait(self._limits.head_seconds)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._transport = None
        if self._passage is not None:
            self._passage.leave()
            self._passage = None
        self._part()
        self.leave()

    def leave(self) -> None:
        """Gives the place back, where there is one; for others to call only if no connection came of it."""
        if self._address is not None:
            self._connections.leave(self._address)
            self._address = None

    def data_received(self, data: bytes) -> None:
        self._kept = self._kept + data if self._kept else data
        self._go_on()
        transport = self._transport
        if len(self._kept) > WAITING_BYTES and transport is not None and not transport.is_closing():
            transport.pause_reading()

    def pause_writing(self) -> None:
        self._is_full = True
        if self._passage is not None:
            self._passage.pause()

    def resume_writing(self) -> None:
        self._is_full = False
        if self._passage is not None:
            self._passage.resume()
        else:
            self._go_on()

    # --- the answer's way (proxy.passage.Way)

    def is_last(self) -> bool:
        self._has_said_so = self._doors.is_draining
        return self._has_said_so

    def write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def ended(self) -> None:
        self._passage = None
        transport = self._transport
        is_last = self._doors.is_draining and self._has_said_so
        if self._doors.is_draining and not is_last and not self._kept and transport is not None:
            self._wait(LAST_WORD_SECONDS)  # and the daemon's end waits for it too
            return
        self._doors.rests(self)
        if transport is None:
            return
        if is_last:
            transport.close()
        elif self._kept:
            self._loop.call_soon(self._go_on)
        else:
            self._wait(KEEPALIVE_SECONDS)

    def broken(self, *, at_once: bool) -> None:
        """`at_once`: nobody may take what went out for the whole; else it was said at the end that it is not."""
        self._passage = None
        self._doors.rests(self)
        if self._transport is not None:
            if at_once:
                self._transport.abort()
            else:
                self._transport.close()

    # --- the daemon's end

    def break_off(self) -> None:
        passage, self._passage = self._passage, None
        if passage is not None:
            passage.break_off()
        if self._transport is not None:
            self._transport.close()  # what was written last still goes out

    def hang_up(self) -> None:
        if self._transport is not None and not self._transport.is_closing():  # else a last word may be on its way
            self._transport.abort()

    # --- requests

    def _go_on(self) -> None:
        """Serve what is whole, wait for the rest of it, or hand it over."""
        kept, transport = self._kept, self._transport
        if not kept or transport is None or transport.is_closing() or self._passage is not None or self._is_full:
            return
        end = kept.find(b"\r\n\r\n")
        head = self._head(kept[:end]) if end >= 0 else None
        if head is None:
            self._hand_over()
            return
        start, end = end + 4, end + 4 + head.length
        if len(kept) < end:
            self._await_body(head)
            return
        self._kept = kept[end:]
        self._has_asked, self._awaits_body, self._due = True, False, None
        if not transport.is_reading():
            transport.resume_reading()
        self._doors.works(self)
        try:
            self._begin(head, kept[start:end])
        except BaseException:
            self.hang_up()
            raise

    def _head(self, head: bytes) -> Taken | Posted | None:
        """None: the request is for the other lane."""
        if head.startswith(API):
            found = taken(head, most_bytes=self._limits.head_bytes)
            return found if found and found.length <= BODY_BYTES and self._house.keeps(found.length) else None
        push = posted(head, most_bytes=self._limits.head_bytes)
        return push if push and push.path in self._posts.receivers and push.length <= BODY_BYTES else None

    def _begin(self, head: Taken | Posted, body: bytes) -> None:
        if isinstance(head, Taken):
            passage = self._passage = Passage(self)
            passage.begin(self._house, head.asking, body)
        else:
            push = self._passage = PushPassage(self)
            push.begin(self._posts, head, body, self._address or "", self._doors.tasks)

    def _await_body(self, head: Taken | Posted) -> None:
        if self._awaits_body:
            return
        try:
            if isinstance(head, Taken):
                self._house.must_welcome(head.asking)
        except Refusal:
            self._hand_over()  # the other lane says so, and need not hear the body
        else:
            self._awaits_body = True
            self._wait(BODY_SECONDS)

    def _hand_over(self) -> None:
        transport, kept, address = self._transport, self._kept, self._address
        if transport is None or transport.is_closing():
            return
        has_waited = self._due is not None and not self._has_asked
        waited = self._limits.head_seconds - (self._due or 0.0) + self._loop.time() if has_waited else 0.0
        self._transport, self._kept, self._address = None, b"", None
        self._part()
        connection = self._take_over(address, waited)
        if kept and not transport.is_reading():
            transport.resume_reading()
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if kept:
            connection.data_received(kept)

    def _part(self) -> None:
        self._doors.closed(self)
        self._due = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # --- time

    def _wait(self, seconds: float) -> None:
        """An alarm that is set already rings early, and is set anew then: so most requests set none."""
        self._due = self._loop.time() + seconds
        if self._alarm is None or self._alarm_at > self._due:
            self._set_alarm(self._due)

    def _set_alarm(self, due: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at, self._alarm = due, self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._due is None or self._transport is None:
            return
        if self._loop.time() < self._due - RESOLUTION:
            self._set_alarm(self._due)
        elif self._awaits_body:
            self._hand_over()
        elif self._has_asked:
            self._transport.close()
        else:
            self._transport.abort()  # closing would wait for the other end, where there is TLS
