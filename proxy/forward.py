"""
The gateway's edge over aiohttp: a request below /v1 comes in, an answer goes out.

Rule 1: whether a request may go on is settled before `100 Continue` is said.
Rule 2: every answer carries `x-posthouse-request`.
Rule 3: bytes leave as they arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from aiohttp import web
from aiohttp.http_writer import StreamWriter

from proxy import door_head, road
from proxy.allowance import Allowances
from proxy.asking import Asking, asking
from proxy.callers import Callers
from proxy.command import Begin, Cut, End, Part
from proxy.draft import Unsupported
from proxy.errand import Errand
from proxy.headers import REQUEST_ID, Fields, Pairs
from proxy.intake import Stream, body_of
from proxy.keypool import KeyPool
from proxy.realtime import Traffic, is_upgrade, opening, plain, relay
from proxy.reception import Asked, GatewaySettings, Reception
from proxy.record import Record, by_structlog
from proxy.refusal import Refusal, invalid_request
from proxy.road import Road
from proxy.tally import Tally
from proxy.upstream import drive
from proxy.visit import House, Visit
from proxy.witness import Witnesses


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
        record: Record = by_structlog,
    ) -> None:
        """`secrets` are blacked out of error bodies; `new_id` makes request ids; `wall_clock` gives epoch seconds."""
        reception = Reception(
            pool,
            callers,
            settings,
            witnesses=witnesses,
            unsupported=unsupported,
            secrets=secrets,
            wall_clock=wall_clock,
            jitter=jitter,
        )
        self.house = House(reception, road, allowances, witnesses, tally, new_id, is_short_of_memory, record)

    def reconfigure(self, callers: Callers, settings: GatewaySettings, *, secrets: Sequence[str]) -> None:
        reception = self.house.reception
        reception.callers, reception.settings, reception.secrets = callers, settings, tuple(secrets)
        door_head.forget()
        road.forget()

    @property
    def callers(self) -> Callers:
        """Who may call now."""
        return self.house.reception.callers

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", r"/v1{tail:[\s\S]*}", self.handle, expect_handler=self.expect)]

    async def expect(self, request: web.Request) -> web.StreamResponse | None:
        """Says `100 Continue` to those who may go on, and to nobody else."""
        try:
            self.house.must_welcome(_asking(request))
        except Refusal as refusal:
            return _refuse(refusal, self.house.new_id())
        if request.headers.get("Expect", "").lower() != "100-continue":
            return _refuse(invalid_request("The only expectation understood is 100-continue."), self.house.new_id())
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
        return None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        visit, traffic = Visit(self.house, request.method, request.path), Traffic()
        reception = self.house.reception
        try:
            request = plain(request)
            asking = _asking(request)
            visit.admit(asking)
            known = reception.known_model(asking) if visit.caller else None
            if known is not None:
                response: web.StreamResponse = _known(known, visit.id)
            else:
                target = reception.target_of(asking)
                settings = reception.settings
                body = await body_of(
                    request, replay_bytes=settings.replay_bytes, max_body_bytes=settings.max_body_bytes
                )
                upgrade = opening(request, target) if is_upgrade(request) else None
                asked = reception.asked(asking, target, body, visit.id, visit.caller, upgrade)
                visit.begin(asked)
                response = await self._carried_out(request, visit, asked, traffic)
            visit.status = response.status
        except Refusal as refusal:
            response = _refuse(refusal, visit.id)
            visit.status = refusal.status
        finally:
            visit.status = 101 if traffic.is_open else visit.status
            visit.close(**traffic.facts())
        return response

    async def _carried_out(
        self, request: web.Request, visit: Visit, asked: Asked, traffic: Traffic
    ) -> web.StreamResponse:
        errand, body, road = asked.errand, asked.body, self.house.road
        if errand.call.is_upgrade:
            return await relay(request, errand, road, self.house.witnesses.book, traffic, asked.names)
        response = web.StreamResponse()
        async with (
            aclosing(drive(errand, road, body)) as driven,
            aclosing(_with_a_last_word(request, errand, driven)) as parts,
        ):
            async for part in parts:
                for told in visit.see(part):
                    match told:
                        case bytes():
                            await response.write(told)
                        case Begin():
                            response = _response(told.status, told.headers, visit.id)
                            if told.is_whole and told.data:
                                response.content_length = len(told.data)
                            await response.prepare(request)
                            if told.data:
                                await response.write(told.data)
                            visit.has_begun(told)
                            if told.is_whole:
                                await response.write_eof()
                        case End():
                            await response.write_eof()
                        case Cut():
                            await _cut(request, response, told.data)
                            return response
                        case Refusal():
                            raise body.failure if isinstance(body, Stream) and body.failure is not None else told
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


def _asking(request: web.Request) -> Asking:
    return asking(request.method, request.raw_path, request.headers.items())


class _AsItCame(web.StreamResponse):
    """An answer whose head goes out to the byte as it came: aiohttp writes what is not ASCII in UTF-8, whatever it was."""

    _send_headers_immediately = False

    async def _write_headers(self) -> None:
        await super()._write_headers()
        writer = self._payload_writer
        assert isinstance(writer, StreamWriter)  # noqa: S101 - aiohttp's server has no other
        assert writer._headers_buf is not None  # noqa: S101 - it was written just now
        writer._headers_buf = writer._headers_buf.decode().encode("latin-1")
        writer.send_headers()


def _response(status: int, headers: Pairs, request_id: str) -> web.StreamResponse:
    response = _AsItCame(status=status)
    for line in Fields.of(headers).lines:
        name, _, value = line.decode("latin-1").partition(":")
        response.headers.add(name, value.strip(" \t"))
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
