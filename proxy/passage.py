"""
A request on the fast lane: from its head and body to the bytes of its answer, without aiohttp.

Rule 1: what is decided about a request is decided by `visit` and `errand`; here parts only become bytes, those that aiohttp
        would write.
Rule 2: an answer without a length goes out in chunks. One that broke off is never ended as if it were whole.
Rule 3: once the caller has left, or the answer is over, nothing is written any more.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

from proxy.asking import Asking
from proxy.command import Begin, Cut, End, Part
from proxy.headers import REQUEST_ID, Fields, Pairs
from proxy.refusal import Refusal
from proxy.ride import Ride
from proxy.visit import House, Visit

BODILESS = frozenset({204, 304})
_REQUEST_ID = REQUEST_ID.encode()
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Way(Protocol):
    """The caller's connection. Exactly one of `ended` and `broken` is said at the end, unless the passage was left before."""

    def is_last(self) -> bool:
        """Whether the answer that begins now is the connection's last: it says so."""

    def write(self, data: bytes) -> None: ...
    def ended(self) -> None: ...
    def broken(self, *, at_once: bool) -> None: ...


class Passage:
    """`begin`; then the answer comes by the `way`, until it is over or `leave` or `break_off` is said."""

    __slots__ = ("_is_chunked", "_ride", "_status", "_visit", "_way")

    def __init__(self, way: Way) -> None:
        self._way: Way | None = way  # None from the end on
        self._visit: Visit | None = None
        self._ride: Ride | None = None
        self._is_chunked = False
        self._status = 0  # of the answer that has begun

    def begin(self, house: House, asking: Asking, body: bytes) -> None:
        visit = self._visit = Visit(house, asking.method, asking.raw)
        try:
            visit.admit(asking)
            target = house.reception.target_of(asking)
            asked = house.reception.asked(asking, target, body, visit.id, visit.caller)
        except Refusal as refusal:
            self._refuse(visit, refusal)
            return
        visit.begin(asked)
        whole = asked.body if isinstance(asked.body, bytes) else b""
        self._ride = Ride(asked.errand, house.road, whole, self._told)
        self._ride.begin()

    def pause(self) -> None:
        """The caller takes no more for now."""
        if self._ride is not None:
            self._ride.pause()

    def resume(self) -> None:
        if self._ride is not None:
            self._ride.resume()

    def break_off(self) -> None:
        """The daemon ends: whoever has a part of an answer hears that it is no more than that."""
        if self._ride is not None:
            self._ride.break_off()
        self._end(None)

    def leave(self) -> None:
        """The caller has left."""
        self._end(None)

    # ---

    def _told(self, part: Part) -> None:
        visit = self._visit
        if visit is None:
            return
        for told in visit.see(part):
            way = self._way
            if way is None:
                return
            match told:
                case bytes():
                    way.write(self._framed(told))
                case Begin():
                    self._begin(way, visit, told)
                case End():
                    self._finish(way, visit)
                case Cut():
                    way.write(self._framed(told.data))
                    self._end(self._status)
                    way.broken(at_once=not told.data)
                case Refusal():
                    self._refuse(visit, told)

    def _begin(self, way: Way, visit: Visit, begin: Begin) -> None:
        length = len(begin.data) if begin.is_whole and begin.data else None
        head, self._is_chunked = head_of(begin.status, begin.headers, visit.id, length=length, closes=way.is_last())
        way.write(head + self._framed(begin.data))
        self._status = begin.status
        visit.has_begun(begin)
        if begin.is_whole:
            self._finish(way, visit)

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if data and self._is_chunked else data

    def _refuse(self, visit: Visit, refusal: Refusal) -> None:
        way, body = self._way, refusal.body()
        if way is not None:
            head, _ = head_of(refusal.status, refusal.headers(), visit.id, length=len(body), closes=way.is_last())
            way.write(head + body)
            self._end(refusal.status)
            way.ended()

    def _finish(self, way: Way, visit: Visit) -> None:
        if self._is_chunked:
            way.write(b"0\r\n\r\n")
        self._end(self._status)
        way.ended()

    def _end(self, status: int | None) -> None:
        """`status` is what the caller got, None where it got no whole answer."""
        visit, ride, self._visit, self._ride, self._way = self._visit, self._ride, None, None, None
        if ride is not None:
            ride.leave()
        if visit is not None:
            if status is not None:
                visit.status = status
            visit.close()


def head_of(status: int, headers: Pairs, request_id: str, *, length: int | None, closes: bool) -> tuple[bytes, bool]:
    """
    The bytes of an answer's head, and whether its body goes out in chunks.

    `length` of the body, where it is known here: it then takes the place of what `headers` say.
    """
    fields, is_chunked = Fields.of(headers), False
    said = fields.said()
    if status in BODILESS or length is not None:
        fields = fields.without("content-length")
    pieces = [_status_line(status), fields.block()]
    if status not in BODILESS:
        if length is not None:
            pieces.append(b"\r\nContent-Length: %d" % length)
        elif "content-length" not in said:
            is_chunked = True
            pieces.append(b"\r\nTransfer-Encoding: chunked")
        if "content-type" not in said and said.get("content-length") != [b"0"]:  # as aiohttp has it
            pieces.append(b"\r\nContent-Type: application/octet-stream")
    pieces.append(b"\r\n%b: %b\r\n%b" % (_REQUEST_ID, request_id.encode(), _date(int(time.time()))))
    pieces.append(b"\r\nConnection: close\r\n\r\n" if closes else b"\r\n\r\n")
    return b"".join(pieces), is_chunked


@lru_cache(maxsize=1_024)
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {_PHRASES.get(status, '')}".encode()


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}".encode()
