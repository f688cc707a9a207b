"""
What an upstream's answer says about a key, as a value. Pure.

Rule 1: `judge()` decides by status, then by code and type, and by the text only where vendors give nothing else.
Rule 2: whatever is not known to be the key's, the organization's or the upstream's fault is the client's (`client`), and a
        client's mistake never touches a key.
Rule 3: a verdict holds no body, no secret and no user's word; `reason` is a sentence for the operator.

Source of codes and texts: developers.openai.com/docs/guides/error-codes; Dev Proxy's mocks of OpenAI errors; vendors' pages
(DeepSeek 402, Qwen Throttling.* and Arrearage, Moonshot *_error types).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, Protocol

from proxy.hints import wait_seconds
from proxy.reading import json_of
from proxy.value import value_type


class Rule(StrEnum):
    OK = "ok"
    QUOTA = "quota"
    TOO_LARGE = "too_large"
    SLOW_DOWN = "slow_down"
    OVERLOAD = "overload"
    RATE = "rate"
    AUTH = "auth"
    DEAD = "dead"
    REGION = "region"
    ADDRESS = "address"
    MODEL = "model"
    CLIENT = "client"
    SERVER = "server"
    UNKNOWN = "unknown"
    CONNECT = "connect"
    GONE = "gone"


BLAMELESS = frozenset(
    {Rule.OK, Rule.CLIENT, Rule.GONE, Rule.TOO_LARGE}
)  # nobody's fault but the request's, if anybody's


@value_type
class Answer:
    """The head of an upstream's answer and, for errors, its decoded body (at most 64 KiB). Header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"<Answer {self.status}>"


@value_type
class Verdict:
    """
    `wait_seconds` is the upstream's own hint. `organization` is what the answer says the key belongs to, "" where it does
    not. `tokens_limit` is a learned limit in tokens a minute. `is_project_limit`: it binds this key alone.
    """

    rule: Rule
    reason: str = ""
    wait_seconds: float | None = None
    organization: str = ""
    tokens_limit: int | None = None
    tokens_requested: int | None = None
    is_project_limit: bool = False


QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "arrearage",
        "throttling.allocationquota",
        "exceeded_current_quota_error",
    }
)
PROJECT_CODES = frozenset({"project_spend_limit_exceeded"})
DEAD_CODES = frozenset({"account_deactivated"})
OVERLOAD_CODES = frozenset({"server_is_overloaded", "engine_overloaded_error", "overloaded_error"})
REGION_CODES = frozenset({"unsupported_country_region_territory"})
MODEL_CODES = frozenset({"model_not_found"})
ADDRESS_CODES = frozenset({"ip_not_authorized"})

# What an error inside a stream would have been as a status; the numbers of vendors who put one into `code` are taken as such.
STATUS_OF_CODE: Mapping[str, int] = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "rate_limit_reached_error": 429,
    "throttling.ratequota": 429,
    "requests": 429,
    "tokens": 429,
    "slow_down": 429,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "server_error": 500,
    "internal_server_error": 500,
    "service_unavailable_error": 503,
    **dict.fromkeys(OVERLOAD_CODES, 503),
    **dict.fromkeys(QUOTA_CODES, 429),
    **dict.fromkeys(DEAD_CODES, 401),
    **dict.fromkeys(REGION_CODES, 403),
    **dict.fromkeys(MODEL_CODES, 404),
}

_STATUS = re.compile(r"[45][0-9]{2}")
NOT_DONE = frozenset({501, 505})  # are about what was asked, and the same again gets the same
_IN_ORGANIZATION = re.compile(r"in organization (org-[A-Za-z0-9]{1,64})")
_LIMIT_REQUESTED = re.compile(r"Limit:? (\d{1,12}), (?:Used \d{1,12}, )?Requested:? (\d{1,12})")


class Said(Protocol):
    def get(self, name: str, default: str, /) -> str: ...


def judge(answer: Answer) -> Verdict:
    """The verdict on a whole answer. A 2xx is `ok`; whether its stream keeps the promise is for `judge_event`."""
    if 200 <= answer.status < 300 or answer.status in (101, 304):
        return success(answer.headers)
    return _judge_error(answer, _error_of(json_of(answer.body)))


def success(headers: Said) -> Verdict:
    """The verdict on what is known to be one."""
    return _success(headers.get("openai-organization", ""), headers.get("x-ratelimit-limit-tokens", ""))


@lru_cache(maxsize=64)
def _success(organization: str, tokens: str) -> Verdict:
    return Verdict(Rule.OK, organization=organization, tokens_limit=_int(tokens))


def judge_event(status: int, headers: Callable[[], Mapping[str, str]], data: bytes) -> Verdict | None:
    """The verdict on the data of a stream's first event: None unless it is an error. `headers` are asked for only then."""
    if b'"error"' not in data:
        return None
    payload = json_of(data)
    failed = isinstance(payload, dict) and payload.get("type") in ("error", "response.failed")
    if not isinstance(payload, dict) or not (payload.get("error") or failed):
        return None
    error = _error_of(payload)
    code = error["code"]
    meant = int(code) if _STATUS.fullmatch(code) else STATUS_OF_CODE.get(code)
    if meant in NOT_DONE:  # what had begun to be answered was well asked
        meant = 500
    return _judge_error(Answer(meant or STATUS_OF_CODE.get(error["type"], 400), headers()), error)


def code_of(data: bytes) -> str:
    """The code of an error, in a body or in an event; "" where it has none that is a plain word: it could carry anything."""
    code = _error_of(json_of(data))["code"]
    return code if re.fullmatch(r"[a-z_.]{1,64}", code) else ""


def _judge_error(answer: Answer, error: dict[str, str]) -> Verdict:
    code, kind, message, status = error["code"], error["type"], error["message"], answer.status
    names = {code, kind}
    wait = wait_seconds(answer.headers, message)
    found = _LIMIT_REQUESTED.search(message)
    rule = _rule(status, names, message)
    named = next((name for name in (code, kind) if name), "")
    # Only a 429's words are the upstream's alone: other messages may repeat what a caller wrote.
    organization = _IN_ORGANIZATION.search(message) if status == 429 else None
    return Verdict(
        rule,
        reason=_reason(status, rule, named, wait),
        wait_seconds=wait,
        organization=answer.headers.get("openai-organization", "") or (organization[1] if organization else ""),
        tokens_limit=int(found[1]) if found and rule is Rule.TOO_LARGE else None,
        tokens_requested=int(found[2]) if found and rule is Rule.TOO_LARGE else None,
        is_project_limit=bool(names & PROJECT_CODES),
    )


def _rule(status: int, names: set[str], message: str) -> Rule:
    text = message.lower()
    if status == 402 or names & QUOTA_CODES:
        return Rule.QUOTA
    if names & DEAD_CODES:
        return Rule.DEAD
    if names & REGION_CODES:
        return Rule.REGION
    if status in (401, 403) and names & ADDRESS_CODES:
        return Rule.ADDRESS
    # Before the texts: such a message repeats the model's name, which a caller may have made to read like one of them.
    if status in (400, 403, 404) and (names & MODEL_CODES or "does not have access to model" in text):
        return Rule.MODEL
    if status in (401, 403, 429):
        if text.startswith("your account is not active"):
            return Rule.QUOTA
        if text.startswith("your access was terminated"):
            return Rule.DEAD
    if status in (401, 403) and "ip not authorized" in text:
        return Rule.ADDRESS
    if status in (503, 529) or names & OVERLOAD_CODES:
        return Rule.OVERLOAD
    if status == 429:
        if "request too large" in text:
            return Rule.TOO_LARGE
        return Rule.SLOW_DOWN if "slow_down" in names else Rule.RATE
    if status == 401:
        return Rule.AUTH
    if status in (502, 504) or 520 <= status <= 528:
        return Rule.UNKNOWN
    # A redirect is about what was asked, too: an API has none but for a path that is not its own.
    return Rule.SERVER if status >= 500 and status not in NOT_DONE else Rule.CLIENT


def _reason(status: int, rule: Rule, named: str, wait: float | None) -> str:
    # Only names of the vendors' own vocabulary go into a reason: a code that is no plain word could carry anything.
    words = f"{status} {named}" if re.fullmatch(r"[a-z_.]{1,40}", named) else str(status)
    if rule in (Rule.RATE, Rule.SLOW_DOWN, Rule.OVERLOAD) and wait is not None:
        return f"{words}, try again in {wait:.0f} s" if wait >= 1 else f"{words}, try again in {wait * 1000:.0f} ms"
    return words


def _error_of(payload: Any) -> dict[str, str]:
    """code, type and message in every shape vendors send: an object, a bare string, numbers as codes, nothing at all."""
    if isinstance(payload, dict) and payload.get("type") == "response.failed":
        payload = payload.get("response")
    error = payload.get("error", payload) if isinstance(payload, dict) else payload
    if not isinstance(error, dict):
        return {"code": "", "type": "", "message": error if isinstance(error, str) else ""}
    code, kind, message = (error.get(name) for name in ("code", "type", "message"))
    return {
        "code": str(code).lower() if isinstance(code, str | int) and not isinstance(code, bool) else "",
        "type": kind.lower() if isinstance(kind, str) else "",
        "message": message if isinstance(message, str) else "",
    }


def _int(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 13 else None
