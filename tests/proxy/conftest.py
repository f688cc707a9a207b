"""What the tests of the gateway's pure core are made of: a clock that stands still, keys, pools and answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.key import Key, Upstream
from proxy.keypool import KeyPool
from proxy.lease import Lease, Want
from proxy.verdict import Answer, Rule, Verdict

UPSTREAM = Upstream("openai", "https://upstream.test/v1")
WANT = Want("proxy", "gpt-5")
OK = Verdict(Rule.OK)
RATE = Verdict(Rule.RATE, wait_seconds=20.0)


@dataclass(slots=True)
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now

    def let_pass(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def a_key(name: str, **settings: Any) -> Key:
    """Its fingerprint is "fp-" and its name, its secret "sk-secret-" and its name."""
    return Key(name, f"sk-secret-{name}", f"fp-{name}", settings.pop("upstream", UPSTREAM), **settings)


def a_pool(*keys: Key | str, clock: Clock, jitter: float = 0.0) -> KeyPool:
    configured = [a_key(key) if isinstance(key, str) else key for key in keys]
    return KeyPool(configured, clock=clock, jitter=lambda: jitter)


def an_error(status: int, error: Any, **headers: str) -> Answer:
    """`error` goes into OpenAI's envelope. An underscore in a header's name stands for a hyphen."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, names, json.dumps({"error": error}).encode())


def in_flight(pool: KeyPool) -> list[int]:
    return [view.in_flight for view in pool.snapshot()]


def states(pool: KeyPool) -> list[str]:
    return [view.state for view in pool.snapshot()]


def tell(pool: KeyPool, clock: Clock, verdict: Verdict, want: Want = WANT) -> Lease:
    """One request from beginning to end; time passes, so that the next one is sent after it."""
    lease = pool.lease(want)
    clock.let_pass(0.01)
    pool.settle(lease, verdict)
    pool.release(lease)
    clock.let_pass(0.01)
    return lease


def learn(pool: KeyPool, clock: Clock, **organizations: str) -> None:
    """Each key gives one answer that names its organization."""
    leases = {lease.key.name: lease for lease in (pool.lease(WANT) for _ in organizations)}
    clock.let_pass(0.01)
    for name, organization in organizations.items():
        pool.settle(leases[name], Verdict(Rule.OK, organization=organization))
        pool.release(leases[name])
    clock.let_pass(0.01)
