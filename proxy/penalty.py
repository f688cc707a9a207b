"""
What each rule costs the key that met it: a table from verdict to cooldown or downfall. Pure.

Rule 1: a hint of the upstream counts before every number here; the operator's `cooldown_seconds` counts before the doubling.
Rule 2: jitter makes a cooldown up to a tenth longer, never shorter.
Rule 3: rules that are not in the tables cost nothing: `ok`, `too_large`, `client`, `server`, `unknown`, `connect`, `gone`.
"""

from __future__ import annotations

from proxy.cells import Name
from proxy.health import Event
from proxy.hints import LONGEST
from proxy.key import Key
from proxy.value import value_type
from proxy.verdict import Rule, Verdict


@value_type
class Cooldown:
    """`fixed_seconds` where it is known, else `base_seconds` · 2ⁿ up to `most_seconds`, n being the strikes before it."""

    cell: Name
    fixed_seconds: float | None
    base_seconds: float = 1.0
    most_seconds: float = 60.0

    def seconds_after(self, strikes: int, jitter: float) -> float:
        seconds = self.fixed_seconds
        if seconds is None:
            seconds = min(self.base_seconds * 2.0 ** min(strikes, 32), self.most_seconds)
        return min(seconds * (1.0 + 0.1 * jitter), LONGEST)


@value_type
class Downfall:
    """A change of state. `base_seconds` · 2ⁿ up to `most_seconds` until it is tried again; None: a free check decides."""

    event: Event
    base_seconds: float | None = None
    most_seconds: float = 0.0
    takes_organization: bool = False

    def seconds_after(self, strikes: int) -> float | None:
        return (
            None if self.base_seconds is None else min(self.base_seconds * 2.0 ** min(strikes, 32), self.most_seconds)
        )


def penalty(verdict: Verdict, key: Key, *, model: str, organization: str) -> Cooldown | Downfall | None:
    hint, mine, upstream = verdict.wait_seconds, key.fingerprint, key.upstream.name
    match verdict.rule:
        case Rule.RATE:
            # Limits belong to (organization, model); until the organization is known, to what is known of the key.
            whose = ("organization", organization) if organization else ("key", mine)
            cell = (f"{whose[0]}-model", whose[1], model) if model else whose
            return Cooldown(cell, hint if hint is not None else key.cooldown_seconds or None)
        case Rule.SLOW_DOWN:
            cell = ("organization", organization) if organization else ("key", mine)
            return Cooldown(cell, hint, base_seconds=5.0, most_seconds=300.0)
        case Rule.OVERLOAD:
            cell = ("key-model", mine, model) if model else ("key", mine)
            return Cooldown(cell, hint, most_seconds=30.0)
        case Rule.REGION:
            return Cooldown(("upstream", upstream), 600.0)
        case Rule.MODEL if model:
            return Cooldown(("key-model", mine, model), 3600.0)
        case Rule.QUOTA:
            return Downfall(Event.QUOTA, 600.0, 21_600.0, takes_organization=not verdict.is_project_limit)
        case Rule.AUTH:
            return Downfall(Event.AUTH)
        case Rule.DEAD:
            return Downfall(Event.DEAD)
        case Rule.ADDRESS:
            return Downfall(Event.ADDRESS, 3600.0, 3600.0)
    return None
