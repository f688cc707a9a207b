"""
Values: compared by what they hold, and never changed.

That nobody changes one is checked where the types are checked. A frozen dataclass checks it at run time as well, which makes
each four times as dear to make; a question makes twenty. (`proxy.value` says the same to a room that this one does not know.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_type(cls: type[T]) -> type[T]:
    return dataclass(slots=True, unsafe_hash=True)(cls)
