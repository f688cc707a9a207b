"""Whoever `alerts.webhook` is posted to: a real server on loopback that answers by script."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from aiohttp import web

# What the n-th post gets: a status, a body with status 200, or one of the words below. After the last: 200.
Step = int | bytes | str
HANG, CUT, FLOOD, STALL, MOVED = "hang", "cut", "flood", "stall", "moved"


class Receiver:
    """`posts` are (path, headers, body) of what was posted; `at` when, on the loop's clock. `url` is a secret as a whole."""

    def __init__(self, script: Sequence[Step] = ()) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.at: list[float] = []
        self.url = ""
        self._script = list(script)
        self._changed = asyncio.Condition()
        self._end = asyncio.Event()

    @property
    def alerts(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.posts]

    async def until(self, claim: Callable[[Receiver], bool]) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: claim(self))

    async def has(self, posts: int) -> None:
        await self.until(lambda receiver: len(receiver.posts) >= posts)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        self.posts.append((request.path_qs, dict(request.headers), await request.read()))
        self.at.append(asyncio.get_running_loop().time())
        async with self._changed:
            self._changed.notify_all()
        step = self._script.pop(0) if self._script else 200
        match step:
            case int():
                return web.Response(status=step)
            case bytes():
                return web.Response(body=step, content_type="application/json")
            case "hang":
                await self._end.wait()
            case "cut":
                assert request.transport is not None
                request.transport.abort()
            case "moved":
                return web.Response(status=302, headers={"Location": "/elsewhere?secret=canary"})
            case "flood" | "stall":
                return await self._never_end(request, b"x" * 65_536 if step == FLOOD else b"")
        return web.Response()

    async def _never_end(self, request: web.Request, piece: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while piece and not self._end.is_set():
                await response.write(piece)
        await self._end.wait()
        return response


@contextlib.asynccontextmanager
async def receiver(*script: Step) -> AsyncIterator[Receiver]:
    received = Receiver(script)
    app = web.Application()
    app.router.add_post("/{tail:.*}", received._post)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        received.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook/canary-path?key=canary-key"
        yield received
    finally:
        received._end.set()
        await runner.cleanup()
