"""
Who may use the gateway: issued tokens, kept as SHA-256, and what each may ask for. Pure.

Rule 1: a token is compared by its digest, in constant time, with every caller's, so that no answer comes sooner than another.
Rule 2: exactly one credential counts: two different ones are none.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from proxy.refusal import invalid_api_key, model_not_allowed


@dataclass(frozen=True, slots=True)
class Caller:
    """`digest` is the SHA-256 of the token; `expires_at` epoch seconds, None = never. Of the limits, 0 = no limit."""

    name: str
    digest: bytes = field(repr=False)
    models: tuple[str, ...] = ("*",)
    expires_at: float | None = None
    requests_per_minute: int = 0
    tokens_per_day: int = 0
    max_concurrency: int = 0
    see_all: bool = False  # whether it may reach what other callers made

    @property
    def may_use_any_model(self) -> bool:
        return "*" in self.models

    def must_be_allowed(self, model: str) -> None:
        """Raises a Refusal where the caller may not use `model` (the name it sent)."""
        if not any(fnmatchcase(model, glob) for glob in self.models):
            raise model_not_allowed()


def token_of(headers: Sequence[tuple[str, str]]) -> str | None:
    """The one credential in `headers`: `Authorization: Bearer TOKEN` or `api-key: TOKEN`."""
    found = set()
    for name, value in headers:
        match name.lower():
            case "authorization":
                scheme, _, token = value.strip().partition(" ")
                found.add(token.strip() if scheme.lower() == "bearer" else "")
            case "api-key":
                found.add(value.strip())
    return found.pop() or None if len(found) == 1 else None


class Callers:
    def __init__(self, callers: Sequence[Caller]) -> None:
        self._callers = tuple(callers)

    @property
    def are_several(self) -> bool:
        return len(self._callers) > 1

    def caller_of(self, token: str | None, *, now: float) -> Caller | None:
        """Whose token it is, None where it is nobody's. Raises a Refusal where it has expired."""
        digest = hashlib.sha256((token or "").encode("utf-8", "surrogateescape")).digest()
        found = None
        for caller in self._callers:
            if hmac.compare_digest(caller.digest, digest):
                found = caller
        if found and token and found.expires_at is not None and now >= found.expires_at:
            raise invalid_api_key("This token has expired. Ask the operator for a new one.")
        return found if token else None
