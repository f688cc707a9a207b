"""
What a WebSocket says of itself when it opens, in an event, and when it closes. Pure.

Rule 1: a token that a browser puts among its subprotocols, having no other place for it, counts as if it stood in
        `Authorization`; like that, it is passed on to nobody.
Rule 2: subprotocols are agreed on from end to end, extensions are not: frames are compressed on neither side.
Rule 3: a close code goes through as it came where it may stand in a frame. Whoever stays hears 1001 of a caller that left
        without one, and 1011 of an upstream that did: never 1000, which would say that all is well.

Source: RFC 6455 (4.1 the handshake, 7.4 the codes); platform.openai.com/docs/guides/realtime-websocket (a browser's
subprotocols) and its reference of events.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qsl

from proxy.headers import Pairs
from proxy.peek import LONGEST_MODEL
from proxy.refusal import invalid_request, upstream_unreachable
from proxy.target import Target
from proxy.usage import Tokens, tokens_in
from proxy.value import value_type

REALTIME = "/v1/realtime"  # where the query names the model, and nothing that is said later changes it
PROTOCOLS = "Sec-WebSocket-Protocol"

# What a browser says in subprotocols, and the header that everybody else has for it.
_SPOKEN = {
    "openai-insecure-api-key.": ("Authorization", "Bearer "),
    "openai-organization.": ("OpenAI-Organization", ""),
    "openai-project.": ("OpenAI-Project", ""),
}
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAY_STAND = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})

_ENDINGS = ("response.done", "response.completed", "response.failed", "response.incomplete")
_MAY_END = re.compile(rb'"response\.(?:done|completed|failed|incomplete)"')
LARGEST_EVENT = 1 << 20  # bytes; the end of an answer repeats its words, and those are far fewer


@value_type
class Parting:
    """With what a connection is closed."""

    code: int
    reason: str = ""


SHUTTING_DOWN = Parting(1001, "the gateway is going away")
SILENT = Parting(1001, "nothing was said for too long")
CALLER_GONE = Parting(1001, "the caller is gone")
UPSTREAM_GONE = Parting(1011, "the upstream is gone")


def parting(code: int, reason: str) -> Parting:
    """What the other end hears of a close frame; `code` is 0 where the frame had none, which means no more than 1000."""
    if code in _MAY_STAND or 3000 <= code <= 4999:
        return Parting(code, reason)
    return Parting(1011 if code else 1000)


def spoken(headers: Iterable[tuple[str, str]]) -> Pairs:
    """The headers with a browser's credentials in their usual places, and its other subprotocols alone in theirs."""
    pairs, protocols = [], []
    for name, value in headers:
        if name.lower() != PROTOCOLS.lower():
            pairs.append((name, value))
            continue
        for protocol in filter(None, map(str.strip, value.split(","))):
            prefix = protocol[: protocol.find(".") + 1].lower()
            if prefix in _SPOKEN:
                header, before = _SPOKEN[prefix]
                pairs.append((header, before + protocol[len(prefix) :]))
            else:
                protocols.append(protocol)
    return [*pairs, (PROTOCOLS, ", ".join(protocols))] if protocols else pairs


def model_of(target: Target) -> str:
    """The model that the query names, "" where it names none or where the path does not take one. Raises a Refusal."""
    if target.path.rstrip("/") != REALTIME:
        return ""
    models = [value for name, value in parse_qsl(target.query) if name == "model"]
    if len(models) > 1 or ";" in target.query:  # which of two servers may take for a separator
        raise invalid_request("The query must name one model, plainly.")
    model = models[0] if models else ""
    if len(model) > LONGEST_MODEL or not model.isprintable():
        raise invalid_request("The model's name must be short and plain.")
    return model


def handshake(nonce: str, protocols: str) -> Pairs:
    """What asks an upstream to open. `nonce`: sixteen random bytes in base64; `protocols`: the header's value, or ""."""
    asked = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", nonce),
    ]
    return [*asked, (PROTOCOLS, protocols)] if protocols else asked


def agreed(status: int, answer: Mapping[str, str], asked: Sequence[tuple[str, str]]) -> str:
    """
    The subprotocol to speak, "" for none. Raises a Refusal where the answer to `handshake()` opens no WebSocket.

    `answer`: header names in any case, as aiohttp's mapping takes them.
    """
    said = dict(asked)
    accept = b64encode(
        hashlib.sha1(said["Sec-WebSocket-Key"].encode() + _GUID, usedforsecurity=False).digest()
    ).decode()
    protocol = answer.get(PROTOCOLS, "")
    is_open = (
        status == 101
        and answer.get("Upgrade", "").lower() == "websocket"
        and "upgrade" in [word.strip() for word in answer.get("Connection", "").lower().split(",")]
        and answer.get("Sec-WebSocket-Accept", "").strip() == accept
        and "Sec-WebSocket-Extensions" not in answer  # none was asked for
        and (not protocol or protocol in said.get(PROTOCOLS, "").split(", "))
    )
    if not is_open:
        raise upstream_unreachable("The upstream does not open a WebSocket at this path.")
    return protocol


def passable_with_101(headers: Pairs) -> Pairs:
    """What of the upstream's headers goes along with our own handshake. They have passed `headers.passable_down`."""
    return [(name, value) for name, value in headers if not name.lower().startswith(("sec-", "content-"))]


def tokens_of(event: bytes) -> Tokens | None:
    """What an answer used, from the event that ends it; None of all other events."""
    if len(event) > LARGEST_EVENT or not _MAY_END.search(event):
        return None
    try:
        said = json.loads(event)
    except (ValueError, RecursionError):
        return None
    # A model's words do not get here, their quotes are escaped; a caller's metadata might.
    is_end = isinstance(said, dict) and said.get("type") in _ENDINGS
    response = said.get("response") if is_end else None
    return tokens_in(response.get("usage")) if isinstance(response, dict) else None
