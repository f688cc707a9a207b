"""
An upstream's bytes that nobody asked for, or that end otherwise than they said: they become nobody else's answer.

Each of these is the first answer of its connection; the second request must get its own, by whichever lane.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.flows.raw import (
    CALLERS,
    JSON,
    LANES,
    FarEnd,
    Heard,
    House,
    RawUpstream,
    Told,
    answer,
    chat,
    echo,
    house,
    post,
)

OK = f"HTTP/1.1 200 OK\r\n{JSON}\r\n".encode()
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SHORT = OK + b"Content-Length: 2\r\n\r\n{}"
POISON = answer(b'{"asked":"poison","key":"poison"}')
PATIENCE = {"first_byte_seconds": 0.5, "idle_seconds": 0.5}

Open = Callable[..., Awaitable[House]]


@pytest.fixture(params=LANES)
def fast_lane(request: pytest.FixtureRequest) -> bool:
    return LANES[request.param]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def before(folder: Path, first: bytes, *, fast_lane: bool, hangs_up: bool = False) -> AsyncIterator[House]:
    """A daemon whose upstream answers the first request with these bytes, and the others properly."""

    async def play(heard: Heard, end: FarEnd) -> None:
        if len(at.upstream.heard) > 1:
            await echo(heard, end)
            return
        end.say(first)
        if hangs_up:
            end.writer.close()

    async with house(folder, play, fast_lane=fast_lane, keys=2, upstream=PATIENCE) as at:
        yield at


async def two_told(at: House) -> tuple[Told, Told]:
    first = await at.asked(post(chat("first")))
    second = await at.asked(post(chat("second"), token=CALLERS["bert"]))
    assert (second.status, second.json["asked"]) == (200, chat("second").decode())
    await at.nobody_holds_a_key()
    return first, second


# Each answer, and what its caller may take it for: a status, and whether it is whole.
UNREADABLE = {
    "a CR in the status": b"HTTP/1.1 200 OK\rX: y\r\nContent-Length: 2\r\n\r\n{}",
    "LFs alone": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "a line end before it": b"\r\n" + SHORT,
    "a version of its own": SHORT.replace(b"1.1", b"1.2"),
    "HTTP/2.0": SHORT.replace(b"1.1", b"2.0"),
    "another protocol": b"ICY 200 OK\r\n\r\n{}",
    "a status of four digits": SHORT.replace(b"200", b"2000"),
    "a status below 100": SHORT.replace(b"200", b"099"),
    "an upgrade": b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "two lengths that agree": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": OK + b"Content-Length: +2\r\n\r\n{}",
    "a length below nothing": OK + b"Content-Length: -2\r\n\r\n{}",
    "a length in hexadecimal": OK + b"Content-Length: 0x2\r\n\r\n{}",
    "a length in other digits": OK + b"Content-Length: \xb2\r\n\r\n{}",
    "a length beyond all numbers": OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}",
    "an empty length": OK + b"Content-Length:\r\n\r\n{}",
    "a length and chunks": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "two codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "two lines of codings": OK
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"2\r\n{}\r\n0\r\n\r\n",
    "chunks behind a 204": b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a body behind a 204": b"HTTP/1.1 204 X\r\nContent-Length: 2\r\n\r\n{}",
    "a folded line": OK + b"X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    "a space before a colon": OK + b"X-A : b\r\nContent-Length: 2\r\n\r\n{}",
    "a CR in a value": OK + b"X-A: b\rX-B: c\r\nContent-Length: 2\r\n\r\n{}",
    "a LF in a value": OK + b"X-A: b\nX-B: c\r\nContent-Length: 2\r\n\r\n{}",
    "a NUL in a value": OK + b"X-A: b\0c\r\nContent-Length: 2\r\n\r\n{}",
    "a line end in an extension": CHUNKED + b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "a size with a prefix": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a size behind a space": CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n",
    "a size below nothing": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "a size that wraps around": CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "a size that ends in LF": CHUNKED + b"2\n{}\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"2\r\n{}X\r\n0\r\n\r\n",
    "a trailer that is none": CHUNKED + b"2\r\n{}\r\n0\r\nnone\r\n\r\n",
    "a fault behind the last event": STREAM + chunk(b"data: [DONE]\n\n") + b"zz\r\n",
    "nothing, for too long": b"",
    "half a head": OK,
}
CUT = {
    "shorter than its length": OK + b"Content-Length: 9\r\n\r\n{}",
    "no last chunk": CHUNKED + chunk(b"{}"),
    "half of the last chunk": CHUNKED + chunk(b"{}") + b"0\r\n",
    "a size beyond all bodies": CHUNKED + b"f" * 15 + b"\r\n{}",
    "a stream without its last event": STREAM + chunk(b'data: {"choices":[]}\n\n') + b"0\r\n\r\n",
}
WHOLE: dict[str, tuple[bytes, int, bytes]] = {
    "a 100 before it": (b"HTTP/1.1 100 Continue\r\n\r\n" + SHORT, 200, b"{}"),
    "hints before it, with a length": (b"HTTP/1.1 103 X\r\nContent-Length: 9\r\nLink: <a>\r\n\r\n" + SHORT, 200, b"{}"),
    "an extension": (CHUNKED + b"2;a=b\r\n{}\r\n0\r\n\r\n", 200, b"{}"),
    "a trailer": (CHUNKED + chunk(b"{}") + b"0\r\nX-T: a\r\nContent-Length: 9\r\nSet-Cookie: a\r\n\r\n", 200, b"{}"),
    "a length that Connection names": (OK + b"Connection: content-length\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}"),
    "a name that is none of the framing's": (
        OK + b"Transfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
        200,
        b"{}",
    ),
    "an answer of HTTP/1.0": (SHORT.replace(b"1.1", b"1.0"), 200, b"{}"),
    "a 204": (b"HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n", 204, b""),
    "a 304 with the length of what it is about": (b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", 304, b""),
    "more behind a length": (SHORT + POISON, 200, b"{}"),
    "a line end behind a length": (SHORT + b"\r\n", 200, b"{}"),
    "more behind chunks": (CHUNKED + chunk(b"{}") + b"0\r\n\r\n" + POISON, 200, b"{}"),
    "more behind a 204": (b"HTTP/1.1 204 X\r\n\r\n" + POISON, 204, b""),
    "more behind a 304": (b"HTTP/1.1 304 X\r\n\r\n" + POISON, 304, b""),
    "more behind an error": (answer(b"{}", status="400 X") + POISON, 400, b"{}"),
    "hints behind it": (SHORT + b"HTTP/1.1 103 X\r\n\r\n", 200, b"{}"),
    "more behind a stream": (
        STREAM + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n" + POISON,
        200,
        b"data: [DONE]\n\n",
    ),
}


BEHIND = [first for name, (first, _, _) in WHOLE.items() if " behind " in name]


@pytest.mark.parametrize("first", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_an_answer_that_cannot_be_read_is_one_502_and_its_connection_serves_no_more(
    tmp_path: Path, first: bytes, fast_lane: bool
) -> None:
    async with before(tmp_path, first, fast_lane=fast_lane) as at:
        told, _ = await two_told(at)
    assert (told.status, told.code, told.is_whole) == (502, "upstream_outcome_unknown", True)
    assert told.headers["x-should-retry"] == "false"
    assert [(heard.body, heard.number) for heard in at.upstream.heard] == [(chat("first"), 0), (chat("second"), 1)]


@pytest.mark.parametrize("hangs_up", [True, False], ids=["hangs up", "falls silent"])
@pytest.mark.parametrize("first", CUT.values(), ids=CUT.keys())
async def test_an_answer_that_is_cut_looks_cut_and_its_connection_serves_no_more(
    tmp_path: Path, first: bytes, fast_lane: bool, hangs_up: bool
) -> None:
    async with before(tmp_path, first, fast_lane=fast_lane, hangs_up=hangs_up) as at:
        told, _ = await two_told(at)
    assert not told.is_whole
    assert [heard.body for heard in at.upstream.heard] == [chat("first"), chat("second")]


@pytest.mark.parametrize(("first", "status", "body"), WHOLE.values(), ids=WHOLE.keys())
async def test_an_answer_is_its_caller_s_to_its_end_and_what_is_behind_it_is_nobody_s(
    tmp_path: Path, first: bytes, status: int, body: bytes, fast_lane: bool
) -> None:
    async with before(tmp_path, first, fast_lane=fast_lane) as at:
        told, _ = await two_told(at)
    assert (told.status, told.body, told.is_whole) == (status, body, True)
    assert b"poison" not in told.head.lower()
    names = [line.partition(b":")[0].lower() for line in told.head.split(b"\r\n")[1:-2]]
    assert len(set(names)) == len(names)
    assert not {b"x-t", b"set-cookie", b"link"} & set(names)
    has_more = first in BEHIND or b"HTTP/1.0" in first
    assert [heard.number for heard in at.upstream.heard] == [0, 1 if has_more else 0]


async def test_an_answer_is_the_same_wherever_it_was_split(tmp_path: Path, fast_lane: bool) -> None:
    """A head, chunks with an extension, a trailer: cut anywhere, and what is behind it comes with the last piece, or later."""
    whole = CHUNKED.replace(b"\r\n\r\n", b"\r\nX-A: b\r\n\r\n") + b"1;a=b\r\n{\r\n1\r\n}\r\n0\r\nX-T: a\r\n\r\n"
    cut = 0

    async def play(heard: Heard, end: FarEnd) -> None:
        end.say(whole[:cut])
        for _ in range(5):
            await asyncio.sleep(0)
        end.say(whole[cut:])

    async with house(tmp_path, play, fast_lane=fast_lane) as at:
        for cut in range(1, len(whole)):
            told = await at.asked(post(chat("first")))
            assert (told.status, told.body, told.headers["x-a"], told.is_whole) == (200, b"{}", "b", True), cut
        assert {heard.number for heard in at.upstream.heard} == {0}


@pytest.mark.parametrize("size", [65_536, 131_072, 262_144, 524_288])
async def test_a_second_answer_behind_a_large_one_is_not_there_when_its_connection_is_used_again(
    tmp_path: Path, size: int, fast_lane: bool
) -> None:
    """Of an answer that is as long as one reading of the socket, what is behind it stays in the kernel until the next one."""

    async def play(heard: Heard, end: FarEnd) -> None:
        told = json.dumps({"asked": heard.body.decode(), "key": heard.key}).encode()
        empty = answer(b"", "X-A: b")
        length = size - len(empty) - len(str(size)) + 1
        end.say(answer(told.ljust(length), "X-A: b") + POISON)

    async with house(tmp_path, play, fast_lane=fast_lane) as at, at.caller() as caller:
        await caller.say(b"".join(post(chat(f"question {number}")) for number in range(5)))
        for number in range(5):
            told = await caller.told()
            assert told.json["asked"] == chat(f"question {number}").decode()
    assert len(at.upstream.heard) == 5


async def test_what_an_upstream_says_between_two_requests_ends_its_connection(tmp_path: Path, fast_lane: bool) -> None:
    async with house(tmp_path, fast_lane=fast_lane) as at:
        for number in range(4):
            told = await at.asked(post(chat(f"question {number}")))
            assert told.json["asked"] == chat(f"question {number}").decode()
            at.upstream.ends[-1].say(POISON)  # read at once, or found by whoever would use the connection next
            if number % 2:
                await at.upstream.until(lambda: at.upstream.closed == len(at.upstream.ends))
        assert [heard.number for heard in at.upstream.heard] == [0, 1, 2, 3]


async def test_what_an_upstream_says_just_as_its_connection_is_used_again_is_seen_before(
    tmp_path: Path, fast_lane: bool
) -> None:
    """The event loop hears of the caller's request first; what is in the kernel by then is not the answer to it."""
    async with house(tmp_path, fast_lane=fast_lane) as at, at.caller() as caller:
        for number in range(5):
            caller.writer.write(post(chat(f"question {number}")))
            if number:
                at.upstream.ends[-1].say(POISON)
            told = await caller.told()
            assert told.json["asked"] == chat(f"question {number}").decode()
    assert [heard.number for heard in at.upstream.heard] == [0, 1, 2, 3, 4]


async def test_an_upstream_that_speaks_first_is_never_taken_at_its_word_by_the_next_caller(
    tmp_path: Path, fast_lane: bool
) -> None:
    """It answers whatever connects, before anybody has asked: that may be the answer to the first request, and to no other."""

    class Greeting(RawUpstream):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(POISON)
            await super()._serve(reader, writer)

    async with house(tmp_path, fast_lane=fast_lane, raw=Greeting()) as at:
        for number in range(5):
            told = await at.asked(post(chat(f"question {number}")))
            assert told.status in (200, 502)
            if told.status == 200:
                assert told.json["asked"] in (chat(f"question {number}").decode(), "poison")
    bodies = [heard.body for heard in at.upstream.heard]
    assert len(set(bodies)) == len(bodies), "asked once"
    assert len({heard.number for heard in at.upstream.heard}) == len(bodies), "a connection each"


# --- a connection that ends


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_post_on_a_connection_that_ends_as_it_is_written_goes_out_once(
    tmp_path: Path, fast_lane: bool, how: str
) -> None:
    """There is another key, and another connection: but a byte has gone out, and nobody knows what became of it."""

    async def play(heard: Heard, end: FarEnd) -> None:
        if b"lost" not in heard.body:
            await echo(heard, end)
        elif how == "fin":
            end.writer.close()
        else:
            end.reset()

    async with house(tmp_path, play, fast_lane=fast_lane, keys=3) as at, at.caller() as caller:
        for word, status in (("first", 200), ("lost", 502), ("third", 200), ("lost too", 502), ("fifth", 200)):
            await caller.say(post(chat(word)))
            told = await caller.told()
            assert told.status == status
            if status == 502:
                assert (told.code, told.headers["x-should-retry"]) == ("upstream_outcome_unknown", "false")
        bodies = [heard.body for heard in at.upstream.heard]
    assert bodies == [chat(word) for word in ("first", "lost", "third", "lost too", "fifth")]


async def test_connections_that_ended_while_they_were_idle_cost_no_request_and_send_none_twice(
    tmp_path: Path, fast_lane: bool
) -> None:
    async with house(tmp_path, fast_lane=fast_lane, keys=2) as at:
        for number in range(6):
            told = await at.asked(post(chat(f"question {number}")))
            assert (told.status, told.json["asked"]) == (200, chat(f"question {number}").decode())
            if number % 2:
                at.upstream.ends[-1].reset()
            else:
                at.upstream.ends[-1].writer.close()
    assert [heard.body for heard in at.upstream.heard] == [chat(f"question {number}") for number in range(6)]


async def test_an_early_refusal_of_a_large_body_is_told_and_its_connection_serves_no_more(
    tmp_path: Path, fast_lane: bool
) -> None:
    """It answers behind the head, and reads no body: what it was sent of that must never be read as a request."""
    hidden = post(chat("smuggled"), token="sk-k1")
    body = json.dumps({"model": "gpt-5", "input": "x" * 4_000_000}).encode()
    body = body[:-1] + b" " * (-len(body) % len(hidden)) + b"}"

    class Hasty(RawUpstream):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.ends:
                await super()._serve(reader, writer)
                return
            self.ends.append(FarEnd(reader, writer, 0))
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(b'{"error":{"message":"too much"}}', status="400 Bad Request"))
            assert await self.ends[0].has_ended() != body
            writer.close()

    async with house(tmp_path, fast_lane=fast_lane, raw=Hasty()) as at:
        told = await at.asked(post(body))
        assert (told.status, told.is_whole) == (400, True)
        second = await at.asked(post(chat("second")))
        assert (second.status, second.json["asked"]) == (200, chat("second").decode())
    assert [heard.body for heard in at.upstream.heard] == [chat("second")]
