"""
What a request's body says about itself: its model, and whether it wants a stream. Pure.

Rule 1: the model that is judged is the model that is sent: a body that names it twice is refused, not guessed about.
Rule 2: a body that is neither JSON nor a form says nothing, and that is no error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from proxy.refusal import invalid_request

_BOUNDARY = re.compile(r'multipart/form-data\b.*?\bboundary="?([^";,\s]{1,70})', re.I)
_PART_NAME = re.compile(rb'content-disposition:[^\r\n]*?\bname="?([^";\r\n]*)', re.I)


@dataclass(frozen=True, slots=True)
class Peek:
    model: str = ""
    wants_stream: bool = False


def peek(body: bytes, content_type: str = "") -> Peek:
    """What the body says. Raises a Refusal (400) where it is broken JSON or contradicts itself."""
    if boundary := _BOUNDARY.match(content_type):
        return _of_form(body, boundary[1].encode("latin-1"))
    if not body.strip() or ("json" not in content_type.lower() and not body.lstrip().startswith(b"{")):
        return Peek()
    payload = _parse(body)
    if not isinstance(payload, dict):
        return Peek()
    model = payload.get("model", "")
    if not isinstance(model, str | None):
        raise invalid_request("The body's model must be a string.")
    return Peek(model or "", payload.get("stream") is True)


def _parse(body: bytes) -> Any:
    seen_twice: list[str] = []

    def watched(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Called for every object, the outermost last: what stands here after parsing is about the body itself.
        names = [name for name, _ in pairs]
        seen_twice[:] = [name for name in ("model", "stream") if names.count(name) > 1]
        return dict(pairs)

    # Names are looked at one by one only where there may be two of them, or one that is spelled with escapes.
    suspicious = body.count(b'"model"') > 1 or body.count(b'"stream"') > 1 or b"\\u" in body
    try:
        payload = json.loads(body.decode("utf-8"), object_pairs_hook=watched if suspicious else None)
    except (ValueError, RecursionError):
        raise invalid_request("The body is not valid JSON.") from None
    if seen_twice and isinstance(payload, dict):
        raise invalid_request(f"The body names {seen_twice[0]} twice.")
    return payload


def _of_form(body: bytes, boundary: bytes) -> Peek:
    values: dict[bytes, list[bytes]] = {b"model": [], b"stream": []}
    for part in body.split(b"--" + boundary):
        head, blank, value = part.partition(b"\r\n\r\n")
        if blank and (name := _PART_NAME.search(head[:1024])) and name[1] in values:
            values[name[1]].append(value.removesuffix(b"\r\n"))
    if len(values[b"model"]) > 1:
        raise invalid_request("The form names model twice.")
    model = values[b"model"][0][:256].decode("utf-8", "replace") if values[b"model"] else ""
    return Peek(model, values[b"stream"] == [b"true"])
