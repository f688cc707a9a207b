"""
A caller's bytes that somebody might read as another request: on both lanes they are one request, or the connection's end.

Behind each stand two plain requests. What is refused with its end in doubt takes them with it; what is served is answered as
itself, and so are they.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.flows.raw import CALLERS, LANES, FarEnd, Heard, House, chat, head, house, post

BODY = chat("first")
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
BEHIND = [chat("behind"), chat("last")]
TWO_MORE = post(BEHIND[0]) + post(BEHIND[1], "Connection: close")


@pytest.fixture(params=LANES)
async def at(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """The daemon, with its fast lane and without."""
    async with house(tmp_path, fast_lane=LANES[request.param]) as opened:
        yield opened


def whole(*lines: str, first: str = "POST /v1/chat/completions HTTP/1.1") -> bytes:
    return head(*lines, first=first) + BODY


def in_chunks(*lines: str) -> bytes:
    return head(*(lines or (CHUNKED,))) + IN_CHUNKS


def with_bytes(line: bytes) -> bytes:
    """A line of any bytes, with or without its end, before the blank one."""
    return head(LENGTH)[:-2] + line + b"\r\n" + BODY


def chunk(size_line: bytes, behind: bytes = b"\r\n0\r\n\r\n") -> bytes:
    return head(CHUNKED) + size_line + BODY + behind


SIZE = b"%x" % len(BODY)

IN_DOUBT = {
    # two framings, or one that is none
    "CL.TE": in_chunks(LENGTH, CHUNKED),
    "TE.CL": in_chunks(CHUNKED, LENGTH),
    "a length of nothing, and chunks": in_chunks("Content-Length: 0", CHUNKED),
    "a length, and an empty coding": whole("Transfer-Encoding:", LENGTH),
    "a length, and no coding": whole("Transfer-Encoding: identity", LENGTH),
    "a coding of no such name": in_chunks("Transfer-Encoding: xchunked"),
    "a coding, and nothing behind its comma": in_chunks("Transfer-Encoding: chunked,"),
    "a coding, and nothing before its comma": in_chunks("Transfer-Encoding: , chunked"),
    "two codings": in_chunks("Transfer-Encoding: gzip, chunked"),
    "two codings the wrong way round": in_chunks("Transfer-Encoding: chunked, identity"),
    "two lines of codings": in_chunks(CHUNKED, CHUNKED),
    "two lines of codings that differ": in_chunks(CHUNKED, "Transfer-Encoding: identity"),
    "a coding in quotes": in_chunks('Transfer-Encoding: "chunked"'),
    "a coding with a parameter": in_chunks("Transfer-Encoding: chunked;a=b"),
    "a coding behind a vertical tab": in_chunks("Transfer-Encoding: \x0bchunked"),
    "a coding before a space that is none": in_chunks("Transfer-Encoding: chunked\xa0"),
    "a coding that is folded": in_chunks("Transfer-Encoding:", " chunked"),
    "a coding before a space and its colon": whole("Transfer-Encoding : chunked", LENGTH),
    "a coding in a line that begins with a space": whole(" Transfer-Encoding: chunked", LENGTH),
    "chunks in HTTP/1.0": head(CHUNKED, first="POST /v1/chat/completions HTTP/1.0") + IN_CHUNKS,
    # lengths
    "two lengths": whole(LENGTH, "Content-Length: 1"),
    "two lengths that agree": whole(LENGTH, LENGTH),
    "a list of lengths": whole(f"{LENGTH}, {len(BODY)}"),
    "a length with a sign": whole(f"Content-Length: +{len(BODY)}"),
    "a length below nothing": whole("Content-Length: -1"),
    "a length with an underscore": whole("Content-Length: 6_6"),
    "a length with a space in it": whole("Content-Length: 6 6"),
    "a length in hexadecimal": whole(f"Content-Length: {len(BODY):#x}"),
    "a length in other digits": whole("Content-Length: \xb2"),
    "an empty length": whole("Content-Length:"),
    "a length beyond all numbers": whole(f"Content-Length: {'9' * 30}"),
    "a length that is folded": whole("Content-Length:", f" {len(BODY)}"),
    # lines
    "a folded line": with_bytes(b"X-A: b\r\n c\r\n"),
    "a folded first line": whole(LENGTH).replace(b"\r\nHost", b"\r\n Host"),
    "a bare LF": with_bytes(b"X-A: b\nX-B: c\r\n"),
    "a lone CR": with_bytes(b"X-A: b\rX-B: c\r\n"),
    "two CRs": with_bytes(b"X-A: b\r\r\n"),
    "LFs alone": whole(LENGTH).replace(b"\r\n", b"\n"),
    "a head that ends in LF": head(LENGTH)[:-2] + b"\n" + BODY,
    "a NUL": with_bytes(b"X-A: b\0c\r\n"),
    "a NUL in a name": with_bytes(b"X\0A: b\r\n"),
    "a DEL": with_bytes(b"X-A: b\x7fc\r\n"),
    "no name": with_bytes(b": b\r\n"),
    "no colon": with_bytes(b"X-A\r\n"),
    "no Host": whole(LENGTH).replace(b"Host: x\r\n", b""),
    "two Hosts": whole("Host: y", LENGTH),
    "two types": whole("Content-Type: text/plain", LENGTH),
    # chunks
    "a line end in an extension": chunk(SIZE + b";a\nb\r\n"),
    "a CR in an extension": chunk(SIZE + b";a\rb\r\n"),
    "a line end in an extension's quotes": chunk(SIZE + b';a="\r\n"\r\n'),
    "a space behind a size": chunk(SIZE + b" \r\n"),
    "a size that ends in LF": chunk(SIZE + b"\n"),
    "a size with a prefix": chunk(b"0x" + SIZE + b"\r\n"),
    "a size with a sign": chunk(b"+" + SIZE + b"\r\n"),
    "a size below nothing": chunk(b"-" + SIZE + b"\r\n"),
    "a size with an underscore": chunk(b"0_" + SIZE + b"\r\n"),
    "a size that wraps around": chunk(b"1%016x\r\n" % len(BODY)),
    "a size beyond all numbers": chunk(b"f" * 17 + b"\r\n"),
    "a chunk longer than its size": chunk(SIZE + b"\r\n", b"XX0\r\n\r\n"),
    "a chunk that ends in LF": chunk(SIZE + b"\r\n", b"\n0\r\n\r\n"),
    "an end that is none": chunk(SIZE + b"\r\n", b"\r\n0\r\nX\r\n\r\n"),
    "an end in LF": chunk(SIZE + b"\r\n", b"\r\n0\r\n\n"),
    "a length in a trailer": chunk(SIZE + b"\r\n", b"\r\n0\r\nContent-Length: 5\r\n\r\n"),
    # first lines
    "an absolute target": whole(LENGTH, first="POST http://x/v1/chat/completions HTTP/1.1"),
    "an absolute target elsewhere": whole(LENGTH, first="POST http://192.0.2.1/v1/chat/completions HTTP/1.1"),
    "a target that is an authority": whole(LENGTH, first="POST x:80 HTTP/1.1"),
    "a fragment": whole(LENGTH, first="POST /v1/chat/completions#a HTTP/1.1"),
    "a tab for a space": whole(LENGTH, first="POST\t/v1/chat/completions HTTP/1.1"),
    "a space at the end": whole(LENGTH, first="POST /v1/chat/completions HTTP/1.1 "),
    "HTTP/0.9": b"GET /v1/models\r\n",
    "HTTP/1.2": whole(LENGTH, first="POST /v1/chat/completions HTTP/1.2"),
    "HTTP/2.0": whole(LENGTH, first="POST /v1/chat/completions HTTP/2.0"),
    "no version": whole(LENGTH, first="POST /v1/chat/completions"),
    "a version in small letters": whole(LENGTH, first="POST /v1/chat/completions http/1.1"),
    "a tunnel": head(first="CONNECT 192.0.2.1:443 HTTP/1.1"),
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
}


async def test_what_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(at: House) -> None:
    for trick, data in IN_DOUBT.items():
        async with at.caller() as caller:
            await caller.say(data + TWO_MORE)
            said = await caller.rest()
        assert said.count(b"HTTP/1.") == 1, trick
        assert int(said[9:12]) in (400, 405, 431, 505), trick
    assert at.upstream.heard == []


ONE = {
    "a zero before its length": whole(f"Content-Length: 0{len(BODY)}"),
    "a tab before its length": whole(f"Content-Length:\t{len(BODY)}"),
    "a space behind its length": whole(LENGTH + " "),
    "a name that is none of the framing's": whole("Transfer_Encoding: chunked", LENGTH),
    "blank lines before it": b"\r\n\r\n" + post(BODY),
    "a body behind a GET": whole(LENGTH, first="GET /v1/models/x HTTP/1.1"),
    "an expectation": whole("Expect: 100-continue", LENGTH),
    "bytes that are no text": with_bytes(b"X-A: \xe9\xff\r\n"),
    "the token twice": whole(f"api-key: {CALLERS['anna']}", LENGTH),
    "a length that Connection names": whole("Connection: content-length, authorization", LENGTH),
}


async def test_what_is_odd_and_certain_is_one_request_and_so_is_each_behind_it(at: House) -> None:
    for oddity, data in ONE.items():
        at.upstream.heard.clear()
        async with at.caller() as caller:
            await caller.say(data + TWO_MORE)
            answers = await caller.all_told()
        assert [heard.body for heard in at.upstream.heard] == [BODY, *BEHIND], oddity
        assert [told.json["asked"] for told in answers] == [body.decode() for body in (BODY, *BEHIND)], oddity
        for heard in at.upstream.heard:
            names = [line.partition(b":")[0].lower() for line in heard.head.split(b"\r\n")[1:-2]]
            assert len(set(names)) == len(names), oddity
            assert names.count(b"content-length") == 1, oddity
            assert not {b"transfer-encoding", b"transfer_encoding", b"expect"} & set(names), oddity


LAST = {
    "chunks": in_chunks(),
    "chunks in capitals": in_chunks("Transfer-Encoding: CHUNKED"),
    "chunks behind a tab": in_chunks("Transfer-Encoding:\tchunked"),
    "a chunk with an extension": chunk(SIZE + b";a=b\r\n"),
    "a size with zeros": chunk(b"0000" + SIZE + b"\r\n"),
    "a trailer": chunk(SIZE + b"\r\n", b"\r\n0\r\nX-T: a\r\n\r\n"),
    "a trailer with a token": chunk(SIZE + b"\r\n", b"\r\n0\r\nAuthorization: Bearer ph-bert-token\r\n\r\n"),
    "a trailer for the request behind it": chunk(
        SIZE + b"\r\n", b"\r\n0\r\nX-A: b\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
    ),
    "an upgrade to HTTP/2": whole(
        "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", LENGTH
    ),
    "an upgrade to anything": whole("Connection: Upgrade", "Upgrade: tcp", LENGTH),
}


async def test_what_aiohttp_does_not_find_the_end_of_is_its_connection_s_last_request(at: House) -> None:
    """
    A body's last trailer became the first header of the next request, `Authorization` too: behind a proxy that shares
    connections, one caller wrote headers into another's request. And what came in one piece with an upgrade to h2c was dropped,
    so that its caller waited for ever.
    """
    for oddity, data in LAST.items():
        for pieces in ([data + TWO_MORE], [data, TWO_MORE]):
            at.upstream.heard.clear()
            async with at.caller() as caller:
                await caller.say(*pieces)
                (told,) = await caller.all_told()
            assert (told.json["asked"], told.headers["connection"]) == (BODY.decode(), "close"), oddity
            (heard,) = at.upstream.heard
            assert heard.body == BODY, oddity
            assert heard.head.count(b"\r\n") == 7, oddity


async def test_the_end_of_an_answer_is_told_to_http_1_0_too_and_nothing_is_said_behind_it(at: House) -> None:
    """With keep-alive, and no length to say, the connection stayed open, and the next answer followed within this one."""

    async def play(heard: Heard, end: FarEnd) -> None:
        end.say(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        )

    at.upstream.play = play
    data = whole(LENGTH, "Connection: keep-alive", first="POST /v1/chat/completions HTTP/1.0")
    async with at.caller() as caller:
        await caller.say(data + TWO_MORE)
        said = await caller.rest()
    assert said.startswith(b"HTTP/1.0 200")
    assert b"transfer-encoding" not in said.lower()
    assert said.endswith(b"\r\n\r\n{}")
    assert len(at.upstream.heard) == 1


REFUSED = {
    "a wrong token": head(LENGTH, token="ph-guess") + BODY,
    "two tokens": whole(f"Authorization: Bearer {CALLERS['bert']}", LENGTH),
    "two tokens in two headers": whole(f"api-key: {CALLERS['bert']}", LENGTH),
    "a method that is not forwarded": whole(LENGTH, first="TRACE /v1/models HTTP/1.1"),
    "a denied path": whole(LENGTH, first="POST /v1/organization/users HTTP/1.1"),
    "a step up": whole(LENGTH, first="POST /v1/../admin HTTP/1.1"),
    "an encoded body": whole("Content-Encoding: gzip", LENGTH),
    "another expectation": whole("Expect: 200-ok", LENGTH),
    "a POST that would be a WebSocket": whole("Connection: Upgrade", "Upgrade: websocket", LENGTH),
    "another protocol's star": head(first="OPTIONS * HTTP/1.1"),
}


async def test_what_is_refused_and_certain_is_read_to_its_end_and_only_what_is_behind_it_is_served(at: House) -> None:
    for reason, data in REFUSED.items():
        at.upstream.heard.clear()
        async with at.caller() as caller:
            await caller.say(data + TWO_MORE)
            refusal, *answers = await caller.all_told()
        assert 400 <= refusal.status < 500, reason
        assert [told.status for told in answers] == [200, 200], reason
        assert [heard.body for heard in at.upstream.heard] == BEHIND, reason


async def test_the_body_of_a_refused_request_is_never_a_request_however_late_it_comes(at: House) -> None:
    """A refusal goes out before the body is there; what then comes is still that body."""
    smuggled = post(chat("smuggled"))
    length = f"Content-Length: {len(smuggled)}"
    for lines in ((length,), (CHUNKED,), (length, "Expect: 100-continue")):
        for token, path in (("ph-guess", "chat/completions"), (CALLERS["anna"], "organization/users")):
            async with at.caller() as caller:
                await caller.say(head(*lines, token=token, first=f"POST /v1/{path} HTTP/1.1"))
                assert (await caller.told()).status in (401, 403)
                body = smuggled if CHUNKED not in lines else b"%x\r\n%b\r\n0\r\n\r\n" % (len(smuggled), smuggled)
                await caller.say(body + TWO_MORE)
                answers = await caller.all_told()
            assert [told.status for told in answers] == ([] if CHUNKED in lines else [200, 200]), lines
    assert not [heard for heard in at.upstream.heard if heard.body not in BEHIND]


# --- more than one at a time


async def test_a_request_in_a_body_is_a_body(at: House) -> None:
    inner = post(chat("smuggled"))
    outer = head(f"Content-Length: {len(inner)}").replace(b"application/json", b"text/plain") + inner
    async with at.caller() as caller:
        await caller.say(outer + TWO_MORE)
        answers = await caller.all_told()
    assert [told.json["asked"] for told in answers] == [inner.decode(), *(body.decode() for body in BEHIND)]
    assert [heard.body for heard in at.upstream.heard] == [inner, *BEHIND]


async def test_a_trailer_lets_nobody_in(at: House) -> None:
    for token in ("ph-guess", ""):
        data = head(CHUNKED, token=token) + IN_CHUNKS[:-2] + f"Authorization: Bearer {CALLERS['anna']}\r\n\r\n".encode()
        async with at.caller() as caller:
            await caller.say(data + head(LENGTH).replace(b"Authorization", b"X-None") + BODY)
            assert [told.status for told in await caller.all_told()] == [401]
    assert at.upstream.heard == []


async def test_none_of_what_is_pipelined_is_served_with_the_token_of_another(at: House) -> None:
    tokens = [CALLERS["anna"], "ph-evil-token", CALLERS["bert"], "ph-anna-tokem", CALLERS["anna"], ""]
    requests = [post(chat(f"question {number}"), token=token) for number, token in enumerate(tokens)]
    async with at.caller() as caller:
        await caller.say(b"".join(requests) + TWO_MORE)
        answers = await caller.all_told()
    assert [told.status for told in answers] == [200, 401, 200, 401, 200, 401, 200, 200]
    assert [heard.body for heard in at.upstream.heard] == [
        *(chat(f"question {number}") for number in (0, 2, 4)),
        *BEHIND,
    ]


async def test_many_that_are_pipelined_plain_and_odd_are_each_asked_once_and_answered_in_order(at: House) -> None:
    bodies = [chat(f"question {number}") for number in range(120)]
    requests = [
        post(body, *(["X-A: b\tc"] if number % 7 == 5 else ["X-B: 1"] * (number % 3 == 0)))
        for number, body in enumerate(bodies)
    ]
    async with at.caller() as caller:
        await caller.say(b"".join(requests) + TWO_MORE)
        answers = await caller.all_told()
    assert [heard.body for heard in at.upstream.heard] == [*bodies, *BEHIND]
    assert [told.json["asked"] for told in answers] == [body.decode() for body in (*bodies, *BEHIND)]


async def test_garbage_behind_a_request_costs_that_request_nothing(at: House) -> None:
    release = asyncio.Event()
    play = at.upstream.play

    async def late(heard: Heard, end: FarEnd) -> None:
        await release.wait()
        await play(heard, end)

    at.upstream.play = late
    async with at.caller() as caller:
        await caller.say(post(BODY))
        await at.upstream.until(lambda: len(at.upstream.heard) == 1)
        await caller.say(b"\0\r\n\r\n" + TWO_MORE)
        release.set()
        first, second = await caller.all_told()
    assert (first.status, first.json["asked"], second.status) == (200, BODY.decode(), 400)
    assert len(at.upstream.heard) == 1


async def test_a_request_is_one_wherever_it_was_split_and_whatever_comes_with_its_last_piece(at: House) -> None:
    data = post(BODY)
    for cut in range(1, len(data)):
        at.upstream.heard.clear()
        async with at.caller() as caller:
            await caller.say(data[:cut], data[cut:] + TWO_MORE[:cut], TWO_MORE[cut:])
            answers = await caller.all_told()
        assert [told.json["asked"] for told in answers] == [body.decode() for body in (BODY, *BEHIND)], cut
        assert [heard.body for heard in at.upstream.heard] == [BODY, *BEHIND], cut


async def test_a_request_byte_by_byte_is_one_request(at: House) -> None:
    data = post(BODY) + TWO_MORE
    async with at.caller() as caller:
        await caller.say(*(data[at : at + 1] for at in range(len(data))))
        answers = await caller.all_told()
    assert [told.status for told in answers] == [200] * 3
    assert [heard.body for heard in at.upstream.heard] == [BODY, *BEHIND]
