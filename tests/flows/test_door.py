"""
The door and the lane behind it: who is served by which, and that a caller cannot tell.

In these benches the application signs its answers with the header X-Lane, as the daemon has it not do: so a test can tell.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.connections import Limits
from daemon.demo.refusals import Limited, html_error
from daemon.demo.steps import Act, Answer, Call, Chunk, CutStream, Hang, Head, Raw, Step
from daemon.door import BODY_BYTES
from tests.flows.conftest import TOKEN, Bench, Start

CHAT = b'{"model":"gpt-5","messages":[{"role":"user","content":"hi"}]}'
STREAM = b'{"model":"gpt-5","messages":[],"stream":true}'
ANOTHER = "Keep-Alive: 5"  # the door does not take it, and it means nothing
JSON = {"content-type": "application/json"}
OF_ONE_ANSWER = frozenset({"date", "x-lane", "x-posthouse-request", "x-request-id"})


def post(body: bytes = CHAT, *more: str, path: str = "/v1/chat/completions", token: str = TOKEN) -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        *more,
    )
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "\r\n")).encode() + body


GET = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


class Told:
    """One answer: `is_whole`: it ended as its framing promised."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, *, is_whole: bool) -> None:
        self.status, self.headers, self.body, self.is_whole = status, headers, body, is_whole

    @property
    def came_by_the_door(self) -> bool:
        return "x-lane" not in self.headers

    @property
    def seen(self) -> tuple[Any, ...]:
        """What a caller could tell two answers apart by."""
        others = {name: value for name, value in self.headers.items() if name not in OF_ONE_ANSWER}
        return self.status, others, self.body, self.is_whole


@asynccontextmanager
async def connected(bench: Bench) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = bench.url.removeprefix("http://").partition(":")
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
        try:
            yield reader, writer
        finally:
            writer.close()


async def told(reader: asyncio.StreamReader) -> Told:
    status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body, status = b"", int(status_line.split()[1])
    try:
        if "chunked" in headers.get("transfer-encoding", ""):
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, ConnectionError) as early:
        body += getattr(early, "partial", b"")
        return Told(status, headers, body, is_whole=False)
    return Told(status, headers, body, is_whole=True)


async def asked(bench: Bench, *pieces: bytes) -> Told:
    async with connected(bench) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await until_heard()
        return await told(reader)


async def until_heard() -> None:
    """Both ends are on this event loop, and loopback is quick: what was written has been read some turns later."""
    for _ in range(5):
        await asyncio.sleep(0)


# --- the same on both lanes


class Empty:
    """A stream that ends before it has begun."""

    def play(self, call: Call) -> Iterator[Act]:
        yield Head(200, {"content-type": "text/event-stream"})


class InBits:
    """A body in chunks that is no stream."""

    def play(self, call: Call) -> Iterator[Act]:
        yield Head(200, JSON)
        yield from (Chunk(b"%d" % number) for number in range(10))


SAME: dict[str, tuple[list[Step], bytes]] = {
    "a whole answer": ([Answer()], post()),
    "a stream": ([Answer()], post(STREAM)),
    "a body in chunks": ([InBits()], post()),
    "a 204": ([Raw(204)], post()),
    "an answer without a type": ([Raw(200, {}, b"x")], post()),
    "an empty answer": ([Raw(200, JSON)], post()),
    "an unknown status": ([Raw(299, JSON, b"{}")], post()),
    "an error of the upstream's": (
        [Raw(400, JSON, json.dumps({"error": {"message": "bad", "code": "x"}}).encode())],
        post(),
    ),
    "an error that is no JSON": ([html_error(403)], post()),
    "no key": ([Limited(retry_after=60.0)], post()),
    "a stream that is empty": ([Empty()], post(STREAM)),
    "a stream that was cut at an event's end": ([CutStream(2, "clean")], post(STREAM)),
    "a stream that was cut inside an event": ([CutStream(2, "inside_event")], post(STREAM)),
    "an answer that was cut": ([CutStream(0, "close")], post()),
    "broken JSON": ([Answer()], post(b"{")),
    "two models": ([Answer()], post(b'{"model":"a","model":"b"}')),
    "an unknown token": ([Answer()], post(token="guess")),
    "a denied path": ([Answer()], post(path="/v1/organization/users")),
    "a doubled slash": ([Answer()], post(path="/v1//chat")),
}


@pytest.mark.parametrize(("script", "request_bytes"), SAME.values(), ids=SAME.keys())
async def test_a_caller_cannot_tell_by_which_lane_an_answer_came(
    start: Start, script: list[Step], request_bytes: bytes
) -> None:
    bench = await start([script[0]])
    logs: list[list[dict[str, Any]]] = []
    answers = []
    for sent in (request_bytes, request_bytes.replace(b"Host: x", b"Host: x\r\n" + ANOTHER.encode())):
        bench.let_pass(3600.0)
        with capture_logs() as said:
            answers.append(await asked(bench, sent))
        logs.append([dict(event) for event in said if event["event"] == "request.finished"])
    by_door, by_aiohttp = answers
    assert by_door.seen == by_aiohttp.seen
    assert set(by_door.headers) == set(by_aiohttp.headers) - {"x-lane"}
    assert (by_door.came_by_the_door, by_aiohttp.came_by_the_door) == (bool(by_door.headers), False)
    for event in (*logs[0], *logs[1]):
        event["attempts"] = [attempt.rule for attempt in event.pop("attempts")]
        del event["request"], event["seconds"]
    assert logs[0] == logs[1] != []
    assert sorted(bench.tally.requests.values()) == [2]


async def test_a_request_is_the_same_upstream_wherever_it_was_split(start: Start) -> None:
    bench = await start([Answer("well")])
    whole = post()
    head = whole.index(b"\r\n\r\n") + 4
    for at in range(1, len(whole), 7):
        answer = await asked(bench, whole[:at], whole[at:])
        assert (answer.status, answer.came_by_the_door) == (200, at >= head), at
    first, *others = [(each.path, each.body, sorted(each.headers.items())) for each in bench.upstream.requests]
    assert others == [first] * len(others)
    assert first[1] == CHAT


# --- one connection


async def test_a_connection_is_the_doors_until_it_asks_anything_else(start: Start) -> None:
    bench = await start([Answer()])
    async with connected(bench) as (reader, writer):
        lanes = []
        for request in (post(), post(STREAM), GET, post()):
            writer.write(request)
            answer = await told(reader)
            assert (answer.status, answer.is_whole) == (200, True)
            lanes.append(answer.came_by_the_door)
    assert lanes == [True, True, False, False]


async def test_what_is_pipelined_is_answered_in_its_order_across_the_lanes(start: Start) -> None:
    bench = await start([Answer(lambda asked: asked.question)])
    async with connected(bench) as (reader, writer):
        said = [post(CHAT.replace(b"hi", b"question %d" % number)) for number in range(6)]
        writer.write(b"".join([*said[:3], GET, *said[3:]]))
        answers = [await told(reader) for _ in range(7)]
    texts = [json.loads(answer.body)["choices"][0]["message"]["content"] for answer in answers[:3] + answers[4:]]
    assert texts == [f"question {number}" for number in range(6)]
    assert [answer.came_by_the_door for answer in answers] == [True] * 3 + [False] * 4


async def test_more_is_pipelined_than_we_keep_and_all_of_it_is_answered(start: Start) -> None:
    bench = await start([Answer("well")])
    body = CHAT.replace(b"hi", b"x" * 50_000)
    async with connected(bench) as (reader, writer):
        writer.write(post(body) * 20)
        answers = [await told(reader) for _ in range(20)]
    assert {(answer.status, answer.came_by_the_door) for answer in answers} == {(200, True)}


async def test_a_thousand_refusals_in_a_row_are_no_deeper_than_one(start: Start) -> None:
    bench = await start([Answer()])
    async with connected(bench) as (reader, writer):
        writer.write(post(b"{") * 1_000)
        assert {(await told(reader)).status for _ in range(1_000)} == {400}


async def test_a_large_body_is_for_the_other_lane(start: Start) -> None:
    bench = await start([Answer("well")])
    for size, by_door in ((BODY_BYTES, True), (BODY_BYTES + 1, False)):
        body = CHAT.replace(b"hi", b"x" * (size - len(CHAT) + 2))
        answer = await asked(bench, post(body))
        assert (answer.status, answer.came_by_the_door) == (200, by_door)


# --- limits


async def test_a_body_that_stops_is_refused_as_on_the_other_lane(start: Start) -> None:
    bench = await start([Answer()], limits=Limits(body_idle_seconds=0.1))
    answer = await asked(bench, post()[:-1])
    assert (answer.status, answer.is_whole) == (408, True)


async def test_whoever_may_not_ask_hears_so_before_its_body_has_come(start: Start) -> None:
    bench = await start([Answer()])
    answer = await asked(bench, post(token="guess")[: -len(CHAT)])
    assert (answer.status, answer.is_whole) == (401, True)


async def test_whoever_says_nothing_is_let_go_in_the_time_for_a_head(start: Start) -> None:
    bench = await start([Answer()], limits=Limits(head_seconds=0.1))
    async with connected(bench) as (reader, _):
        assert await reader.read() == b""


async def test_a_head_that_is_not_whole_in_time_is_refused_as_on_the_other_lane(start: Start) -> None:
    bench = await start([Answer()], limits=Limits(head_seconds=0.1))
    assert (await asked(bench, b"POST /v1/chat")).status == 408


async def test_connections_are_counted_at_the_door_and_given_back_by_either_lane(start: Start) -> None:
    bench = await start([Answer()], limits=Limits(connections=1))
    for request in (post(), GET, post()):
        async with connected(bench) as (reader, writer):
            writer.write(request)
            assert (await told(reader)).status == 200
            assert (await asked(bench, post())).status == 503
            writer.close()
            await writer.wait_closed()
        await until_heard()


# --- the end


async def test_whoever_waits_at_the_daemons_end_gets_its_answer_and_hears_that_it_is_the_last(start: Start) -> None:
    bench = await start([Answer("well", think_seconds=0.05)])
    async with connected(bench) as (reader, writer):
        writer.write(post())
        await bench.upstream.until(lambda upstream: len(upstream.requests) == 1)
        _, answer = await asyncio.gather(bench.stop(), told(reader))
        assert (answer.status, answer.is_whole, answer.headers["connection"]) == (200, True, "close")
        assert await reader.read() == b""


@pytest.mark.parametrize("more", [(), (ANOTHER,)], ids=["door", "aiohttp"])
async def test_a_stream_that_outlasts_the_daemon_is_told_to_be_cut(start: Start, more: tuple[str, ...]) -> None:
    bench = await start([Answer("one two", pieces=2, chunk_seconds=30)])
    with capture_logs() as logs:
        async with connected(bench) as (reader, writer):
            writer.write(post(STREAM, *more))
            _, answer = await asyncio.gather(bench.stop(), told(reader))
    assert (answer.is_whole, answer.came_by_the_door) == (False, not more)
    assert b"upstream_stream_truncated" in answer.body
    assert [event["cancelled"] for event in logs if event["event"] == "server.stopped"] == [1]
    assert bench.pool.snapshot()[0].in_flight == 0


async def test_whoever_has_no_answer_at_the_daemons_end_gets_none(start: Start) -> None:
    bench = await start([Hang()])
    async with connected(bench) as (reader, writer):
        writer.write(post())
        await bench.upstream.until(lambda upstream: len(upstream.requests) == 1)
        _, rest = await asyncio.gather(bench.stop(), reader.read())
    assert rest == b""
    assert bench.pool.snapshot()[0].in_flight == 0


async def test_an_idle_connection_does_not_hold_up_the_daemons_end(start: Start) -> None:
    bench = await start([Answer()])
    async with connected(bench) as (reader, writer):
        writer.write(post())
        await told(reader)
        await bench.stop()
        assert await reader.read() == b""
