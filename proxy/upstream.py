"""
Drives an errand over a connection to its upstream: it awaits, the errand decides.

Rule 1: no redirect is followed, nothing is decompressed, and the only host contacted is the lease's upstream.
Rule 2: when whoever reads `drive()` stops, for whatever reason, the upstream connection is closed at once.
Rule 3: only what failed before a byte was written counts as "not sent": of everything later the outcome is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

from proxy.command import ERROR_BYTES, Begin, Command, Cut, End, Hold, Part, ReadError, Send
from proxy.errand import Errand
from proxy.intake import Body, Stream
from proxy.key import Upstream
from proxy.refusal import Refusal
from proxy.road import Road, plain_error, report, request_of
from proxy.upgrade import Opened, Upgrading, upgrading
from proxy.wire.connection import NotSent
from proxy.wire.exchange import Lost
from proxy.wire.response import Head


class Answer(Protocol):
    """An answer that is on its way. Both waits raise Lost, or TimeoutError when nothing has come for `seconds`."""

    async def head(self, seconds: float) -> Head:
        """`seconds` count from when the request has gone out."""

    async def read(self, seconds: float) -> bytes:
        """The next bytes of the body as they came, b"" at its end."""

    def close(self) -> None:
        """Hang up, unless it is over; may be told twice."""


FAILED = (Lost, TimeoutError)


async def drive(errand: Errand, road: Road, body: Body) -> AsyncGenerator[Part]:
    """
    Carry out the errand. Gives a Refusal, or a Begin that is whole, or a Begin, chunks, and an End or a Cut; of an upgrade that
    is not refused, Opened alone.

    Close it (`contextlib.aclosing`) when the caller leaves.
    """
    try:
        command = await road.line.begin(errand)
        while isinstance(command, Send):
            report(errand.take_changes())
            if command.pause_seconds:
                await asyncio.sleep(command.pause_seconds)
            answer: Answer | None = None
            upstream = command.lease.key.upstream
            try:
                try:
                    answer = await _asked(errand, road, command, body)
                    command = await _until_decided(errand, answer, upstream)
                except NotSent:
                    command = errand.lost(was_sent=False)
                except FAILED:
                    command = errand.lost()
                if isinstance(command, Begin):
                    if answer is None or command.is_whole:
                        yield command
                    elif isinstance(answer, Upgrading):
                        yield Opened(command.status, command.headers, answer.response)
                    else:
                        yield command
                        async for part in _rest(errand, answer, upstream.idle_seconds):
                            yield part
            finally:
                if answer is not None:
                    answer.close()
        if isinstance(command, Refusal):
            yield command
    finally:
        errand.gone()
        report(errand.take_changes())


async def _asked(errand: Errand, road: Road, send: Send, body: Body) -> Answer:
    key, call = send.lease.key, errand.call
    if call.is_upgrade:
        return await upgrading(road.session_towards(key.upstream), call, key)
    given = call.draft.body if call.draft else body
    asked = request_of(call, key, None if isinstance(given, Stream) else len(given or b""))
    content = given.pieces() if isinstance(given, Stream) else given or b""
    connection = await road.connection_towards(key.upstream)
    return connection.send(asked, content, idle_seconds=key.upstream.idle_seconds)


async def _until_decided(errand: Errand, answer: Answer, upstream: Upstream) -> Command:
    """Tell the errand what comes until it says what the caller gets, or that the request goes out again."""
    head = await answer.head(upstream.first_byte_seconds)
    command = errand.head(head.status, head.headers)
    if isinstance(command, ReadError):
        body, is_whole = await _error_body(answer, head, upstream.idle_seconds)
        return errand.error_body(body, is_whole=is_whole)
    while isinstance(command, Hold):
        if command.until is None:
            chunk = await answer.read(upstream.idle_seconds)
        else:
            try:
                chunk = await answer.read(max(0.0, command.until - errand.now))
            except TimeoutError:
                return errand.hold_is_over()
        command = errand.data(chunk) if chunk else errand.end()
    return command


async def _rest(errand: Errand, answer: Answer, idle: float) -> AsyncGenerator[Part]:
    while True:
        last: Command | None = None
        try:
            chunk = await answer.read(idle)
        except FAILED:
            last = errand.lost()
        else:
            last = errand.data(chunk) if chunk else errand.end()
        if isinstance(last, End | Cut):
            yield last
            return
        yield chunk


async def _error_body(answer: Answer, head: Head, idle: float) -> tuple[bytes, bool]:
    """Up to ERROR_BYTES of an error's body, decoded, and whether that is all of it."""
    body = b""
    try:
        while len(body) <= ERROR_BYTES and (chunk := await answer.read(idle)):
            body += chunk
    except FAILED:
        return body[:ERROR_BYTES], False  # the head alone tells the rule
    return plain_error(head, body)
