"""
The head of a request below /v1, as whichever lane it came by has read it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from proxy.callers import token_of
from proxy.headers import Pairs, passable_up

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Asking:
    """
    `raw` is the target as it came. `token`: the one credential, None where there is none. `up`: what of `headers` passes.

    `by_name` has the first value of each name, in small letters.
    """

    method: str
    raw: str = field(repr=False)
    headers: Pairs = field(repr=False)
    token: str | None = field(repr=False)
    up: Pairs = field(repr=False)
    by_name: Mapping[str, str] = field(repr=False)


def asking(method: str, raw: str, headers: Iterable[tuple[str, str]]) -> Asking:
    pairs = list(headers)
    by_name = {name.lower(): value for name, value in reversed(pairs)}
    return Asking(method, raw, pairs, token_of(pairs), passable_up(pairs), by_name)
