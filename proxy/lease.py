"""
What passes between the pool and those who use it: what is wanted, the hold on a key, why there is none. Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from proxy.cells import Name
from proxy.health import State
from proxy.key import Key
from proxy.value import value_type
from proxy.verdict import Verdict


@value_type
class Want:
    """What a request needs of a key. `model` is "" where the request has none."""

    use: str
    model: str = ""
    needs_tokens: int = 0  # only keys whose learned limit is above this, where it is above 0
    only: str = ""  # the fingerprint of the one key that has what is asked for
    preferred: str = ""  # the fingerprint of a key whose upstream remembers the beginning of this prompt
    failing: str = ""  # the name of an upstream that has just failed this request: keys of another come first


@value_type
class Change:
    """Something an operator should find in the log: `event` is a log event, such as "key.cooled"."""

    event: str
    key: str
    rule: str
    seconds: float | None = None
    reason: str = ""


EVENT_OF_STATE = {
    State.READY: "recovered",
    State.SUSPECT: "suspected",
    State.EXHAUSTED: "exhausted",
    State.DEAD: "rejected",
    State.BLOCKED_IP: "blocked",
    State.DISABLED: "disabled",
}


class Lease:
    """One request's hold on one key: `settle()` once it is judged, `release()` once its last byte is through."""

    __slots__ = ("id", "is_released", "is_settled", "key", "model", "probed", "sent_at")

    def __init__(self, lease_id: int, key: Key, model: str, sent_at: float) -> None:
        self.id, self.key, self.model, self.sent_at = lease_id, key, model, sent_at
        self.probed: tuple[Name, ...] = ()
        self.is_settled = self.is_released = False

    def __repr__(self) -> str:
        return f"<Lease {self.key.name}>"


@value_type
class Obstacle:
    """Why one key cannot serve now, by `NoKeyAvailable`'s causes, and in how many seconds it may, where that is known."""

    cause: str
    seconds: float | None = None


class NoKeyAvailable(Exception):
    """
    No key can serve the request now.

    `retry_after_seconds`: when the first could, None when nobody can tell. `cause`: "cooling"; "upstream" (it is the upstream
    that rests); "busy" (every key has all the requests it may have); "model" (no key has this model); "exhausted" (no
    quota, dead, disabled, or none configured).
    """

    def __init__(self, cause: str, retry_after_seconds: float | None) -> None:
        super().__init__(cause, retry_after_seconds)
        self.cause, self.retry_after_seconds = cause, retry_after_seconds

    def __str__(self) -> str:
        return f"no key available: {self.cause}"


class Keys(Protocol):
    """What an errand needs of the pool (`KeyPool`), or the one key that a caller brought (`OwnKey`)."""

    def lease(self, want: Want, *, avoiding: Collection[str] = ()) -> Lease: ...
    def lacking(self, want: Want) -> NoKeyAvailable | None: ...
    def settle(self, lease: Lease, verdict: Verdict, *, request_id: str = "") -> tuple[Change, ...]: ...
    def release(self, lease: Lease) -> None: ...


class OwnKey:
    """The key that a caller brought itself, for one request: used as it is, and never mixed with the pool."""

    def __init__(self, key: Key, *, now: float) -> None:
        self._key, self._now = key, now

    def lease(self, want: Want, *, avoiding: Collection[str] = ()) -> Lease:
        return Lease(0, self._key, want.model, self._now)

    def lacking(self, want: Want) -> NoKeyAvailable | None:
        return None

    def settle(self, lease: Lease, verdict: Verdict, *, request_id: str = "") -> tuple[Change, ...]:
        lease.is_settled = True
        return ()

    def release(self, lease: Lease) -> None: ...
