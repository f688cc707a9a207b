"""
Reads one HTTP/1.1 answer: bytes in; its head, its body and its end out. Pure.

Rule 1: framing is followed and taken off; the body's bytes are given as they came.
Rule 2: what two readers might read differently is refused, never mended: two lengths, a length beside chunks, a coding we did
        not ask for, folded lines, a lone CR or LF, control bytes, white space before a colon.
Rule 3: what is kept until it is whole is bounded; interim answers (1xx) and the head share one bound.
Rule 4: bytes behind the end are nobody's: they are dropped, and the connection serves no other request.
Source: RFC 9112, 4 to 7 and 11.2; RFC 9110, 5.5 and 15.2.
"""

from __future__ import annotations

import re
from dataclasses import field
from enum import Enum, auto

from proxy.headers import TOKEN, Fields
from proxy.value import value_type
from proxy.wire.head_shape import Shapes

HEAD_BYTES = 65_536
LINE_BYTES = 16_384  # of a head; twice what we take from callers, since a CDN may write what it likes
CHUNK_LINE_BYTES = 4_096
TRAILER_BYTES = 16_384

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?")
_CONTROL = bytes({*range(0x20), 0x7F} - set(b"\t\r\n"))
_TRAILER = re.compile(TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*")
_LONE_LF = re.compile(rb"(?<!\r)\n")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_BEGINNING = b"HTTP/1."
_BLANK = b" \t"
_shapes = Shapes()


class Malformed(Exception):
    """This is no HTTP/1.1 answer, or one that could be read in two ways. `why` has none of its bytes."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@value_type
class Head:
    """Headers as they came, in their order."""

    status: int
    headers: Fields = field(repr=False)


class _At(Enum):
    """What the next bytes are."""

    HEAD = auto()
    LENGTH = auto()  # of a body whose length is known
    CLOSE = auto()  # of a body that the connection's end ends
    SIZE = auto()  # a chunk's first line
    CHUNK = auto()
    GAP = auto()  # the line end behind a chunk
    TRAILERS = auto()
    OVER = auto()


class Reader:
    """For one answer. `head` is there when it is whole; `is_reusable` is settled when the answer `is_over`."""

    __slots__ = ("_at", "_is_bodiless", "_kept", "_left", "_room", "_seen", "head", "is_over", "is_reusable")

    def __init__(self, method: str) -> None:
        """`method` of the request: the answer to a HEAD has no body, whatever it says."""
        self._is_bodiless = method == "HEAD"
        self._at = _At.HEAD
        self._kept = bytearray()  # of a head or a line that is not whole
        self._seen = 0  # how much of it has been looked through
        self._left = 0  # of the body or the chunk
        self._room = HEAD_BYTES  # for what is kept, and then for trailers
        self.head: Head | None = None
        self.is_reusable = self.is_over = False

    def feed(self, data: bytes) -> bytes:
        """
        The bytes of the body in `data`. Raises Malformed; what the same `data` told before its fault is then worth nothing.
        """
        match self._at:
            case _At.HEAD:
                return self._feed_head(data)
            case _At.LENGTH:
                return self._counted(data)
            case _At.CLOSE:
                return data
            case _At.OVER:
                self.is_reusable = False
                return b""
            case _At.SIZE if not self._kept and (found := _SIZE.match(data)) is not None:
                size, start = int(found[1], 16), found.end()
                if size and len(data) == start + size + 2 and data.endswith(b"\r\n"):
                    return data[start:-2]  # one chunk in one piece, as most events of a stream come
        return self._chunks(data)

    def is_whole_at_end(self) -> bool:
        """Whether the answer is whole, now that the connection has ended."""
        if self._at is _At.CLOSE:
            self._end()
        return self.is_over

    # --- the head

    def _feed_head(self, data: bytes) -> bytes:
        kept: bytes | bytearray = data
        if self._kept:
            self._kept += data
            kept = self._kept
        while (end := kept.find(b"\r\n\r\n", max(0, self._seen - 3))) >= 0:
            head, rest = bytes(kept[:end]), bytes(kept[end + 4 :])
            self._room -= end + 4
            if self._room < 0:
                raise Malformed("its head is too long")
            if self._is_final(head):
                self._kept.clear()
                return self.feed(rest) if rest else b""
            kept, self._seen = rest, 0
        if len(kept) > self._room:
            raise Malformed("its head is too long")
        if not kept.startswith(_BEGINNING[: len(kept)]) or _LONE_LF.search(kept, self._seen):
            raise Malformed("it does not begin as an answer of HTTP/1.1")
        self._kept, self._seen = bytearray(kept), len(kept)
        return b""

    def _is_final(self, head: bytes) -> bool:
        """Whether it is the answer's own head, and not that of an interim answer."""
        if (known := _shapes.read(head)) is not None:
            status, headers = known
            is_1_1 = True
        else:
            status, headers, is_1_1 = read_head(head)
            if status < 200:
                return False
            if is_1_1:
                _shapes.saw(status, head)
        self._frame(status, headers, is_1_1=is_1_1)
        self.head = Head(status, headers)
        return True

    def _frame(self, status: int, headers: Fields, *, is_1_1: bool) -> None:
        """How the body ends, as RFC 9112, 6.3 has it, without what it would have us mend."""
        said = headers.said()
        lengths, codings = said.get("content-length"), said.get("transfer-encoding")
        if codings and (lengths or len(codings) > 1 or codings[0].lower() != b"chunked" or not is_1_1):
            raise Malformed("its body is framed in two ways, or in one we did not ask for")
        if lengths and (len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0])):
            raise Malformed("its length is no number, or there are two")
        length = int(lengths[0]) if lengths else None
        self.is_reusable = is_1_1 and not any(b"close" in _tokens(value) for value in said.get("connection", ()))
        if status == 204 and (codings or length):
            raise Malformed("it has a body and says that it has none")
        if self._is_bodiless or status in (204, 304) or length == 0:
            self._end()
        elif codings:
            self._at, self._room = _At.SIZE, TRAILER_BYTES
        elif length is not None:
            self._at, self._left = _At.LENGTH, length
        else:
            self._at, self.is_reusable = _At.CLOSE, False

    def _end(self) -> None:
        self._at, self.is_over = _At.OVER, True

    # --- the body

    def _counted(self, data: bytes) -> bytes:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        self._end()
        if left == 0:
            return data
        self.is_reusable = False
        return data[:left]

    def _chunks(self, data: bytes) -> bytes:
        pieces, at = [], 0  # type: list[bytes], int
        while at < len(data):
            if self._at is _At.CHUNK:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._at = _At.GAP
                continue
            if self.is_over:
                self.is_reusable = False
                break
            end = data.find(b"\n", at) + 1
            line = data[at : end or len(data)]
            at += len(line)
            if self._kept:
                line = bytes(self._kept) + line
                self._kept.clear()
            if not end:
                self._keep(line)
            elif line.endswith(b"\r\n"):
                self._take(line[:-2])
            else:
                raise Malformed("a line of its chunks ends in LF alone")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _keep(self, line: bytes) -> None:
        most = {_At.GAP: 1, _At.SIZE: CHUNK_LINE_BYTES}.get(self._at, self._room)
        if len(line) > most:
            raise Malformed("a line of its chunks is too long")
        self._kept += line

    def _take(self, line: bytes) -> None:
        """A whole line between chunks, or behind them."""
        match self._at:
            case _At.SIZE:
                found = _CHUNK.fullmatch(line)
                if found is None or len(line) > CHUNK_LINE_BYTES:
                    raise Malformed("a chunk's size is none")
                self._left = int(found[1], 16)
                self._at = _At.CHUNK if self._left else _At.TRAILERS
            case _At.GAP:
                if line:
                    raise Malformed("a chunk is longer than its size")
                self._at = _At.SIZE
            case _At.TRAILERS:
                self._room -= len(line) + 2
                if self._room < 0:
                    raise Malformed("its trailers are too long")
                if not line:
                    self._end()
                elif not _TRAILER.fullmatch(line):  # else dropped: nobody here knows what it would be about
                    raise Malformed("a trailer is none")


def read_head(head: bytes) -> tuple[int, Fields, bool]:
    """Status, headers, and whether it is of HTTP/1.1 and not 1.0. Raises Malformed. `head` is without its blank line."""
    first, *lines = head.split(b"\r\n")
    found, headers = _STATUS.fullmatch(first), Fields(lines)
    has_control = len(head.translate(None, _CONTROL)) < len(head)
    if has_control or not head.count(b"\r") == head.count(b"\n") == len(lines):
        raise Malformed("its head has control bytes")
    if found is None or not headers.have_names():
        raise Malformed("its head is none")
    if len(head) > LINE_BYTES and max(map(len, lines)) > LINE_BYTES:
        raise Malformed("a line of its head is too long")
    status = int(found[2])
    if status == 101:
        raise Malformed("it changes the protocol, which nobody asked for")
    return status, headers, found[1] == b"1"


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip(_BLANK) for token in value.lower().split(b",")]
