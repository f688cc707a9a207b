"""
What the operator configured: upstreams and keys, as values. Pure.

Rule 1: a secret is in no repr; it leaves a key only through `headers.authorization`, and four characters of it through `last4`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from fnmatch import fnmatchcase

from proxy.value import value_type

SHORTEST_SHOWN = 12  # of a shorter key, four characters would tell too much


@value_type
class Upstream:
    """
    `base_url` takes the place of `/v1` (no slash at its end). Durations in seconds. `source_address`: the address of this
    machine that connections go out from, "" = the system's choice.
    """

    name: str
    base_url: str
    auth: str = "bearer"  # or "api-key", Azure's header
    query: Mapping[str, str] = field(default_factory=dict)
    connect_seconds: float = 10.0
    first_byte_seconds: float = 600.0
    idle_seconds: float = 300.0
    source_address: str = ""
    is_first: bool = True  # the one that requests without a model are for


@value_type
class Key:
    """`fingerprint` is an HMAC of the secret: by it health finds its key again after a rename or a restart."""

    name: str
    secret: str = field(repr=False)
    fingerprint: str
    upstream: Upstream
    uses: frozenset[str] = frozenset({"proxy", "bot"})
    weight: float = 1.0
    tier: int = 0
    max_concurrency: int = 0  # 0 = no limit
    models: tuple[str, ...] = ("*",)
    cooldown_seconds: float = 0.0  # 0 = what the upstream says
    organization: str = ""
    project: str = ""

    def __repr__(self) -> str:
        return f"<Key {self.name}>"

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def last4(self) -> str:
        """By which its owner knows it."""
        return self.secret[-4:] if len(self.secret) >= SHORTEST_SHOWN else ""

    def serves(self, use: str, model: str) -> bool:
        """Whether it may be used so. A request without a model (files, batches) is for the first upstream."""
        if use not in self.uses:
            return False
        if not model:
            return self.upstream.is_first
        return "*" in self.models or any(fnmatchcase(model, glob) for glob in self.models)
