"""Our own errors: each code with its status, its headers, and nothing it should not say."""

from __future__ import annotations

import json

import pytest

from proxy import refusal as errors
from proxy.lease import NoKeyAvailable
from proxy.refusal import Refusal, no_key_available, rate_limited

TABLE: list[tuple[Refusal, int, str, str | None]] = [
    (errors.invalid_path(), 400, "invalid_path", None),
    (errors.invalid_request("No."), 400, "invalid_request", None),
    (errors.invalid_api_key(), 401, "invalid_api_key", "false"),
    (errors.path_not_allowed(), 403, "path_not_allowed", "false"),
    (errors.model_not_allowed(), 403, "model_not_allowed", "false"),
    (errors.model_not_found(), 404, "model_not_found", "false"),
    (errors.request_too_large(7), 413, "request_too_large", "false"),
    (errors.rate_limited(20), 429, "rate_limit_exceeded", None),
    (errors.caller_limit_exceeded("3 requests a minute", 60.0), 429, "caller_limit_exceeded", None),
    (errors.caller_limit_exceeded("3 requests a minute", 60.1), 429, "caller_limit_exceeded", "false"),
    (errors.pool_exhausted(), 503, "pool_exhausted", "false"),
    (errors.upstream_rests(30), 503, "overloaded", None),
    (errors.upstream_unreachable(), 502, "upstream_unreachable", None),
    (errors.upstream_outcome_unknown(), 502, "upstream_outcome_unknown", "false"),
]


@pytest.mark.parametrize(("refusal", "status", "code", "should_retry"), TABLE, ids=[row[2] for row in TABLE])
def test_an_error_has_openais_envelope_and_says_whether_to_retry(
    refusal: Refusal, status: int, code: str, should_retry: str | None
) -> None:
    headers = dict(refusal.headers())
    body = json.loads(refusal.body())
    assert refusal.status == status
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["code"] == code
    assert body["error"]["message"].endswith((".", "then.", "limit."))
    assert headers["Content-Type"] == "application/json"
    assert headers.get("x-should-retry") == should_retry
    assert str(refusal) == f"{status} {code}"


@pytest.mark.parametrize(
    ("seconds", "retry_after", "retry_after_ms"),
    [(20.0, "20", "20000"), (19.2, "20", "19200"), (0.5, "1", "500"), (0.0001, "1", "1"), (3600.0, "3600", "3600000")],
)
def test_the_wait_is_told_in_seconds_and_milliseconds_and_never_rounded_down(
    seconds: float, retry_after: str, retry_after_ms: str
) -> None:
    headers = dict(rate_limited(seconds).headers())
    assert (headers["Retry-After"], headers["retry-after-ms"]) == (retry_after, retry_after_ms)


@pytest.mark.parametrize(
    ("cause", "seconds", "status", "code", "retry_after"),
    [
        ("cooling", 20.0, 429, "rate_limit_exceeded", 20.0),
        ("busy", None, 429, "rate_limit_exceeded", 1.0),
        ("upstream", 30.0, 503, "overloaded", 30.0),
        ("model", None, 404, "model_not_found", None),
        ("exhausted", None, 503, "pool_exhausted", None),
    ],
)
def test_why_there_is_no_key_becomes_what_the_caller_hears(
    cause: str, seconds: float | None, status: int, code: str, retry_after: float | None
) -> None:
    refusal = no_key_available(NoKeyAvailable(cause, seconds))
    assert (refusal.status, refusal.code, refusal.retry_after_seconds) == (status, code, retry_after)


def test_a_message_that_is_not_english_comes_through_as_it_is() -> None:
    assert "不行" in Refusal(400, "x", "不行").body().decode()
