"""
The steps by which a scripted upstream says no. Pure.

Rule 1: statuses and bodies are those of the real thing, word for word where they are known. Sources: OpenAI's guide to error
        codes (developers.openai.com/docs/guides/error-codes); the 429 texts as users quote them (continuedev/continue 10502 and
        11472, BuilderIO/micro-agent 86, gpt-pilot 53); billing codes: Microsoft's dev-proxy, "openai-insufficient-quota";
        pictures: ucx0204/CarrotMangaTranslator 122, TheoKanning/openai-java 446.
Rule 2: like the real thing, refusals give away organizations and fragments of keys: whoever stands before us must take
        them out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from daemon.demo.dialects import error
from daemon.demo.steps import JSON, SERVER_ERROR, Act, Answer, Call, Raw, Step


class _Refusal:
    """What refusals have in common: a status, headers, and the error that is their body."""

    __slots__ = ()
    status: ClassVar[int]
    concerns_the_key: ClassVar[bool] = False  # such a key is refused by the free `GET /v1/models` too

    def error(self, call: Call) -> dict[str, Any]:
        raise NotImplementedError

    def extra_headers(self) -> Mapping[str, str]:
        return {}

    def play(self, call: Call) -> Iterator[Act]:
        body = json.dumps(self.error(call), indent=4).encode()
        return Raw(self.status, {**JSON, **self.extra_headers()}, body).play(call)


@dataclass(frozen=True, slots=True)
class Unknown(_Refusal):
    """What every key gets that no script knows; without a key at all the sentence is another one."""

    status: ClassVar[int] = 401
    concerns_the_key: ClassVar[bool] = True

    def error(self, call: Call) -> dict[str, Any]:
        if not call.secret:
            return error(
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from "
                "https://platform.openai.com/account/api-keys."
            )
        return error(
            f"Incorrect API key provided: {call.secret[:5]}***{call.secret[-4:]}. "
            "You can find your API key at https://platform.openai.com/account/api-keys.",
            code="invalid_api_key",
        )


@dataclass(frozen=True, slots=True)
class Revoked(Unknown):
    """A key that was good once; OpenAI says the same about it as about one that never was."""


@dataclass(frozen=True, slots=True)
class Deactivated(_Refusal):
    status: ClassVar[int] = 401
    concerns_the_key: ClassVar[bool] = True

    def error(self, call: Call) -> dict[str, Any]:
        body = error(
            "The OpenAI account associated with this API key has been deactivated. If you are the owner of the account, "
            "please check your email for more information.",
            code="account_deactivated",
        )
        return {**body, "status": 401}


@dataclass(frozen=True, slots=True)
class AddressBlocked(_Refusal):
    status: ClassVar[int] = 401
    concerns_the_key: ClassVar[bool] = True

    def error(self, call: Call) -> dict[str, Any]:
        return error(
            "IP not authorized. Your request IP does not match the configured IP allowlist.", code="ip_not_authorized"
        )


@dataclass(frozen=True, slots=True)
class RegionBlocked(_Refusal):
    status: ClassVar[int] = 403
    concerns_the_key: ClassVar[bool] = True

    def error(self, call: Call) -> dict[str, Any]:
        return error(
            "Country, region, or territory not supported",
            kind="request_forbidden",
            code="unsupported_country_region_territory",
        )


@dataclass(frozen=True, slots=True)
class ModelMissing(_Refusal):
    status: ClassVar[int] = 404

    def error(self, call: Call) -> dict[str, Any]:
        return error(
            f"The model `{call.model}` does not exist or you do not have access to it.", code="model_not_found"
        )


@dataclass(frozen=True, slots=True)
class Limited(_Refusal):
    """
    A 429. `requests` and `tokens` are (limit, time to full refill as OpenAI writes it: "59.9s", "6m0s") and become the
    x-ratelimit-* headers. The message hints at the time only where `retry_after` is set, or as it is given.
    """

    retry_after: str | None = "20"
    retry_after_ms: str | None = None
    message: str | None = None
    requests: tuple[int, str] | None = None
    tokens: tuple[int, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: ClassVar[int] = 429

    def error(self, call: Call) -> dict[str, Any]:
        limit, kind, unit = (3, "requests", "requests per min (RPM)")
        if self.tokens:
            limit, kind, unit = (self.tokens[0], "tokens", "tokens per min (TPM)")
        elif self.requests:
            limit = self.requests[0]
        hint = f" Please try again in {self.retry_after}s." if self.retry_after else ""
        message = self.message or (
            f"Rate limit reached for {call.model} in organization {call.organization} on {unit}: "
            f"Limit {limit}, Used {limit}, Requested 1.{hint} "
            "Visit https://platform.openai.com/account/rate-limits to learn more."
        )
        return error(message, kind=kind, code="rate_limit_exceeded")

    def extra_headers(self) -> Mapping[str, str]:
        said: dict[str, str] = {}
        if self.retry_after is not None:
            said["retry-after"] = self.retry_after
        if self.retry_after_ms is not None:
            said["retry-after-ms"] = self.retry_after_ms
        for name, limit in (("requests", self.requests), ("tokens", self.tokens)):
            if limit:
                said[f"x-ratelimit-limit-{name}"] = str(limit[0])
                said[f"x-ratelimit-remaining-{name}"] = "0"
                said[f"x-ratelimit-reset-{name}"] = limit[1]
        return {**said, **self.headers}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A true limit: so many requests a minute, after which a 429 names the time to the next slot and to full refill."""

    per_minute: float
    then: Step = field(default_factory=Answer)

    def play(self, call: Call) -> Iterator[Act]:
        wait = call.bucket(self.per_minute)
        if wait <= 0:
            yield from self.then.play(call)
            return
        limit = max(1, math.floor(self.per_minute))
        to_full = wait + (limit - 1) * 60 / self.per_minute
        yield from Limited(
            retry_after=str(math.ceil(wait)),
            retry_after_ms=str(math.ceil(wait * 1000)),
            requests=(limit, f"{to_full:.3f}s"),
        ).play(call)


@dataclass(frozen=True, slots=True)
class TooLarge(_Refusal):
    """A request beyond what the whole organization may ask in a minute: no wait and no other key of it helps."""

    limit: int = 10_000
    requested: int = 12_000
    status: ClassVar[int] = 429

    def error(self, call: Call) -> dict[str, Any]:
        return error(
            f"Request too large for {call.model} in organization {call.organization} on tokens per min (TPM): "
            f"Limit {self.limit}, Requested {self.requested}. The input or output tokens must be reduced in order to run "
            "successfully. Visit https://platform.openai.com/account/rate-limits to learn more.",
            kind="tokens",
            code="rate_limit_exceeded",
        )


@dataclass(frozen=True, slots=True)
class NoQuota(_Refusal):
    """`code` may also be credit_balance_exhausted or one of the *_limit_exceeded codes of billing."""

    code: str = "insufficient_quota"
    status: ClassVar[int] = 429

    def error(self, call: Call) -> dict[str, Any]:
        return error(
            "You exceeded your current quota, please check your plan and billing details. For more information on this "
            "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
            kind="insufficient_quota",
            code=self.code,
        )


@dataclass(frozen=True, slots=True)
class SlowDown(_Refusal):
    retry_after: str | None = None
    status: ClassVar[int] = 429

    def error(self, call: Call) -> dict[str, Any]:
        return error(
            "Your requests are increasing too quickly. Please slow down.", kind="rate_limit_error", code="slow_down"
        )

    def extra_headers(self) -> Mapping[str, str]:
        return {} if self.retry_after is None else {"retry-after": self.retry_after}


@dataclass(frozen=True, slots=True)
class Overloaded(_Refusal):
    retry_after: str | None = None
    status: ClassVar[int] = 503

    def error(self, call: Call) -> dict[str, Any]:
        return error(
            "The engine is currently overloaded, please try again later",
            kind="service_unavailable_error",
            code="server_is_overloaded",
        )

    def extra_headers(self) -> Mapping[str, str]:
        return {} if self.retry_after is None else {"retry-after": self.retry_after}


@dataclass(frozen=True, slots=True)
class ServerError(_Refusal):
    status: ClassVar[int] = 500

    def error(self, call: Call) -> dict[str, Any]:
        return error(SERVER_ERROR, kind="server_error")


@dataclass(frozen=True, slots=True)
class Moderated(_Refusal):
    """`code` is "moderation_blocked", as gpt-image says, or "content_policy_violation", as older models of pictures do."""

    code: str = "moderation_blocked"
    status: ClassVar[int] = 400

    def error(self, call: Call) -> dict[str, Any]:
        if self.code != "moderation_blocked":
            return error(
                "Your request was rejected as a result of our safety system. Your prompt may contain text that is not "
                "allowed by our safety system.",
                code=self.code,
            )
        return error(
            "Your request was rejected by the safety system. If you believe this is an error, contact us at "
            "help.openai.com and include the request ID req_scripted. safety_violations=[violence].",
            kind="image_generation_user_error",
            code=self.code,
        )


def html_error(status: int = 502) -> Raw:
    """What Cloudflare says before an upstream that it cannot reach: the outcome of the request is unknown."""
    body = (
        f"<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n</html>\r\n"
    )
    return Raw(status, {"content-type": "text/html"}, body.encode())
