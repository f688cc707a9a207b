from __future__ import annotations

import pytest

from daemon.notices import Notice, Seen, notices

WORDS = {"dead": "失效"}


def at(has_eligible: bool = True, **states: str) -> Seen:
    return Seen(states, has_eligible)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (at(a="ready"), at(a="dead"), [Notice("notice_key", {"key": "a", "state": "失效"})]),
        (at(a="suspect"), at(a="exhausted"), [Notice("notice_key", {"key": "a", "state": "exhausted"})]),
        (at(a="dead"), at(a="dead"), []),
        (at(a="ready"), at(a="cooling"), []),
        (at(a="ready"), at(a="disabled"), []),
        (at(), at(new="dead"), []),
        (at(a="cooling"), at(False, a="cooling"), [Notice("notice_no_key")]),
        (at(False, a="cooling"), at(a="ready"), [Notice("notice_key_again")]),
        (at(False, a="cooling"), at(False, a="cooling"), []),
    ],
)
def test_only_what_is_new_is_told(before: Seen, after: Seen, told: list[Notice]) -> None:
    assert notices(before, after, WORDS) == told
