"""
Server-sent events, seen from the side: where one ends, whether the first is an error, whether the stream is complete. Pure.

Rule 1: bytes are only looked at, never changed; what is kept of an unfinished event is bounded.
Rule 2: a stream is complete with `[DONE]`, with a finish_reason for every choice seen, or with the terminal event of its path;
        an error event completes it too, since it was honest. On paths without a terminal a clean end is complete.
Rule 3: an error of ours may be added only at an event boundary: inside an event it would be read as part of it.

Source of the terminals: platform.openai.com/docs/api-reference (chat, completions, responses, images, audio).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from proxy.reading import json_of

KEPT_BYTES = 65_536  # of an unfinished event; a longer one is known by its two ends
END_BYTES = 2_048  # of each end

_BOUNDARY = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")  # atomic: a CRLF is never taken for two line ends
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
_OTHER_CHOICE = re.compile(rb'"index"\s*:\s*[1-9]')
_NONE, _FIRST = frozenset[int](), frozenset({0})
_TYPE = re.compile(rb'"type"\s*:\s*"([a-z_.]{1,64})"')


class Kind(StrEnum):
    """How a stream ends."""

    CHOICES = "choices"  # chat and legacy completions
    RESPONSES = "responses"
    TYPED = "typed"  # images, speech, transcriptions: one last event of a known type
    OPEN = "open"  # unknown: a clean end


KIND_OF_PATH: Mapping[str, Kind] = {
    "/v1/chat/completions": Kind.CHOICES,
    "/v1/completions": Kind.CHOICES,
    "/v1/responses": Kind.RESPONSES,
    "/v1/images/generations": Kind.TYPED,
    "/v1/images/edits": Kind.TYPED,
    "/v1/audio/speech": Kind.TYPED,
    "/v1/audio/transcriptions": Kind.TYPED,
}
TERMINALS: Mapping[Kind, frozenset[str]] = {
    Kind.RESPONSES: frozenset({"response.completed", "response.failed", "response.incomplete", "error"}),
    Kind.TYPED: frozenset(
        {
            "image_generation.completed",
            "image_edit.completed",
            "speech.audio.done",
            "transcript.text.done",
            "error",
        }
    ),
}


def first_data(held: bytes) -> bytes | None:
    """The data of the first whole event in `held`; events of comments alone are passed over. None: not there yet."""
    start = 0
    while found := _BOUNDARY.search(held, start):
        if data := data_of(held[start : found.start()]):
            return data
        start = found.end()
    return None


def data_of(event: bytes) -> bytes:
    """The data lines of an event, joined as the standard says."""
    if event.startswith(b"data:") and b"\n" not in event and b"\r" not in event:  # as nearly all are
        return event[5:].removeprefix(b" ")
    lines = event.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))


class StreamWatch:
    """Feed it every chunk that goes out; ask it at the end."""

    __slots__ = ("_finished", "_has_gap", "_kind", "_saw_terminal", "_seen", "_tail")

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._tail = b""
        self._has_gap = False  # the tail's middle was not kept
        self._saw_terminal = kind is Kind.OPEN
        self._seen: frozenset[int] = _NONE  # of a stream with one choice these are always the same two objects
        self._finished: frozenset[int] = _NONE

    @property
    def is_complete(self) -> bool:
        return self._saw_terminal or (bool(self._finished) and self._finished >= self._seen)

    def is_complete_at_end(self) -> bool:
        """The same once the body has ended: its last event may lack its blank line, and nothing else."""
        is_whole = self._tail.rstrip().endswith(b"}") if self._has_gap else _is_whole(self._tail)
        if is_whole:
            self._look(self._tail)
        return self.is_complete

    @property
    def at_boundary(self) -> bool:
        """Whether what was fed ends between two events."""
        return not self._tail.strip(b"\r\n") or self._tail.endswith(b"\n\r")

    def feed(self, chunk: bytes) -> None:
        text = self._tail + chunk if self._tail else chunk
        if b"\r" in text:  # a CR at the very end may be half of a line's end: it waits for the other half
            late = text.endswith(b"\r")
            text = (text[:-1] if late else text).replace(b"\r\n", b"\n").replace(b"\r", b"\n") + b"\r" * late
        *events, self._tail = text.split(b"\n\n")
        self._has_gap = self._has_gap and not events
        if len(self._tail) > KEPT_BYTES:
            self._has_gap = True
            self._tail = self._tail[:END_BYTES] + self._tail[-END_BYTES:]
        for event in events:
            if event:
                self._look(event)

    def _look(self, event: bytes) -> None:
        if (b"[DONE]" in event and data_of(event).strip() == b"[DONE]") or (b'"error"' in event and _is_error(event)):
            self._saw_terminal = True
        elif self._kind is Kind.CHOICES:
            self._look_at_choices(event)
        elif terminals := TERMINALS.get(self._kind):
            self._saw_terminal |= _type_of(event) in terminals

    def _look_at_choices(self, event: bytes) -> None:
        is_last = _FINISHED.search(event)
        if not is_last and not _OTHER_CHOICE.search(event):
            if b'"delta"' in event or b'"text"' in event:
                self._seen = _FIRST if self._seen <= _FIRST else self._seen | _FIRST
            return
        for choice in _choices(event):
            index = choice.get("index", 0)
            if isinstance(index, int):
                self._seen |= {index}
                if choice.get("finish_reason"):
                    self._finished |= {index}


def truncation(kind: Kind) -> bytes:
    """The event that makes official clients raise where a stream ended without its terminal."""
    error: dict[str, Any] = {
        "message": "upstream stream ended early",
        "type": "server_error",
        "param": None,
        "code": "upstream_stream_truncated",
    }
    if kind is not Kind.RESPONSES:
        return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
    whole = {**error, "type": "error", "error": error}
    return b"event: error\ndata: " + json.dumps(whole).encode() + b"\n\n"


def _is_whole(event: bytes) -> bool:
    """Whether the data is all there. The type of an event, which stands first, says nothing about its end."""
    return data_of(event).strip() == b"[DONE]" or json_of(data_of(event)) is not None


def _is_error(event: bytes) -> bool:
    payload = json_of(data_of(event))
    return isinstance(payload, dict) and bool(payload.get("error"))


def _type_of(event: bytes) -> str:
    """The event's own type. Objects within it have types too, which may stand before it."""
    found = _TYPE.search(event)
    if found and event.count(b'"type"') > 1 and isinstance(payload := json_of(data_of(event)), dict):
        return str(payload.get("type"))
    return found[1].decode() if found else ""


def _choices(event: bytes) -> list[dict[str, Any]]:
    payload = json_of(data_of(event))
    choices = payload.get("choices") if isinstance(payload, dict) else None
    if isinstance(choices, list):
        return [choice for choice in choices if isinstance(choice, dict)]
    # An event whose middle was not kept, or one that is no JSON: its end says that it finished.
    return [{"index": 0, "finish_reason": "unread"}] if _FINISHED.search(event) else []
