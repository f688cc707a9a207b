"""
A push on the fast lane: from its head and body to the bytes of its reply, without aiohttp.

Rule 1: what is decided about a push is decided by `bot.wechat`; here its end becomes bytes, those that aiohttp would write.
Rule 2: whoever leaves ends the delivery at once, and nothing is written any more.
Rule 3: the delivery's task is the doors', which wait for all of them at the daemon's end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from bot.tasks import Tasks
from bot.wechat.delivery import End, Way, head_of
from daemon.addresses import Network, caller_address
from daemon.errors import crashed
from proxy import passage
from proxy.door_head import Posted
from proxy.value import value_type

CRASHED = b"500: internal error\n"


class Receiver(Protocol):
    """As `bot.wechat.webhook.Webhook`."""

    async def receive(self, way: Way, query: Iterable[tuple[str, str]], body: bytes, address: str) -> End: ...


@value_type
class Posts:
    """What pushes go to, by path. A proxy that is trusted tells whose they are."""

    receivers: Mapping[str, Receiver]
    trusted_proxies: Sequence[Network] = ()


class Connection(passage.Way, Protocol):
    """WeChat's."""

    def is_open(self) -> bool: ...


class PushPassage:
    """`begin`; then the reply goes by the `connection`, unless `leave` or `break_off` is said before."""

    __slots__ = ("_connection", "_has_written", "_task")

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection  # None from the end on
        self._has_written = False
        self._task: asyncio.Task[End] | None = None

    def begin(self, posts: Posts, post: Posted, body: bytes, peer: str, tasks: Tasks) -> None:
        hops = [post.headers["x-forwarded-for"]] if "x-forwarded-for" in post.headers else []
        address = caller_address(peer, hops, posts.trusted_proxies)
        self._task = tasks.own(posts.receivers[post.path].receive(self, post.query, body, address))
        self._task.add_done_callback(self._over)

    def pause(self) -> None:
        """A reply is one write, and nothing comes behind it."""

    def resume(self) -> None: ...

    def leave(self) -> None:
        self._connection = None
        if self._task is not None:
            self._task.cancel()

    break_off = leave  # whoever breaks off closes the connection

    async def write(self, body: bytes, content_type: str, *, now: int) -> bool:
        connection = self._connection
        if connection is None:
            return False
        self._has_written = True
        self._say(connection, "200 OK", content_type, body, now=now)
        return connection.is_open()

    def _over(self, task: asyncio.Task[End]) -> None:
        connection, self._connection = self._connection, None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            crashed(error)
        if connection is None:
            return
        if error is not None and not self._has_written:
            self._say(connection, "500 Internal Server Error", "text/plain; charset=utf-8", CRASHED, closes=True)
        if error is not None or task.cancelled() or task.result() is End.SILENT:
            connection.broken(at_once=self._has_written)
            return
        if task.result() is End.FORBIDDEN:
            self._say(connection, "403 Forbidden", "", b"")
        connection.ended()

    def _say(
        self,
        connection: Connection,
        status: str,
        content_type: str,
        body: bytes,
        *,
        now: int | None = None,
        closes: bool = False,
    ) -> None:
        now = int(time.time()) if now is None else now
        closes = connection.is_last() or closes
        connection.write(head_of(status, content_type, len(body), now=now, closes=closes) + body)
