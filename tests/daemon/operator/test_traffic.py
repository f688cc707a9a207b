from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.operator.seen import CallerView
from daemon.operator.traffic import caller_row, upstream_row
from daemon.operator.words import WORDS
from proxy.tally import UpstreamView

NOW = 1_000_000.0
DAY = 86_400.0
LAPTOP = CallerView("laptop", requests=12, tokens=900, in_flight=0)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, []),
        ({"in_flight": 2}, [("2 in flight", 0, 0, "off")]),
        ({"requests_per_minute": 60}, [("60 requests a minute", 0, 0, "off")]),
        ({"tokens_per_day": 1_200}, [("900 of 1,200 tokens", 900, 1_200, "well")]),
        ({"tokens_per_day": 1_000}, [("900 of 1,000 tokens", 900, 1_000, "resting")]),
        ({"tokens_per_day": 800}, [("900 of 800 tokens", 800, 800, "ill")]),
        ({"in_flight": 4, "max_concurrency": 4}, [("4 of 4 in flight", 4, 4, "ill")]),
    ],
)
def test_a_limit_says_how_much_of_it_is_used(limits: dict[str, int], said: list[tuple[str, int, int, str]]) -> None:
    row = caller_row(replace(LAPTOP, **limits), NOW, WORDS["en"])
    assert [(limit.text, limit.used, limit.most, limit.tone) for limit in row.limits] == said


@pytest.mark.parametrize(
    ("expires_at", "english", "chinese", "tone"),
    [
        (None, "", "", "off"),
        (NOW + 30 * DAY, "expires in 30 d", "30 天后过期", "off"),
        (NOW + 3 * DAY, "expires in 3 d", "3 天后过期", "resting"),
        (NOW, "expired", "已过期", "ill"),
    ],
)
def test_a_token_that_expires_says_so_in_time(expires_at: float | None, english: str, chinese: str, tone: str) -> None:
    caller = replace(LAPTOP, expires_at=expires_at)
    row = caller_row(caller, NOW, WORDS["en"])
    assert (row.expiry, row.tone) == (english, tone)
    assert caller_row(caller, NOW, WORDS["zh"]).expiry == chinese


def test_an_upstream_tells_how_quick_it_is_and_what_failed_last() -> None:
    upstream = UpstreamView("openai", 500, 0.42, 2.31, 0.0007, 90.0, "main", "connect")
    row = upstream_row(upstream, WORDS["en"])
    assert (row.half_within, row.most_within, row.our_share) == ("420 ms", "2.3 s", "0.7 ms")
    assert (row.trouble, row.trouble_ago) == ("The upstream cannot be reached.", "1 min ago")


def test_an_upstream_that_was_not_asked_has_nothing_to_tell() -> None:
    row = upstream_row(UpstreamView("openai", 0, None, None, None), WORDS["en"])
    assert (row.half_within, row.our_share, row.trouble, row.trouble_ago) == ("–", "–", "", "")
