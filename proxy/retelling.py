"""
How an answer is told to a caller whose question went upstream in other words. Pure.

Rule 1: a stream is retold event by event as it comes, any other body once it is whole; what cannot be retold (errors,
        comments, `[DONE]`) is told as it came, and so is every answer that is no success.
Rule 2: a stream that was torn is told so: only whole events went out, so that the error which says it always may follow.
Rule 3: what is kept of an answer is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from proxy.command import Begin, Cut, End, Part
from proxy.headers import Fields
from proxy.refusal import Refusal
from proxy.sse import Kind, data_of, truncation

MOST_BYTES = 1 << 24  # of a body, or of one event; a hundred answers as long as any model gives are below it

_LINE_END = rb"(?>\r\n|\n|\r)"
_BETWEEN_EVENTS = re.compile(rb"(?:(?::[^\r\n]*)?" + _LINE_END + rb")+")  # comments and blank lines
_EVENT_END = re.compile(_LINE_END * 2)
_LONGEST_END = 4

Parts = tuple[Part, ...]


class Retelling:
    """Tell it every part of the upstream's answer, and tell the caller what that gives."""

    def __init__(self, retell: Callable[[bytes], bytes | None], *, unreadable: Refusal | None = None) -> None:
        """
        `retell` makes of an event's data, or of a whole body, what the caller gets; None: as it came.

        `unreadable` is what the caller hears where an answer cannot be read (compressed, too large, broken off); None: the
        answer as it came.
        """
        self._retell, self._unreadable = retell, unreadable
        self._begin: Begin | None = None  # withheld until the body is whole
        self._is_stream = False
        self._kept = bytearray()
        self._looked_at = 0  # so many bytes of what is kept hold no event's end

    def tell(self, part: Part) -> Parts:
        match part:
            case Begin():
                return self._told_begin(part) if 200 <= part.status < 300 else (part,)
            case bytes() if self._is_stream:
                told = self._events(part)
                return (told,) if len(self._kept) <= MOST_BYTES else (told, _torn())
            case bytes() if self._begin:
                self._kept += part
                return self._gave_up() if len(self._kept) > MOST_BYTES else ()
            case End() if self._is_stream:
                return (self._rest(), part)
            case End() if self._begin:
                return (self._whole(self._begin),)
            case Cut() if self._is_stream:
                return (_torn(),)
            case Cut() if self._begin:
                return (*self._gave_up(), part)
        return (part,)

    def _told_begin(self, begin: Begin) -> Parts:
        headers = {name.lower(): value.lower() for name, value in begin.headers}
        if headers.get("content-encoding", "identity") != "identity":
            return (self._unreadable or begin,)
        if headers.get("content-type", "").startswith("text/event-stream"):
            self._is_stream = True
            data = self._events(begin.data)
            return (replace(begin, data=data + self._rest() if begin.is_whole else data),)
        self._begin = begin
        self._kept += begin.data
        return (self._whole(begin),) if begin.is_whole else ()

    # --- a body that is no stream

    def _whole(self, begin: Begin) -> Begin:
        body = bytes(self._kept)
        told = self._retell(body)
        data = body if told is None else told
        lines = Fields.of(begin.headers).without("content-length").lines
        return Begin(begin.status, Fields([*lines, b"Content-Length: %d" % len(data)]), data, is_whole=True)

    def _gave_up(self) -> Parts:
        begin, self._begin = self._begin, None
        if self._unreadable or not begin:
            return (self._unreadable,) if self._unreadable else ()
        return (replace(begin, data=bytes(self._kept)),)

    # --- a stream

    def _events(self, chunk: bytes) -> bytes:
        """What the chunk makes whole, retold: events, and the comments between them."""
        self._kept += chunk
        kept, start, told = self._kept, 0, b""
        end = len(kept) - kept.endswith(b"\r")  # which may be half of a line's end
        while between_or_event := (
            _BETWEEN_EVENTS.match(kept, start, end) or _EVENT_END.search(kept, max(start, self._looked_at), end)
        ):
            told += self._told_event(bytes(kept[start : between_or_event.end()]))
            start = between_or_event.end()
        del kept[:start]
        self._looked_at = max(0, len(kept) - _LONGEST_END)
        return told

    def _rest(self) -> bytes:
        """The last event, which may lack its blank line."""
        rest = bytes(self._kept)
        self._kept.clear()
        return self._told_event(rest)

    def _told_event(self, event: bytes) -> bytes:
        told = self._retell(data) if (data := data_of(event)) else None
        return event if told is None else b"data: " + told + b"\n\n"


def _torn() -> Cut:
    return Cut(truncation(Kind.CHOICES))
