"""
The bytes of a request's head, and the place that it goes to. Pure.

Rule 1: what would not be read back as it was meant (a line end in a value, a name that is none, a space in a path) is no
        request: a ValueError, since whoever asks has looked at it before.
Rule 2: nothing is added but Host and what frames the body; a body has one framing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

from proxy.headers import Pairs

BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})  # where no body is not worth a word
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TARGET = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


def request(method: str, url: str, headers: Pairs, length: int | None) -> Request:
    """
    For an absolute `url`. `headers` have no Host and no Transfer-Encoding; where they have a Content-Length, that is the length
    of a body that is not at hand.
    """
    scheme, _, rest = url.partition("://")
    authority, slash, target = rest.partition("/")
    announced = [value for name, value in headers if name.lower() == "content-length"]
    if announced:
        headers = [pair for pair in headers if pair[0].lower() != "content-length"]
        length = int(announced[0])
    framing = [("Transfer-Encoding", "chunked")]
    if length is not None:
        framing = [("Content-Length", str(length))] if length or method not in BODILESS else []
    pairs = [("Host", origin_of(f"{scheme}://{authority}").authority), *headers, *framing]
    block = "\r\n".join([f"{method} {slash}{target} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs)])
    if len(announced) > 1 or not block.count("\r") == block.count("\n") == len(pairs) or _CONTROL.search(block):
        raise ValueError("a header that is none")
    if not all(map(_is_name, [method, *(name for name, _ in pairs)])):
        raise ValueError("a name that is none")
    if not slash or not _TARGET.fullmatch(target or "/"):
        raise ValueError("a path that is none")
    # What a caller sent is passed on as it came, also where it is no text.
    return Request(method, f"{block}\r\n\r\n".encode("utf-8", "surrogateescape"), length)


@lru_cache(maxsize=256)
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None
