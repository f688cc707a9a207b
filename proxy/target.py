"""
Which path of the upstream a request means, or that it means none. Pure.

Rule 1: only a plain, already normalised path below /v1/ is forwarded; everything that some server might read differently
        (dot segments, doubled or encoded slashes, backslashes, path parameters, escapes of escapes or of what is no text,
        control bytes, absolute form) is refused, never mended.
Rule 2: a denied path is recognised after decoding, so that escapes do not open it; what is forwarded are the raw bytes.
Rule 3: the host is always the configured upstream's; nothing in a request can name another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlencode

from proxy.key import Upstream
from proxy.refusal import invalid_path, path_not_allowed

_PLAIN = re.compile(r"/v1(?:/(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%[0-9A-Fa-f]{2})+)+/?")
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]|]|%[0-9A-Fa-f]{2})*")
_HIDDEN = re.compile(r"%(?:2[5ef]|3b|5c|0[0-9a-f]|1[0-9a-f]|7f)", re.I)


@dataclass(frozen=True, slots=True)
class Target:
    """`path` begins with /v1/; `query` is without its question mark. Both as they came."""

    path: str
    query: str = ""

    def url(self, upstream: Upstream) -> str:
        """Where the request goes: the base URL takes the place of /v1."""
        query = "&".join(part for part in (self.query, urlencode(dict(upstream.query))) if part)
        return upstream.base_url + self.path.removeprefix("/v1") + (f"?{query}" if query else "")


def target_of(raw: str, deny: Sequence[str] = ()) -> Target:
    """The target of a raw request line. Raises a Refusal: 400 for what is not plain, 403 for what is denied."""
    path, _, query = raw.partition("?")
    if not _PLAIN.fullmatch(path) or _HIDDEN.search(path) or not _QUERY.fullmatch(query):
        raise invalid_path()
    if any(segment in (".", "..") for segment in path.split("/")):
        raise invalid_path()
    try:
        meant = unquote(path, errors="strict").lower().rstrip("/")
    except UnicodeDecodeError:
        raise invalid_path() from None
    for glob in deny:
        if fnmatchcase(meant, glob.lower()) or meant == glob.lower().removesuffix("/*"):
            raise path_not_allowed()
    return Target(path, query)
