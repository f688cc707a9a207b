"""
Which path of the upstream a request means, or that it means none. Pure.

Rule 1: only a plain, already normalised path below /v1/ is forwarded; everything that some server might read differently
        (dot segments, doubled or encoded slashes, backslashes, path parameters, escapes of escapes or of what is no text,
        control bytes, absolute form) is refused, never mended.
Rule 2: a denied path is recognised after decoding, so that escapes do not open it; what is forwarded are the raw bytes.
Rule 3: the host is always the configured upstream's; nothing in a request can name another. What the upstream is configured
        to have in its query takes the place of what the caller wrote there.
Rule 4: a credential in the query is refused, whoever's it is: URLs are written down in many places.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from urllib.parse import unquote, unquote_plus, urlencode

from proxy.key import Upstream
from proxy.refusal import invalid_path, invalid_request, path_not_allowed
from proxy.value import value_type

_PLAIN = re.compile(r"/v1(?:/(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%[0-9A-Fa-f]{2})+)+/?")
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]|]|%[0-9A-Fa-f]{2})*")
# Google's name, what programs commonly call it, Azure's, and that of RFC 6750.
CREDENTIALS = frozenset({"key", "api_key", "api-key", "access_token"})
KNOWN_CHARACTERS = 128  # of a target that is remembered
_MODEL = re.compile(r"/(?:deployments|engines|models)/([^/]+)", re.I)
_HIDDEN = re.compile(r"%(?:2[5ef]|3b|5c|0[0-9a-f]|1[0-9a-f]|7f)", re.I)


@value_type
class Target:
    """`path` begins with /v1/; `query` is without its question mark. Both as they came."""

    path: str
    query: str = ""

    @property
    def models(self) -> tuple[str, ...]:
        """The models that path and query name, as Azure's and OpenAI's oldest paths do."""
        in_query = (part.partition("=")[2] for part in self.query.split("&") if _name_of(part).lower() == "model")
        return (*_MODEL.findall(unquote(self.path)), *map(unquote_plus, in_query))

    def url(self, upstream: Upstream) -> str:
        """Where the request goes: the base URL takes the place of /v1."""
        query = self.query
        if upstream.query:
            own = (part for part in query.split("&") if part and _name_of(part) not in upstream.query)
            query = "&".join([*own, urlencode(upstream.query)])
        return upstream.base_url + self.path.removeprefix("/v1") + (f"?{query}" if query else "")


def target_of(raw: str, deny: Sequence[str] = ()) -> Target:
    """The target of a raw request line. Raises a Refusal: 400 for what is not plain, 403 for what is denied."""
    return _target_of(raw, tuple(deny)) if len(raw) > KNOWN_CHARACTERS else _known_target_of(raw, tuple(deny))


def _target_of(raw: str, deny: tuple[str, ...]) -> Target:
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


_known_target_of = lru_cache(maxsize=512)(_target_of)  # nearly all requests go to a few


def refuse_credential_in_query(raw: str) -> None:
    """Raises a Refusal (400) where the query of a raw request line has one."""
    query = raw.partition("?")[2]
    if query and any(_name_of(part).lower() in CREDENTIALS for part in re.split("[&;]", query)):
        raise invalid_request(
            "A token does not belong in the URL, which ends up in logs. Send it as the header `Authorization: Bearer TOKEN`."
        )


def _name_of(part: str) -> str:
    return unquote_plus(part.partition("=")[0])
