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
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from proxy.alias import Aliases, Question
from proxy.allowance import Allowances
from proxy.callers import Caller, Callers, token_of
from proxy.command import Begin, Call, Cut, End
from proxy.draft import Unsupported
from proxy.errand import Errand
from proxy.headers import REQUEST_ID, Pairs, passable_up
from proxy.intake import Body, Stream, body_of
from proxy.key import Key, Upstream
from proxy.keypool import KeyPool
from proxy.lease import OwnKey
from proxy.peek import Peek, peek
from proxy.realtime import Traffic, is_upgrade, opening, plain, relay
from proxy.realtime_words import REALTIME
from proxy.refusal import Refusal, invalid_api_key, invalid_request
from proxy.retelling import Retelling
from proxy.sse import KIND_OF_PATH
from proxy.target import refuse_credential_in_query, target_of
from proxy.upstream import Road, drive
from proxy.witness import Bond, Witnesses

log = structlog.get_logger()

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
    aliases: Aliases = field(default_factory=Aliases)


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
        unsupported: Unsupported,
        secrets: Sequence[str],
        wall_clock: Callable[[], float],
        jitter: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """`secrets` are blacked out of error bodies; `new_id` makes request ids; `wall_clock` gives epoch seconds."""
        self._pool, self._callers, self._road, self._settings = pool, callers, road, settings
        self._allowances, self._witnesses, self._unsupported = allowances, witnesses, unsupported
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
        traffic = Traffic()
        status = 499  # the caller left; nginx's number for it
        try:
            request = plain(request)
            caller = self._caller_of(request)
            with self._allowances.admitted(caller):
                response = self._own_answer(request, request_id) if caller else None
                if response is None:
                    errand, body, bond, retelling = await self._errand(request, request_id, caller)
                    if errand.call.is_upgrade:
                        names = (
                            None if caller is None or self._sees_all(caller) else self._witnesses.names_of(caller.name)
                        )
                        response = await relay(request, errand, self._road, self._witnesses.book, traffic, names)
                    else:
                        response = await self._answer(request, errand, body, bond, retelling)
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
                route=request.path if request.path in (*KIND_OF_PATH, REALTIME) else "other",
                status=101 if traffic.is_open else status,
                attempts=errand.attempts if errand else [],
                seconds=round(time.monotonic() - started, 3),
                **traffic.facts(),
            )
        return response

    def _caller_of(self, request: web.Request) -> Caller | None:
        """The issued caller; None for one that may pass with a key of its own. Raises a Refusal for everybody else."""
        refuse_credential_in_query(request.raw_path)
        token = token_of(list(request.headers.items()))
        caller = self._callers.caller_of(token, now=self._wall_clock())
        if caller is None and not (token and self._settings.passthrough and self._settings.first_upstream):
            raise invalid_api_key()
        return caller

    def _own_answer(self, request: web.Request, request_id: str) -> web.StreamResponse | None:
        """What needs no upstream: what is known of an alias."""
        if request.method != "GET":
            return None
        model = self._settings.aliases.model(target_of(request.raw_path, self._settings.deny))
        if model is None:
            return None
        return web.Response(body=model, content_type="application/json", headers={REQUEST_ID: request_id})

    def _sees_all(self, caller: Caller) -> bool:
        return caller.see_all or not self._callers.are_several

    async def _errand(
        self, request: web.Request, request_id: str, caller: Caller | None
    ) -> tuple[Errand, Body, Bond, Retelling | None]:
        settings = self._settings
        if request.method not in METHODS:
            raise invalid_request("This method is not forwarded.")
        target = target_of(request.raw_path, settings.deny)
        body = await body_of(request, replay_bytes=settings.replay_bytes, max_body_bytes=settings.max_body_bytes)
        kind = request.headers.get("Content-Type", "")
        seen = peek(body, kind) if isinstance(body, bytes) else Peek()
        headers = passable_up(request.headers.items())
        if is_upgrade(request):
            seen, handshake = opening(request, target)
            headers += handshake
        if isinstance(body, Stream) and request.content_length is not None:
            headers.append(("Content-Length", str(request.content_length)))
        question, bond = Question(target, seen, body if isinstance(body, bytes) else None), Bond()
        if caller is not None:
            is_seen = not isinstance(body, Stream)
            caller.must_be_allowed(request.method, target, seen.model, is_seen=is_seen, is_upgrade=is_upgrade(request))
            question = settings.aliases.question(request.method, question, kind, self._unsupported)
            sees_all = self._sees_all(caller)
            method = "" if is_upgrade(request) else request.method  # a WebSocket's GET reads no list
            bond = self._witnesses.bond(method, question.target, question.seen, caller=caller.name, sees_all=sees_all)
            if isinstance(body, Stream) and not sees_all:
                body.names = self._witnesses.names_of(caller.name)
        call = Call(
            id=request_id,
            method=request.method,
            target=question.target,
            headers=headers if question.draft is None else _with_json(headers),
            model=question.seen.model,
            caller=caller.name if caller else "",
            can_replay=not isinstance(body, Stream),
            queue_seconds=self._patience(request) if caller else 0.0,
            only=bond.claim.key,
            preferred=bond.preferred,
            is_upgrade=is_upgrade(request),
            is_client_retry=request.headers.get("x-stainless-retry-count", "0").strip() not in ("", "0"),
            draft=question.draft,
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
        return errand, body if isinstance(body, Stream) else question.body, bond, question.retelling

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

    async def _answer(
        self, request: web.Request, errand: Errand, body: Body, bond: Bond, retelling: Retelling | None
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        sent = body if isinstance(body, bytes) else b""
        with self._witnesses.watching(errand, sent, bond) as witness:
            async with aclosing(drive(errand, self._road, body)) as parts:
                async for part in parts:
                    witness.see(part)
                    failure = body.failure if isinstance(body, Stream) else None
                    for told in (part,) if retelling is None else retelling.tell(part):
                        match told:
                            case bytes():
                                await response.write(told)
                            case Begin():
                                response = _response(told.status, told.headers, errand.call.id)
                                await response.prepare(request)
                                if told.data:
                                    await response.write(told.data)
                                if told.is_whole:
                                    await response.write_eof()
                            case End():
                                await response.write_eof()
                            case Cut():
                                await _cut(request, response, told.data)
                                return response
                            case Refusal():
                                raise told if failure is None else failure
        return response


def _with_json(headers: Pairs) -> Pairs:
    return [*(pair for pair in headers if pair[0].lower() != "content-type"), ("Content-Type", "application/json")]


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
