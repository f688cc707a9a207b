"""
The bytes of a request's head, and the place that it goes to. Pure.

Rule 1: what would not be read back as it was meant (a line end in a value, a name that is none, a space in a path) is no
        request: a ValueError, since whoever asks has looked at it before.
Rule 2: nothing is added but Host and what frames the body; a body has one framing.
"""

from __future__ import annotations

import re
from dataclasses import field
from functools import lru_cache
from urllib.parse import urlsplit

from proxy.headers import Fields, Pairs
from proxy.value import value_type

BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})  # where no body is not worth a word
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(r"[!-~]+")


@value_type
class Origin:
    """Whom to connect to. `host` is without the brackets of an IPv6 address."""

    host: str
    port: int
    is_tls: bool

    @property
    def authority(self) -> str:
        """As the header Host has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"


@value_type
class Request:
    """`length` is the body's, None for one that goes out in chunks because nobody knows it."""

    method: str
    head: bytes = field(repr=False)
    length: int | None = 0


@lru_cache(maxsize=64)
def origin_of(base_url: str) -> Origin:
    """Of a base URL that the config has let through."""
    parts = urlsplit(base_url)
    is_tls = parts.scheme == "https"
    return Origin(parts.hostname or "", parts.port or (443 if is_tls else 80), is_tls)


def request(method: str, opening: bytes, headers: Pairs, length: int | None) -> Request:
    """
    Behind its `opening`. `headers` have no Host and no Transfer-Encoding; where they have a Content-Length, that is the length
    of a body that is not at hand.
    """
    fields = Fields.of(headers)
    announced = fields.said().get("content-length")
    if announced:
        if len(announced) > 1:
            raise ValueError("a header that is none")
        fields, length = fields.without("content-length"), int(announced[0])
    if length is None:
        framing = b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    elif length or method not in BODILESS:
        framing = b"\r\nContent-Length: %d\r\n\r\n" % length
    else:
        framing = b"\r\n\r\n"
    return Request(method, b"".join((opening, fields.block(), framing)), length)


def opening(method: str, url: str, credentials: Pairs) -> bytes:
    """The request line for an absolute `url`, Host, and `credentials`: what is the same for all requests of a key to a path."""
    scheme, _, rest = url.partition("://")
    authority, slash, target = rest.partition("/")
    if not slash or not _TARGET.fullmatch(target or "/"):
        raise ValueError("a path that is none")
    if not _NAME.fullmatch(method):
        raise ValueError("a name that is none")
    host = ("Host", origin_of(f"{scheme}://{authority}").authority)
    return f"{method} /{target} HTTP/1.1".encode("ascii") + Fields.of([host, *credentials]).block()
