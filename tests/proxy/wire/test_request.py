"""A request's head: read back as it was meant, or not made at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.request import Origin, Request, origin_of
from tests.proxy.wire.conftest import a_request

URL = "https://api.test/v1/x"

ORIGINS = {
    "https://api.openai.com/v1": (Origin("api.openai.com", 443, True), "api.openai.com"),
    "https://API.test:443": (Origin("api.test", 443, True), "api.test"),
    "https://api.test:8443/v1": (Origin("api.test", 8443, True), "api.test:8443"),
    "http://localhost": (Origin("localhost", 80, False), "localhost"),
    "http://localhost:443/v1": (Origin("localhost", 443, False), "localhost:443"),
    "http://[::1]:8080/v1": (Origin("::1", 8080, False), "[::1]:8080"),
    "https://[::1]/v1": (Origin("::1", 443, True), "[::1]"),
}


@pytest.mark.parametrize(("url", "expected"), ORIGINS.items(), ids=ORIGINS.keys())
def test_where_a_url_leads_to_and_how_host_says_so(url: str, expected: tuple[Origin, str]) -> None:
    assert (origin_of(url), origin_of(url).authority) == expected


FRAMINGS: list[tuple[str, list[tuple[str, str]], int | None, bytes, int | None]] = [
    ("POST", [], 5, b"Content-Length: 5\r\n", 5),
    ("POST", [], 0, b"Content-Length: 0\r\n", 0),
    ("DELETE", [], 0, b"Content-Length: 0\r\n", 0),
    ("GET", [], 0, b"", 0),
    ("HEAD", [], 0, b"", 0),
    ("GET", [], 5, b"Content-Length: 5\r\n", 5),
    ("POST", [], None, b"Transfer-Encoding: chunked\r\n", None),
    ("POST", [("content-length", "7")], None, b"Content-Length: 7\r\n", 7),
    ("POST", [("Content-Length", "0")], None, b"Content-Length: 0\r\n", 0),
]


@pytest.mark.parametrize(("method", "headers", "length", "framing", "told"), FRAMINGS)
def test_a_body_has_one_framing_and_no_body_has_none(
    method: str, headers: list[tuple[str, str]], length: int | None, framing: bytes, told: int | None
) -> None:
    made = a_request(method, URL, headers, length)
    assert made.head == method.encode() + b" /v1/x HTTP/1.1\r\nHost: api.test\r\n" + framing + b"\r\n"
    assert made.length == told


NONE: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "a line end in a value": ("GET", URL, [("A", "b\r\nC: d")]),
    "CR in a value": ("GET", URL, [("A", "b\rC")]),
    "LF in a value": ("GET", URL, [("A", "b\nC: d")]),
    "NUL in a value": ("GET", URL, [("A", "b\0")]),
    "a line end in a name": ("GET", URL, [("A\r\nB", "c")]),
    "a colon in a name": ("GET", URL, [("A:", "b")]),
    "a blank in a name": ("GET", URL, [("A ", "b")]),
    "no name": ("GET", URL, [("", "b")]),
    "a name that is no ASCII": ("GET", URL, [("Ä", "b")]),
    "a blank in the method": ("GET /", URL, []),
    "no method": ("", URL, []),
    "a blank in the path": ("GET", URL + " HTTP/1.1", []),
    "a line end in the path": ("GET", URL + "\r\nA: b", []),
    "a path beyond ASCII": ("GET", URL + "é", []),
    "no path": ("GET", "https://api.test", []),
    "a length that is no number": ("POST", URL, [("Content-Length", "five")]),
    "two lengths": ("POST", URL, [("Content-Length", "5"), ("Content-Length", "6")]),
}


@pytest.mark.parametrize(("method", "url", "headers"), NONE.values(), ids=NONE.keys())
def test_what_would_be_read_as_something_else_is_not_made(
    method: str, url: str, headers: list[tuple[str, str]]
) -> None:
    with pytest.raises(ValueError):
        a_request(method, url, headers, None if "ength" in repr(headers) else 0)


class _Ignored(BaseProtocol):
    def pause_reading(self) -> None: ...
    def resume_reading(self, resume_parser: bool = True) -> None: ...


def as_aiohttp_reads(made: Request) -> Any:
    loop = asyncio.new_event_loop()
    try:
        parser: Any = HttpRequestParser(_Ignored(loop), loop, 1 << 16)
        ((message, _),), is_upgraded, rest = parser.feed_data(made.head)
        assert (is_upgraded, rest) == (False, b"")
        return message
    finally:
        loop.close()


texts = st.text(st.characters(min_codepoint=0, max_codepoint=0x2FF) | st.just("\udcff"), max_size=20)
names = st.text("abcXYZ-_09", min_size=1, max_size=8).map("x-".__add__) | texts


@given(st.lists(st.tuples(names, texts), max_size=4), texts, st.integers(0, 9) | st.none())
def test_whatever_it_is_made_of_it_is_read_back_the_same_or_not_made(
    headers: list[tuple[str, str]], path: str, length: int | None
) -> None:
    try:
        made = a_request("POST", URL + path, headers, length)
    except ValueError:
        return
    message = as_aiohttp_reads(made)
    framing = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
    expected = [("Host", "api.test"), *headers, framing]
    assert (message.method, message.path) == ("POST", f"/v1/x{path}")
    assert [(name.decode(), value) for name, value in message.raw_headers] == [
        (name, value.strip(" \t").encode("utf-8", "surrogateescape")) for name, value in expected
    ]
