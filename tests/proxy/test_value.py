"""A value is what it holds: so it is compared, so it may be a key, and so it is shown, but for what must not be."""

from __future__ import annotations

from dataclasses import asdict, field, replace

import pytest

from proxy.value import value_type


@value_type
class Point:
    x: int
    y: int = 0
    secret: str = field(default="sk-1", repr=False)


@value_type
class Other:
    x: int
    y: int = 0
    secret: str = "sk-1"


@value_type
class Nothing:
    pass


@value_type
class Named:
    name: str

    def __repr__(self) -> str:
        return f"<{self.name}>"


def test_values_are_equal_when_all_they_hold_is() -> None:
    assert Point(1) == Point(1, 0)
    assert Point(1) != Point(1, secret="sk-2")
    assert {Point(1), Point(1, 0), Point(2)} == {Point(2), Point(1)}
    assert (Nothing(), hash(Nothing())) == (Nothing(), hash(Nothing()))


def test_a_value_equals_no_other_kind_that_holds_the_same() -> None:
    assert Point(1) != Other(1)
    assert Point(1) != (1, 0, "sk-1")


def test_what_is_not_to_be_shown_is_in_no_repr() -> None:
    assert (repr(Point(1)), repr(Nothing()), repr(Named("a"))) == ("Point(x=1, y=0)", "Nothing()", "<a>")


def test_another_is_made_of_one_and_it_can_be_taken_apart() -> None:
    assert replace(Point(1), y=2) == Point(1, 2)
    assert asdict(Point(1)) == {"x": 1, "y": 0, "secret": "sk-1"}
    with pytest.raises(AttributeError):
        Point(1).z = 1  # type: ignore[attr-defined]
