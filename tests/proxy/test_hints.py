"""
How long an upstream says to wait.

Source of the grammar: openai-python tests/test_client.py::test_parse_retry_after_header.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.hints import LONGEST, duration, wait_seconds

NOW = "Fri, 29 Sep 2023 16:26:37 GMT"
TWENTY_LATER = "Fri, 29 Sep 2023 16:26:57 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20.0),
        ("0.5", 0.5),
        ("1.25e1", 12.5),
        (" 7 ", 7.0),
        ("61", 61.0),
        ("86400", LONGEST),
        ("86401", LONGEST),
        ("604800", LONGEST),
        ("0", None),
        ("-0", None),
        ("-10", None),
        ("inf", None),
        ("-inf", None),
        ("nan", None),
        ("1e400", None),
        ("99999999999999999999999999999999999", None),
        ("", None),
        ("soon", None),
        ("1h", None),
        ("20, 30", None),
        (TWENTY_LATER, 20.0),
        ("Fri, 29 Sep 2023 16:26:37 GMT", None),
        ("Fri, 29 Sep 2023 16:26:27 GMT", None),
        ("Sat, 30 Sep 2023 18:26:37 GMT", LONGEST),
        ("Fri, 29 Sep 100000 16:26:27 GMT", None),
        ("Zun, 29 Sep 2023 16:26:27 GMT", None),
        ("Fri, 99 Sep 2023 16:26:57 GMT", None),
    ],
)
def test_retry_after_is_read_as_official_clients_read_it(value: str, seconds: float | None) -> None:
    assert wait_seconds({"retry-after": value, "date": NOW}) == seconds


@pytest.mark.parametrize("skew", ["Fri, 29 Sep 1999 16:26:37 GMT", "Fri, 29 Sep 2098 16:26:37 GMT"])
def test_a_date_counts_from_the_answers_own_date_however_wrong_that_is(skew: str) -> None:
    assert wait_seconds({"retry-after": skew.replace("26:37", "26:57"), "date": skew}) == 20.0


@pytest.mark.parametrize("date", [{}, {"date": "yesterday"}, {"date": ""}, {"date": "Fri, 29 Sep 2023 16:26:37 -0000"}])
def test_a_date_without_a_date_to_count_from_is_no_hint(date: dict[str, str]) -> None:
    assert wait_seconds({"retry-after": TWENTY_LATER, **date}) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 3.89s.", 3.89),
        ("Please try again in 644ms.", 0.644),
        ("Please try again in 6m0s.", 360.0),
        ("Please try again in 7m12s. Visit https://platform.openai.com", 432.0),
        ("Please try again in 1h2m", 3720.0),
        ("Please try again in 1h2m3.5s.", 3723.5),
        ("Please retry after 6 seconds.", 6.0),
        ("Please retry after 1 second.", 1.0),
        ("TRY AGAIN IN 20S", 20.0),
        ("Please try again in 99h.", LONGEST),
        ("Please try again in 0s.", None),
        ("Please try again in a while.", None),
        ("Limit 30000, Used 28039, Requested 3906.", None),
        ("", None),
    ],
)
def test_the_text_may_say_when_to_try_again(text: str, seconds: float | None) -> None:
    assert wait_seconds({}, text) == (None if seconds is None else pytest.approx(seconds))


ALL = {
    "retry-after-ms": "1500",
    "x-ms-retry-after-ms": "2500",
    "retry-after": "3",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "50s",
    "x-ratelimit-limit-requests": "10",
}


@pytest.mark.parametrize(
    ("without", "message", "seconds"),
    [
        ([], "try again in 4s", 1.5),
        (["retry-after-ms"], "try again in 4s", 2.5),
        (["retry-after-ms", "x-ms-retry-after-ms"], "try again in 4s", 3.0),
        (["retry-after-ms", "x-ms-retry-after-ms", "retry-after"], "try again in 4s", 4.0),
        (["retry-after-ms", "x-ms-retry-after-ms", "retry-after"], "", 5.0),
    ],
)
@pytest.mark.parametrize("instead", [None, "0", "-1", "nan", "x"])
def test_the_first_valid_hint_counts_and_what_is_not_valid_is_passed_over(
    without: list[str], message: str, seconds: float, instead: str | None
) -> None:
    headers = {name: value for name, value in ALL.items() if name not in without}
    if instead is not None:
        headers |= dict.fromkeys(without, instead)
    assert wait_seconds(headers, message) == seconds


@pytest.mark.parametrize(
    ("kind", "remaining", "reset", "limit", "seconds"),
    [
        ("requests", "0", "59.9s", "3", 59.9 / 3),
        ("requests", "0", "6m0s", "3", 120.0),
        ("tokens", "0", "60s", "30000", 1.0),
        ("requests", "0", "20", "4", 5.0),
        ("requests", "1", "59.9s", "3", None),
        ("requests", "", "59.9s", "3", None),
        ("requests", "0", "-1", "3", None),
        ("requests", "0", "0", "3", None),
        ("requests", "0", "59.9s", "0", None),
        ("requests", "0", "59.9s", "nan", None),
        ("requests", "0", "later", "3", None),
        ("requests", "0", "", "", None),
    ],
)
def test_a_full_bucket_is_divided_by_its_limit_where_nothing_remains(
    kind: str, remaining: str, reset: str, limit: str, seconds: float | None
) -> None:
    headers = {
        f"x-ratelimit-remaining-{kind}": remaining,
        f"x-ratelimit-reset-{kind}": reset,
        f"x-ratelimit-limit-{kind}": limit,
    }
    assert wait_seconds(headers) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("1s", 1.0), ("6m0s", 360.0), ("1h2m3s", 3723.0), ("5", 5.0), ("s", None), ("1s 2", None)],
)
def test_a_duration_is_read_whole_or_not_at_all(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds


@given(st.dictionaries(st.sampled_from([*ALL, "date"]), st.text(max_size=40)), st.text(max_size=100))
def test_whatever_comes_is_no_hint_or_a_positive_one_of_at_most_a_day(headers: dict[str, str], message: str) -> None:
    seconds = wait_seconds(headers, message)
    assert seconds is None or 0 < seconds <= LONGEST


@given(st.floats())
def test_any_number_is_no_hint_or_a_positive_one_of_at_most_a_day(number: float) -> None:
    for name in ("retry-after-ms", "retry-after"):
        seconds = wait_seconds({name: str(number)})
        assert seconds is None or 0 < seconds <= LONGEST
