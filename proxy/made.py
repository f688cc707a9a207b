"""
Watches an answer go by for the ids of the objects it tells of. Pure.

Rule 1: bytes are only looked at, never changed; what is kept of a body, or of one unfinished event, is bounded.
Rule 2: an id is told as soon as it can be read, so that whoever feeds before sending knows it before the caller does.
Rule 3: of a body that is too large to keep, its id is read where that stands first, as OpenAI writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from proxy.objects import ID_SHAPE, ids_told
from proxy.sse import data_of

KEPT_BYTES = 1 << 20  # a response repeats its instructions and tools, which are seldom above a few hundred KiB
FIRST_EVENTS = 8  # among them is the one that names the new object; comments and the creation of a thread go before it

_FIRST_MEMBER = re.compile(rf'\s*{{\s*"id"\s*:\s*"({ID_SHAPE})"'.encode())
_BOUNDARY = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LONGEST_BOUNDARY = 4
_LATER = b'"container_id"'  # of a container that the upstream makes along the way


class MadeWatch:
    """Feed it every chunk of a success before it goes out; tell it when the body is whole."""

    __slots__ = ("_events", "_has_told", "_is_stream", "_is_too_large", "_kept", "_tell")

    def __init__(self, tell: Callable[[str], None], *, is_stream: bool) -> None:
        """`tell` is called with each id, with some more than once."""
        self._tell, self._is_stream = tell, is_stream
        self._kept = bytearray()
        self._is_too_large = self._has_told = False
        self._events = 0

    def feed(self, chunk: bytes) -> None:
        if self._is_stream:
            self._feed_stream(chunk)
        elif not self._is_too_large:
            self._kept += chunk
            if not self._has_told and (found := _FIRST_MEMBER.match(self._kept)):
                self._has_told = True
                self._tell(found[1].decode())
        if len(self._kept) > KEPT_BYTES:
            self._is_too_large = True
            self._kept.clear()

    def end(self) -> None:
        """The body is whole: what is still kept of it is its last event, or all of it."""
        if self._is_stream:
            self._look_at_event(bytes(self._kept))
        else:
            self._look(bytes(self._kept))
        self._kept.clear()

    def _feed_stream(self, chunk: bytes) -> None:
        is_between_events = not self._kept and not self._is_too_large and chunk.endswith(b"\n\n")
        if self._has_told and is_between_events and _LATER not in chunk:
            return  # as nearly all are
        start = max(0, len(self._kept) - _LONGEST_BOUNDARY)
        self._kept += chunk
        while found := _BOUNDARY.search(self._kept, start):
            event = bytes(self._kept[: found.start()])
            del self._kept[: found.end()]
            start = 0
            self._look_at_event(event)
            self._is_too_large = False

    def _look_at_event(self, event: bytes) -> None:
        self._events += bool(event)
        is_early = not self._has_told and self._events <= FIRST_EVENTS
        if is_early or _LATER in event:
            self._look(data_of(event))

    def _look(self, text: bytes) -> None:
        if self._is_too_large:  # its beginning is gone
            return
        try:
            payload = json.loads(text)
        except (ValueError, RecursionError):
            return
        for made in ids_told(payload):
            self._has_told = True
            self._tell(made)
