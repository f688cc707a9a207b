"""One request's life as a table: what the upstream did, which keys were asked, what the caller gets."""

from __future__ import annotations

import pytest

from proxy.command import Begin, Command, End, Forward
from proxy.lease import Want
from proxy.refusal import Refusal
from proxy.verdict import Rule, Verdict
from tests.proxy.conftest import states
from tests.proxy.journey import Event, Journey, lost, not_sent, refused, well

TOO_LARGE = "Request too large for gpt-5 in organization org-big: Limit 10000, Requested 12000."
RATE = refused(429, {"code": "rate_limit_exceeded"}, retry_after="20")
UNKNOWN = refused(502)
CASES: list[tuple[str, Event, int, int, tuple[type, int, str]]] = [
    # what the upstream does, how often it is asked, how often for a client that is retrying, what the caller gets
    ("rate", RATE, 4, 2, (Refusal, 429, "rate_limit_exceeded")),
    ("quota", refused(429, {"code": "insufficient_quota"}), 4, 2, (Refusal, 429, "rate_limit_exceeded")),
    ("auth", refused(401, {"code": "invalid_api_key"}), 4, 2, (Refusal, 429, "rate_limit_exceeded")),
    ("dead", refused(401, {"code": "account_deactivated"}), 4, 2, (Refusal, 429, "rate_limit_exceeded")),
    ("address", refused(401, {"code": "ip_not_authorized"}), 4, 2, (Refusal, 429, "rate_limit_exceeded")),
    ("model", refused(404, {"code": "model_not_found"}), 3, 2, (Begin, 404, "model_not_found")),
    ("too large", refused(429, {"code": "tokens", "message": TOO_LARGE}), 1, 1, (Begin, 429, "tokens")),
    ("slow down", refused(429, {"code": "slow_down"}), 2, 2, (Begin, 429, "slow_down")),
    ("overload", refused(503, {"code": "server_is_overloaded"}), 2, 2, (Begin, 503, "server_is_overloaded")),
    ("server", refused(500, {"code": "server_error"}), 2, 2, (Begin, 500, "server_error")),
    ("region", refused(403, {"code": "unsupported_country_region_territory"}), 1, 1, (Begin, 403, "unsupported_country")),
    ("client", refused(400, {"code": "context_length_exceeded"}), 1, 1, (Begin, 400, "context_length_exceeded")),
    ("unknown", UNKNOWN, 1, 1, (Refusal, 502, "upstream_outcome_unknown")),
    ("lost after sending", lost, 1, 1, (Refusal, 502, "upstream_outcome_unknown")),
    ("not connected", not_sent, 2, 2, (Refusal, 502, "upstream_unreachable")),
    ("redirect", refused(302, location="https://else.test"), 1, 1, (Refusal, 502, "upstream_unreachable")),
    ("not implemented", refused(501, {"code": "not_here"}), 1, 1, (Begin, 501, "not_here")),
    ("another version", refused(505, {"code": "not_here"}), 1, 1, (Begin, 505, "not_here")),
]  # fmt: skip
BY_NAME = pytest.mark.parametrize(
    ("upstream", "times", "times_retrying", "last"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)


def assert_last(command: Command, last: tuple[type, int, str]) -> None:
    kind, status, words = last
    assert isinstance(command, kind)
    assert isinstance(command, Refusal | Begin)
    assert command.status == status
    body = command.body() if isinstance(command, Refusal) else command.data
    assert words.encode() in body
    assert isinstance(command, Refusal) or command.is_whole


@BY_NAME
def test_each_rule_has_its_number_of_attempts(
    upstream: Event, times: int, times_retrying: int, last: tuple[type, int, str]
) -> None:
    with Journey() as journey:
        assert_last(journey.run(upstream), last)
        assert len(journey.sent) == times


@BY_NAME
def test_a_client_that_is_already_retrying_gets_two_attempts_at_most(
    upstream: Event, times: int, times_retrying: int, last: tuple[type, int, str]
) -> None:
    with Journey(is_client_retry=True) as journey:
        assert_last(journey.run(upstream), last)
        assert len(journey.sent) == times_retrying


@BY_NAME
def test_a_body_that_cannot_be_sent_again_gets_one_attempt(
    upstream: Event, times: int, times_retrying: int, last: tuple[type, int, str]
) -> None:
    with Journey(can_replay=False) as journey:
        assert_last(journey.run(upstream), last)
        assert len(journey.sent) == 1


@BY_NAME
def test_no_key_is_asked_twice_unless_nothing_reached_it(
    upstream: Event, times: int, times_retrying: int, last: tuple[type, int, str]
) -> None:
    for method in ("POST", "GET"):
        if method == "GET" and upstream in (UNKNOWN, lost):
            continue  # asked again, and of whichever key
        with Journey(method=method) as journey:
            journey.run(upstream)
            assert len(set(journey.asked)) == len(journey.asked)
    with Journey(method="GET", keys=1) as journey:
        journey.run(upstream)
        assert len(journey.sent) == (2 if upstream in (UNKNOWN, lost, not_sent) else 1)


@BY_NAME
def test_one_key_alone_is_asked_once_unless_nothing_reached_it(
    upstream: Event, times: int, times_retrying: int, last: tuple[type, int, str]
) -> None:
    with Journey(keys=1) as journey:
        journey.run(upstream)
        assert len(journey.sent) == (2 if upstream is not_sent else 1)


@BY_NAME
def test_the_next_key_may_answer_where_another_attempt_is_allowed(
    upstream: Event, times: int, times_retrying: int, last: tuple[type, int, str]
) -> None:
    with Journey() as journey:
        command = journey.run(upstream, well)
        assert (isinstance(command, Begin) and command.status == 200) is (times > 1)
        if times > 1:
            assert isinstance(journey.errand.data(b"{}"), Forward)
            assert isinstance(journey.errand.end(), End)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("upstream", [UNKNOWN, lost])
def test_what_only_reads_is_asked_again_once_when_its_outcome_is_unknown(method: str, upstream: Event) -> None:
    with Journey(method=method, path="/v1/files", model="", keys=1) as journey:
        assert_last(journey.run(upstream), (Refusal, 502, "upstream_unreachable"))
        assert len(journey.sent) == 2
    with Journey(method=method, path="/v1/files", model="") as journey:
        assert isinstance(journey.run(upstream, well), Begin)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_changes_something_is_never_sent_twice_when_its_outcome_is_unknown(method: str) -> None:
    with Journey(method=method) as journey:
        command = journey.run(lost)
        assert len(journey.sent) == 1
        assert isinstance(command, Refusal)
        assert command.should_retry is False


def test_different_refusals_share_the_four_attempts() -> None:
    with Journey() as journey:
        command = journey.run(RATE, refused(500), refused(404, {"code": "model_not_found"}), RATE)
        assert len(journey.sent) == 4
        assert_last(command, (Refusal, 429, "rate_limit_exceeded"))
        assert [attempt.rule for attempt in journey.errand.attempts] == ["rate", "server", "model", "rate"]


def test_an_overloaded_upstream_is_given_a_moment_before_the_second_attempt() -> None:
    for jitter, pause in ((0.0, 0.2), (1.0, 0.6)):
        with Journey(jitter=jitter) as journey:
            journey.run(refused(503), well)
            assert [send.pause_seconds for send in journey.sent] == [0.0, pytest.approx(pause)]
    with Journey() as journey:
        journey.run(RATE, well)
        assert [send.pause_seconds for send in journey.sent] == [0.0, 0.0]


@pytest.mark.parametrize("status", [501, 505])
def test_what_the_upstream_does_not_do_tells_the_client_to_stop(status: int) -> None:
    with Journey() as journey:
        command = journey.run(refused(status, {"code": "not_here"}))
    assert isinstance(command, Begin)
    assert [value for name, value in command.headers if name.lower() == "x-should-retry"] == ["false"]


def test_a_request_too_large_goes_to_a_key_with_a_larger_learned_limit_and_else_tells_the_client_to_stop() -> None:
    large = refused(429, {"code": "tokens", "message": TOO_LARGE}, x_should_retry="true")
    with Journey() as journey:
        command = journey.run(large)
        assert isinstance(command, Begin)
        assert [value for name, value in command.headers if name.lower() == "x-should-retry"] == ["false"]
        assert set(states(journey.pool)) == {"ready"}
    with Journey() as journey:
        knowing = journey.pool.lease(
            Want("proxy", "gpt-5"), avoiding={f"k{number}" for number in range(12) if number != 3}
        )
        journey.pool.settle(knowing, Verdict(Rule.OK, tokens_limit=30_000))
        journey.pool.release(knowing)
        journey.run(large, well)
        assert journey.asked == ["k0", "k3"]


def test_a_request_that_is_too_large_for_a_larger_limit_too_is_not_tried_a_third_time() -> None:
    with Journey(keys=4) as journey:
        for lease in [journey.pool.lease(Want("proxy", "gpt-5")) for _ in range(4)]:
            journey.pool.settle(lease, Verdict(Rule.OK, tokens_limit=30_000))
            journey.pool.release(lease)
        journey.run(refused(429, {"code": "tokens", "message": TOO_LARGE}))
        assert len(journey.sent) == 2


# --- what the pool says when nothing is left


@pytest.mark.parametrize("keys", [1, 2, 4])
def test_when_every_key_cools_the_caller_hears_the_soonest_moment_however_many_were_asked(keys: int) -> None:
    with Journey(keys=keys) as journey:
        command = journey.run(RATE)
        assert isinstance(command, Refusal)
        assert command.retry_after_seconds == pytest.approx(20, abs=0.1)
        assert len(journey.sent) == keys


@pytest.mark.parametrize("keys", [1, 2, 4])
def test_when_no_key_has_quota_nobody_should_retry_however_many_were_asked(keys: int) -> None:
    with Journey(keys=keys) as journey:
        command = journey.run(refused(429, {"code": "insufficient_quota"}))
        assert_last(command, (Refusal, 503, "pool_exhausted"))
        assert isinstance(command, Refusal)
        assert command.should_retry is False
        assert len(journey.sent) == keys


def test_when_the_attempts_are_used_up_but_not_the_keys_the_caller_may_soon_come_again() -> None:
    with Journey(keys=5) as journey:
        command = journey.run(RATE)
        assert isinstance(command, Refusal)
        assert command.retry_after_seconds == 1.0


def test_a_pool_without_keys_says_so_at_once() -> None:
    with Journey(keys=0) as journey:
        assert_last(journey.run(well), (Refusal, 503, "pool_exhausted"))
