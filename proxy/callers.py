"""
Who may use the gateway: issued tokens, kept as SHA-256, and what each may ask for. Pure.

Rule 1: a token is compared by its digest, in constant time, with every caller's, so that no answer comes sooner than another.
Rule 2: exactly one credential counts: two different ones are none.
Rule 3: a caller with limits is kept from the paths that lead around them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import field
from fnmatch import fnmatchcase
from urllib.parse import unquote

from proxy.refusal import invalid_api_key, invalid_request, model_not_allowed, path_beyond_limits
from proxy.target import Target
from proxy.value import value_type

NOBODY = bytes(32)
# What is asked here is carried out later, or by somebody with a token of the upstream's own: no limit of ours would see it.
BEYOND_LIMITS = frozenset(
    {
        "/v1/batches",
        "/v1/realtime/client_secrets",
        "/v1/realtime/sessions",
        "/v1/realtime/transcription_sessions",
    }
)


@value_type
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

    @property
    def has_limits(self) -> bool:
        limits = (self.expires_at, self.requests_per_minute, self.tokens_per_day, self.max_concurrency)
        return any(limits) or not self.may_use_any_model

    def must_be_allowed(self, method: str, target: Target, model: str, *, is_seen: bool, is_upgrade: bool) -> None:
        """
        Raises a Refusal where the caller may not ask this. `model` is the name it sent, "" where it sent none; `is_seen`:
        the whole body was looked into.
        """
        if self.has_limits and method == "POST" and unquote(target.path).lower().rstrip("/") in BEYOND_LIMITS:
            raise path_beyond_limits()
        if self.may_use_any_model:
            return
        if not is_seen:
            raise invalid_request("This token is for some models only; the body is too large to see its model.")
        if is_upgrade and not model:
            raise invalid_request("This token is for some models only; name one in the query of /v1/realtime.")
        for name in filter(None, (model, *target.models)):
            if not any(fnmatchcase(name, glob) for glob in self.models):
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


def digest_of(token: str | None) -> bytes | None:
    """None where there is no token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest() if token else None


class Callers:
    def __init__(self, callers: Sequence[Caller]) -> None:
        self._callers = tuple(callers)

    def __iter__(self) -> Iterator[Caller]:
        return iter(self._callers)

    @property
    def are_several(self) -> bool:
        return len(self._callers) > 1

    def caller_of(self, digest: bytes | None, *, now: float) -> Caller | None:
        """Whose token has this SHA-256 (`digest_of`), None where it is nobody's. Raises a Refusal where it has expired."""
        found = None
        for caller in self._callers:
            if hmac.compare_digest(caller.digest, digest or NOBODY):
                found = caller
        if digest is None:
            return None
        if found and found.expires_at is not None and now >= found.expires_at:
            raise invalid_api_key("This token has expired. Ask the operator for a new one.")
        return found
