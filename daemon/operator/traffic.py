"""
Who asks, and how their upstreams answer, as the page shows it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from daemon.operator.figures import latency
from daemon.operator.seen import CallerView
from daemon.operator.words import Words
from proxy.tally import UpstreamView
from proxy.value import value_type

NEARLY = 0.9  # of a limit
SOON = 7 * 86_400.0  # seconds before a token expires, from when on the page says so as a warning


@value_type
class Limit:
    """`used` of `most`, where there is something to compare; else `most` is 0. `tone` is "ill" where it is used up."""

    text: str
    used: int = 0
    most: int = 0
    tone: str = "off"


@value_type
class CallerRow:
    view: CallerView
    name: str
    requests: str
    tokens: str
    limits: tuple[Limit, ...]
    expiry: str
    tone: str  # of the expiry


@value_type
class UpstreamRow:
    view: UpstreamView
    half_within: str
    most_within: str
    our_share: str
    trouble: str  # "" where nothing has failed
    trouble_ago: str


def caller_row(caller: CallerView, now: float, words: Words) -> CallerRow:
    """`now` is epoch seconds."""
    left = None if caller.expires_at is None else caller.expires_at - now
    return CallerRow(
        view=caller,
        name=caller.name,
        requests=words.number(caller.requests),
        tokens=words.number(caller.tokens),
        limits=tuple(_limits(caller, words)),
        expiry=_expiry(left, words),
        tone="off" if left is None or left > SOON else "resting" if left > 0 else "ill",
    )


def _expiry(left: float | None, words: Words) -> str:
    if left is None:
        return ""
    return words.traffic.expires(words.duration(left)) if left > 0 else words.traffic.expired


def _limits(caller: CallerView, words: Words) -> Iterator[Limit]:
    says, number = words.traffic, words.number
    if most := caller.tokens_per_day:
        yield _used(says.tokens_of(number(caller.tokens), number(most)), caller.tokens, most)
    if most := caller.max_concurrency:
        yield _used(says.at_once(number(caller.in_flight), number(most)), caller.in_flight, most)
    elif caller.in_flight:
        yield Limit(says.in_flight(number(caller.in_flight)))
    if caller.requests_per_minute:
        yield Limit(says.a_minute(number(caller.requests_per_minute)))


def _used(text: str, used: int, most: int) -> Limit:
    return Limit(text, min(used, most), most, "ill" if used >= most else "resting" if used >= NEARLY * most else "well")


def upstream_row(upstream: UpstreamView, words: Words) -> UpstreamRow:
    ago = upstream.trouble_seconds_ago
    return UpstreamRow(
        view=upstream,
        half_within=latency(upstream.first_byte_p50),
        most_within=latency(upstream.first_byte_p95),
        our_share=latency(upstream.added_p50),
        trouble="" if ago is None else words.rules.get(upstream.trouble_rule, upstream.trouble_rule),
        trouble_ago="" if ago is None else words.key.ago(words.duration(ago)),
    )
