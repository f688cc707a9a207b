"""
The gateway's edge: a request below /v1 comes in, an answer goes out.

Rule 1: who calls, and whether it may ask now, is settled before a byte of the body is read, and before `100 Continue` is said.
Rule 2: every answer carries `x-posthouse-request`, and leaves one line in the log.
Rule 3: bytes leave as they arrive; nothing here waits for the database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import structlog
from aiohttp import web

from proxy.allowance import Allowances
from proxy.callers import Caller, Callers
from proxy.command import Begin, Cut, End, Part
from proxy.draft import Unsupported
from proxy.errand import Errand
from proxy.headers import REQUEST_ID, Pairs
from proxy.intake import Stream
from proxy.keypool import KeyPool
from proxy.realtime import Traffic, plain, relay
from proxy.reception import METHODS, Asked, GatewaySettings, Reception
from proxy.refusal import Refusal, invalid_request, short_of_memory
from proxy.tally import Stopwatch, Tally, route_of
from proxy.target import target_of
from proxy.upstream import Road, drive
from proxy.witness import Witnesses

log = structlog.get_logger()


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
        tally: Tally,
        unsupported: Unsupported,
        secrets: Sequence[str],
        wall_clock: Callable[[], float],
        jitter: Callable[[], float],
        new_id: Callable[[], str],
        is_short_of_memory: Callable[[], bool] = lambda: False,
    ) -> None:
        """`secrets` are blacked out of error bodies; `new_id` makes request ids; `wall_clock` gives epoch seconds."""
        self._reception = Reception(
            pool,
            callers,
            settings,
            witnesses=witnesses,
            unsupported=unsupported,
            secrets=secrets,
            wall_clock=wall_clock,
            jitter=jitter,
        )
        self._road, self._allowances, self._witnesses, self._new_id = road, allowances, witnesses, new_id
        self._tally, self._is_short_of_memory = tally, is_short_of_memory

    def reconfigure(self, callers: Callers, settings: GatewaySettings, *, secrets: Sequence[str]) -> None:
        reception = self._reception
        reception.callers, reception.settings, reception.secrets = callers, settings, tuple(secrets)

    @property
    def callers(self) -> Callers:
        """Who may call now."""
        return self._reception.callers

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", r"/v1{tail:[\s\S]*}", self.handle, expect_handler=self.expect)]

    async def expect(self, request: web.Request) -> web.StreamResponse | None:
        """Says `100 Continue` to those who may go on, and to nobody else."""
        try:
            caller = self._admitted(request)
            target_of(request.raw_path, self._reception.settings.deny)
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
            caller = self._admitted(request)
            with self._allowances.admitted(caller):
                known = self._reception.known_model(request) if caller else None
                if known is not None:
                    response: web.StreamResponse = _known(known, request_id)
                else:
                    asked = await self._reception.asked(request, request_id, caller)
                    errand = asked.errand
                    response = await self._carried_out(request, asked, traffic)
            status = response.status
        except Refusal as refusal:
            response = _refuse(refusal, request_id)
            status = refusal.status
        finally:
            now, status = time.monotonic(), 101 if traffic.is_open else status
            name = caller.name if caller else ""
            self._tally.asked(name, request.path, status)
            log.info(
                "request.finished",
                request=request_id,
                caller=name,
                method=request.method if request.method in METHODS else "other",
                route=route_of(request.path),
                status=status,
                attempts=errand.attempts if errand else [],
                was_cut=errand is not None and errand.was_cut,
                seconds=round(now - started, 3),
                **traffic.facts(),
            )
        return response

    def _admitted(self, request: web.Request) -> Caller | None:
        """Who calls, None where it brings a key of its own. Raises a Refusal."""
        caller = self._reception.caller_of(request)
        if self._is_short_of_memory():
            raise short_of_memory()
        return caller

    async def _carried_out(self, request: web.Request, asked: Asked, traffic: Traffic) -> web.StreamResponse:
        with self._tally.watching(asked.errand) as stopwatch:
            if asked.errand.call.is_upgrade:
                return await relay(request, asked.errand, self._road, self._witnesses.book, traffic, asked.names)
            return await self._answer(request, asked, stopwatch)

    async def _answer(self, request: web.Request, asked: Asked, stopwatch: Stopwatch) -> web.StreamResponse:
        response = web.StreamResponse()
        errand, body, retelling = asked.errand, asked.body, asked.retelling
        sent = body if isinstance(body, bytes) else b""
        with self._witnesses.watching(errand, sent, asked.bond) as witness:
            async with (
                aclosing(drive(errand, self._road, body)) as driven,
                aclosing(_with_a_last_word(request, errand, driven)) as parts,
            ):
                async for part in parts:
                    witness.see(part)
                    failure = body.failure if isinstance(body, Stream) else None
                    for told in (part,) if retelling is None else retelling.tell(part):
                        match told:
                            case bytes():
                                await response.write(told)
                            case Begin():
                                response = _response(told.status, told.headers, errand.call.id)
                                if told.is_whole and told.data:
                                    response.content_length = len(told.data)
                                await response.prepare(request)
                                if told.data:
                                    await response.write(told.data)
                                stopwatch.has_begun(told)
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


async def _with_a_last_word(request: web.Request, errand: Errand, parts: AsyncGenerator[Part]) -> AsyncGenerator[Part]:
    """`parts`; where the daemon ends before the answer does, and the caller is still there, it hears so at the end."""
    has_begun = False
    try:
        async for part in parts:
            has_begun = has_begun or isinstance(part, Begin)
            yield part
    except asyncio.CancelledError:
        if not has_begun or request.transport is None or request.transport.is_closing():
            raise
        last = errand.lost()
        if isinstance(last, Cut | End):
            yield last


def _response(status: int, headers: Pairs, request_id: str) -> web.StreamResponse:
    response = web.StreamResponse(status=status)
    for name, value in headers:
        response.headers.add(name, value)
    response.headers[REQUEST_ID] = request_id
    return response


def _known(model: bytes, request_id: str) -> web.Response:
    return web.Response(body=model, content_type="application/json", headers={REQUEST_ID: request_id})


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
