"""A WebSocket through the gateway goes on, ends and is counted: all comes whole, and whoever leaves is missed by the other."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import WSMsgType
from structlog.testing import capture_logs

from daemon.demo.refusals import Limited
from daemon.demo.talk import Talk
from tests.flows.conftest import Start
from tests.flows.sockets import (
    frame_of,
    goes_out,
    masked,
    opened,
    raw_handshake,
    released,
    said,
)

# --- ending


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "off"), (4321, "再见"), (3000, "x" * 120)])
async def test_a_caller_s_goodbye_reaches_the_upstream_word_for_word(start: Start, code: int, reason: str) -> None:
    bench = await start([Talk()])
    async with opened(bench) as socket, asyncio.timeout(1):
        await socket.close(code=code, message=reason.encode())
        assert socket.close_code == code
        await bench.upstream.until(lambda upstream: upstream.talked[0].is_over)
    [talked] = bench.upstream.talked
    assert (talked.code, talked.reason) == (code, reason)
    await released(bench)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1011, "error"), (4001, "session_expired"), (1008, "")])
async def test_the_upstream_s_goodbye_reaches_the_caller_word_for_word(start: Start, code: int, reason: str) -> None:
    bench = await start([Talk(closes_after=1, code=code, reason=reason)])
    async with opened(bench) as socket, asyncio.timeout(1):
        await socket.send_json({"type": "ping"})
        assert await said(socket, "echo")
        last = await socket.receive()
        assert (last.type, last.data, last.extra) == (WSMsgType.CLOSE, code, reason)
        await released(bench)


async def test_an_upstream_that_vanishes_is_told_as_a_failure_never_as_a_proper_end(start: Start) -> None:
    bench = await start([Talk(closes_after=1, code=0)])
    async with opened(bench) as socket, asyncio.timeout(1):
        await socket.send_json({"type": "ping"})
        assert await said(socket, "echo")
        last = await socket.receive()
        assert (last.type, last.data) == (WSMsgType.CLOSE, 1011)


async def test_a_caller_that_vanishes_ends_the_upstream_s_side_within_a_second(start: Start) -> None:
    bench = await start([Talk()])
    async with opened(bench) as socket:
        transport = socket._response.connection.transport  # type: ignore[union-attr]
        transport.abort()  # type: ignore[union-attr]
        async with asyncio.timeout(1):
            await bench.upstream.until(lambda upstream: upstream.talked[0].is_over)
    assert bench.upstream.talked[0].code == 1001
    await released(bench)


async def test_a_silence_of_both_ends_it_and_a_ping_is_no_silence(start: Start) -> None:
    bench = await start([Talk()], upstream_settings={"idle_seconds": 0.3})
    async with opened(bench) as socket, asyncio.timeout(5):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for _ in range(8):
            await socket.ping()
            await asyncio.sleep(0.1)
        assert not socket.closed
        last = await socket.receive()
        assert (last.type, last.data) == (WSMsgType.CLOSE, 1001)
        assert loop.time() - begun > 0.8 + 0.15


async def test_a_daemon_that_ends_says_1001_to_both(start: Start) -> None:
    """The bench drains for 0.2 seconds; what goes on after that is cancelled."""
    bench = await start([Talk()])
    async with opened(bench) as socket:
        stopping = asyncio.ensure_future(bench.stop())
        last = await socket.receive()
        assert (last.type, last.data) == (WSMsgType.CLOSE, 1001)
        await bench.upstream.until(lambda upstream: upstream.talked[0].is_over)
        await stopping
    assert bench.upstream.talked[0].code == 1001


# --- messages


async def test_fragments_and_pings_between_them_are_one_message(start: Start) -> None:
    bench = await start([Talk()])
    async with raw_handshake(bench) as (_, reader, writer):
        await frame_of(reader)
        writer.write(
            masked(0x01, b'{"type":') + masked(0x89, b"there?") + masked(0x00, b' "hello') + masked(0x80, b'"}')
        )
        assert await frame_of(reader) == (0x8A, b"there?")
        _, told = await frame_of(reader)
        assert json.loads(told) == {"type": "echo", "event": {"type": "hello"}}
    assert bench.upstream.talked[0].heard == ['{"type": "hello"}']


async def test_an_upstream_s_pings_are_answered(start: Start) -> None:
    bench = await start([Talk(pings=3)])
    async with opened(bench), asyncio.timeout(5):
        await bench.upstream.until(lambda upstream: upstream.talked[0].pongs == 3)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 15 << 20])
async def test_messages_of_every_size_come_back_whole(start: Start, size: int) -> None:
    bench = await start([Talk()])
    async with opened(bench) as socket:
        await socket.send_bytes(b"\xff" * size)
        assert await socket.receive_bytes() == b"\xff" * size


async def test_a_message_above_the_limit_ends_the_connection_for_its_sender_with_1009(start: Start) -> None:
    bench = await start([Talk()])
    async with raw_handshake(bench) as (_, reader, writer), asyncio.timeout(5):
        await frame_of(reader)
        writer.write(b"\x82\xff" + (16 << 20).to_bytes(8, "big") + b"the first bytes of many")
        opcode, payload = await frame_of(reader)
        assert (opcode, int.from_bytes(payload[:2], "big")) == (0x88, 1009)
        await bench.upstream.until(lambda upstream: upstream.talked[0].is_over)
    assert bench.upstream.talked[0].heard == []
    assert bench.upstream.talked[0].code == 1001


@pytest.mark.parametrize(
    "garbage", [b"\xc1\x80\0\0\0\0", b"\x83\x80\0\0\0\0", b"\x81\xff" + b"\xff" * 8, b"\x00\x80\0\0\0\0"]
)
async def test_what_is_no_frame_ends_the_connection(start: Start, garbage: bytes) -> None:
    bench = await start([Talk()])
    async with raw_handshake(bench) as (_, reader, writer), asyncio.timeout(5):
        await frame_of(reader)
        writer.write(garbage)
        opcode, payload = await frame_of(reader)
        assert (opcode, int.from_bytes(payload[:2], "big")) in [(0x88, 1002), (0x88, 1009)]
        await bench.upstream.until(lambda upstream: upstream.talked[0].is_over)
    await released(bench)


# --- slow ends


async def test_a_caller_that_does_not_read_holds_up_the_upstream_and_not_our_memory(start: Start) -> None:
    bench = await start([Talk(pieces=256)])
    async with raw_handshake(bench, limit=1024) as (_, reader, _):
        await frame_of(reader)
        sent = -1
        while bench.upstream.talked[0].sent != sent:  # until a while brings no more
            sent = bench.upstream.talked[0].sent
            await asyncio.sleep(0.3)
        assert sent < 64, "of 256 mebibytes"


async def test_an_upstream_that_does_not_read_holds_up_the_caller(start: Start) -> None:
    bench = await start([Talk(is_deaf=True)])
    async with opened(bench) as socket:
        sent = 0
        while await goes_out(socket, bytes(1 << 20)):
            sent += 1
        assert sent < 64, "of as many mebibytes as one likes"
        socket._response.close()  # it would wait for the rest to go out


async def test_a_silent_pair_of_which_one_does_not_read_is_ended_by_the_limit(start: Start) -> None:
    bench = await start([Talk(pieces=64)], upstream_settings={"idle_seconds": 0.5})
    async with raw_handshake(bench, limit=1024), asyncio.timeout(10):
        await bench.upstream.until(lambda upstream: bool(upstream.talked) and upstream.talked[0].is_over)
    await released(bench)


# --- the record


async def test_one_line_is_logged_with_counts_and_without_a_word(start: Start) -> None:
    bench = await start([Limited(retry_after="30")], [Talk("of nobody's business")])
    with capture_logs() as logs:
        async with opened(bench) as socket:
            await socket.send_json({"type": "response.create", "secret": "words of a caller"})
            await said(socket, "response.done")
        await released(bench)

    [line] = [line for line in logs if line["event"] == "request.finished"]
    facts = {name: line[name] for name in ("caller", "method", "route", "status", "messages_up", "messages_down")}
    assert facts == {
        "caller": "test",
        "method": "GET",
        "route": "/v1/realtime",
        "status": 101,
        "messages_up": 1,
        "messages_down": 6,
    }
    assert line["seconds"] >= 0
    assert len(line["attempts"]) == 2
    assert "nobody" not in str(logs)
    assert "words" not in str(logs)


async def test_every_answer_of_a_conversation_counts_what_it_says(start: Start) -> None:
    bench = await start([Talk()], keys={"k1": {"models": ("gpt-*",)}})
    async with opened(bench, "/v1/realtime?model=gpt-5") as socket:
        for _ in range(2):
            await socket.send_json({"type": "response.create"})
            await said(socket, "response.done")

    [used] = bench.book.unsaved()
    assert (used.caller, used.key, used.model, used.kind, used.requests) == ("test", "k1", "gpt-5", "reported", 2)
    assert (used.prompt_tokens, used.completion_tokens, used.cached_tokens) == (20, 12, 8)
