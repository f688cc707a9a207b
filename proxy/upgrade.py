"""
Asks for an upgrade to a WebSocket, over aiohttp's client, which speaks that. A refusal is read as any other answer.

Rule 1: no redirect is followed, nothing is decompressed, and the only host contacted is the lease's upstream.
Rule 2: only a failure to connect counts as "not sent".
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TypeAlias

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
)
from multidict import CIMultiDict
from yarl import URL

from proxy.command import Begin, Call
from proxy.headers import Fields, Pairs, authorization
from proxy.key import Key, Upstream
from proxy.wire.connection import NotSent
from proxy.wire.exchange import Lost
from proxy.wire.response import Head

SessionTowards: TypeAlias = Callable[[Upstream], ClientSession]

FAILED = (ClientError, OSError, TimeoutError)  # what aiohttp's client raises for what a network does
_NOT_SENT = (ClientConnectorError, ConnectionTimeoutError)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Opened(Begin):
    """What an upgrade came to. Whoever drives has the connection, whatever was answered, until it stops driving."""

    __slots__ = ("response",)

    def __init__(self, status: int, headers: Pairs, response: ClientResponse) -> None:
        super().__init__(status, headers)
        self.response = response


class Upgrading:
    """The answer to an upgrade. `response` is aiohttp's, for whoever goes on in the other protocol."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response

    async def head(self, seconds: float) -> Head:
        """Raises Lost, also for a head that aiohttp's lenient parser takes, and that no server may send."""
        raw = self.response.raw_headers
        if any(_CONTROL.search(name) or _CONTROL.search(value) for name, value in raw):
            raise Lost("its head has control bytes")
        return Head(self.response.status, Fields([b"%b: %b" % pair for pair in raw]))

    async def read(self, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await self.response.content.readany()
        except TimeoutError:
            raise
        except FAILED as failure:
            raise Lost("the answer to the upgrade broke off") from failure

    def close(self) -> None:
        self.response.close()


async def upgrading(session: ClientSession, call: Call, key: Key) -> Upgrading:
    """Raises NotSent, Lost."""
    upstream = key.upstream
    try:
        async with asyncio.timeout(upstream.connect_seconds + upstream.first_byte_seconds):
            response = await session.request(
                call.method,
                URL(call.target.url(upstream), encoded=True),
                headers=CIMultiDict([*call.headers, *authorization(key)]),
                allow_redirects=False,
                timeout=ClientTimeout(total=None, connect=upstream.connect_seconds),
            )
    except _NOT_SENT as failure:
        raise NotSent from failure
    except FAILED as failure:
        raise Lost("the upgrade was not answered") from failure
    return Upgrading(response)
