"""Answers read strictly: one is read the same however the network cuts it, what could be read in two ways is refused."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpResponseParser
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.response import (
    CHUNK_LINE_BYTES,
    HEAD_BYTES,
    LINE_BYTES,
    TRAILER_BYTES,
    Malformed,
    Reader,
)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reader made of an answer. `fault` is why it was refused, "" where it was not."""

    status: int | None
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_over: bool
    is_reusable: bool
    fault: str = ""


def read(*pieces: bytes, method: str = "POST", ends: bool = False) -> Seen:
    """`ends`: the connection does, after the last piece."""
    reader, body, fault = Reader(method), b"", ""
    head = reader.head
    try:
        for piece in pieces:
            body += reader.feed(piece)
            head = reader.head
    except Malformed as malformed:
        fault = malformed.why
    else:
        if ends:
            reader.is_whole_at_end()
    headers = tuple(head.headers) if head else ()
    is_over = reader.is_over and not fault
    return Seen(head.status if head else None, headers, body, is_over, is_over and reader.is_reusable, fault)


def each_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


# Each: the answer, its status, its body, whether the connection can serve another request.
WHOLE: dict[str, tuple[bytes, int, bytes, bool]] = {
    "a length": (OK + b"Content-Length: 2\r\n\r\nok", 200, b"ok", True),
    "a length of nothing": (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "an empty reason": (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "a reason in another tongue": (b"HTTP/1.1 200 \xe5\xa5\xbd\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "a status nobody knows": (b"HTTP/1.1 799 X\r\nContent-Length: 0\r\n\r\n", 799, b"", True),
    "it says that it closes": (OK + b"Connection: x, Close\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    "chunks": (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", 200, b"ok", True),
    "chunks in capitals": (CHUNKED + b"00A\r\n0123456789\r\n000\r\n\r\n", 200, b"0123456789", True),
    "a chunk with an extension": (CHUNKED + b'2 ;a="b"\r\nok\r\n0;x\r\n\r\n', 200, b"ok", True),
    "a size with blanks behind it": (CHUNKED + b"2  \r\nok\r\n0\r\n\r\n", 200, b"ok", True),
    "chunks of line ends": (CHUNKED + b"4\r\n\r\n\r\n\r\n2\r\n0\r\r\n0\r\n\r\n", 200, b"\r\n\r\n0\r", True),
    "chunks with trailers": (CHUNKED + b"2\r\nok\r\n0\r\nA: b\r\nC: d\r\n\r\n", 200, b"ok", True),
    "a coding in capitals": (OK + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", 200, b"", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "204 with a length of nothing": (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, b"", True),
    "304 with the length it would have": (b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    "interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nLink: a\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
        *(200, b"ok", True),
    ),
    "bytes behind its end": (OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", 200, b"ok", False),
    "bytes behind its chunks": (CHUNKED + b"2\r\nok\r\n0\r\n\r\nPOISON\r\n", 200, b"ok", False),
    "bytes behind 204": (b"HTTP/1.1 204 No Content\r\n\r\nPOISON", 204, b"", False),
}


@pytest.mark.parametrize(("answer", "status", "body", "is_reusable"), WHOLE.values(), ids=WHOLE.keys())
def test_an_answer_is_read_to_its_end_at_once_and_byte_by_byte(
    answer: bytes, status: int, body: bytes, is_reusable: bool
) -> None:
    seen = read(answer)
    assert (seen.status, seen.body, seen.is_over, seen.is_reusable, seen.fault) == (status, body, True, is_reusable, "")
    assert read(*each_byte(answer)) == seen


@pytest.mark.parametrize("framing", [b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_the_answer_to_a_head_has_no_body_whatever_it_says(framing: bytes) -> None:
    seen = read(OK + framing + b"\r\n", method="HEAD")
    assert (seen.body, seen.is_over) == (b"", True)


def test_a_body_without_a_length_ends_with_the_connection_which_serves_nothing_else() -> None:
    assert not read(OK + b"\r\nsome").is_over
    seen = read(OK + b"\r\nso", b"me", ends=True)
    assert (seen.body, seen.is_over, seen.is_reusable) == (b"some", True, False)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        OK + b"A: b\r\n",
        OK + b"Content-Length: 3\r\n\r\nok",
        CHUNKED,
        CHUNKED + b"2\r\nok\r\n0\r\n",
    ],
)
def test_no_other_answer_is_whole_because_the_connection_ends(answer: bytes) -> None:
    assert not read(answer, ends=True).is_over


def test_headers_are_given_in_order_as_they_came_without_the_blanks_around_them() -> None:
    seen = read(OK + b"X-A:\t b c \r\nx-a:\xe9\r\nEmpty:\r\nContent-Length:0\r\n\r\n")
    assert seen.headers == (("X-A", "b c"), ("x-a", "\xe9"), ("Empty", ""), ("Content-Length", "0"))


REFUSED = {
    "no HTTP": b"SSH-2.0-OpenSSH_9\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "HTTP/1.10": b"HTTP/1.10 200 OK\r\n\r\n",
    "in small letters": b"http/1.1 200 OK\r\n\r\n",
    "a line end before it": b"\r\n" + OK + b"\r\n",
    "two blanks": b"HTTP/1.1  200 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 OK\r\n\r\n",
    "other digits": "HTTP/1.1 ２００ OK\r\n\r\n".encode(),
    "a control byte in the reason": b"HTTP/1.1 200 O\x00K\r\n\r\n",
    "101": b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "a line end of LF": b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "a header's line end of LF": OK + b"A: b\nContent-Length: 0\r\n\r\n",
    "no blank line but LF LF": OK + b"Content-Length: 2\n\nok",
    "CR in a value": OK + b"A: b\rC: d\r\nContent-Length: 0\r\n\r\n",
    "CR at the end of a value": OK + b"A: b\r\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": OK + b"A: b\x00\r\nContent-Length: 0\r\n\r\n",
    "DEL in a value": OK + b"A: b\x7f\r\nContent-Length: 0\r\n\r\n",
    "a folded line": OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "a folded first line": OK + b" A: b\r\nContent-Length: 0\r\n\r\n",
    "no colon": OK + b"A b\r\nContent-Length: 0\r\n\r\n",
    "no name": OK + b": b\r\nContent-Length: 0\r\n\r\n",
    "a blank before the colon": OK + b"Content-Length : 0\r\n\r\n",
    "a blank in a name": OK + b"a b: c\r\nContent-Length: 0\r\n\r\n",
    "a name beyond ASCII": OK + b"\xe9: c\r\nContent-Length: 0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
    "one length twice": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\nok",
    "a length below zero": OK + b"Content-Length: -2\r\n\r\n",
    "a length with a sign": OK + b"Content-Length: +2\r\n\r\nok",
    "a length in hexadecimal": OK + b"Content-Length: 0x2\r\n\r\nok",
    "a length with an underscore": OK + b"Content-Length: 1_0\r\n\r\n0123456789",
    "an empty length": OK + b"Content-Length:\r\n\r\n",
    "a length beyond all numbers": OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "a length and chunks": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks in chunks": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "a coding not asked for": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding that ends with the connection": OK + b"Transfer-Encoding: gzip\r\n\r\n",
    "chunks of a sort": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "204 with a length": b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\nhello",
    "204 with chunks": b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an interim answer that is none": b"HTTP/1.1 103 X\r\nA b\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    "a chunk of no number": CHUNKED + b"zz\r\nok\r\n0\r\n\r\n",
    "a chunk of no size": CHUNKED + b"\r\nok\r\n0\r\n\r\n",
    "a chunk below zero": CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    "a chunk with a sign": CHUNKED + b"+2\r\nok\r\n0\r\n\r\n",
    "a chunk in 0x": CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
    "a chunk with a blank before it": CHUNKED + b" 2\r\nok\r\n0\r\n\r\n",
    "a chunk beyond all numbers": CHUNKED + b"f" * 18 + b"\r\nok",
    "a chunk's line end of LF": CHUNKED + b"2\nok\r\n0\r\n\r\n",
    "LF behind a chunk": CHUNKED + b"2\r\nok\n0\r\n\r\n",
    "CR in an extension": CHUNKED + b"2;a\rb\r\nok\r\n0\r\n\r\n",
    "LF in an extension": CHUNKED + b"2;a\nb\r\nok\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"2\r\nokk\r\n0\r\n\r\n",
    "a chunk shorter than its size": CHUNKED + b"3\r\nok\r\n0\r\n\r\n",
    "a trailer that is none": CHUNKED + b"0\r\nA b\r\n\r\n",
    "a trailer's line end of LF": CHUNKED + b"0\r\nA: b\n\r\n",
    "LF for the last line": CHUNKED + b"0\r\n\n",
    "a header too long": OK + b"A: " + b"b" * LINE_BYTES + b"\r\nContent-Length: 0\r\n\r\n",
    "a head too long": OK + b"A: b\r\n" * (HEAD_BYTES // 6 + 1) + b"\r\n",
    "a head without an end": OK + b"A: b\r\n" * (HEAD_BYTES // 6 + 1),
    "too many interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * (HEAD_BYTES // 25 + 1),
    "an extension without an end": CHUNKED + b"2;" + b"a" * CHUNK_LINE_BYTES,
    "an extension too long": CHUNKED + b"2;" + b"a" * CHUNK_LINE_BYTES + b"\r\nok\r\n0\r\n\r\n",
    "trailers too long": CHUNKED + b"0\r\n" + b"A: b\r\n" * (TRAILER_BYTES // 6 + 1) + b"\r\n",
    "trailers without an end": CHUNKED + b"0\r\nA: " + b"b" * TRAILER_BYTES,
}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_answer_or_could_be_two_is_refused_at_once_and_byte_by_byte(answer: bytes) -> None:
    assert read(answer).fault
    slowly = read(*each_byte(answer))
    assert slowly.fault
    assert not slowly.is_over


def test_a_fault_tells_nothing_of_what_came() -> None:
    faults = {read(answer).fault for answer in REFUSED.values()}
    assert not any("b" * 5 in fault or "ok" in fault for fault in faults)
    assert "sk-" not in repr(read(OK + b"X-Echo: sk-1\r\nBad line\r\n\r\n"))


def test_the_longest_that_is_taken_is_taken() -> None:
    assert not read(OK + b"A: " + b"b" * (LINE_BYTES - 3) + b"\r\nContent-Length: 0\r\n\r\n").fault
    assert not read(CHUNKED + b"2;" + b"a" * (CHUNK_LINE_BYTES - 2) + b"\r\nok\r\n0\r\n\r\n").fault


def test_a_body_larger_than_what_is_ever_kept_goes_through() -> None:
    size = 4 * HEAD_BYTES
    assert read(CHUNKED + b"%x\r\n" % size + bytes(size) + b"\r\n0\r\n\r\n").body == bytes(size)
    assert read(OK + b"Content-Length: %d\r\n\r\n" % size + bytes(size)).body == bytes(size)


# --- any answer, cut anyhow

tokens = st.text("abcXYZ019-_!", min_size=1, max_size=12)
values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
fields = st.lists(st.tuples(tokens, values), max_size=4)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, int, bytes]:
    """An answer that is one, its status and its body."""
    status, pieces = draw(st.integers(200, 599)), draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    lines = [f"X{name}: {value}".encode("latin-1") for name, value in draw(fields)]
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 X\r\nLink: <a>\r\n\r\n"]))
    body, wire = b"".join(pieces), b""
    if status in (204, 304):
        body = b""
    elif draw(st.booleans()):
        lines.append(b"Content-Length: %d" % len(body))
        wire = body
    else:
        lines.append(b"Transfer-Encoding: chunked")
        wire = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    lines = draw(st.permutations(lines))
    return interim + b"\r\n".join([b"HTTP/1.1 %d X" % status, *lines, b"", b""]) + wire, status, body


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[start:end] for start, end in pairwise(places)]


cuts = st.lists(st.integers(0, 400), max_size=12)


@given(answers(), cuts)
def test_however_an_answer_is_cut_it_is_read_the_same(answer: tuple[bytes, int, bytes], at: list[int]) -> None:
    wire, status, body = answer
    seen = read(*cut(wire, at))
    assert (seen.status, seen.body, seen.is_over, seen.is_reusable, seen.fault) == (status, body, True, True, "")
    assert seen == read(wire)


mutations = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b":", b"0", b"f", b"\x00", b""])),
    max_size=3,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    wire = draw(answers())[0]
    for place, what in draw(mutations):
        place %= len(wire)
        wire = wire[:place] + what + wire[place + draw(st.integers(0, 1)) :]
    return wire


@given(damaged(), cuts)
def test_what_is_refused_is_refused_however_it_is_cut_and_nothing_else_is_read_before(
    wire: bytes, at: list[int]
) -> None:
    slowly, seen = read(*each_byte(wire)), read(*cut(wire, at))
    assert bool(seen.fault) == bool(slowly.fault)
    assert slowly.body.startswith(seen.body)
    if not seen.fault:
        assert seen == slowly


# --- as others read it


class _Ignored(BaseProtocol):
    def pause_reading(self) -> None: ...
    def resume_reading(self, resume_parser: bool = True) -> None: ...


def as_aiohttp_reads(wire: bytes) -> tuple[int, bytes] | None:
    """Status and body, None where it is refused or not whole."""
    loop = asyncio.new_event_loop()
    try:
        parser: Any = HttpResponseParser(
            _Ignored(loop), loop, 1 << 16, max_line_size=LINE_BYTES, max_field_size=LINE_BYTES, auto_decompress=False
        )
        try:
            messages, _, _ = parser.feed_data(wire)
        except HttpProcessingError:
            return None
        final = [(message, payload) for message, payload in messages if message.code >= 200]
        if not final or final[0][1].exception() is not None:
            return None
        message, payload = final[0]
        return message.code, payload.read_nowait(-1)
    finally:
        loop.close()


def as_h11_reads(wire: bytes) -> tuple[int, bytes] | None:
    h11 = pytest.importorskip("h11")
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(wire)
    status, body = None, b""
    while True:
        try:
            event = reader.next_event()
        except h11.RemoteProtocolError:
            return None
        match type(event).__name__:
            case "Response":
                status = event.status_code
            case "Data":
                body += event.data
            case "EndOfMessage":
                return status, body
            case "InformationalResponse":
                pass
            case _:
                return None


@given(damaged())
def test_what_is_taken_for_whole_others_take_for_the_same(wire: bytes) -> None:
    seen = read(wire)
    if seen.is_over and seen.is_reusable:
        assert as_h11_reads(wire) == (seen.status, seen.body)
        assert as_aiohttp_reads(wire) == (seen.status, seen.body)
