"""
Inputs that are almost right: a good one, changed at random in a few places. Pure.

Rule 1: all chance comes from the `Random` that is handed in, so that a seed gives the same inputs again.
Rule 2: `mutated` changes bytes, which most parsers refuse; `reshaped` and `revalued` change what well-formed input says, which
        goes further in.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

MOST_CHANGES = 4
MOST_REPEATED = 2000
# What parsers stumble over: of HTTP, JSON, XML, TOML and event streams together, because each reads the others' as noise.
TOKENS: Sequence[bytes] = (
    *(b"\r\n", b"\r", b"\n", b"\x00", b"\x0b", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b" ", b"\t"),
    *(b"%00", b"%2e%2e/", b"//", b"\\", b"#", b"?", b"&", b"=", b";", b":", b"Transfer-Encoding: chunked\r\n"),
    *(b"Content-Length: 0\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n"),
    *(b"Expect: 100-continue\r\n", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Content-Encoding: gzip\r\n"),
    *(b"HTTP/9.9", b"HTTP/0.9", b"{", b"}", b"[" * 500, b"]", b'"', b"\\u0000", b"\\ud800", b"NaN", b"-0", b"1e999"),
    *(
        b"9" * 5000,
        b"null",
        b"true",
        b'"model":',
        b'"stream":1',
        b"<![CDATA[",
        b"]]>",
        b"<!DOCTYPE a [",
        b"&a;",
        b"&#0;",
    ),
    *(
        b"<?xml version='1.0' encoding='utf-16'?>",
        b"</xml>",
        b"<xml>",
        b"<Content>",
        b"<Encrypt>",
        b"<MsgId>-1</MsgId>",
    ),
    *(
        b"data: ",
        b"data: [DONE]\n\n",
        b"event: error\n",
        b": \n",
        b"id: 1\n",
        b"\n\n\n\n",
        b"[[keys]]\n",
        b"'''",
        b"0x",
    ),
)

ODD_WORDS: Sequence[str] = (
    *("", " ", "\0", "\n", "\r\nX: y", "]]>", "<xml>", "&a;", "\u202e", "\ufeff", "😀" * 600, "a" * 70_000, "9" * 400),
    *(
        "-1",
        "0x10",
        "NaN",
        "null",
        "../..",
        "%00",
        "%2e%2e",
        "data: [DONE]\n\n",
        "继续",
        "帮助",
        "{{7*7}}",
        "' OR 1=1--",
    ),
)
ODD_VALUES: Sequence[Any] = (
    *(None, True, False, 0, -1, 2**31, 2**63, 2**70, 1e308, -0.0, "\ud800", [], {}, [[]], {"": None}, [None] * 300),
    *ODD_WORDS,
)


def reshaped(good: Any, chance: random.Random) -> Any:
    """A JSON document with one to three of its values replaced, taken out, wrapped, or joined by another."""
    changed = copy.deepcopy(good)
    for _ in range(chance.randint(1, 3)):
        places = [*_places(changed)]
        if not places:
            return chance.choice(ODD_VALUES)
        where, key = chance.choice(places)
        match chance.randrange(5):
            case 0:
                del where[key]
            case 1:
                where[key] = [where[key]]
            case 2 if isinstance(where, dict):
                where[chance.choice(ODD_WORDS)] = chance.choice(ODD_VALUES)
            case _:
                where[key] = copy.deepcopy(chance.choice(ODD_VALUES))
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in it with each of its keys."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def revalued(fields: Mapping[str, str | int], chance: random.Random) -> dict[str, str | int]:
    """Fields of a push or of a head, one or two of them with an odd value."""
    names = chance.sample(sorted(fields), k=chance.randint(1, 2))
    return {**fields, **{name: chance.choice(ODD_WORDS) for name in names}}


def mutated(good: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, MOST_CHANGES)):
        good = chance.choice(CHANGES)(good, chance)
    return good


def _flip(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + chance.choice(TOKENS) + data[at:]


def _replace(data: bytes, chance: random.Random) -> bytes:
    start, end = _stretch(data, chance)
    return data[:start] + chance.choice(TOKENS) + data[end:]


def _delete(data: bytes, chance: random.Random) -> bytes:
    start, end = _stretch(data, chance)
    return data[:start] + data[end:]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    start, end = _stretch(data, chance)
    piece = data[start:end]
    return data[:end] + piece * (chance.randint(1, MOST_REPEATED) // max(1, len(piece))) + data[end:]


def _swap(data: bytes, chance: random.Random) -> bytes:
    start, end = _stretch(data, chance)
    return data[end:] + data[start:end] + data[:start]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: _place(data, chance)]


CHANGES: Sequence[Callable[[bytes, random.Random], bytes]] = (
    *(_flip, _flip, _flip, _insert, _insert, _insert, _replace, _replace, _delete, _repeat, _swap, _cut),
)


def _place(data: bytes, chance: random.Random) -> int:
    return chance.randrange(len(data)) if data else 0


def _stretch(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = _place(data, chance)
    return start, min(len(data), start + chance.choice((1, 2, 8, 40, 200)))
