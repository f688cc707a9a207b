"""
One request on its connection, and its answer: what has come of it and is not taken yet, and whoever waits for more, or attends.

Rule 1: what came is given before what went wrong after it.
Rule 2: once it is over, or closed, it has let its connection go, and touches it no more.
Rule 3: whoever waits says for how long; the limit on silence is one timer of the connection's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Protocol

from proxy.wire.response import Head, Malformed, Reader

MOST_WAITING = 32_768  # bytes of an answer that wait to be taken; with more we stop reading
RESOLUTION = 0.001  # seconds; a loop may be so much early


class Lost(Exception):
    """The request has gone out, wholly or in part, and its answer does not come, or not to its end."""


class Carrier(Protocol):
    """What an exchange needs of its connection."""

    def hold_up(self, *, is_held: bool) -> None: ...
    def done(self, *, is_reusable: bool) -> None: ...
    def ring_at(self, due: float) -> None: ...


class Exchange:
    __slots__ = (
        *("_carrier", "_content", "_due", "_failure", "_head", "_is_held", "_loop", "_on_news", "_on_silence"),
        *("_reader", "_size", "_upload", "_waiter"),
    )

    def __init__(self, carrier: Carrier, method: str, loop: asyncio.AbstractEventLoop) -> None:
        self._carrier: Carrier | None = carrier  # None when it has been let go
        self._loop = loop
        self._reader = Reader(method)
        self._head: Head | None = None
        self._content: list[bytes] = []
        self._size = 0
        self._is_held = False
        self._failure: Lost | None = None
        self._upload: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._due: float | None = None  # when whoever waits has waited for long enough
        self._on_news: Callable[[], None] | None = None  # there where somebody attends
        self._on_silence: Callable[[], None] | None = None

    # --- whoever asked

    def upload(self, sending: Coroutine[None, None, None]) -> None:
        """The rest of the request, which goes out meanwhile."""
        self._upload = self._loop.create_task(sending)
        self._upload.add_done_callback(self._uploaded)

    async def head(self, seconds: float) -> Head:
        """Wait for it, `seconds` from when the request has gone out. Raises Lost, TimeoutError."""
        while self._head is None:
            if self._failure is not None:
                raise self._failure
            await self._wait(None if self._upload is not None else seconds)
        return self._head

    async def read(self, seconds: float) -> bytes:
        """The next bytes of the body, b"" at its end. Raises Lost, TimeoutError."""
        while not (content := self.take()):
            if self._failure is not None:
                raise self._failure
            if self._reader.is_over:
                return b""
            await self._wait(seconds)
        return content

    def attend(self, on_news: Callable[[], None], on_silence: Callable[[], None]) -> None:
        """Be told instead of waiting: `on_news` of whatever happens, `on_silence` when nothing has for what `expect` said."""
        self._on_news, self._on_silence = on_news, on_silence

    def expect(self, seconds: float | None) -> None:
        """More, within so many seconds from now; None: whenever it likes."""
        self._due = None
        if seconds is not None and self._carrier is not None:
            self._due = due = self._loop.time() + seconds
            self._carrier.ring_at(due)

    def hold(self) -> None:
        """Nothing will be taken for now: read no more, until something is."""
        if self._carrier is not None and not self._is_held:
            self._is_held = True
            self._carrier.hold_up(is_held=True)

    def take_head(self) -> Head | None:
        """The answer's head, once; None where it is not there yet."""
        head, self._head, self._reader.head = self._head, None, None
        return head

    @property
    def is_uploading(self) -> bool:
        return self._upload is not None

    @property
    def has_waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._content)

    @property
    def is_over(self) -> bool:
        """Nothing comes any more: all has been taken, or will be by the next `take`."""
        return self._reader.is_over

    @property
    def has_failed(self) -> bool:
        """Nothing comes any more, and that was not all."""
        return self._failure is not None

    def take(self) -> bytes:
        """What has come of the body; b"" where there is nothing."""
        if self._is_held and self._carrier is not None:
            self._is_held = False
            self._carrier.hold_up(is_held=False)
        if not self._content:
            return b""
        content = self._content[0] if len(self._content) == 1 else b"".join(self._content)
        self._content.clear()
        self._size = 0
        return content

    def close(self) -> None:
        """What has not come by now is not wanted any more, and nobody attends."""
        self._on_news = self._on_silence = None
        self._let_go(is_reusable=False)
        self._content.clear()

    # --- the connection

    def came(self, data: bytes) -> None:
        try:
            content = self._reader.feed(data)
        except Malformed as fault:
            self._fail(str(fault))
            return
        is_news = bool(content) or self._head is not self._reader.head or self._reader.is_over
        self._head = self._reader.head
        if content:
            self._content.append(content)
            self._size += len(content)
        if self._reader.is_over:
            self._let_go(is_reusable=self._reader.is_reusable and self._upload is None)
        elif self._size > MOST_WAITING:
            self.hold()
        if is_news:  # else a line that is not whole, or an interim answer: those end no silence
            self._wake()

    def ended(self, *, is_in_order: bool) -> None:
        """The connection has: `is_in_order` if the other end said so."""
        if is_in_order and self._reader.is_whole_at_end():
            self._let_go(is_reusable=False)
            self._wake()
        else:
            self._fail("the connection ended before the answer did")

    def rang(self) -> None:
        """The alarm of the connection, for this exchange or for one before it."""
        is_awaited = self._on_silence is not None or (self._waiter is not None and not self._waiter.done())
        if not is_awaited or self._due is None or self._carrier is None:
            return
        if self._loop.time() < self._due - RESOLUTION:
            self._carrier.ring_at(self._due)
        elif self._on_silence is not None:
            self._due = None
            self._on_silence()
        elif self._waiter is not None:
            self._waiter.set_exception(TimeoutError())

    # --- what becomes of it

    def _uploaded(self, upload: asyncio.Task[None]) -> None:
        self._upload = None
        if not upload.cancelled() and upload.exception() is not None:
            self._fail("the request could not be sent to its end")
        self._wake()

    def _fail(self, why: str) -> None:
        if self._failure is None and not self._reader.is_over:
            self._failure = Lost(why)
        self._let_go(is_reusable=False)
        self._wake()

    def _let_go(self, *, is_reusable: bool) -> None:
        carrier, self._carrier = self._carrier, None
        if carrier is None:
            return
        if self._upload is not None:
            self._upload.cancel()
        if self._is_held:
            carrier.hold_up(is_held=False)
        carrier.done(is_reusable=is_reusable)

    async def _wait(self, seconds: float | None) -> None:
        """Until something happens. Raises TimeoutError."""
        self._waiter = self._loop.create_future()
        self.expect(seconds)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._on_news is not None:
            self._on_news()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
