"""
What an answer used: read from the bytes on their way out, estimated where they do not say. Pure.

Rule 1: on the way a chunk is kept or dropped, never looked at; what is kept, the answer's last KEPT_BYTES, is read once,
        when the answer is over.
Rule 2: the last `usage` with numbers counts. `null` and zeros say nothing.
Rule 3: an answer without one (cut, not asked for, left out) is estimated where its path generates: BYTES_A_TOKEN of text are
        one. Of the question all bytes but data URLs are text. Of a stream its strings of text are, in the share that they
        have of what was kept; of any other answer every byte, and of embeddings none.
Rule 4: only a POST answered with 2xx on a path of METERED uses anything: a stored answer that is read again does not.

Source of the fields: platform.openai.com/docs/api-reference (chat, completions, embeddings, responses, images, audio).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from proxy.command import Begin, Call
from proxy.headers import Fields
from proxy.objects import plain_path
from proxy.value import value_type

KEPT_BYTES = 16_384  # a stream's last events; an answer's `usage` stands behind its text
USAGE_BYTES = 4_096  # the longest `usage` that is read; the longest in the field are below one thousand
BYTES_A_TOKEN = (
    4  # of English; Source: help.openai.com, "What are tokens and how to count them?". Chinese has about three
)
MOST_TOKENS = 10**9  # of one answer; more than this is no count

# The paths whose answers cost tokens, and whether those are estimated where the answer does not say.
METERED: Mapping[str, bool] = {
    "/v1/chat/completions": True,
    "/v1/completions": True,
    "/v1/responses": True,
    "/v1/embeddings": True,
    "/v1/images/generations": False,
    "/v1/images/edits": False,
    "/v1/audio/speech": False,
    "/v1/audio/transcriptions": False,
    "/v1/audio/translations": False,
}

# Inside a JSON string a quote is escaped, so a model's own words never look like this.
_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
_TEXT = re.compile(
    rb'"(?:content|text|delta|arguments|refusal|reasoning|reasoning_content)"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)',
    re.DOTALL,
)
_DATA_URL = re.compile(rb';base64,[^"]*')
_DECODER = json.JSONDecoder()
_DATA_LINE = re.compile(rb"[\r\n]+data:")


class Kind(StrEnum):
    REPORTED = "reported"
    ESTIMATED = "estimated"


@value_type
class Tokens:
    """What one answer used. `cached` tokens are some of the `prompt`'s."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    kind: Kind = Kind.REPORTED

    @property
    def total(self) -> int:
        return self.prompt + self.completion


class UsageWatch:
    """Show it the answer's head and every chunk, then ask it, however the answer ended."""

    __slots__ = ("_is_metered", "_is_stream", "_kept", "_kept_bytes", "_path", "_sent_bytes", "_size")

    def __init__(self, call: Call, sent: bytes) -> None:
        """`sent` is the question's body, b"" where it is too large to be text that a model takes."""
        self._path = plain_path(call.target.path) if call.method == "POST" else ""
        self._sent_bytes = len(_DATA_URL.sub(b"", sent)) if b";base64," in sent else len(sent)
        self._is_metered = self._is_stream = False
        self._kept: list[bytes] = []
        self._kept_bytes = self._size = 0

    def begin(self, begin: Begin) -> None:
        self._is_metered = self._path in METERED and 200 <= begin.status < 300
        self._is_stream = Fields.of(begin.headers).get("content-type").lower().startswith("text/event-stream")
        if begin.data:
            self.feed(begin.data)

    def feed(self, chunk: bytes) -> None:
        if not self._is_metered:
            return
        self._size += len(chunk)
        kept = chunk[-KEPT_BYTES:]  # the same object where all of it is kept
        self._kept.append(kept)
        self._kept_bytes += len(kept)
        while self._kept_bytes - len(self._kept[0]) >= KEPT_BYTES:
            self._kept_bytes -= len(self._kept.pop(0))

    def tokens(self) -> Tokens | None:
        """None where nothing was used, as far as anybody can tell."""
        if not self._is_metered:
            return None
        last = b"".join(self._kept)[-KEPT_BYTES:]
        return _reported(last) or (self._estimated(last) if METERED[self._path] else None)

    def _estimated(self, last: bytes) -> Tokens:
        text_bytes = self._size
        if self._path == "/v1/embeddings":
            text_bytes = 0
        elif self._is_stream and last:
            text_bytes = self._size * sum(map(len, _TEXT.findall(last))) // len(last)
        return Tokens(_tokens_of(self._sent_bytes), _tokens_of(text_bytes), kind=Kind.ESTIMATED)


def _reported(last: bytes) -> Tokens | None:
    at = len(last)
    while (at := last.rfind(b'"usage"', 0, at)) >= 0:
        found = _USAGE.match(last, at)
        if found is None:
            continue
        text = last[found.end() : found.end() + USAGE_BYTES]
        if b"data:" in text:
            text = _DATA_LINE.sub(b" ", text)
        try:
            usage, _ = _DECODER.raw_decode(text.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            continue
        if tokens := tokens_in(usage):
            return tokens
    return None


def tokens_in(usage: Any) -> Tokens | None:
    """What a `usage` says, by whichever of the APIs' names; None where it says nothing, or nothing but zeros."""
    if not isinstance(usage, dict):
        return None
    details = ("prompt_tokens_details", "input_tokens_details", "input_token_details")  # the last is Realtime's
    tokens = Tokens(
        _count(usage, "prompt_tokens") or _count(usage, "input_tokens"),
        _count(usage, "completion_tokens") or _count(usage, "output_tokens"),
        _count(next((usage[name] for name in details if usage.get(name)), None), "cached_tokens"),
    )
    return tokens if tokens.total else None


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else 0


def _tokens_of(text_bytes: int) -> int:
    return -(-text_bytes // BYTES_A_TOKEN)
