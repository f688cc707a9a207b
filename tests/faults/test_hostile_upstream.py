"""An upstream that breaks HTTP, promises what it does not keep, or never ends: what its caller gets, and what it costs us."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from daemon.demo.envelope import Account
from tests.flows.daemon_bench import SAFE, TOKEN, Town, town, words

pytestmark = pytest.mark.usefixtures("both_lanes")

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = ANSWER + b"Transfer-Encoding: chunked\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WORDS = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
ASKED = b'{"model":"gpt-5","stream":true,"messages":[]}'
MEGABYTE = 1 << 20

Play = Callable[[asyncio.StreamWriter], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


def refusal(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status, headers, len(body)) + body


@contextlib.asynccontextmanager
async def facing(
    folder: Path, play: bytes | Play, accounts: Sequence[Account] = (), **limits: Any
) -> AsyncIterator[tuple[Town, list[bytes]]]:
    """The daemon before an upstream that plays the same to whoever asks; and the bodies it was sent."""
    asked: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            asked.append(await reader.readexactly(int(length or 0)))
            if isinstance(play, bytes):
                writer.write(play)
                await writer.drain()
            else:
                await play(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    at = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    def amend(document: dict[str, Any]) -> None:
        document["upstreams"]["openai"] |= {"base_url": at, "first_byte_seconds": 2, "idle_seconds": 2, **limits}
        document["proxy"]["queue_seconds"] = 0

    async with server, town(folder, {"sk-1": []}, accounts, amend=amend) as place:
        yield place, asked
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def asked_of(place: Town) -> tuple[int, dict[str, str], bytes, bool]:
    """Status, headers, the bytes of the body as they are on the wire, and whether the body has its proper end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(place.daemon.url.rpartition(":")[2]))
    writer.write(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(ASKED)}\r\n\r\n".encode()
    )
    writer.write(ASKED)
    answer = bytearray()
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(MEGABYTE):
                answer += piece
    writer.close()
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = headers.get("content-length")
    is_whole = len(body) == int(length) if length is not None else body.endswith(b"0\r\n\r\n")
    return int(status.split()[1]), headers, body, is_whole


async def nothing_is_held(place: Town) -> None:
    async with asyncio.timeout(5):
        while any(view.in_flight for view in place.daemon.pool.snapshot()):
            await asyncio.sleep(0.01)


NO_HTTP = {
    "garbage": b"\x00\x01garbage\r\n\r\n",
    "HTTP/0.9": b"hello",
    "half a status line": b"HTTP/1.1 20",
    "a status in letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "NUL in a header": ANSWER + b"X-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
    "a control byte in a header": ANSWER + b"X-A: a\x01b\r\nContent-Length: 2\r\n\r\n{}",
    "DEL in a header": ANSWER + b"X-A: a\x7fb\r\nContent-Length: 2\r\n\r\n{}",
    "CR in a header": ANSWER + b"X-A: a\rX-B: b\r\nContent-Length: 2\r\n\r\n{}",
    "a control byte in an error's header": refusal(b"400 Bad Request", b"{}", b"X-A: a\x02b\r\n"),
    "a space in a header's name": ANSWER + b"a b: c\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": ANSWER + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "a length and chunks": ANSWER + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": ANSWER + b"Content-Length: -2\r\n\r\n{}",
    "a chunk of no number": CHUNKED + b"zz\r\n{}",
    "a negative chunk": CHUNKED + b"-2\r\n{}",
    "a chunk beyond all numbers": CHUNKED + b"f" * 18 + b"\r\n{}",
    "a body after 204": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "a header of 20 kB": ANSWER + b"X: " + b"a" * 20_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "20,000 headers": ANSWER + b"X: a\r\n" * 20_000 + b"Content-Length: 2\r\n\r\n{}",
    "nothing": b"",
}


@pytest.mark.parametrize("play", NO_HTTP.values(), ids=NO_HTTP.keys())
async def test_what_is_no_http_is_one_502_that_tells_clients_not_to_pay_again(tmp_path: Path, play: bytes) -> None:
    async with facing(tmp_path, play) as (place, asked):
        status, headers, body, is_whole = await asked_of(place)
        await nothing_is_held(place)
    assert (status, json.loads(body)["error"]["code"], is_whole) == (502, "upstream_outcome_unknown", True)
    assert headers["x-should-retry"] == "false"
    assert asked == [ASKED]


TORN = {
    "shorter than its length": ANSWER + b"Content-Length: 20\r\n\r\n{}",
    "no last chunk": CHUNKED + chunk(b"{}"),
    "a stream without [DONE]": STREAM + chunk(WORDS) + b"0\r\n\r\n",
    "a stream cut between events": STREAM + chunk(WORDS),
    "a stream cut inside an event": STREAM + chunk(WORDS + WORDS[:20]),
    "[DONE] as a word of the answer": STREAM + chunk(WORDS.replace(b'"a"', b'"[DONE]"')) + b"0\r\n\r\n",
    "an end that is only quoted": STREAM
    + chunk(WORDS.replace(b'"a"', rb'"\"finish_reason\":\"stop\""'))
    + b"0\r\n\r\n",
}


@pytest.mark.parametrize("play", TORN.values(), ids=TORN.keys())
async def test_a_torn_answer_never_looks_whole_and_is_asked_for_once(tmp_path: Path, play: bytes) -> None:
    async with facing(tmp_path, play) as (place, asked):
        _, _, body, is_whole = await asked_of(place)
        await nothing_is_held(place)
    assert not is_whole
    assert b"data: [DONE]" not in body
    assert asked == [ASKED]


ERRORS = {
    "a gzip bomb": refusal(b"400 X", gzip.compress(bytes(64 * MEGABYTE)), b"Content-Encoding: gzip\r\n"),
    "no gzip": refusal(b"400 X", b"no gzip", b"Content-Encoding: gzip\r\n"),
    "an unknown coding": refusal(b"400 X", b"x", b"Content-Encoding: br\r\n"),
    "a megabyte": refusal(b"400 X", b"a" * MEGABYTE),
}


@pytest.mark.parametrize("play", ERRORS.values(), ids=ERRORS.keys())
async def test_an_error_too_large_or_unreadable_is_told_in_our_own_words(tmp_path: Path, play: bytes) -> None:
    async with facing(tmp_path, play) as (place, _):
        status, _, body, _ = await asked_of(place)
        await nothing_is_held(place)
    assert (status, json.loads(body)["error"]["code"]) == (400, "upstream_error")


SHAPES = {
    "deeply nested": b"[" * 60_000,
    "a string": b'"no"',
    "an error of a list": b'{"error": ["a"]}',
    "numbers and objects for words": b'{"error": {"code": 429, "type": [], "message": {}}}',
    "a number beyond Python's": b'{"error": {"code": ' + b"9" * 5_000 + b"}}",
    "UTF-16": '{"error": "x"}'.encode("utf-16"),
}
ODD_WAIT = (
    b"Retry-After: nan\r\nretry-after-ms: -1\r\nx-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 9e999s\r\n"
)


@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES.keys())
async def test_a_429_of_any_shape_rests_the_key_and_for_a_sane_time(tmp_path: Path, body: bytes) -> None:
    async with facing(tmp_path, refusal(b"429 X", body, ODD_WAIT)) as (place, _):
        status, headers, told, _ = await asked_of(place)
        await nothing_is_held(place)
        assert [view.state for view in place.daemon.pool.snapshot()] == ["cooling"]
    assert (status, json.loads(told)["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(headers["retry-after"]) <= 60


FIRST_EVENTS = {
    "a string": b'data: {"error": "boom"}\n\n',
    "a list": b'data: {"error": [1]}\n\n',
    "an unknown code": b'data: {"error": {"code": {"a": 1}, "message": 5}}\n\n',
}


@pytest.mark.parametrize("event", FIRST_EVENTS.values(), ids=FIRST_EVENTS.keys())
async def test_an_error_event_of_an_odd_shape_is_passed_on_and_blames_no_key(tmp_path: Path, event: bytes) -> None:
    async with facing(tmp_path, STREAM + chunk(event) + b"0\r\n\r\n") as (place, asked):
        status, _, body, is_whole = await asked_of(place)
        await nothing_is_held(place)
        assert [view.state for view in place.daemon.pool.snapshot()] == ["ready"]
    assert (status, is_whole) == (200, True)
    assert event in body
    assert len(asked) == 1


def forever(head: bytes, piece: bytes) -> Play:
    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return play


async def _silence(writer: asyncio.StreamWriter) -> None:
    await writer.wait_closed()


ENDLESS = {
    "1xx": forever(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
    "a header": forever(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 65_536),
    "headers": forever(b"HTTP/1.1 200 OK\r\n", b"X: a\r\n" * 5_000),
    "trailers": forever(CHUNKED + b"0\r\n", b"X: a\r\n" * 5_000),
    "line ends before the first event": forever(STREAM + b"5;", b"\n" * 65_536),
    "silence": _silence,
}


@pytest.mark.parametrize("play", ENDLESS.values(), ids=ENDLESS.keys())
async def test_what_never_ends_is_ended_by_us(tmp_path: Path, play: Play) -> None:
    async with facing(tmp_path, play, first_byte_seconds=0.5, idle_seconds=0.5, connect_seconds=0.5) as (place, asked):
        status, _, body, _ = await asked_of(place)
        await nothing_is_held(place)
    assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_outcome_unknown")
    assert len(asked) == 1


async def test_surplus_bytes_poison_nobody_else_s_answer(tmp_path: Path) -> None:
    """A second answer behind the first one must not become the answer to the next request."""
    surplus = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"
    async with facing(tmp_path, ANSWER + b"Content-Length: 2\r\n\r\n{}" + surplus) as (place, _):
        bodies = [(await asked_of(place))[2] for _ in range(5)]
    assert bodies == [b"{}"] * 5


async def test_an_event_line_of_eight_megabytes_goes_through_unchanged(tmp_path: Path) -> None:
    line = b"data: " + b"a" * (8 * MEGABYTE) + b"\n\n"
    done = b"data: [DONE]\n\n"
    async with (
        facing(tmp_path, STREAM + chunk(line) + chunk(done) + b"0\r\n\r\n") as (place, _),
        place.session.post(
            f"{place.daemon.url}/v1/chat/completions", data=ASKED, headers={"Authorization": f"Bearer {TOKEN}"}
        ) as response,
    ):
        assert await response.read() == line + done


ENDLESS_ANSWERS = {
    "words": forever(STREAM, chunk(WORDS * 2_000)),
    "an event": forever(STREAM, chunk(b"data: " + b"a" * 65_000)),
    "white space": forever(CHUNKED, chunk(b" " * 65_000)),
}


@pytest.mark.parametrize("play", ENDLESS_ANSWERS.values(), ids=ENDLESS_ANSWERS.keys())
async def test_the_bot_does_not_collect_an_answer_that_never_ends(tmp_path: Path, play: Play) -> None:
    """It was kept until `answer_seconds` were over, five minutes, whatever came in them."""
    async with facing(tmp_path, play, (SAFE,)) as (place, asked):
        told = words(await place.side.say("oAnna", "hello"))
        await nothing_is_held(place)
        await place.has_told()
    assert "aaaa" not in told
    assert len(asked) == 1
