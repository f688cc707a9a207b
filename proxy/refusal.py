"""
Our own errors to callers of /v1, each written once, in OpenAI's envelope. Pure.

Rule 1: a refusal says what happened and what to do next, and never holds a secret or a word of the request.
Rule 2: official clients retry 408, 409, 429 and 5xx by themselves unless `x-should-retry: false` stops them, and wait as
        long as `retry-after-ms` or `retry-after` says: these headers are how we tell them.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from proxy.lease import NoKeyAvailable

PATIENCE_SECONDS = 60.0  # a client that retries by itself should not wait longer than this for its own limit


@dataclass(eq=False)  # not frozen: what raises an exception also writes its traceback into it
class Refusal(Exception):
    """`upstream_code` is the upstream's own code for it, "" where it gave none; no caller is told it."""

    status: int
    code: str
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    retry_after_seconds: float | None = None
    should_retry: bool | None = None
    upstream_code: str = ""

    def __str__(self) -> str:
        return f"{self.status} {self.code}"

    def body(self) -> bytes:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return json.dumps({"error": error}, ensure_ascii=False).encode()

    def headers(self) -> list[tuple[str, str]]:
        headers = [("Content-Type", "application/json")]
        if self.retry_after_seconds is not None:
            headers.append(("Retry-After", str(max(1, math.ceil(self.retry_after_seconds)))))
            headers.append(("retry-after-ms", str(max(1, math.ceil(self.retry_after_seconds * 1000)))))
        if self.should_retry is not None:
            headers.append(("x-should-retry", str(self.should_retry).lower()))
        return headers


def invalid_path() -> Refusal:
    return Refusal(
        400, "invalid_path", "The path must be a plain one below /v1/, without '..', '//' or encoded slashes."
    )


def invalid_request(message: str, *, param: str | None = None) -> Refusal:
    return Refusal(400, "invalid_request", message, param=param)


def invalid_api_key(message: str = "Unknown token. Use one that `posthouse token NAME` made.") -> Refusal:
    return Refusal(401, "invalid_api_key", message, should_retry=False)


def path_not_allowed() -> Refusal:
    return Refusal(
        403, "path_not_allowed", "This path is not open here; the setting is proxy.deny.", should_retry=False
    )


def path_beyond_limits() -> Refusal:
    message = "This token has limits, and what this path starts could not be held to them."
    return Refusal(403, "path_not_allowed", message, should_retry=False)


def model_not_allowed() -> Refusal:
    return Refusal(403, "model_not_allowed", "This token may not use that model.", param="model", should_retry=False)


def model_not_found() -> Refusal:
    return Refusal(404, "model_not_found", "No key of this gateway has that model.", param="model", should_retry=False)


def unknown_object() -> Refusal:
    """For what another caller made. It does not say that somebody did."""
    message = "No object with this id was made with your token. Check the id, or use the token that made it."
    return Refusal(404, "not_found", message, should_retry=False)


def objects_of_two_keys() -> Refusal:
    return invalid_request(
        "The request names objects that two different upstream keys made, and neither key can reach the other's. "
        "Make one of them again in a request that names the other: it is then made with the same key."
    )


def listing_not_allowed() -> Refusal:
    message = (
        "This list would show what other callers of this gateway made. Keep the ids of what you make, or have the "
        "operator set see_all for your token."
    )
    return Refusal(403, "path_not_allowed", message, should_retry=False)


def request_too_large(most_bytes: int) -> Refusal:
    return Refusal(413, "request_too_large", f"The body is larger than {most_bytes} bytes.", should_retry=False)


def caller_limit_exceeded(limit: str, seconds: float) -> Refusal:
    """`limit` is like "3 requests a minute"."""
    again = f"please try again in {max(1, math.ceil(seconds))} s"
    message = f"This token is for {limit}, and they are used up; {again}. The operator sets the limit."
    return Refusal(
        429,
        "caller_limit_exceeded",
        message,
        "rate_limit_error",
        retry_after_seconds=seconds,
        should_retry=False if seconds > PATIENCE_SECONDS else None,
    )


def rate_limited(seconds: float) -> Refusal:
    message = f"Every key is resting. The first is back in {max(1, math.ceil(seconds))} s; please try again then."
    return Refusal(429, "rate_limit_exceeded", message, "rate_limit_error", retry_after_seconds=seconds)


def pool_exhausted() -> Refusal:
    message = "No key of this gateway can serve: none is configured, or each is without quota, revoked or disabled."
    return Refusal(503, "pool_exhausted", message, "server_error", should_retry=False)


def upstream_rests(seconds: float) -> Refusal:
    message = f"The upstream fails, or turns every key away. It is tried again in {max(1, math.ceil(seconds))} s."
    return Refusal(503, "overloaded", message, "server_error", retry_after_seconds=seconds)


def short_of_memory() -> Refusal:
    message = "This gateway is short of memory and takes no new requests for a moment. Please try again in 2 s."
    return Refusal(503, "overloaded", message, "server_error", retry_after_seconds=2.0)


def upstream_unreachable(
    message: str = "The upstream could not be reached. Nothing was sent; please try again.",
) -> Refusal:
    return Refusal(502, "upstream_unreachable", message, "server_error")


def moved(status: int) -> Refusal:
    """Not to be sent again by itself: it may have been carried out (303), and goes nowhere else next time."""
    message = f"The upstream answered {status}, which is not followed. Check base_url."
    return Refusal(502, "upstream_unreachable", message, "server_error", should_retry=False)


def upstream_outcome_unknown() -> Refusal:
    message = (
        "The upstream's answer was lost after the request had been sent. It may have been carried out and billed, "
        "so it was not sent again."
    )
    return Refusal(502, "upstream_outcome_unknown", message, "server_error", should_retry=False)


def answer_not_readable() -> Refusal:
    """For an answer that should have been translated."""
    message = (
        "The upstream's answer could not be translated: it broke off, came compressed, or was too large. It may have been "
        "billed, so the question was not sent again."
    )
    return Refusal(502, "upstream_outcome_unknown", message, "server_error", should_retry=False)


BUSY_SECONDS = 1.0  # when a key that serves its full number of requests has room again, nobody knows


def no_key_available(none: NoKeyAvailable) -> Refusal:
    """What a caller hears when the pool has nothing for it."""
    match none.cause:
        case "cooling" | "busy":
            return rate_limited(BUSY_SECONDS if none.retry_after_seconds is None else none.retry_after_seconds)
        case "upstream":
            return upstream_rests(none.retry_after_seconds or BUSY_SECONDS)
        case "model":
            return model_not_found()
    return pool_exhausted()
