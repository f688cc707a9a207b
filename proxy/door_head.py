"""
Reads the head of a request that is strictly plain, and of no other. Pure.

Rule 1: whatever is taken here, another parser reads the same: its method, path, headers and where its body ends. What could
        be read in two ways, or means something for the connection, is not taken but handed over, and aiohttp's parser stays
        the only one that deals with it.
Rule 2: taken is a POST with one Host, one Content-Length and no other framing, whose names stand once each and whose values are
        printable ASCII: below /v1 without a query, and elsewhere with one in which nothing is escaped.
Rule 3: nothing is refused here: whoever refuses has read all of it.
Source: RFC 9112, 2 to 6 and 11.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import lru_cache

from proxy.asking import Asking, asking
from proxy.value import value_type

LINE_BYTES = 4_096  # half of what aiohttp takes of one
MOST_LINES = 64  # half of its headers
MOST_DIGITS = 6  # of a length; longer bodies are not for this lane
KNOWN_BYTES = 4_096  # of a head that is remembered

_LINES = re.compile(rb"(?:\r\n[A-Za-z0-9\-]++: ?+[!-~][ -~]*+)++")
_HEAD = re.compile(rb"POST (/v1/[A-Za-z0-9_/\-]++) HTTP/1\.1(%b)" % _LINES.pattern)
_POST = re.compile(
    rb"POST (/[A-Za-z0-9_/\-]*+)\?((?:[a-z_]++=[A-Za-z0-9_.\-]++&)*+[a-z_]++=[A-Za-z0-9_.\-]++) HTTP/1\.1"
)
_LENGTH = re.compile(rb"\r\ncontent-length: ([1-9][0-9]{0,%d})(?=\r\n|\Z)" % (MOST_DIGITS - 1), re.IGNORECASE)
# What frames the body, or is said to whoever is at the other end of this very connection, or begins another protocol.
_NOT_TAKEN = frozenset(
    {
        *("content-encoding", "content-length", "expect", "http2-settings", "keep-alive", "proxy-authenticate"),
        *("proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)


@value_type
class Taken:
    """A head that is certain, and the length of the body behind it, which is not 0."""

    asking: Asking
    length: int


@value_type
class Posted:
    """The same of a POST with a query. `headers` are by their names in small letters."""

    path: str
    query: Sequence[tuple[str, str]] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    length: int


def taken(head: bytes, *, most_bytes: int) -> Taken | None:
    """`head` is without the blank line at its end. None: it is for another parser to read."""
    if len(head) > most_bytes:
        return None
    length = _LENGTH.search(head)
    if length is None:
        return None
    # Whoever keeps a connection says the same on it each time, but for the length.
    rest = head[: length.start()] + head[length.end() :]
    known = _known(rest) if len(rest) <= KNOWN_BYTES else _read(rest)
    return None if known is None else Taken(known, int(length[1]))


def posted(head: bytes, *, most_bytes: int) -> Posted | None:
    """As `taken`."""
    if len(head) > most_bytes:
        return None
    line, _, _ = head.partition(b"\r\n")
    found, lines = _POST.fullmatch(line), head[len(line) :]
    length = _LENGTH.search(lines)
    if found is None or length is None or len(line) > LINE_BYTES:
        return None
    rest = lines[: length.start()] + lines[length.end() :]
    headers = _known_headers(rest) if len(rest) <= KNOWN_BYTES else _headers(rest)
    if headers is None:
        return None
    query = [(name, value) for name, _, value in (pair.partition("=") for pair in found[2].decode().split("&"))]
    return Posted(found[1].decode(), query, headers, int(length[1]))


def _read(head: bytes) -> Asking | None:
    """A head without its length."""
    found = _HEAD.fullmatch(head)
    pairs = None if found is None or len(found[1]) > LINE_BYTES else _pairs(found[2])
    return None if found is None or pairs is None else asking("POST", found[1].decode("ascii"), pairs)


def _headers(lines: bytes) -> Mapping[str, str] | None:
    """The same of the lines alone."""
    pairs = _pairs(lines) if _LINES.fullmatch(lines) else None
    return None if pairs is None else {name.lower(): value for name, value in pairs}


def _pairs(block: bytes) -> list[tuple[str, str]] | None:
    """`block` is _LINES; None where they are not certain, or not few."""
    lines = block.decode("ascii").split("\r\n")[1:]
    if len(lines) > MOST_LINES or max(map(len, lines)) > LINE_BYTES:
        return None
    pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    values = {name.lower(): value for name, value in pairs}
    if len(values) < len(pairs) or "host" not in values or not _NOT_TAKEN.isdisjoint(values):
        return None
    if values.get("connection", "keep-alive").lower() != "keep-alive" or any(map(_is_of_a_socket, values)):
        return None
    return pairs


_known, _known_headers = lru_cache(maxsize=256)(_read), lru_cache(maxsize=256)(_headers)


def forget() -> None:
    """Tokens stand in heads."""
    _known.cache_clear()
    _known_headers.cache_clear()


def _is_of_a_socket(name: str) -> bool:
    return name.startswith("sec-websocket-")
