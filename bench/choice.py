"""
How long the pool takes to choose among many keys, all of them well and half of them resting.

Timed in this process, on its own CPU time: the choice awaits nothing.
"""

from __future__ import annotations

import time
from statistics import median

from bench.report import Claim, Figure
from bench.stage import Stage
from proxy.key import Key, Upstream
from proxy.keypool import KeyPool
from proxy.lease import Want
from proxy.verdict import Rule, Verdict

KEYS = (3, 100, 1_000)
ROUNDS, CHOICES = 7, 2_000
WANT = Want("proxy", "gpt-5")
TARGET_MICROSECONDS = 5.0  # a choice among the most keys

HOW = f"""{CHOICES} leases taken one after the other and not given back, CPU time, the median of {ROUNDS} rounds; in this
process, with the clock the daemon uses."""


async def measure(stage: Stage) -> Figure:
    rows = []
    for keys in KEYS:
        well, half = microseconds(keys, resting=0), microseconds(keys, resting=keys // 2)
        rows.append((f"{keys:,} keys", f"{well:.1f} µs", f"{half:.1f} µs"))
    worst = max(well, half)
    claim = Claim(
        f"choosing among {KEYS[-1]:,} keys",
        f"under {TARGET_MICROSECONDS:.0f} µs",
        f"{worst:.1f} µs",
        worst < TARGET_MICROSECONDS,
    )
    return Figure("Choosing a key", HOW, ("", "all well", "half of them resting"), tuple(rows), (claim,))


def microseconds(keys: int, *, resting: int) -> float:
    """One lease of a key, the median of rounds."""
    upstream = Upstream("bench", "http://127.0.0.1/v1")
    pool = KeyPool(
        [Key(f"k{number}", f"secret-{number}", f"fp-{number}", upstream) for number in range(keys)],
        clock=time.monotonic,
        jitter=lambda: 0.0,
    )
    for _ in range(resting):
        lease = pool.lease(WANT)
        pool.settle(lease, Verdict(Rule.RATE, wait_seconds=3600.0))
        pool.release(lease)
    rounds = []
    for _ in range(ROUNDS):
        leases = []
        began = time.process_time()
        for _ in range(CHOICES):
            leases.append(pool.lease(WANT))  # noqa: PERF401 - a comprehension would time itself too
        rounds.append((time.process_time() - began) / CHOICES * 1e6)
        for lease in leases:
            pool.settle(lease, Verdict(Rule.OK))
            pool.release(lease)
    return median(rounds)
