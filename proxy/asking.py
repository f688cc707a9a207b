"""
The head of a request below /v1, as whichever lane it came by has read it, and what it says about who asks. Pure.

Rule 1: whoever keeps a connection sends the same head on it each time: what is found out here is found out once for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from proxy.callers import digest_of, token_of
from proxy.headers import Fields, Pairs, passable_up
from proxy.value import value_type

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@value_type
class Asking:
    """
    `raw` is the target as it came. `token`: the one credential, None where there is none; `digest` is its SHA-256. `up`: what
    of `headers` passes. `by_name` has the first value of each name, in small letters.

    `patience_seconds`: how long the caller waits for an answer, None where it does not say. `is_retry`: it has asked before.
    """

    method: str
    raw: str = field(repr=False)
    headers: Pairs = field(repr=False)
    token: str | None = field(repr=False)
    digest: bytes | None = field(repr=False)
    up: Fields = field(repr=False)
    by_name: Mapping[str, str] = field(repr=False)
    patience_seconds: float | None = None
    is_retry: bool = False


def asking(method: str, raw: str, headers: Iterable[tuple[str, str]]) -> Asking:
    pairs = list(headers)
    by_name = {name.lower(): value for name, value in reversed(pairs)}
    token, patience = token_of(pairs), by_name.get("x-stainless-read-timeout", "")
    return Asking(
        method,
        raw,
        pairs,
        token,
        digest_of(token),
        passable_up(pairs),
        by_name,
        float(patience) if patience.isdecimal() and len(patience) < 8 else None,
        by_name.get("x-stainless-retry-count", "0").strip() not in ("", "0"),
    )
