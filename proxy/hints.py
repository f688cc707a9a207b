"""
How long an upstream says to wait, from everything it may say it with. Pure.

Rule 1: the first hint that is valid counts, in this order: `retry-after-ms`, `retry-after` as a number of seconds or as
        an HTTP date (less the answer's own Date, so that our clock does not matter), "try again in 6m0s" in the text,
        `x-ratelimit-reset-*` divided by its limit where nothing remains (that header is the time to a *full* bucket).
Rule 2: a hint is valid when it is a positive, finite number; it never counts for more than a day.

Source of the grammar: openai-python tests/test_client.py::test_parse_retry_after_header; go-style durations as in
platform.openai.com/docs/guides/rate-limits; Azure sends whole seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST = 86_400.0  # seconds; the longest limits in the field are daily ones
SHORTEST_SLOT = 1.0  # seconds; a token bucket's slot may come out as milliseconds, which would only hammer it

_UNIT = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|h|m|s)")
_IN_TEXT = re.compile(
    r"(?:try again in|retry after)\s+((?:\d{1,9}(?:\.\d{1,9})?(?:ms|h|m|s)){1,4}|\d{1,9}(?:\.\d{1,9})?\s*seconds?)",
    re.I,
)


def wait_seconds(headers: Mapping[str, str], message: str = "") -> float | None:
    """Seconds to wait by the upstream's own word, or None where it gives none. Header names in lower case."""
    for hint in (
        _number(headers.get("retry-after-ms"), scale=0.001),
        _number(headers.get("x-ms-retry-after-ms"), scale=0.001),
        _number(headers.get("retry-after")),
        _until_date(headers.get("retry-after"), headers.get("date")),
        _from_text(message),
        _next_slot(headers),
    ):
        if hint is not None and hint > 0 and math.isfinite(hint):
            return min(hint, LONGEST)
    return None


def duration(text: str) -> float | None:
    """Seconds of "1h2m3s", "644ms" or a bare number of seconds."""
    text = text.strip().lower()
    seconds, end = 0.0, 0
    for part in _PART.finditer(text):
        if part.start() != end:
            return None
        seconds += float(part[1]) * _UNIT[part[2]]
        end = part.end()
    return seconds if end and end == len(text) else _number(text)


def _number(text: str | None, *, scale: float = 1.0) -> float | None:
    if text is None or len(text) > 32:
        return None
    try:
        return float(text) * scale
    except ValueError:
        return None


def _until_date(text: str | None, now: str | None) -> float | None:
    if not text or not now:
        return None
    try:
        return (parsedate_to_datetime(text) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None


def _from_text(message: str) -> float | None:
    found = _IN_TEXT.search(message)
    return duration(re.sub(r"\s*seconds?$", "s", found[1], flags=re.I)) if found else None


def _next_slot(headers: Mapping[str, str]) -> float | None:
    slots = []
    for kind in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{kind}", "").strip() != "0":
            continue
        full = duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
        limit = _number(headers.get(f"x-ratelimit-limit-{kind}"))
        if full and full > 0 and limit and limit >= 1:
            slots.append(max(full / limit, SHORTEST_SLOT))
    return max(slots, default=None)
