"""
Which headers pass, in both directions, and what is blacked out of error bodies. Pure.

Rule 1: up: hop-by-hop headers and those that Connection names, cookies, forwarding and CDN headers, those that put another
        path or method in place of the request's, credentials, organization and project are taken off; the key brings its
        own. The answer is asked for unencoded.
Rule 2: down: hop-by-hop headers, cookies, organization and project, `alt-svc`, `server`, CDN headers and one key's
        `x-ratelimit-*` are taken off; they say things about a key that are nobody's business, or mislead.
Rule 3: error bodies lose organization and project ids, key fragments, and every secret of the pool.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from proxy.key import Key

Pairs = list[tuple[str, str]]

REQUEST_ID = "x-posthouse-request"  # the id of an answer's record in the log

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_ONLY_UP = frozenset(
    {
        "host",
        "content-length",
        "expect",
        "accept-encoding",
        "authorization",
        "api-key",
        "x-api-key",
        "x-goog-api-key",
        "cookie",
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "true-client-ip",
        "via",
        "origin",
        "referer",
        "cdn-loop",
        "x-rewrite-url",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "openai-organization",
        "openai-project",
    }
)
_ONLY_UP_PREFIXES = ("x-forwarded-", "cf-", "proxy-", "sec-", "x-posthouse-", "x-original-", "x-wx-")
_ONLY_DOWN = frozenset(
    {
        "set-cookie",
        "set-cookie2",
        "openai-organization",
        "openai-project",
        "alt-svc",
        "server",
        "via",
        "date",
        "strict-transport-security",
        "report-to",
        "nel",
        REQUEST_ID,
    }
)
_ONLY_DOWN_PREFIXES = ("x-ratelimit-", "cf-", "anthropic-ratelimit-", "access-control-")

# An ordinary word that looks like an id ("org-anic") is hidden too: rather that than an id shown. In JSON the n of a "\n" may
# stand right before one.
_FRAGMENTS = re.compile(
    rb"(?:\b|(?<=\\[bfnrt]))(?:(org|proj)[-_][A-Za-z0-9]{3,}|sk-[A-Za-z0-9_\-]*(?:\*{2,}|\.{3})[A-Za-z0-9_\-*]*)"
)


def passable_up(headers: Iterable[tuple[str, str]]) -> Pairs:
    """What of a caller's headers goes upstream. Credentials are `authorization()`'s."""
    pairs = list(headers)
    dropped = _HOP_BY_HOP | _ONLY_UP | _named_by_connection(pairs)
    kept = [(name, value) for name, value in pairs if _passes(name.lower(), dropped, _ONLY_UP_PREFIXES)]
    return [*kept, ("Accept-Encoding", "identity")]


def passable_down(headers: Iterable[tuple[str, str]], *, is_stream: bool = False) -> Pairs:
    """What of an upstream's headers goes to the caller."""
    pairs = list(headers)
    dropped = _HOP_BY_HOP | _ONLY_DOWN | _named_by_connection(pairs)
    kept = [(name, value) for name, value in pairs if _passes(name.lower(), dropped, _ONLY_DOWN_PREFIXES)]
    if is_stream:  # a proxy in front must not collect a stream; nginx listens to the first, CDNs to the second
        # Without a length: a stream that was cut ends with an event of ours.
        replaced = ("x-accel-buffering", "cache-control", "content-length")
        kept = [(name, value) for name, value in kept if name.lower() not in replaced]
        kept += [("X-Accel-Buffering", "no"), ("Cache-Control", "no-cache")]
    return kept


def authorization(key: Key) -> Pairs:
    """The headers by which a key shows itself to its upstream."""
    pairs = [("api-key", key.secret)] if key.upstream.auth == "api-key" else [("Authorization", f"Bearer {key.secret}")]
    if key.organization:
        pairs.append(("OpenAI-Organization", key.organization))
    if key.project:
        pairs.append(("OpenAI-Project", key.project))
    return pairs


def redacted(body: bytes, secrets: Sequence[str]) -> bytes:
    """An error body without what it tells about keys and their owners."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may begin with another
        if secret and (plain := secret.encode()) in body:
            body = body.replace(plain, b"[key]")
    return _FRAGMENTS.sub(lambda found: (found[1] or b"sk") + b"-[hidden]", body)


def _passes(name: str, dropped: frozenset[str], prefixes: tuple[str, ...]) -> bool:
    name = name.replace("_", "-")  # CGI and what descends from it make no difference
    return name not in dropped and not name.startswith(prefixes)


def _named_by_connection(pairs: Pairs) -> frozenset[str]:
    values = [value for name, value in pairs if name.lower() == "connection"]
    return frozenset(token.strip().lower() for value in values for token in value.split(","))
