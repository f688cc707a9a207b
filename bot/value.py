"""
Values: compared by what they hold, and never changed.

That nobody changes one is checked where the types are checked. A frozen dataclass checks it at run time as well, which makes
each four times as dear to make; a question makes twenty. And its class takes 1 ms of a start, most of it for code that one of
these has in common with all others. (`proxy.value` says the same to a room that this one does not know.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_type(cls: type[T]) -> type[T]:
    # Else one is composed of the signature, which takes as long as all the rest.
    cls.__doc__ = cls.__doc__ or cls.__name__
    made: Any = dataclass(slots=True, eq=False, repr=False)(cls)
    held = _getter([each.name for each in fields(made) if each.compare])
    shown = [each.name for each in fields(made) if each.repr]

    def equals(self: object, other: object) -> bool:
        return held(self) == held(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: object) -> int:
        return hash(held(self))

    def represented(self: object) -> str:
        return f"{made.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    for name, method in (("__eq__", equals), ("__hash__", hashed), ("__repr__", represented)):
        if name not in vars(made):
            setattr(made, name, method)
    return made  # type: ignore[no-any-return]


def _getter(names: list[str]) -> Callable[[object], object]:
    return attrgetter(*names) if names else lambda _: ()


def replaced(value: T, **facts: Any) -> T:
    """As `dataclasses.replace`, for a fraction of its time. `value` has two fields or more."""
    kind: Any = type(value)
    places, held = _fields(kind)
    values = list(held(value))
    for name, fact in facts.items():
        values[places[name]] = fact
    return kind(*values)  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def _fields(kind: Any) -> tuple[dict[str, int], Any]:
    names = [each.name for each in fields(kind)]
    return {name: place for place, name in enumerate(names)}, attrgetter(*names)
