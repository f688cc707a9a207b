"""
Carries an errand out by callbacks: the hot path's way of what `upstream.drive` does by awaiting. Neither decides anything.

Rule 1: each part is told as it comes, within the very call that brought it; a task is there only while something has to be
        waited for before the request can go out: a place in line, a pause, a new connection.
Rule 2: while the caller takes nothing, nothing is taken of the upstream's answer, and its silence does not count.
Rule 3: after the last part, or `leave`, nothing is told any more, and the upstream connection is let go at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum, auto

from proxy.command import ERROR_BYTES, Begin, Command, Cut, End, Hold, Part, ReadError, Send
from proxy.errand import Errand
from proxy.key import Upstream
from proxy.refusal import Refusal
from proxy.road import Road, plain_error, report, request_of
from proxy.wire.connection import Connection, NotSent
from proxy.wire.exchange import Exchange
from proxy.wire.response import Head


class _At(Enum):
    """What the next bytes of the answer are."""

    HEAD = auto()
    ERROR = auto()
    HELD = auto()
    PASSED = auto()
    OVER = auto()


class Ride:
    """`body` is what the caller sent; `tell` gets the parts."""

    __slots__ = (
        *("_at", "_body", "_errand", "_error", "_exchange", "_has_told", "_head", "_is_paused", "_road"),
        *("_task", "_tell", "_until", "_upstream"),
    )

    def __init__(self, errand: Errand, road: Road, body: bytes, tell: Callable[[Part], None]) -> None:
        self._errand, self._road, self._tell = errand, road, tell
        self._body: bytes = body
        self._at = _At.HEAD
        self._upstream: Upstream | None = None
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._head: Head | None = None  # of an error, while its body comes
        self._error = b""
        self._until: float | None = None  # as Hold has it
        self._has_told = self._is_paused = False

    # --- whoever rides

    def begin(self) -> None:
        command = self._road.line.at_once(self._errand)
        if command is None:
            self._work(self._stand_in_line())
        else:
            self._obey(command)

    def pause(self) -> None:
        """The caller takes no more for now."""
        self._is_paused = True
        if self._exchange is not None and self._at is _At.PASSED:
            self._exchange.expect(None)
            self._exchange.hold()

    def resume(self) -> None:
        self._is_paused = False
        if self._exchange is not None and self._at is _At.PASSED:
            self._expect_more()
            self._pass_on()

    def break_off(self) -> None:
        """The daemon ends before the answer does: whoever has a part of it is told so."""
        if self._has_told and self._at is not _At.OVER:
            self._finish(self._errand.lost())
        self.leave()

    def leave(self) -> None:
        """The caller is gone. May be said twice."""
        self._at = _At.OVER
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._hang_up()
        self._errand.gone()
        report(self._errand.take_changes())

    # --- what the errand says

    def _obey(self, command: Command) -> None:
        while isinstance(command, Send):
            self._hang_up()
            report(self._errand.take_changes())
            self._upstream = command.lease.key.upstream
            kept = None if command.pause_seconds else self._road.connection_at_hand(self._upstream)
            if kept is None:
                self._work(self._reach(command))
                return
            failed = self._send(command, kept)
            if failed is None:
                return
            command = failed
        if isinstance(command, Begin) and not command.is_whole:
            self._begin(command)
        else:
            self._finish(command)

    def _send(self, send: Send, connection: Connection) -> Command | None:
        """None where the answer is on its way."""
        errand = self._errand
        body = errand.call.draft.body if errand.call.draft else self._body
        key = send.lease.key
        try:
            asked = request_of(errand.call, key, len(body))
            exchange = connection.send(asked, body, idle_seconds=key.upstream.idle_seconds)
        except NotSent:
            return errand.lost(was_sent=False)
        self._at, self._exchange = _At.HEAD, exchange
        exchange.attend(self._news, self._silence)
        self._expect_head()
        return None

    def _begin(self, begin: Begin) -> None:
        self._body = b""  # never sent again from here on
        self._at, self._has_told = _At.PASSED, True
        self._tell(begin)
        self._pass_on()

    def _finish(self, last: Command) -> None:
        self._at = _At.OVER
        self._hang_up()
        self._errand.gone()
        report(self._errand.take_changes())
        if isinstance(last, Begin | End | Cut | Refusal):
            self._tell(last)

    # --- what the upstream does

    def _news(self) -> None:
        try:
            match self._at:
                case _At.PASSED:
                    self._pass_on()
                case _At.HEAD:
                    self._hear_head()
                case _At.HELD:
                    self._hear_held()
                case _At.ERROR:
                    self._hear_error()
        except BaseException:
            self._crash()
            raise

    def _silence(self) -> None:
        """Nothing has come for as long as it may."""
        try:
            if self._at is _At.HELD and self._until is not None:
                self._obey(self._errand.hold_is_over())
            elif self._at is _At.ERROR:
                self._obey(self._errand.error_body(self._error[:ERROR_BYTES], is_whole=False))
            else:
                self._obey(self._errand.lost())
        except BaseException:
            self._crash()
            raise

    def _hear_head(self) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        head = exchange.take_head()
        if head is None:
            if exchange.has_failed:
                self._obey(self._errand.lost())
            else:
                self._expect_head()  # the request has gone out
            return
        command = self._errand.head(head.status, head.headers)
        if isinstance(command, ReadError):
            self._at, self._head, self._error = _At.ERROR, head, b""
            self._expect_more()
            self._hear_error()
        elif isinstance(command, Hold):
            self._at, self._until = _At.HELD, command.until
            self._expect_more()
            self._hear_held()
        elif isinstance(command, Begin) and (chunk := exchange.take()):
            self._errand.data(chunk)
            self._obey(Begin(command.status, command.headers, chunk))  # the first bytes go out with the head
        else:
            self._obey(command)

    def _hear_error(self) -> None:
        exchange, head = self._exchange, self._head
        if exchange is None or head is None:
            return
        self._error += exchange.take()
        if exchange.is_over or len(self._error) > ERROR_BYTES:
            body, is_whole = plain_error(head, self._error)
        elif exchange.has_failed:
            body, is_whole = self._error[:ERROR_BYTES], False  # the head alone tells the rule
        else:
            self._expect_more()
            return
        self._head, self._error = None, b""
        self._obey(self._errand.error_body(body, is_whole=is_whole))

    def _hear_held(self) -> None:
        exchange, errand = self._exchange, self._errand
        if exchange is None:
            return
        command: Command = Hold(self._until)
        if chunk := exchange.take():
            command = errand.data(chunk)
        if isinstance(command, Hold) and exchange.has_failed:
            command = errand.lost()
        elif isinstance(command, Hold) and exchange.is_over:
            command = errand.end()
        if isinstance(command, Hold):
            self._until = command.until
            self._expect_more()
        else:
            self._obey(command)

    def _pass_on(self) -> None:
        exchange, errand = self._exchange, self._errand
        while exchange is not None and self._passes():
            if chunk := exchange.take():
                errand.data(chunk)
                self._tell(chunk)
                if exchange.has_waiting or not self._passes():
                    continue
            if exchange.has_failed:
                self._finish(errand.lost())
            elif exchange.is_over:
                self._finish(errand.end())
            else:
                self._expect_more()
                return

    def _passes(self) -> bool:
        return self._at is _At.PASSED and not self._is_paused

    def _expect_head(self) -> None:
        if self._exchange is not None and self._upstream is not None:
            self._exchange.expect(None if self._exchange.is_uploading else self._upstream.first_byte_seconds)

    def _expect_more(self) -> None:
        if self._exchange is None or self._upstream is None:
            return
        until = self._until if self._at is _At.HELD else None
        self._exchange.expect(self._upstream.idle_seconds if until is None else max(0.0, until - self._errand.now))

    def _hang_up(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()

    # --- what has to be waited for

    def _work(self, waiting: Coroutine[None, None, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(waiting)
        self._task.add_done_callback(self._has_waited)

    def _has_waited(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None

    async def _stand_in_line(self) -> None:
        try:
            self._obey(await self._road.line.begin(self._errand))
        except BaseException:
            self._crash()
            raise

    async def _reach(self, send: Send) -> None:
        try:
            if send.pause_seconds:
                await asyncio.sleep(send.pause_seconds)
            try:
                connection = await self._road.connection_towards(send.lease.key.upstream)
            except NotSent:
                command: Command | None = self._errand.lost(was_sent=False)
            else:
                command = self._send(send, connection)
            if command is not None:
                self._obey(command)
        except BaseException:
            self._crash()
            raise

    def _crash(self) -> None:
        """A fault of ours, or the end of the event loop: the caller is not left to wait."""
        if self._at is not _At.OVER:
            self._finish(Cut())
