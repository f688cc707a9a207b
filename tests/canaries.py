"""
Secrets and subscribers' words as canaries: what a test hands to a daemon is looked for in whatever that daemon says.

Rule 1: the benches plant what they hand over; nothing that a test says, shows or writes down may have it, in any spelling.
Rule 2: a spelling is a way to leave without being seen by whoever looks for the plain value: encoded, escaped, turned, cut.
Rule 3: words may stand in answers and in the database, secrets in neither. Backups keep what they are given, and are not read.

`tests/conftest.py` asks after each test, about its own canaries alone.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus

from aiohttp import ClientSession, TraceConfig, TraceRequestEndParams, TraceResponseChunkReceivedParams

SHORTEST = 4  # characters; shorter ones are found in anything
LARGEST_ANSWER, LARGEST_FILE = 1 << 20, 1 << 24  # bytes; larger ones are a test's load
CUT = 4  # characters that a mask may show of a key
IN_A_CONFIG = re.compile(r'^\s*(?:secret|token|password|app_secret|encoding_aes_key)\s*=\s*"([^"\n]+)"', re.MULTILINE)

_secrets: set[str] = set()
_words: set[str] = set()
_heard: list[tuple[str, bytes]] = []


def plant(*secrets: str) -> None:
    _secrets.update(secret for secret in secrets if len(secret) >= SHORTEST)


def plant_words(*words: str) -> None:
    """What subscribers are called, and what they say."""
    _words.update(said for said in words if len(said.encode("utf-8", "surrogatepass")) >= 2 * SHORTEST)


def hear(where: str, said: bytes) -> None:
    """Something that must have no secret; `where` is told if it has."""
    _heard.append((where, said))


def hear_files(folder: Path, *patterns: str) -> None:
    for path in sorted({path for pattern in patterns for path in folder.rglob(pattern)}):
        if path.is_file() and path.stat().st_size <= LARGEST_FILE:
            hear(path.name, path.read_bytes())


@lru_cache(maxsize=1_024)
def spellings(value: str) -> Mapping[str, bytes]:
    """How `value` may look when it leaves, by the name of it."""
    plain = value.encode("utf-8", "surrogatepass")
    every = {
        "plain": plain,
        "in small letters": value.lower().encode("utf-8", "surrogatepass"),
        "in capitals": value.upper().encode("utf-8", "surrogatepass"),
        "backwards": value[::-1].encode("utf-8", "surrogatepass"),
        "as a URL": quote(plain, safe="").encode(),
        "as a form": quote_plus(plain).encode(),
        "in percents": "".join(f"%{byte:02X}" for byte in plain).encode(),
        "in JSON": json.dumps(value)[1:-1].encode(),
        "in JSON's numbers": "".join(f"\\u{ord(character):04x}" for character in value).encode(),
        "in HTML": html.escape(value).encode("utf-8", "surrogatepass"),
        "in HTML's numbers": "".join(f"&#{ord(character)};" for character in value).encode(),
        "in Python's bytes": "".join(f"\\x{byte:02x}" for byte in plain).encode(),
        "in hex": plain.hex().encode(),
        "in HEX": plain.hex().upper().encode(),
        "in UTF-16": value.encode("utf-16-le", "surrogatepass"),
        "but for its end": plain[:-CUT] if len(plain) >= 4 * CUT else plain,
        "but for its beginning": plain[CUT:] if len(plain) >= 4 * CUT else plain,
    }
    for before in range(3):
        every[f"in base64, {before} behind"] = inside = _base64(plain, before)
        every[f"in a URL's base64, {before} behind"] = inside.replace(b"+", b"-").replace(b"/", b"_")
    return every


def _base64(plain: bytes, before: int) -> bytes:
    """The characters that are the same whatever stands around `plain`, which begins `before` bytes into three."""
    encoded = b64encode(bytes(before) + plain + bytes(3))
    return encoded[-(-before * 8 // 6) : (before + len(plain)) * 8 // 6]


def found(said: bytes, values: Iterable[str]) -> Iterator[str]:
    """Which of `values` are in it, and how: the value itself is not told again."""
    for value in values:
        for name, spelling in spellings(value).items():
            if spelling in said:
                yield f"{value[:2]}… ({len(value)} characters) {name}"
                break


def leaks(said: Iterable[tuple[str, str]], folder: Path | None) -> list[str]:
    """
    What got out since the last time this was asked. `said`: what a test has put out, and where; `folder`: its own, with the
    configs and logs of daemons that ran as processes.
    """
    if folder is not None:
        for path in folder.rglob("*.toml"):
            plant(*IN_A_CONFIG.findall(path.read_text("utf-8", "replace")))
        hear_files(folder, "*.log")
    outside = [(where, text.encode("utf-8", "surrogatepass"), _secrets | _words) for where, text in said]
    inside = [(where, text, _secrets) for where, text in _heard]
    seen = [f"{where}: {each}" for where, text, values in (*outside, *inside) for each in found(text, sorted(values))]
    for kept in (_secrets, _words, _heard):
        kept.clear()
    return seen


def listening() -> TraceConfig:
    """For a session whose answers are all heard, but for successes below /v1: those are the upstream's own words."""
    trace = TraceConfig()

    async def head(_: ClientSession, context: SimpleNamespace, end: TraceRequestEndParams) -> None:
        hear(f"the head of an answer to {end.url.path}", repr(end.response.headers).encode())
        context.is_ours = end.response.status >= 400 or not end.url.path.startswith("/v1/")

    async def body(_: ClientSession, context: SimpleNamespace, chunk: TraceResponseChunkReceivedParams) -> None:
        if context.is_ours and len(chunk.chunk) <= LARGEST_ANSWER:
            hear(f"an answer to {chunk.url.path}", chunk.chunk)

    trace.on_request_end.append(head)
    trace.on_response_chunk_received.append(body)
    return trace


def words_asked(bodies: Iterable[bytes]) -> Iterator[str]:
    """What subscribers said, out of what a model was asked."""
    for body in bodies:
        try:
            asked: Any = json.loads(body)
        except (ValueError, RecursionError):
            continue
        for message in asked.get("messages", []) if isinstance(asked, dict) else []:
            if isinstance(message, dict) and message.get("role") == "user" and isinstance(message.get("content"), str):
                yield message["content"]
