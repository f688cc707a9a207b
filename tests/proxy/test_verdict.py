"""
Every code and text that upstreams are known to send, and what it means for a key.

Source: developers.openai.com/docs/guides/error-codes; Dev Proxy's mocks of OpenAI errors; vendors' pages on their error codes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.verdict import Answer, Rule, Verdict, code_of, judge, judge_event
from tests.proxy.conftest import an_error

RATE_TEXT = (
    "Rate limit reached for gpt-4.1 in organization org-abc123 on tokens per min (TPM): Limit 30000, Used 28039, "
    "Requested 3906. Please try again in 3.89s."
)
TOO_LARGE_TEXT = (
    "Request too large for gpt-4.1 in organization org-abc123 on tokens per min (TPM): Limit 10000, Requested 12000. "
    "The input or output tokens must be reduced in order to run successfully."
)
KNOWN: list[tuple[str, int, Any, Rule]] = [
    ("unknown key", 401, {"code": "invalid_api_key", "message": "Incorrect API key provided: sk-ab***xyz."}, Rule.AUTH),
    ("deactivated account", 401, {"code": "account_deactivated", "type": "invalid_request_error"}, Rule.DEAD),
    ("no member", 401, {"message": "You must be a member of an organization to use the API"}, Rule.AUTH),
    ("address by text", 401, {"message": "IP not authorized"}, Rule.ADDRESS),
    ("address by code", 403, {"code": "ip_not_authorized"}, Rule.ADDRESS),
    ("region", 403, {"code": "unsupported_country_region_territory", "type": "request_forbidden"}, Rule.REGION),
    ("no such model", 404, {"code": "model_not_found", "message": "The model 'x' does not exist"}, Rule.MODEL),
    ("no access to model", 403, {"message": "Project `p` does not have access to model `gpt-5`"}, Rule.MODEL),
    ("model as 400", 400, {"code": "model_not_found"}, Rule.MODEL),
    ("context length", 400, {"code": "context_length_exceeded", "type": "invalid_request_error"}, Rule.CLIENT),
    ("bad request", 400, {"code": None, "type": "invalid_request_error", "param": "n"}, Rule.CLIENT),
    ("billing of images", 400, {"code": "billing_hard_limit_reached"}, Rule.QUOTA),
    ("deepseek's balance", 402, {"message": "Insufficient Balance", "code": "invalid_request_error"}, Rule.QUOTA),
    ("bare 402", 402, None, Rule.QUOTA),
    ("rate", 429, {"code": "rate_limit_exceeded", "type": "tokens", "message": RATE_TEXT}, Rule.RATE),
    ("rate of old", 429, {"type": "rate_limit_error", "code": None, "message": RATE_TEXT}, Rule.RATE),
    ("too large", 429, {"code": "rate_limit_exceeded", "type": "tokens", "message": TOO_LARGE_TEXT}, Rule.TOO_LARGE),
    ("slow down", 429, {"code": "slow_down", "type": "rate_limit_error"}, Rule.SLOW_DOWN),
    ("quota", 429, {"code": "insufficient_quota", "type": "insufficient_quota"}, Rule.QUOTA),
    ("credit", 429, {"code": "credit_balance_exhausted", "type": "insufficient_quota"}, Rule.QUOTA),
    ("organization's spend", 429, {"code": "organization_spend_limit_exceeded"}, Rule.QUOTA),
    ("organization's usage", 429, {"code": "organization_usage_limit_exceeded"}, Rule.QUOTA),
    ("project's spend", 429, {"code": "project_spend_limit_exceeded", "type": "insufficient_quota"}, Rule.QUOTA),
    ("quota by type alone", 429, {"code": None, "type": "insufficient_quota"}, Rule.QUOTA),
    ("billing off", 429, {"code": "billing_not_active", "type": "invalid_request_error"}, Rule.QUOTA),
    ("billing off as 403", 403, {"code": "billing_not_active"}, Rule.QUOTA),
    ("account not active", 429, {"message": "Your account is not active, please check your billing."}, Rule.QUOTA),
    ("terminated", 429, {"message": "Your access was terminated due to violation of our policies"}, Rule.DEAD),
    ("terminated as 401", 401, {"message": "Your access was terminated due to violation of our policies"}, Rule.DEAD),
    ("terminated as 403", 403, {"message": "Your access was terminated due to violation of our policies"}, Rule.DEAD),
    ("server error", 500, {"type": "server_error", "code": None, "message": "The server had an error"}, Rule.SERVER),
    ("not implemented", 501, None, Rule.CLIENT),
    ("overloaded", 503, {"code": "server_is_overloaded", "type": "service_unavailable_error"}, Rule.OVERLOAD),
    ("overloaded of old", 503, {"message": "The engine is currently overloaded"}, Rule.OVERLOAD),
    ("site is overloaded", 529, {"type": "overloaded_error"}, Rule.OVERLOAD),
    # Azure: codes are numbers, as strings or not; a content filter is a refusal of the request.
    ("azure's rate", 429, {"code": "429", "message": "Rate limit is exceeded. Try again in 6 seconds."}, Rule.RATE),
    ("azure's number", 429, {"code": 429, "message": "slowly"}, Rule.RATE),
    ("azure's key", 401, {"code": "401", "message": "Access denied due to invalid subscription key"}, Rule.AUTH),
    ("azure's filter", 400, {"code": "content_filter", "status": 400}, Rule.CLIENT),
    # Qwen
    ("qwen's rate", 429, {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"}, Rule.RATE),
    ("qwen's allocation", 429, {"code": "Throttling.AllocationQuota"}, Rule.QUOTA),
    ("qwen's arrears", 400, {"code": "Arrearage", "type": "Arrearage", "message": "Access denied"}, Rule.QUOTA),
    ("qwen's key", 401, {"code": "invalid_api_key", "type": "invalid_request_error"}, Rule.AUTH),
    # Moonshot
    ("moonshot's rate", 429, {"type": "rate_limit_reached_error"}, Rule.RATE),
    ("moonshot's quota", 429, {"type": "exceeded_current_quota_error"}, Rule.QUOTA),
    ("moonshot's overload", 429, {"type": "engine_overloaded_error"}, Rule.OVERLOAD),
    # DeepSeek, vLLM
    ("wrong parameters", 422, {"message": "Failed to deserialize"}, Rule.CLIENT),
    ("a bare string", 400, "model is required", Rule.CLIENT),
    ("a bare string of a 429", 429, "slowly", Rule.RATE),
]


@pytest.mark.parametrize(("status", "error", "rule"), [row[1:] for row in KNOWN], ids=[row[0] for row in KNOWN])
def test_every_known_error_has_its_rule(status: int, error: Any, rule: Rule) -> None:
    assert judge(an_error(status, error)).rule is rule


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"no"',
        b"7",
        b"{}",
        b'{"error": null}',
        b'{"error": []}',
        b'{"error": {"code": true, "type": 5, "message": null}}',
        b'{"error": {"code": {"a": 1}, "message": ["x"]}}',
        b"<!DOCTYPE html><title>502 Bad Gateway</title>",
        b'{"error": {"code": "rate',
        b"\xff\xfe\x00",
        b"[" * 65_536,
        b'{"error":' * 8_000,
        bytes(range(256)) * 256,
        b'{"error": {"code": ' + b"9" * 5_000 + b"}}",
        b'{"error": {"code": "' + b"9" * 5_000 + b'"}}',
    ],
)
@pytest.mark.parametrize(
    ("status", "rule"),
    [
        (300, Rule.CLIENT),
        (302, Rule.CLIENT),
        (400, Rule.CLIENT),
        (401, Rule.AUTH),
        (402, Rule.QUOTA),
        (403, Rule.CLIENT),
        (404, Rule.CLIENT),
        (408, Rule.CLIENT),
        (409, Rule.CLIENT),
        (413, Rule.CLIENT),
        (429, Rule.RATE),
        (500, Rule.SERVER),
        (501, Rule.CLIENT),
        (502, Rule.UNKNOWN),
        (503, Rule.OVERLOAD),
        (504, Rule.UNKNOWN),
        (505, Rule.CLIENT),
        (507, Rule.SERVER),
        (520, Rule.UNKNOWN),
        (524, Rule.UNKNOWN),
        (528, Rule.UNKNOWN),
        (529, Rule.OVERLOAD),
        (530, Rule.SERVER),
    ],
)
def test_a_body_that_says_nothing_leaves_the_decision_to_the_status(status: int, rule: Rule, body: bytes) -> None:
    assert judge(Answer(status, {}, body)).rule is rule


def test_a_legacy_body_is_understood_with_its_status_beside_the_error() -> None:
    body = {"error": {"code": "account_deactivated"}, "status": 401}
    assert judge(Answer(401, {}, json.dumps(body).encode())).rule is Rule.DEAD


def test_an_error_without_envelope_is_understood() -> None:
    assert judge(Answer(400, {}, b'{"code": "Arrearage", "message": "no"}')).rule is Rule.QUOTA


@pytest.mark.parametrize("status", [200, 201, 204, 206, 304])
def test_a_success_teaches_organization_and_limit(status: int) -> None:
    headers = {"openai-organization": "org-a", "x-ratelimit-limit-tokens": "30000"}
    assert judge(Answer(status, headers)) == Verdict(Rule.OK, organization="org-a", tokens_limit=30_000)


@pytest.mark.parametrize("limit", ["", "-1", "1.5", "many", "9" * 40])
def test_a_limit_that_is_no_number_teaches_nothing(limit: str) -> None:
    assert judge(Answer(200, {"x-ratelimit-limit-tokens": limit})).tokens_limit is None


def test_the_text_of_a_429_names_the_organization_and_the_wait() -> None:
    verdict = judge(an_error(429, {"code": "rate_limit_exceeded", "message": RATE_TEXT}))
    assert (verdict.organization, verdict.wait_seconds) == ("org-abc123", 3.89)
    assert verdict.tokens_limit is None


def test_the_header_counts_before_the_text_for_the_organization() -> None:
    answer = an_error(429, {"message": RATE_TEXT}, openai_organization="org-header")
    assert judge(answer).organization == "org-header"


def test_a_request_too_large_tells_the_limit_and_what_was_asked() -> None:
    verdict = judge(an_error(429, {"code": "rate_limit_exceeded", "message": TOO_LARGE_TEXT}))
    assert (verdict.tokens_limit, verdict.tokens_requested) == (10_000, 12_000)


@pytest.mark.parametrize("code", ["insufficient_quota", "organization_spend_limit_exceeded"])
def test_only_a_projects_limit_is_a_projects_limit(code: str) -> None:
    assert judge(an_error(429, {"code": "project_spend_limit_exceeded"})).is_project_limit
    assert not judge(an_error(429, {"code": code})).is_project_limit


@pytest.mark.parametrize(
    "words",
    [
        "your account is not active",
        "your access was terminated",
        "ip not authorized",
        "in organization org-stranger",
        "insufficient_quota",
        "account_deactivated",
    ],
)
@pytest.mark.parametrize(
    ("status", "code"),
    [(400, None), (404, "model_not_found"), (403, "model_not_found"), (404, None), (422, None)],
)
def test_words_of_a_caller_that_an_error_repeats_hurt_no_key(status: int, code: str | None, words: str) -> None:
    message = f"The model `{words}` does not exist or you do not have access to it. {words}"
    verdict = judge(an_error(status, {"code": code, "message": message}))
    assert verdict.rule in (Rule.MODEL, Rule.CLIENT)
    assert verdict.organization == ""


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({"error": {"code": "rate_limit_exceeded", "message": "x"}}, Rule.RATE),
        ({"error": {"type": "insufficient_quota"}, "choices": []}, Rule.QUOTA),
        ({"error": {"code": 429, "message": "openrouter"}}, Rule.RATE),
        ({"error": {"code": "503"}}, Rule.OVERLOAD),
        ({"error": {"code": 401}}, Rule.AUTH),
        ({"error": {"code": 502}}, Rule.UNKNOWN),
        ({"error": {"type": "server_error", "code": None}}, Rule.SERVER),
        ({"error": {"code": "invalid_api_key"}}, Rule.AUTH),
        ({"error": {"code": "account_deactivated"}}, Rule.DEAD),
        ({"error": {"code": "unsupported_country_region_territory"}}, Rule.REGION),
        ({"error": {"code": "model_not_found"}}, Rule.MODEL),
        ({"error": {"code": "server_is_overloaded"}}, Rule.OVERLOAD),
        ({"error": {"code": "slow_down"}}, Rule.SLOW_DOWN),
        ({"error": {"code": "Throttling.RateQuota"}}, Rule.RATE),
        ({"error": {"type": "rate_limit_reached_error"}}, Rule.RATE),
        ({"error": {"code": "context_length_exceeded"}}, Rule.CLIENT),
        ({"error": "a bare string"}, Rule.CLIENT),
        ({"error": {"code": "\u00b2\u00b2\u00b2"}}, Rule.CLIENT),
        ({"error": {"code": "9" * 5_000}}, Rule.CLIENT),
        ({"error": {"code": 200}}, Rule.CLIENT),
        ({"error": {"code": 501}}, Rule.SERVER),
        ({"error": {"code": "505"}}, Rule.SERVER),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "x"}, Rule.RATE),
        ({"type": "error", "error": {"code": "insufficient_quota"}}, Rule.QUOTA),
        ({"type": "response.failed", "response": {"error": {"code": "server_error"}}}, Rule.SERVER),
        ({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}}, Rule.RATE),
    ],
)
def test_an_error_as_an_event_is_judged_like_the_answer_it_would_have_been(data: Any, rule: Rule) -> None:
    verdict = judge_event(200, dict, json.dumps(data).encode())
    assert verdict is not None
    assert verdict.rule is rule


@pytest.mark.parametrize(
    "data",
    [
        b"[DONE]",
        b"",
        b'{"choices": [{"delta": {"content": "error"}}]}',
        b'{"choices": [{"delta": {"content": "\\"error\\": {}"}}]}',
        b'{"choices": [], "error": null}',
        b'{"type": "response.created", "response": {"error": null}}',
        b'{"error": tru',
        b'["error"]',
        b'"error"',
        b'\xff"error"',
    ],
)
def test_an_event_that_is_no_error_has_no_verdict(data: bytes) -> None:
    assert judge_event(200, dict, data) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            an_error(429, {"code": "rate_limit_exceeded"}, retry_after="34"),
            "429 rate_limit_exceeded, try again in 34 s",
        ),
        (an_error(429, {}, retry_after_ms="644"), "429, try again in 644 ms"),
        (an_error(401, {"code": "invalid_api_key"}), "401 invalid_api_key"),
        (an_error(429, {"code": "Arrearage"}, retry_after="9"), "429 arrearage"),
    ],
)
def test_a_reason_is_one_plain_sentence(answer: Answer, reason: str) -> None:
    assert judge(answer).reason == reason


@given(
    st.sampled_from([400, 401, 402, 403, 404, 429, 500, 503]),
    st.one_of(st.text(), st.text("sk-abcXYZ012*[]<> \n")),
    st.text(),
)
def test_no_body_text_gets_into_a_reason(status: int, code: str, message: str) -> None:
    reason = judge(an_error(status, {"code": f"{code} 7", "message": f"secret {message}", "type": None})).reason
    assert reason == str(status) or reason.startswith(f"{status}, try again in ")
    assert "secret" not in reason


@given(st.binary(max_size=300), st.integers(300, 599))
def test_whatever_comes_is_judged_and_never_raises(body: bytes, status: int) -> None:
    assert judge(Answer(status, {}, body)).rule is not Rule.OK or status == 304
    judge_event(200, dict, b'"error"' + body)


def test_an_answer_shows_nothing_of_its_body() -> None:
    assert repr(Answer(401, {"a": "b"}, b"secret")) == "<Answer 401>"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"error": {"code": "Content_Filter"}}, "content_filter"),
        ({"error": {"code": None, "type": "server_error"}}, ""),
        ({"error": {"code": "sk-abc"}}, ""),
        ({"error": {"code": "two words"}}, ""),
        ({"error": {"code": 1301}}, ""),
        ({"error": "content_filter"}, ""),
        ({"type": "error", "code": "server_error"}, "server_error"),
        ({"type": "response.failed", "response": {"error": {"code": "invalid_prompt"}}}, "invalid_prompt"),
        ({"type": "response.failed", "response": None}, ""),
        ([], ""),
    ],
)
def test_a_code_is_told_on_only_where_it_is_a_plain_word(payload: Any, code: str) -> None:
    assert code_of(json.dumps(payload).encode()) == code
