"""
What a request's body says about itself: its model, whether it wants a stream, what it may name, how it begins. Pure.

Rule 1: the model that is judged is the model that is sent: a body that names it twice, or a form that another parser could
        read differently, is refused, not guessed about.
Rule 2: a body that is neither JSON nor a form says nothing, and that is no error.
Rule 3: the words of a body stay in no repr, and nobody keeps them longer than the request.
Rule 4: everybody waits while a body is read: one of far more pieces than any question has is refused, not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import field
from email import message_from_bytes
from functools import partial
from typing import Any

from proxy.objects import LONGEST_ID, is_id, strings_in
from proxy.refusal import invalid_request
from proxy.value import value_type

OPENING_MESSAGES = 8  # instructions come before the first question, in few messages
OPENING_CHARACTERS = 2_048  # of each; conversations that are alike for so long may as well share a prompt cache
LONGEST_MODEL = 256  # characters; every name is kept for a while, and the longest in the field are below a hundred
MOST_PARTS = 1_000  # of a form; the largest have some hundred files
PART_HEAD_BYTES = 8_192  # the longest are a file's name in UTF-8, percent-encoded
PARAMETERS = 16  # of a part's head, which has three; the standard library takes quadratic time over them
PART_LINES = 16  # of a part's head, which has two or three
HEADS_BYTES = 262_144  # of all parts' heads together; reading them takes 70 ns a byte at worst
# Quotes, brackets, commas and colons. What has most of them is a list of tokens: embeddings take 300,000 in a request.
MOST_MARKS = 500_000
JUDGED = frozenset({"model", "stream"})

# Nobody asks how much a number is, and finding it out is slow: 8 MiB of the worst take a quarter of a second.
decoder = partial(json.JSONDecoder, parse_int=len, parse_float=len)
_DECODER = decoder()
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.S)  # an open end keeps it linear
# What an upstream that does not look at Content-Type may take for an object, in whatever encoding of Unicode.
_MAY_BE_READ_AS_JSON = re.compile(rb"[\xef\xbb\xbf\xfe\xff\0 \t\n\v\f\r]*+\{")
_BOUNDARY = re.compile(r'multipart/form-data\s*;[^"]*?boundary="?([!#-+\--:<-~]{1,70})"?\s*(?:;.*)?', re.I)


@value_type
class Peek:
    """
    `names` are all strings that may be ids of objects. `opening` is what tells one conversation from another, "" where there
    is none. `is_stored` is `store`: None where the body does not say.
    """

    model: str = ""
    wants_stream: bool = False
    is_stored: bool | None = None
    names: frozenset[str] = field(default=frozenset(), repr=False)
    opening: str = field(default="", repr=False)


def peek(body: bytes, content_type: str = "") -> Peek:
    """What the body says. Raises a Refusal (400) where it is broken JSON or contradicts itself."""
    if (boundary := boundary_of(content_type)) is not None:
        return _of_form(body, boundary)
    if content_type.lower().lstrip().startswith("application/x-www-form-urlencoded"):
        raise invalid_request(
            "Send JSON, and say so: `Content-Type: application/json`; or a form as multipart/form-data."
        )
    if not body.strip() or ("json" not in content_type.lower() and not _MAY_BE_READ_AS_JSON.match(body)):
        return Peek()
    text, payload = _parse(body)
    names = strings_in(text)
    if not isinstance(payload, dict):
        return Peek(names=names)
    others = payload.keys() - JUDGED
    if not JUDGED.isdisjoint(map(str.casefold, others)):  # to Go's parser they are the same
        raise invalid_request("The body's names model and stream are written in small letters.")
    model = payload.get("model", "")
    if not isinstance(model, str | None):
        raise invalid_request("The body's model must be a string.")
    store = payload.get("store")
    is_stored = store if isinstance(store, bool) else None
    return Peek(_plain(model or ""), payload.get("stream") is True, is_stored, names, _opening(payload))


def boundary_of(content_type: str) -> bytes | None:
    """What divides the parts of a form; None for a body that is none. Raises a Refusal (400) where it is not plain."""
    if not content_type.lower().lstrip().startswith("multipart/form-data"):
        return None
    boundary = _BOUNDARY.fullmatch(content_type.strip())
    if boundary is None or content_type.lower().count("boundary") > 1:
        raise invalid_request("The form's boundary is missing or not plain.")
    return boundary[1].encode()


def _opening(payload: dict[str, Any]) -> str:
    """The cache key that the caller chose, else the first question and what goes before it."""
    cache_key = payload.get("prompt_cache_key")
    if cache_key and isinstance(cache_key, str):
        return f"key\0{cache_key[:OPENING_CHARACTERS]}"
    texts = [_text(payload.get("instructions"))]
    messages = payload.get("messages") or payload.get("input")
    if isinstance(messages, str):
        return "\0".join(["text", *texts, messages[:OPENING_CHARACTERS]])
    for message in messages[:OPENING_MESSAGES] if isinstance(messages, list) else ():
        if isinstance(message, dict):
            texts.append(_text(message.get("content")))
            if message.get("role") == "user":
                return "\0".join(["text", *texts])
    return ""


def _text(content: Any) -> str:
    """The beginning of a message, or of its first part that is text."""
    if isinstance(content, list):
        parts = [part["text"] for part in content[:OPENING_MESSAGES] if isinstance(part, dict) and "text" in part]
        content = parts[0] if parts else ""
    return content[:OPENING_CHARACTERS] if isinstance(content, str) else ""


def _plain(model: str) -> str:
    if len(model) > LONGEST_MODEL or not model.isprintable():
        raise invalid_request("The model's name must be short and plain.")
    return model


def _parse(body: bytes) -> tuple[str, Any]:
    """The text, and what it says."""
    outermost: list[tuple[str, Any]] = []

    def watched(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal outermost
        outermost = pairs  # called for every object, and for the outermost last
        return dict(pairs)

    must_be_readable(body)
    # Names are looked at one by one only where there may be two of them, or one that is spelled with escapes.
    suspicious = body.count(b'"model"') > 1 or body.count(b'"stream"') > 1 or b"\\u" in body
    try:
        text = body.decode("utf-8")
        payload = (decoder(object_pairs_hook=watched) if suspicious else _DECODER).decode(text)
    except (ValueError, RecursionError):
        raise invalid_request("The body is not valid JSON.") from None
    if outermost and isinstance(payload, dict):
        names = [name for name, _ in outermost if name in JUDGED]
        if len(names) > len(set(names)):
            raise invalid_request("The body names model or stream twice.")
    return text, payload


def must_be_readable(text: bytes) -> None:
    """Raises a Refusal (400). Marks within strings are words: whoever sends code in a message sends many."""
    if len(text) <= MOST_MARKS or _marks_in(text) <= MOST_MARKS:
        return
    rest, strings = _STRING.subn(b"", text, MOST_MARKS // 2)
    if 2 * strings + _marks_in(rest) > MOST_MARKS:
        raise invalid_request("That has too many strings, numbers and brackets.")


def without_strings(text: bytes) -> bytes:
    """What is left of JSON: numbers, names of constants, brackets and blanks."""
    return _STRING.sub(b"", text)


def _marks_in(text: bytes) -> int:
    return len(text) - len(text.translate(None, b'"[{,:'))


def _of_form(body: bytes, boundary: bytes) -> Peek:
    values: dict[str, list[bytes]] = {"model": [], "stream": []}
    names = set()
    for name, value in parts_of_form(body, boundary):
        if name in values:
            values[name].append(value)
        if len(value) <= LONGEST_ID and is_id(text := value.decode("latin-1")):
            names.add(text)
    if len(values["model"]) > 1:
        raise invalid_request("The form names model twice.")
    model = b"".join(values["model"]).decode("utf-8", "replace")
    return Peek(_plain(model), values["stream"] == [b"true"], names=frozenset(names))


def parts_of_form(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and value of each part. Raises a Refusal (400) where they are not clearly divided."""
    divisions = body.count(b"--" + boundary)
    if divisions > MOST_PARTS:
        raise invalid_request(f"The form has more than {MOST_PARTS} parts.")
    before, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary)
    # What stands before the first part may be all that an upstream reads, as JSON.
    if before.strip(b"\r\n") or len(parts) != divisions or not parts or not parts.pop().startswith(b"--"):
        raise invalid_request("The form's parts are not clearly divided.")
    left = HEADS_BYTES
    for part in parts:
        head, blank, value = part.partition(b"\r\n\r\n")
        left -= len(head)
        lines = max(head.count(b"\r"), head.count(b"\n"))
        if left < 0 or len(head) > PART_HEAD_BYTES or lines > PART_LINES or head.count(b";") > PARAMETERS:
            raise invalid_request("The head of a form's part is too long.")
        message = message_from_bytes(head.lstrip(b" \t\r\n") + b"\r\n\r\n")
        told: list[Any] = message.get_params([], "content-disposition")  # the value of one may be three things
        named = [text for key, text in told if key.lower() == "name"]
        if not blank or len(message.get_all("content-disposition", [])) != 1 or [type(n) for n in named] != [str]:
            raise invalid_request("Each part of a form must have one plain name.")
        yield named[0], value
