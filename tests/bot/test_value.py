"""Values, and what is made of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.exchange import Exchange, State
from bot.value import replaced

ASKED = Exchange("x1", "gh_1", "o1", "1", "你好", asked_at=1.5, parts=("a", "b"))


@pytest.mark.parametrize(
    "facts", [{}, {"answer": "Hello."}, {"state": State.ANSWERED, "parts": (), "id": "x2", "sent_pages": 3}]
)
def test_another_value_differs_in_what_is_said_alone(facts: dict[str, object]) -> None:
    assert replaced(ASKED, **facts) == replace(ASKED, **facts)  # type: ignore[arg-type]
    assert Exchange("x1", "gh_1", "o1", "1", "你好", asked_at=1.5, parts=("a", "b")) == ASKED


def test_a_field_that_is_none_is_no_fact() -> None:
    with pytest.raises(KeyError):
        replaced(ASKED, colour="red")
