"""What the door takes, every other parser reads the same; and it takes what clients really send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from unittest import mock

import h11
import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy, RawRequestMessage
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon.server import refusal
from proxy.door_head import LINE_BYTES, MOST_LINES, Taken, posted, taken

MOST = 16_384
PLAIN = (
    b"POST /v1/chat/completions HTTP/1.1",
    b"Host: localhost:8080",
    b"Authorization: Bearer ph-token",
    b"Content-Type: application/json",
    b"Content-Length: 5",
)
BODY = b"12345"

# As clients send it: their own order and spelling.
CLIENTS = {
    "openai-python, over httpx": (
        *(
            b"Host: 127.0.0.1",
            b"Accept-Encoding: gzip, deflate",
            b"Connection: keep-alive",
            b"Accept: application/json",
        ),
        *(b"Content-Type: application/json", b"User-Agent: OpenAI/Python 2.0.0", b"X-Stainless-Lang: python"),
        *(b"Authorization: Bearer t", b"x-stainless-retry-count: 0", b"Content-Length: 5"),
    ),
    "openai-node, over undici": (
        *(b"host: localhost:8080", b"connection: keep-alive", b"accept: application/json"),
        *(b"content-type: application/json", b"user-agent: OpenAI/JS 5.0.0", b"authorization: Bearer t"),
        *(b"accept-language: *", b"sec-fetch-mode: cors", b"accept-encoding: gzip, deflate", b"content-length: 5"),
    ),
    "curl": (
        *(b"Host: localhost:8080", b"User-Agent: curl/8.5.0", b"Accept: */*", b"Authorization: Bearer t"),
        *(b"Content-Type: application/json", b"Content-Length: 5"),
    ),
    "Go": (
        *(b"Host: localhost:8080", b"User-Agent: Go-http-client/1.1", b"Content-Length: 5", b"Authorization: Bearer t"),
        *(b"Content-Type: application/json", b"Accept-Encoding: gzip"),
    ),
    "nginx in front": (
        *(b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: https", b"Host: gateway", b"Content-Length: 5"),
        *(b"authorization: Bearer t", b"content-type: application/json"),
    ),
}


def of(head: bytes, most: int = MOST) -> Taken | None:
    return taken(head, most_bytes=most)


@pytest.mark.parametrize("lines", CLIENTS.values(), ids=CLIENTS.keys())
def test_the_head_of_every_client_is_taken(lines: tuple[bytes, ...]) -> None:
    found = of(b"\r\n".join((PLAIN[0], *lines)))
    assert found is not None
    assert (found.length, found.asking.method, found.asking.raw) == (5, "POST", "/v1/chat/completions")
    assert found.asking.token == "t"
    others = [line for line in lines if not line.lower().startswith(b"content-length")]
    assert [f"{name}: {value}".encode() for name, value in found.asking.headers] == others


def without(name: bytes) -> bytes:
    return b"\r\n".join(line for line in PLAIN if not line.startswith(name))


def instead(name: bytes, line: bytes) -> bytes:
    return b"\r\n".join(line if own.startswith(name) else own for own in PLAIN)


def with_more(*lines: bytes) -> bytes:
    return b"\r\n".join((*PLAIN, *lines))


NOT_TAKEN = {
    "another method": instead(b"POST", b"GET /v1/chat/completions HTTP/1.1"),
    "a method in small letters": instead(b"POST", b"post /v1/chat/completions HTTP/1.1"),
    "another path": instead(b"POST", b"POST /status HTTP/1.1"),
    "a query": instead(b"POST", b"POST /v1/chat/completions?a=b HTTP/1.1"),
    "an escape": instead(b"POST", b"POST /v1/%63hat HTTP/1.1"),
    "a step up": instead(b"POST", b"POST /v1/../status HTTP/1.1"),
    "an absolute target": instead(b"POST", b"POST http://x/v1/chat HTTP/1.1"),
    "two spaces": instead(b"POST", b"POST  /v1/chat/completions HTTP/1.1"),
    "HTTP/1.0": instead(b"POST", b"POST /v1/chat/completions HTTP/1.0"),
    "HTTP/1.2": instead(b"POST", b"POST /v1/chat/completions HTTP/1.2"),
    "no Host": without(b"Host"),
    "two Hosts": with_more(b"host: other"),
    "no length": without(b"Content-Length"),
    "no body": instead(b"Content-Length", b"Content-Length: 0"),
    "two lengths": with_more(b"Content-Length: 6"),
    "two lengths that agree": with_more(b"content-length: 5"),
    "a length in a list": instead(b"Content-Length", b"Content-Length: 5, 5"),
    "a length with a sign": instead(b"Content-Length", b"Content-Length: +5"),
    "a length with a zero before it": instead(b"Content-Length", b"Content-Length: 05"),
    "a length in other digits": instead(b"Content-Length", b"Content-Length: \xd9\xa5"),
    "a length too long to be small": instead(b"Content-Length", b"Content-Length: 1000000"),
    "a length behind a tab": instead(b"Content-Length", b"Content-Length:\t5"),
    "a length with a space behind it": instead(b"Content-Length", b"Content-Length: 5 "),
    "chunks": with_more(b"Transfer-Encoding: chunked"),
    "another coding": with_more(b"Transfer-Encoding: identity"),
    "a space before the colon": with_more(b"X-Other : 1"),
    "a folded line": with_more(b"X-Other: 1", b" 2"),
    "no colon": with_more(b"X-Other"),
    "no name": with_more(b": 1"),
    "no value": with_more(b"X-Other:"),
    "an underscore in a name": with_more(b"Content_Length: 6"),
    "an expectation": with_more(b"Expect: 100-continue"),
    "an upgrade": with_more(b"Upgrade: websocket"),
    "an upgrade to HTTP/2": with_more(b"HTTP2-Settings: AAMAAABk"),
    "the end of the connection": with_more(b"Connection: close"),
    "a header for this connection": with_more(b"Connection: keep-alive, x-other"),
    "trailers": with_more(b"TE: trailers"),
    "an encoded body": with_more(b"Content-Encoding: gzip"),
    "a name that stands twice": with_more(b"Cookie: a", b"cookie: b"),
    "a value that is no ASCII": with_more("X-Other: é".encode()),
    "a NUL": with_more(b"X-Other: a\0b"),
    "a lone LF": with_more(b"X-Other: a\nb: c"),
    "a lone CR": with_more(b"X-Other: a\rb: c"),
    "a tab in a value": with_more(b"X-Other: a\tb"),
    "a line that is too long": with_more(b"X-Other: " + b"a" * LINE_BYTES),
    "too many lines": with_more(*(b"X-%d: a" % number for number in range(MOST_LINES))),
    "an empty line before it": b"\r\n" + b"\r\n".join(PLAIN),
}


@pytest.mark.parametrize("head", NOT_TAKEN.values(), ids=NOT_TAKEN.keys())
def test_what_is_not_strictly_plain_is_not_taken(head: bytes) -> None:
    assert of(b"\r\n".join(PLAIN)) is not None
    assert of(head) is None


def test_a_head_is_as_long_as_the_setting_says_at_most() -> None:
    head = b"\r\n".join(PLAIN)
    assert of(head, len(head)) is not None
    assert of(head, len(head) - 1) is None


def test_the_same_head_with_another_length_is_another_request() -> None:
    found = [of(instead(b"Content-Length", b"Content-Length: %d" % length)) for length in (7, 8)]
    assert [each.length for each in found if each] == [7, 8]


# --- the same bytes, read by others


def heard_by_aiohttp(data: bytes, parser: type[HttpRequestParserPy]) -> tuple[RawRequestMessage, bytes]:
    """What aiohttp's server makes of `data`: one request, its body, and nothing else."""
    loop = mock.create_autospec(asyncio.AbstractEventLoop, instance=True)
    reading = parser(mock.create_autospec(BaseProtocol, instance=True), loop, 2**16, auto_decompress=False)
    ((message, payload),), is_upgraded, tail = reading.feed_data(data)
    assert (is_upgraded, tail, payload.is_eof()) == (False, b"", True)
    return message, payload.read_nowait()


def heard_by_h11(data: bytes) -> tuple[h11.Request, bytes]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert connection.next_event() is h11.PAUSED or connection.trailing_data == (b"", False)
    return request, body


NAMES = st.sampled_from(
    [
        *(
            b"Host",
            b"host",
            b"Content-Length",
            b"content-length",
            b"Transfer-Encoding",
            b"Connection",
            b"Expect",
            b"TE",
        ),
        *(b"Upgrade", b"Content-Encoding", b"Keep-Alive", b"Authorization", b"Content-Type", b"Accept", b"X-A", b"x-a"),
        *(b"X-%d" % number for number in range(9)),
        *(b"Content_Length", b"Sec-WebSocket-Key1", b"X-Forwarded-For", b"Trailer", b"", b"X A", b"X\t", b"\xc3\xa9"),
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            b"5",
            b"05",
            b"5,5",
            b"+5",
            b"0x5",
            b"5 ",
            b"",
            b"chunked",
            b"close",
            b"keep-alive",
            b"Keep-Alive",
            b"gzip",
            b"h",
        ]
    ),
    st.text(st.characters(max_codepoint=0x7F), max_size=8).map(str.encode),
    st.binary(max_size=8),
)
SEPARATORS = st.sampled_from([*[b": "] * 9, b":", b":  ", b" : ", b":\t", b"", b":\x0b"])
ENDS = st.sampled_from([b"\r\n"] * 80 + [b"\n", b"\r", b"\r\n ", b"\r\n\t", b"\r\r\n", b"\0\r\n"])
FIRST = st.sampled_from(
    [PLAIN[0]] * 32
    + [
        *(b"POST /v1/a/../b HTTP/1.1", b"POST /v1/a HTTP/1.0", b"POST /v1/a%20b HTTP/1.1", b"POST /v1/a#b HTTP/1.1"),
        *(b"GET /v1/a HTTP/1.1", b"POST /v1//a HTTP/1.1", b"POST /v1/a  HTTP/1.1", b"POST\t/v1/a HTTP/1.1"),
    ]
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A plain head with some lines more, others gone or doubled, in any order, and a byte changed somewhere."""
    lines = [*PLAIN[1:]]
    for _ in range(draw(st.integers(0, 3))):
        lines += [draw(NAMES) + draw(SEPARATORS) + draw(VALUES)]
    if draw(st.booleans()):
        lines = draw(st.permutations(lines))
    if draw(st.integers(0, 9)) == 0:
        lines.pop(draw(st.integers(0, len(lines) - 1)))
    ends = [draw(ENDS) for _ in lines]
    head = bytearray(draw(FIRST) + b"".join(end + line for end, line in zip(ends, lines, strict=True)))
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(head) - 1))
        head[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(head)


def pairs(message: RawRequestMessage) -> Iterator[tuple[str, str]]:
    yield from ((name.lower(), value) for name, value in message.headers.items() if name.lower() != "content-length")


def with_a_query(head: bytes) -> bytes:
    return head.replace(b"/v1/chat/completions", b"/wechat/a-b?signature=0f&nonce=1&openid=o_A-b.c", 1)


@pytest.mark.parametrize("head", NOT_TAKEN.values(), ids=NOT_TAKEN.keys())
def test_nor_is_it_where_it_has_a_query(head: bytes) -> None:
    assert posted(with_a_query(b"\r\n".join(PLAIN)), most_bytes=MOST) is not None
    assert posted(with_a_query(head), most_bytes=MOST) is None or b"?" not in with_a_query(head).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "query",
    ["", "a", "a=", "=a", "a=1&", "&a=1", "a=1&&b=2", "a=1;b=2", "a=%20", "a=1+2", "a=b=c", "A=1", "a=1#b", "a=é"],
)
def test_a_query_that_could_be_read_in_two_ways_is_not_taken(query: str) -> None:
    head = instead(b"POST", f"POST /wechat?{query} HTTP/1.1".encode())
    assert posted(head, most_bytes=MOST) is None


@settings(max_examples=1_500, deadline=None)
@given(heads())
@example(b"\r\n".join(PLAIN))
@example(with_more(b"X-Other:a"))
@example(with_more(b"X-Other:    a  b  "))
@example(instead(b"Content-Length", b"cONTENT-lENGTH: 5"))
@example(with_more(b"Connection: Keep-Alive"))
@example(with_more(b"Transfer-Encoding: chunked"))
def test_whatever_is_taken_is_read_the_same_by_aiohttp_s_parsers_and_by_h11(head: bytes) -> None:
    found = of(head)
    if found is None:
        return
    data = head + b"\r\n\r\n" + b"x" * found.length
    mine = [(name.lower(), value) for name, value in found.asking.headers]
    for parser in (HttpRequestParser, HttpRequestParserPy):
        message, body = heard_by_aiohttp(data, parser)
        assert (message.method, message.path, body) == (found.asking.method, found.asking.raw, b"x" * found.length)
        assert (message.should_close, message.upgrade, message.chunked, message.compression) == (
            False,
            False,
            False,
            None,
        )
        assert list(pairs(message)) == mine
        request = web.BaseRequest(message, *[mock.MagicMock()] * 5)
        assert refusal(request, MOST) is None
    event, body = heard_by_h11(data)
    assert (event.method, event.target, body) == (b"POST", found.asking.raw.encode(), b"x" * found.length)
    theirs = [(name.decode(), value.decode()) for name, value in event.headers if name != b"content-length"]
    assert theirs == mine


@settings(max_examples=1_000, deadline=None)
@given(heads().map(with_a_query))
@example(with_a_query(b"\r\n".join(PLAIN)))
def test_and_so_is_what_has_a_query(head: bytes) -> None:
    found = posted(head, most_bytes=MOST)
    if found is None:
        return
    data = head + b"\r\n\r\n" + b"x" * found.length
    for parser in (HttpRequestParser, HttpRequestParserPy):
        message, body = heard_by_aiohttp(data, parser)
        request = web.BaseRequest(message, *[mock.MagicMock()] * 5)
        assert (message.method, request.raw_path.partition("?")[0], body) == ("POST", found.path, b"x" * found.length)
        assert list(request.query.items()) == found.query
        assert dict(pairs(message)) == found.headers
        assert (message.should_close, message.upgrade, message.chunked, message.compression) == (
            False,
            False,
            False,
            None,
        )
        assert refusal(request, MOST) is None
    event, body = heard_by_h11(data)
    assert (event.method, event.target.partition(b"?")[0], body) == (b"POST", found.path.encode(), b"x" * found.length)
    assert {n.decode(): v.decode() for n, v in event.headers if n != b"content-length"} == found.headers


def test_a_push_shows_neither_its_signature_nor_whose_it_is() -> None:
    head = (
        b"POST /wechat?signature=5eeda&openid=o1 HTTP/1.1\r\nHost: a\r\nX-Posthouse-Secret: s3cret\r\nContent-Length: 5"
    )
    push = posted(head, most_bytes=MOST)
    assert repr(push) == "Posted(path='/wechat', length=5)"
