from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.operator.seen import Seen
from daemon.operator.steady import GRAIN, steady
from proxy.health import Event
from proxy.key import Key, Upstream
from proxy.keypool import KeyPool
from proxy.lease import Want
from proxy.tally import UpstreamView
from proxy.verdict import Rule, Verdict

UPSTREAM = Upstream("openai", "http://127.0.0.1/v1")
QUIET = 40.0  # seconds in which no deadline of the pool below ends


class Town:
    def __init__(self) -> None:
        self.now = 7_201.0  # a moment in the middle of a minute of the keys' histories
        keys = [Key(f"k{number}", f"secret-{number}", f"fp-{number}", UPSTREAM) for number in range(6)]
        self.pool = KeyPool(keys, clock=lambda: self.now, jitter=lambda: 0.0)

    def meets(self, rule: Rule, **facts: float) -> None:
        lease = self.pool.lease(Want("proxy", "gpt-5"))
        self.pool.settle(lease, Verdict(rule, **facts), request_id="r")
        self.pool.release(lease)

    def seen(self) -> Seen:
        trouble = UpstreamView("openai", 1, 0.5, 0.5, 0.001, trouble_seconds_ago=self.now - 7_000.0)
        return steady(Seen(keys=self.pool.snapshot(), upstreams=(trouble,)), self.now + 0.000_3)


@pytest.fixture
def town() -> Town:
    """Keys in as many situations as there are."""
    town = Town()
    town.meets(Rule.RATE, wait_seconds=300.0)
    town.meets(Rule.QUOTA)
    town.meets(Rule.AUTH)
    town.meets(Rule.MODEL)
    town.pool.operate("k5", Event.DISABLE)
    town.meets(Rule.OK)
    return town


def test_time_alone_changes_nothing(town: Town) -> None:
    before = town.seen()
    assert {key.state for key in before.keys} >= {"cooling", "exhausted", "suspect", "disabled", "ready"}
    while town.now < 7_201.0 + QUIET:
        town.now += 1.0
        assert town.seen() == before


@pytest.mark.parametrize("rule", [Rule.OK, Rule.SERVER])
def test_an_answer_changes_what_is_seen(town: Town, rule: Rule) -> None:
    before = town.seen()
    town.meets(rule)
    assert town.seen() != before


def test_a_deadline_that_moves_is_seen(town: Town) -> None:
    before = town.seen()
    keys = town.pool.snapshot()
    later = [replace(key, seconds_left=key.seconds_left and key.seconds_left + 2 * GRAIN) for key in keys]
    assert steady(Seen(keys=later), town.now).keys != before.keys


def test_what_is_over_does_not_end_again(town: Town) -> None:
    over = [replace(key, seconds_left=0.0) for key in town.pool.snapshot()[:1]]
    assert steady(Seen(keys=over), 10.0).keys[0].seconds_left == steady(Seen(keys=over), 99.0).keys[0].seconds_left
