"""
Which headers pass, in both directions, by their names. Pure.

Rule 1: up: hop-by-hop headers, cookies, forwarding and CDN headers, those that put another path or method in place of the
        request's, credentials, organization and project are taken off; the key brings its own.
Rule 2: down: hop-by-hop headers, cookies, organization and project, `alt-svc`, `server`, CDN headers and one key's
        `x-ratelimit-*` are taken off; they say things about a key that are nobody's business, or mislead.
"""

from __future__ import annotations

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


def passes_up(name: str) -> bool:
    """
    Whether a caller's header of this name, in small letters, goes upstream. One with an underscore does not: what descends from
    CGI takes it for the one with a hyphen, which we have looked at.
    """
    return "_" not in name and _passes(name, _ONLY_UP, _ONLY_UP_PREFIXES)


def passes_down(name: str) -> bool:
    return _passes(name, _ONLY_DOWN, _ONLY_DOWN_PREFIXES)


def _passes(name: str, dropped: frozenset[str], prefixes: tuple[str, ...]) -> bool:
    name = name.replace("_", "-")  # CGI and what descends from it make no difference
    return name not in _HOP_BY_HOP and name not in dropped and not name.startswith(prefixes)
