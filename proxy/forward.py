"""
The gateway's edge: a request below /v1 comes in, an answer goes out.

Rule 1: who calls, and whether it may ask now, is settled before a byte of the body is read, and before `100 Continue` is said.
Rule 2: every answer carries `x-posthouse-request`, and leaves one line in the log.
Rule 3: bytes leave as they arrive; nothing here waits for the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog
from aiohttp import web

from proxy.allowance import Allowances
from proxy.callers import Caller, Callers, token_of
from proxy.command import Begin, Call, Cut, End
from proxy.errand import Errand
from proxy.headers import Pairs, passable_up
from proxy.intake import Body, Stream, body_of
from proxy.key import Key, Upstream
from proxy.keypool import KeyPool
from proxy.lease import OwnKey
from proxy.peek import Peek, peek
from proxy.refusal import Refusal, invalid_api_key, invalid_request
from proxy.sse import KIND_OF_PATH
from proxy.target import target_of
from proxy.upstream import Road, drive
from proxy.witness import Bond, Witnesses

log = structlog.get_logger()

REQUEST_ID = "x-posthouse-request"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """`first_upstream` serves callers that bring their own key, where `passthrough` lets them."""

    deny: tuple[str, ...] = ("/v1/organization/*", "/v1/projects/*", "/v1/dashboard/*")
    replay_bytes: int = 8_388_608
    max_body_bytes: int = 536_870_912
    queue_seconds: float = 8.0
    passthrough: bool = False
    first_upstream: Upstream | None = None


class Gateway:
    def __init__(
        self,
        pool: KeyPool,
        callers: Callers,
        road: Road,
        settings: GatewaySettings,
        *,
        allowances: Allowances,
        witnesses: Witnesses,
        secrets: Sequence[str],
        wall_clock: Callable[[], float],
        jitter: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """`secrets` are blacked out of error bodies; `new_id` makes request ids; `wall_clock` gives epoch seconds."""
        self._pool, self._callers, self._road, self._settings = pool, callers, road, settings
        self._allowances, self._witnesses = allowances, witnesses
        self._secrets, self._wall_clock, self._jitter, self._new_id = tuple(secrets), wall_clock, jitter, new_id

    def reconfigure(self, callers: Callers, settings: GatewaySettings, *, secrets: Sequence[str]) -> None:
        self._callers, self._settings, self._secrets = callers, settings, tuple(secrets)

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", r"/v1{tail:[\s\S]*}", self.handle, expect_handler=self.expect)]

    async def expect(self, request: web.Request) -> web.StreamResponse | None:
        """Says `100 Continue` to those who may go on, and to nobody else."""
        try:
            caller = self._caller_of(request)
            target_of(request.raw_path, self._settings.deny)
            if caller is not None:
                self._allowances.must_admit(caller)
        except Refusal as refusal:
            return _refuse(refusal, self._new_id())
        if request.headers.get("Expect", "").lower() != "100-continue":
            return _refuse(invalid_request("The only expectation understood is 100-continue."), self._new_id())
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
        return None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        request_id, started, caller = self._new_id(), time.monotonic(), None
        errand: Errand | None = None
        status = 499  # the caller left; nginx's number for it
        try:
            caller = self._caller_of(request)
            with self._allowances.admitted(caller):
                errand, body, bond = await self._errand(request, request_id, caller)
                response = await self._answer(request, errand, body, bond)
            status = response.status
        except Refusal as refusal:
            response = _refuse(refusal, request_id)
            status = refusal.status
        finally:
            log.info(
                "request.finished",
                request=request_id,
                caller=caller.name if caller else "",
                method=request.method if request.method in METHODS else "other",
                route=request.path if request.path in KIND_OF_PATH else "other",
                status=status,
                attempts=errand.attempts if errand else [],
                seconds=round(time.monotonic() - started, 3),
            )
        return response

    def _caller_of(self, request: web.Request) -> Caller | None:
        """The issued caller; None for one that may pass with a key of its own. Raises a Refusal for everybody else."""
        token = token_of(list(request.headers.items()))
        caller = self._callers.caller_of(token, now=self._wall_clock())
        if caller is None and not (token and self._settings.passthrough and self._settings.first_upstream):
            raise invalid_api_key()
        return caller

    async def _errand(self, request: web.Request, request_id: str, caller: Caller | None) -> tuple[Errand, Body, Bond]:
        settings = self._settings
        if request.method not in METHODS:
            raise invalid_request("This method is not forwarded.")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            raise invalid_request("WebSocket is not available here yet; use the HTTP endpoints.")
        target = target_of(request.raw_path, settings.deny)
        body = await body_of(request, replay_bytes=settings.replay_bytes, max_body_bytes=settings.max_body_bytes)
        seen = peek(body, request.headers.get("Content-Type", "")) if isinstance(body, bytes) else Peek()
        headers = passable_up(request.headers.items())
        if isinstance(body, Stream) and request.content_length is not None:
            headers.append(("Content-Length", str(request.content_length)))
        if caller is not None and not caller.may_use_any_model:
            if isinstance(body, Stream):
                raise invalid_request("This token is for some models only; the body is too large to see its model.")
            if seen.model:
                caller.must_be_allowed(seen.model)
        bond = Bond()
        if caller is not None:
            sees_all = caller.see_all or not self._callers.are_several
            bond = self._witnesses.bond(request.method, target, seen, caller=caller.name, sees_all=sees_all)
        call = Call(
            id=request_id,
            method=request.method,
            target=target,
            headers=headers,
            model=seen.model,
            caller=caller.name if caller else "",
            can_replay=not isinstance(body, Stream),
            queue_seconds=self._patience(request) if caller else 0.0,
            only=bond.claim.key,
            preferred=bond.preferred,
            is_client_retry=request.headers.get("x-stainless-retry-count", "0").strip() not in ("", "0"),
        )
        keys = self._pool if caller else OwnKey(self._own_key(request), now=time.monotonic())
        errand = Errand(
            call,
            keys,
            clock=time.monotonic,
            jitter=self._jitter,
            secrets=self._secrets,
            is_own_key=caller is None,
        )
        return errand, body, bond

    def _patience(self, request: web.Request) -> float:
        """How long the caller may be kept in line: no longer than it waits for an answer itself."""
        told = request.headers.get("x-stainless-read-timeout", "")
        own = float(told) if told.isdecimal() and len(told) < 8 else self._settings.queue_seconds
        return min(own, self._settings.queue_seconds)

    def _own_key(self, request: web.Request) -> Key:
        upstream = self._settings.first_upstream
        token = token_of(list(request.headers.items()))
        if upstream is None or token is None:
            raise invalid_api_key()
        return Key(
            "caller's own",
            token,
            fingerprint="",
            upstream=upstream,
            organization=request.headers.get("OpenAI-Organization", ""),
            project=request.headers.get("OpenAI-Project", ""),
        )

    async def _answer(self, request: web.Request, errand: Errand, body: Body, bond: Bond) -> web.StreamResponse:
        response = web.StreamResponse()
        sent = body if isinstance(body, bytes) else b""
        with self._witnesses.watching(errand, sent, bond) as witness:
            async with aclosing(drive(errand, self._road, body)) as parts:
                async for part in parts:
                    failure = body.failure if isinstance(body, Stream) else None
                    match part:
                        case bytes():
                            witness.feed(part)
                            await response.write(part)
                        case Begin():
                            witness.begin(part)
                            response = _response(part.status, part.headers, errand.call.id)
                            await response.prepare(request)
                            if part.data:
                                await response.write(part.data)
                            if part.is_whole:
                                await response.write_eof()
                        case End():
                            witness.end()
                            await response.write_eof()
                        case Cut():
                            await _cut(request, response, part.data)
                        case Refusal():
                            raise part if failure is None else failure
        return response


def _response(status: int, headers: Pairs, request_id: str) -> web.StreamResponse:
    response = web.StreamResponse(status=status)
    for name, value in headers:
        response.headers.add(name, value)
    response.headers[REQUEST_ID] = request_id
    return response


def _refuse(refusal: Refusal, request_id: str) -> web.Response:
    response = web.Response(status=refusal.status, body=refusal.body(), headers=dict(refusal.headers()))
    response.headers[REQUEST_ID] = request_id
    return response


async def _cut(request: web.Request, response: web.StreamResponse, last: bytes) -> None:
    """End the connection without ending the body, after `last` words where there are any."""
    if last:
        await response.write(last)
    if request.transport is not None:
        # close() still sends what was written; abort() makes sure that nobody takes a torn body for a whole one.
        request.transport.close() if last else request.transport.abort()
