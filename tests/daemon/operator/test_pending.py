from __future__ import annotations

import pytest

from daemon.operator.pending import PENDING_SHOWN, Pager, pager, pending_rows
from daemon.operator.words import WORDS
from tests.daemon.operator.scenes import NOW, hostile


@pytest.mark.parametrize(
    ("page", "rows", "count", "found"),
    [
        (1, 0, 0, None),
        (1, 50, 50, None),
        (1, 50, 51, Pager("1–50 of 51, the oldest first", older=0, newer=2)),
        (2, 1, 51, Pager("51–51 of 51, the oldest first", older=1, newer=0)),
        (100, 50, 10_000, Pager("4,951–5,000 of 10,000, the oldest first", older=99, newer=101)),
        # A page that was there when it was linked to leads back to the last one there is.
        (9, 0, 51, Pager("Nothing waits on this page any more.", older=2, newer=0)),
        (2, 0, 0, Pager("Nothing waits on this page any more.", older=1, newer=0)),
    ],
)
def test_pages_lead_to_their_neighbours(page: int, rows: int, count: int, found: Pager | None) -> None:
    assert PENDING_SHOWN == 50
    assert pager(page, rows=rows, count=count, words=WORDS["en"]) == found


def test_what_strangers_ask_from_the_future_is_a_short_line_and_no_time_ago() -> None:
    rows = pending_rows(hostile().mail.pending, NOW, WORDS["zh"], show_words=True)
    assert {row.age for row in rows} == {"0 秒"}
    assert all(row.question.isprintable() and len(row.question) <= 21 for row in rows)
    assert {row.subscriber for row in rows} == {"oABC…9z"}
