"""Keys of several upstreams in one pool: which of them a request is for."""

from __future__ import annotations

import pytest

from proxy.key import Upstream
from proxy.keypool import KeyPool
from proxy.lease import NoKeyAvailable, Want
from proxy.verdict import Rule, Verdict
from tests.proxy.conftest import OK, Clock, a_key, a_pool, tell

NEAR = Upstream("near", "https://near.test/v1")
FAR = Upstream("far", "https://far.test/v1", is_first=False)
FILES = Want("proxy")
CHAT = Want("proxy", "gpt-5")


@pytest.fixture
def pool(clock: Clock) -> KeyPool:
    """Two keys near, and one far that stands in the tier after."""
    return a_pool(
        a_key("n1", upstream=NEAR), a_key("n2", upstream=NEAR), a_key("f1", upstream=FAR, tier=1), clock=clock
    )


def test_without_a_model_a_request_is_for_the_first_upstream(clock: Clock) -> None:
    pool = a_pool(a_key("f1", upstream=FAR), a_key("n1", upstream=NEAR, tier=5), clock=clock)
    assert [tell(pool, clock, OK, FILES).key.name for _ in range(3)] == ["n1"] * 3
    assert tell(pool, clock, OK, CHAT).key.name == "f1"


def test_without_a_model_it_waits_for_the_first_upstream_and_not_for_another(clock: Clock) -> None:
    pool = a_pool(a_key("n1", upstream=NEAR), a_key("f1", upstream=FAR), clock=clock)
    tell(pool, clock, Verdict(Rule.RATE, wait_seconds=20.0), FILES)
    with pytest.raises(NoKeyAvailable) as none:
        pool.lease(FILES)
    assert none.value.cause == "cooling"
    assert none.value.retry_after_seconds == pytest.approx(20.0, abs=0.1)


def test_without_a_key_of_the_first_upstream_nothing_is_said_about_models(clock: Clock) -> None:
    with pytest.raises(NoKeyAvailable) as none:
        a_pool(a_key("f1", upstream=FAR), clock=clock).lease(FILES)
    assert (none.value.cause, none.value.retry_after_seconds) == ("exhausted", None)


def test_an_object_is_its_own_key_s_wherever_that_is(pool: KeyPool) -> None:
    assert pool.lease(Want("proxy", only="fp-f1")).key.name == "f1"


def test_the_bot_s_keys_do_not_serve_callers_for_the_sake_of_an_object(clock: Clock) -> None:
    pool = a_pool(a_key("f1", upstream=FAR, uses=frozenset({"bot"})), clock=clock)
    with pytest.raises(NoKeyAvailable):
        pool.lease(Want("proxy", only="fp-f1"))


def test_after_a_failure_of_one_upstream_a_key_of_another_comes_first_though_its_tier_is_higher(pool: KeyPool) -> None:
    assert pool.lease(Want("proxy", "gpt-5", failing="near")).key.name == "f1"
    assert pool.lease(Want("proxy", "gpt-5", failing="far")).key.name == "n1"
    assert pool.lease(CHAT).key.name == "n2"


def test_after_a_failure_of_the_only_upstream_its_other_key_is_tried(clock: Clock) -> None:
    pool = a_pool(a_key("n1", upstream=NEAR), a_key("n2", upstream=NEAR), clock=clock)
    assert pool.lease(Want("proxy", "gpt-5", failing="near"), avoiding={"n1"}).key.name == "n2"


def test_a_preferred_key_of_the_upstream_that_fails_is_preferred_no_more(pool: KeyPool) -> None:
    assert pool.lease(Want("proxy", "gpt-5", preferred="fp-n2")).key.name == "n2"
    assert pool.lease(Want("proxy", "gpt-5", preferred="fp-n2", failing="near")).key.name == "f1"


def test_what_has_no_model_stays_with_the_first_upstream_also_when_that_fails(pool: KeyPool) -> None:
    assert pool.lease(Want("proxy", failing="near")).key.upstream is NEAR
