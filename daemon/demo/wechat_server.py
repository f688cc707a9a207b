"""
WeChat's server API for one Official Account over HTTP on loopback, by script where a test or the demo wants it so.

Rule 1: a path's script is taken step by step, and when it is empty everything is well again.
Rule 2: the account's rules stand in `wechat_platform`, what may go wrong in `wechat_steps`; here both are only carried out.
Rule 3: a step's seconds are real time; windows and tokens go by the clock that is handed in.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from daemon.demo.wechat_platform import OK, Platform, Refused, Sent, content_type, refusal
from daemon.demo.wechat_steps import Cut, Endless, Fault, Garbage, Misstated, Scripted, Slow, Well

JSON = "application/json; encoding=utf-8"  # as WeChat writes it
CALLBACK_ADDRESSES = ("127.0.0.1", "127.0.0.0/8")  # where the demo's pushes come from


@dataclass(frozen=True, slots=True)
class Called:
    """One request. `body` is empty where it was an upload."""

    method: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Content:
    kind: str
    data: bytes = field(repr=False)


@dataclass(slots=True, repr=False)
class WeChatServer(Platform):
    """
    `async with WeChatServer(app_id=…, app_secret=…) as server:` listens until the block ends.

    `script` is by the end of a path, as in "custom/send", "stable_token" or "pictures/name"; `on_sent` hears of every message
    that reached a subscriber. `pictures` are what a push's PicUrl points at: a content type and its bytes, by name.
    """

    clock: Callable[[], float] = time.time
    script: dict[str, list[Scripted]] = field(default_factory=dict)
    pictures: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    on_sent: Callable[[Sent], None] = lambda sent: None
    calls: list[Called] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _change: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None
    _listening: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def calls_of(self, end: str) -> list[Called]:
        return [called for called in self.calls if _ends_with(called.path, end)]

    async def until(self, claim: Callable[[Self], bool]) -> None:
        """Wait until `claim(server)` holds; it is asked again after everything that happens here."""
        while not claim(self):
            await self._change.wait()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _accept(self) -> asyncio.BaseProtocol:
        self.connections += 1
        assert self._runner is not None  # noqa: S101 (set before listening)
        server = self._runner.server
        assert server is not None  # noqa: S101 (set up before listening)
        return server()

    def _changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        upload = await _upload(request) if _ends_with(request.path, "media/upload") else None
        body = b"" if upload else await request.read()
        called = Called(request.method, request.path, request.query, request.headers, body)
        self.calls.append(called)
        self._changed()
        return await self._perform(self._next(request.path), request, called, upload)

    def _next(self, path: str) -> Scripted:
        steps = next((steps for end, steps in self.script.items() if _ends_with(path, end)), [])
        return steps.pop(0) if steps else Well()

    async def _perform(
        self, step: Scripted, request: web.Request, called: Called, upload: tuple[str, bytes] | None
    ) -> web.StreamResponse:
        match step:
            case Slow():
                await asyncio.sleep(step.seconds)
                return await self._perform(step.then, request, called, upload)
            case Fault():
                return _response(_json(refusal(step.code, step.message)))
            case Garbage():
                return web.Response(status=step.status, body=step.body, headers=step.headers)
            case Cut(before=True):
                return _cut(request)
        content = self._content(called, upload)
        self._changed()
        match step:
            case Cut():
                return _cut(request)
            case Misstated() if content:
                response = web.StreamResponse(headers={"Content-Type": content.kind})
                response.content_length = len(content.data) + step.by
                await response.prepare(request)
                await response.write(content.data)
                return _cut(request)
            case Endless() if content:
                response = web.StreamResponse(headers={"Content-Type": content.kind})
                with suppress(ConnectionError):
                    await response.prepare(request)
                    while True:
                        await response.write(step.piece)
                return response
        return _response(content)

    def _content(self, called: Called, upload: tuple[str, bytes] | None) -> Content | None:
        try:
            return self._answer(called, upload)
        except Refused as refused:
            return _json(refusal(refused.code))

    def _answer(self, called: Called, upload: tuple[str, bytes] | None) -> Content | None:
        """None where there is nothing of that name. Raises Refused."""
        if called.path.startswith("/pictures/"):
            picture = self.pictures.get(called.path.removeprefix("/pictures/"))
            return Content(*picture) if picture else None
        path, token = called.path.removeprefix("/cgi-bin/"), called.query.get("access_token")
        method = METHODS.get(path)
        if method is None:
            return None
        if method != called.method:
            raise Refused(43002)
        if path not in ("token", "stable_token"):
            self.admit(token, needs_verified=path != "getcallbackip")
        match path:
            case "token":
                return _json(self.token(called.query))
            case "stable_token":
                return _json(self.stable_token(called.body))
            case "message/custom/send":
                self.on_sent(self.send(called.body))
            case "message/custom/typing":
                self.typing(called.body)
            case "media/upload":
                return _json(self.upload(called.query.get("type", ""), *(upload or ("", b""))))
            case "media/get":
                data = self.media_of(called.query.get("media_id", ""))
                return Content(content_type(data), data)
            case "getcallbackip":
                return _json({"ip_list": CALLBACK_ADDRESSES})
        return _json(OK)


METHODS: Mapping[str, str] = {
    "token": "GET",
    "stable_token": "POST",
    "message/custom/send": "POST",
    "message/custom/typing": "POST",
    "media/upload": "POST",
    "media/get": "GET",
    "getcallbackip": "GET",
}


async def _upload(request: web.Request) -> tuple[str, bytes] | None:
    """Name and bytes of the file in the field `media`; None where there is none, or no form."""
    try:
        file = (await request.post()).get("media")
    except ValueError:
        return None
    if not isinstance(file, web.FileField):
        return None
    with file.file:
        return file.filename, file.file.read()


def _ends_with(path: str, end: str) -> bool:
    return f"/{path}".endswith(f"/{end}")


def _json(answer: Mapping[str, Any]) -> Content:
    return Content(JSON, json.dumps(answer, ensure_ascii=False).encode())


def _response(content: Content | None) -> web.Response:
    if content is None:
        return web.Response(status=404)
    return web.Response(body=content.data, headers={"Content-Type": content.kind})


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=503)  # is not sent any more
