"""
An upstream by script: an HTTP server on loopback that behaves like OpenAI's API and remembers what reached it.

Rule 1: a key's script is taken step by step, and its last step again and again; a known key with no step answers well,
        a key without a script is unknown (401).
Rule 2: a request that today's models do not take is a 400 and takes no step, like everything that costs nothing:
        `GET /v1/models` is refused only where the key's next step is about the key itself, or by a script in `checks`.
Rule 3: time is real; steps are given short times.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

from aiohttp import web
from multidict import CIMultiDict

from daemon.demo import pictures
from daemon.demo.dialects import CREATED, Dialect
from daemon.demo.realtime import hold
from daemon.demo.received import Received, read, secret, upload
from daemon.demo.refusals import Unknown
from daemon.demo.steps import JSON, Act, Answer, Call, Chunk, Head, Leave, Pause, Raw, Step
from daemon.demo.talk import Talk, Talked

MODELS = ("gpt-5.2", "gpt-5.2-mini")
DIALECTS = {str(dialect): dialect for dialect in Dialect}


@dataclass(slots=True)
class _Tokens:
    """A key's bucket: how much was in it when."""

    amount: float
    at: float


@dataclass(slots=True)
class ScriptedUpstream:
    """`async with ScriptedUpstream({secret: [step, …]}) as upstream:` listens until the block ends."""

    script: dict[str, list[Step]] = field(default_factory=dict)
    checks: dict[str, list[Step]] = field(default_factory=dict)  # steps for GET /v1/models
    organization: dict[str, str] = field(default_factory=dict)
    is_strict: bool = True
    resets: int = 0  # so many of the next connections are reset as soon as they are made
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    base_path: str = "/v1"  # what stands before "/chat/completions" and the like
    files: dict[str, bytes] = field(default_factory=dict)
    talked: list[Talked] = field(default_factory=list)  # over WebSockets
    _tokens: dict[str, _Tokens] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _change: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None
    _listening: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        return self._origin + self.base_path

    @property
    def _origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked_of(self, key: str) -> list[Received]:
        """What this key was asked that may cost something: all but the free `GET /v1/models`."""
        return [r for r in self.requests if r.key == key and (r.method, r.path) != ("GET", "/v1/models")]

    async def until(self, claim: Callable[[Self], bool]) -> None:
        """Wait until `claim(upstream)` holds; it is asked again after everything that happens here."""
        while not claim(self):
            await self._change.wait()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._accept, "127.0.0.1", self.port, backlog=1024)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _accept(self) -> asyncio.BaseProtocol:
        self.connections += 1
        if self.resets:
            self.resets -= 1
            return _Slam()
        assert self._runner is not None  # noqa: S101 (set before listening)
        server = self._runner.server
        assert server is not None  # noqa: S101 (set up before listening)
        return server()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        received = Received(
            number=next(self._numbers),
            method=request.method,
            path=request.raw_path,
            headers=request.headers,
            body=body,
            key=secret(request.headers),
            received_at=time.time(),
            remote=request.remote or "",
        )
        self.requests.append(received)
        self._changed()
        try:
            return await self._perform(request, received, self._acts(received))
        except (asyncio.CancelledError, ConnectionError):
            if request.transport is None:  # else this server is closing
                self._note(received.number, disconnected=True)
            raise

    def _note(self, number: int, **seen: Any) -> None:
        """Records are frozen: what becomes known of one later makes a new one in its place."""
        for place in reversed(range(len(self.requests))):  # it is among the last, unless a test has cleared the list
            if self.requests[place].number == number:
                self.requests[place] = replace(self.requests[place], **seen)
                self._changed()
                return

    def _changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def _acts(self, received: Received) -> Iterator[Act]:
        path = "/v1" + received.path.partition("?")[0].removeprefix(self.base_path)
        call = Call(
            secret=received.key,
            organization=self.organization.get(received.key, "org-scripted"),
            asked=None,
            bucket=lambda per_minute: self._wait(received.key, per_minute),
        )
        if received.method == "GET" and (picture := pictures.at(received.path)):  # its URL is all that it takes
            return Raw(200, {"content-type": "image/png"}, picture).play(call)
        script = self.script.get(received.key)
        if script is None:
            return Unknown().play(call)
        if (received.method, path) == ("GET", "/v1/models"):
            return self._models(received.key, script).play(call)
        if received.method == "POST" and path in DIALECTS:
            question = read(DIALECTS[path], received.body, is_strict=self.is_strict)
            if isinstance(question, Raw) and not _refuses(script):
                return question.play(call)
            call = replace(call, asked=None if isinstance(question, Raw) else replace(question, origin=self._origin))
        else:
            content, headers = self._other(received, path)
            call = replace(call, other=content, other_headers=headers)
        step = _next(script)
        wants_to_talk = received.headers.get("Upgrade", "").lower() == "websocket"
        return (Talk() if wants_to_talk and isinstance(step, Answer) else step).play(call)

    def _models(self, key: str, script: Sequence[Step]) -> Step:
        if key in self.checks:
            return _next(self.checks[key])
        if _refuses(script) and getattr(script[0], "concerns_the_key", False):
            return script[0]
        models = [{"id": m, "object": "model", "created": CREATED, "owned_by": "system"} for m in MODELS]
        return Raw(200, JSON, json.dumps({"object": "list", "data": models}).encode())

    def _other(self, received: Received, path: str) -> tuple[bytes, Mapping[str, str]]:
        """Files keep what they are given; anything else is told what arrived."""
        if (received.method, path) == ("POST", "/v1/files"):
            name, content = upload(received)
            identity = f"file-{len(self.files) + 1}"
            self.files[identity] = content
            kept = {"id": identity, "object": "file", "bytes": len(content), "created_at": CREATED, "filename": name}
            more = {"purpose": "assistants", "status": "processed", "sha256": hashlib.sha256(content).hexdigest()}
            return json.dumps({**kept, **more}).encode(), JSON
        content_of = re.fullmatch(r"/v1/files/([^/]+)/content", path)
        if content_of and content_of[1] in self.files:
            return self.files[content_of[1]], {"content-type": "application/octet-stream"}
        echo = {
            "method": received.method,
            "path": received.path,
            "headers": [[name, value] for name, value in received.headers.items()],
            "bytes": len(received.body),
            "sha256": hashlib.sha256(received.body).hexdigest(),
        }
        return json.dumps(echo).encode(), JSON

    def _wait(self, key: str, per_minute: float) -> float:
        now = time.monotonic()
        full = max(1.0, per_minute)
        tokens = self._tokens.setdefault(key, _Tokens(full, now))
        tokens.amount = min(full, tokens.amount + (now - tokens.at) * per_minute / 60)
        tokens.at = now
        if tokens.amount >= 1:
            tokens.amount -= 1
            return 0.0
        return (1 - tokens.amount) * 60 / per_minute

    def _headers(self, received: Received, given: Mapping[str, str]) -> CIMultiDict[str]:
        number, key = received.number, received.key
        headers = CIMultiDict(
            {
                "server": "cloudflare",
                "cf-ray": f"{number:016x}-SJC",
                "alt-svc": 'h3=":443"; ma=86400',
                "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
                # a cookie that comes back with another key ties the two together
                "set-cookie": f"__cf_bm={hashlib.sha256(key.encode()).hexdigest()[:16]}; path=/; HttpOnly",
                "x-request-id": f"req_{number:032x}",
                "openai-processing-ms": "12",
                "openai-version": "2020-10-01",
            }
        )
        if key in self.script:
            headers["openai-organization"] = self.organization.get(key, "org-scripted")
            headers["x-ratelimit-limit-requests"] = "5000"
            headers["x-ratelimit-remaining-requests"] = "4999"
            headers["x-ratelimit-reset-requests"] = "12ms"
        headers.update(given)
        return headers

    async def _perform(self, request: web.Request, received: Received, acts: Iterator[Act]) -> web.StreamResponse:
        response = web.StreamResponse()
        for act in acts:
            match act:
                case Pause():
                    await asyncio.sleep(act.seconds)
                case Head():
                    self._note(received.number, status=act.status)
                    headers = self._headers(received, act.headers)
                    response = web.StreamResponse(status=act.status, headers=headers)
                    if act.length is None:
                        response.enable_chunked_encoding()
                    else:
                        response.content_length = act.length
                    await response.prepare(request)
                case Chunk() if request.method != "HEAD":
                    await response.write(act.data)
                case Talk():
                    self._note(received.number, status=101)
                    self.talked.append(Talked())
                    headers = self._headers(received, {})
                    return await hold(act, request, headers, self.talked[-1], self._changed)
                case Leave():
                    _leave(request.transport, by_reset=act.by_reset)
        return response


class _Slam(asyncio.Protocol):
    """Resets its connection as soon as it is made."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _leave(cast(asyncio.Transport, transport), by_reset=True)


def _leave(transport: asyncio.Transport | None, *, by_reset: bool) -> None:
    if transport is None:
        return
    if by_reset:
        # Linger of zero seconds: close() sends RST instead of FIN.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()


def _next(script: list[Step]) -> Step:
    if not script:
        return Answer()
    return script.pop(0) if len(script) > 1 else script[0]


def _refuses(script: Sequence[Step]) -> bool:
    return bool(script) and hasattr(script[0], "error")
