from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.operator.figures import WORDS_SHOWN, countdown, excerpt, latency, masked, share
from daemon.operator.words import WORDS


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0:01"), (34.0, "0:34"), (34.1, "0:35"), (320.0, "5:20"), (3_723.0, "1:02:03"), (86_400.0, "24:00:00")],
)
def test_a_countdown_is_rounded_up_and_reads_like_a_clock(seconds: float, text: str) -> None:
    counted = countdown(seconds)
    assert counted is not None
    assert counted.text == text


@pytest.mark.parametrize("seconds", [None, 0.0, -3.0])
def test_what_is_over_or_unknown_has_no_countdown(seconds: float | None) -> None:
    assert countdown(seconds) is None


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (0.0, "0 s", "0 秒"),
        (59.5, "59 s", "59 秒"),
        (60.0, "1 min", "1 分钟"),
        (7_300.0, "2 h", "2 小时"),
        (200_000.0, "2 d", "2 天"),
        (-5.0, "0 s", "0 秒"),
    ],
)
def test_a_duration_is_one_unit(seconds: float, english: str, chinese: str) -> None:
    assert WORDS["en"].duration(seconds) == english
    assert WORDS["zh"].duration(seconds) == chinese


@pytest.mark.parametrize(
    ("count", "english", "chinese"),
    [
        (0, "0", "0"),
        (12_345, "12,345", "12,345"),
        (999_999, "999,999", "999,999"),
        (1_999_999, "1.9 M", "199.9 万"),
        (5_000_000_000, "5.0 G", "50.0 亿"),
    ],
)
def test_a_large_number_is_short_and_never_more_than_it_is(count: int, english: str, chinese: str) -> None:
    assert WORDS["en"].number(count) == english
    assert WORDS["zh"].number(count) == chinese


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 0, ""), (0, 5, "0 %"), (5, 5, "100 %"), (99_999, 100_000, "99.9 %"), (1, 3, "33.3 %"), (1, 100_000, "0 %")],
)
def test_a_share_is_all_only_where_nothing_is_missing(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0, "0.0 ms"),
        (0.00071, "0.7 ms"),
        (0.00996, "10 ms"),
        (0.42, "420 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (99.96, "100 s"),
        (1_234.0, "1,234 s"),
    ],
)
def test_a_latency_has_the_unit_that_fits_it(seconds: float | None, text: str) -> None:
    assert latency(seconds) == text


@given(st.text(min_size=13))
def test_a_mask_leaves_six_characters_of_an_openid(openid: str) -> None:
    assert masked(openid) == openid[:4] + "…" + openid[-2:]


@given(st.text(max_size=12))
def test_a_short_openid_is_hidden_whole(openid: str) -> None:
    assert masked(openid) == "…"


@given(st.text())
def test_an_excerpt_is_one_short_line_that_can_be_printed(question: str) -> None:
    line = excerpt(question)
    assert line.isprintable()
    assert len(line) <= WORDS_SHOWN + 1


def test_an_excerpt_loses_marks_that_turn_the_page_around() -> None:
    assert excerpt("ab\u202ecd\n\n\x00 ef") == "ab cd ef"
