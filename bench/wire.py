"""
The bytes of the benchmark: a request as the official Python client sends it, answers as OpenAI's API writes them, and a
reader that knows where an answer ends.

Rule 1: sizes are those of real traffic (17 request headers and 1 KB of body, 20 answer headers and 1.5 KB of JSON), because
        what a proxy costs depends on them.
Rule 2: an event carries the moment it was sent, on the clock that all processes of a machine share (CLOCK_MONOTONIC).
"""

from __future__ import annotations

import json
import re
import time
from email.utils import formatdate

TOKEN = "ph-bench-token"
EVENTS = 5  # of a stream whose first byte is measured
_SPREAD = 0x9E3779B97F4A7C15  # odd, so that no two numbers share an id

_SENT_AT = re.compile(rb'"content":"(\d+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"

# Host, Connection, Content-Length and the authorization are beside these.
REQUEST_FIELDS = (
    ("Accept-Encoding", "gzip, deflate"),
    ("Accept", "application/json"),
    ("Content-Type", "application/json"),
    ("User-Agent", "OpenAI/Python 2.0.0"),
    ("X-Stainless-Lang", "python"),
    ("X-Stainless-Package-Version", "2.0.0"),
    ("X-Stainless-OS", "Linux"),
    ("X-Stainless-Arch", "x64"),
    ("X-Stainless-Runtime", "CPython"),
    ("X-Stainless-Runtime-Version", "3.11.7"),
    ("Authorization", f"Bearer {TOKEN}"),
    ("X-Stainless-Async", "false"),
    ("x-stainless-retry-count", "0"),
    ("x-stainless-read-timeout", "600"),
)
PATH = "/v1/chat/completions"

_ANSWER_HEAD = "".join(
    f"{line}\r\n"
    for line in (
        "HTTP/1.1 200 OK",
        "Date: {date}",
        "Connection: keep-alive",
        "access-control-expose-headers: X-Request-ID",
        "openai-organization: org-bench",
        "openai-processing-ms: {milliseconds}",
        "openai-project: proj_bench",
        "openai-version: 2020-10-01",
        "x-envoy-upstream-service-time: {served}",
        "x-ratelimit-limit-requests: 5000",
        "x-ratelimit-limit-tokens: 2000000",
        "x-ratelimit-remaining-requests: {requests}",
        "x-ratelimit-remaining-tokens: {tokens}",
        "x-ratelimit-reset-requests: 12ms",
        "x-ratelimit-reset-tokens: {reset}ms",
        "x-request-id: req_{id:032x}",
        "strict-transport-security: max-age=31536000; includeSubDomains; preload",
        "Server: cloudflare",
        "CF-RAY: {id:016x}-SJC",
    )
)


def answer_head(number: int, now: float) -> bytes:
    """As the upstream sends it for its answer number so-and-so: what varies from answer to answer does, its size never."""
    milliseconds = 400 + number % 500
    varying = {
        "date": formatdate(now, usegmt=True),
        "milliseconds": milliseconds,
        "served": milliseconds + 6,
        "requests": 4999 - number % 1000,
        "tokens": 1999985 - number % 1000 * 250,
        "reset": 1 + number % 9,
        "id": number * _SPREAD % 2**64,
    }
    return _ANSWER_HEAD.format(**varying).encode()


def request(*, stream: bool) -> bytes:
    content = question(stream=stream)
    lines = (
        f"POST {PATH} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: keep-alive",
        *(f"{name}: {value}" for name, value in REQUEST_FIELDS),
        f"Content-Length: {len(content)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def question(*, stream: bool) -> bytes:
    body = {
        "model": "gpt-5-mini",
        "messages": [
            {"role": "system", "content": "Answer shortly. " * 20},
            {"role": "user", "content": "What changes horses in a posthouse? " * 16},
        ],
        "stream": stream,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def answer() -> bytes:
    """What follows the head of a whole answer of 1.5 KB."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "The rider does. " * 65, "refusal": None, "annotations": []},
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 250, "completion_tokens": 260, "total_tokens": 510}
    facts = {"id": "chatcmpl-bench", "object": "chat.completion", "created": 1767225600, "model": "gpt-5-mini"}
    return document({**facts, "choices": [choice], "usage": usage})


def document(value: object) -> bytes:
    """The rest of an answer, after `answer_head`."""
    content = json.dumps(value, ensure_ascii=False).encode()
    return f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def stream_head(number: int = 0, now: float = 0.0) -> bytes:
    framing = b"Content-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    return answer_head(number, now) + framing


def event(words: str) -> bytes:
    """One event of about 250 bytes, chunked."""
    return _event({"content": words}, None)


def event_now() -> bytes:
    """The same with the moment it is sent as its words, made without JSON: a thousand streams want fifty a second each."""
    return b"%b%019d%b" % (_BEFORE, time.monotonic_ns(), _AFTER)


def stream_end() -> bytes:
    return _event({}, "stop") + _chunk(b"data: [DONE]\n\n") + _LAST_CHUNK


def _event(delta: dict[str, str], finish_reason: str | None) -> bytes:
    value = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1767225600,
        "model": "gpt-5-mini",
        "service_tier": "default",
        "system_fingerprint": "fp_bench",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
    }
    return _chunk(b"data: " + json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_BEFORE, _AFTER = event("0" * 19).split(b"0" * 19)


def sent_at(data: bytes) -> list[int]:
    """When the events in `data` were sent, in nanoseconds."""
    return [int(stamp) for stamp in _SENT_AT.findall(data)]


class AnswerEnd:
    """Fed with what arrives on a connection, it says when an answer is whole; then it is ready for the next."""

    __slots__ = ("_chunked", "_left", "_seen")

    def __init__(self) -> None:
        self._seen = b""
        self._chunked, self._left = False, 0

    def feed(self, data: bytes) -> bool:
        """Whether the answer is whole. Raises ValueError for anything but a 200 that says how it is framed."""
        if self._chunked:
            self._seen = (self._seen + data)[-len(_LAST_CHUNK) :]
            return self._is_over(self._seen == _LAST_CHUNK)
        if self._left:
            self._left -= len(data)
            return self._is_over(not self._left)
        self._seen = self._seen + data if self._seen else data
        head, blank, body = self._seen.partition(b"\r\n\r\n")
        if not blank:
            return False
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"expected a 200, got {self._seen[:200]!r}")
        if length := _LENGTH.search(head):
            self._left = int(length[1]) - len(body)
            return self._is_over(not self._left)
        self._chunked, self._seen = True, body[-len(_LAST_CHUNK) :]
        return self._is_over(self._seen == _LAST_CHUNK)

    def _is_over(self, is_over: bool) -> bool:
        if is_over:
            self._seen, self._chunked = b"", False
        return is_over
