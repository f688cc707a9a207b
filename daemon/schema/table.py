"""
Tables of settings, and how a document becomes one.

Rule 1: everything that is wrong is found in one go: each problem has its place, and reading goes on.
Rule 2: a default is written as it would be in TOML and is read like any other value.
Rule 3: what a setting is and does is looked up when somebody asks: the daemon reads its config, and no reference.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, cast, dataclass_transform, get_args, get_origin

from daemon.problems import Location, got, path_of
from daemon.schema.kinds import Kind, OneOf, Unexpected
from daemon.secret import Sources
from daemon.wrong_config import Problem
from proxy.value import value_type

REQUIRED = object()
UNIONS = (Union, UnionType)


@value_type
class Written:
    """What stands behind a field's name where its default alone does not say it all."""

    default: object
    example: str
    key: str
    least: int


def written(default: object, *, example: str = "", alias: str = "", least: int = 0) -> Any:
    """
    A field whose default is `default`, as TOML would have it. `example` is TOML text, for the example config; `alias` its name
    there, where Python has the word for itself; `least` how many items a list must have.
    """
    return Written(default, example, alias, least)


def required(*, example: str) -> Any:
    """A field that has no default."""
    return Written(REQUIRED, example, "", 0)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(written, required))
class Table:
    """A table of the config. Nothing changes one, which is checked with the types; its repr shows no value."""

    __slots__ = ("names_given",)  # beside the fields, which are its __dict__: those that the document names

    fields: ClassVar[Mapping[str, Field]]  # by their names in TOML, in the order of the schema
    names_given: frozenset[str]

    def __init_subclass__(cls) -> None:
        found = [_field(cls, name, kind) for name, kind in cls.__annotations__.items()]
        cls.fields = {field.key: field for field in found}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)


@value_type
class Field:
    """`key` is its name in TOML; `kind` a Kind's annotation, a Table, or a list or table of one of these."""

    table: type[Table]
    name: str
    key: str
    kind: Any
    default: object
    example: str
    least: int

    @property
    def is_required(self) -> bool:
        return self.default is REQUIRED

    @property
    def description(self) -> str:
        return _descriptions(self.table.__module__, self.table.__name__).get(self.name, "")


def _field(table: type[Table], name: str, kind: Any) -> Field:
    default = getattr(table, name, REQUIRED)
    said = default if isinstance(default, Written) else Written(default, "", "", 0)
    return Field(table, name, said.key or name, kind, said.default, said.example, said.least)


T = TypeVar("T", bound=Table)


def read_table(
    table: type[T], document: object, sources: Sources, *, at: Location = ()
) -> tuple[T | None, list[Problem]]:
    """The table that `document` gives, or everything that is wrong with it. `at` is where it stands in the config."""
    reading = _Reading(sources)
    value = reading.table(table, document, tuple(at))
    return None if reading.problems else cast(T, value), reading.problems


def problems_of(kind: Any, given: object, *, at: Location) -> list[Problem]:
    """What is wrong with one value of a kind."""
    reading = _Reading(Sources())
    reading.take(kind, given, tuple(at))
    return reading.problems


def leaf(kind: Any) -> Kind | type[Table]:
    """What the single values of a kind are: of a list, or of a table of names, that of its items."""
    if isinstance(kind, type) and issubclass(kind, Table):
        return kind
    if get_origin(kind) is Annotated:
        return next(part for part in kind.__metadata__ if isinstance(part, Kind))
    if get_origin(kind) is Literal:
        return OneOf(*get_args(kind))
    return leaf(inner(kind))


def inner(kind: Any) -> Any:
    """Of a list the kind of its items, of a table of names that of its values, and of `X | None` X."""
    first, second = get_args(kind)
    return second if get_origin(kind) is dict else first


def inner_table(kind: Any) -> tuple[type[Table], str] | None:
    """The table that a kind is of, and how many: "" for one, "[]" for a list of them, ".*" for a table of them."""
    single = leaf(kind)
    if isinstance(single, Kind):
        return None
    return single, {tuple: "[]", dict: ".*"}.get(get_origin(kind), "")


class _Reading:
    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.problems: list[Problem] = []

    def table(self, table: type[Table], given: object, at: Location) -> object:
        if not isinstance(given, dict):
            return self._wrong(at, f"expected a table, {got(given)}")
        known, values = table.fields, {}
        for key, field in known.items():
            values[field.name] = self._field(field, given.get(key, field.default), (*at, key))
        for key in [key for key in given if key not in known]:
            nearest = get_close_matches(str(key).lower(), known, n=1)
            self._wrong((*at, key), "unknown setting" + (f"; did you mean {nearest[0]}?" if nearest else ""))
        made = table.__new__(table)
        vars(made).update(values)
        made.names_given = frozenset(known[key].name for key in known.keys() & given.keys())
        return made

    def _field(self, field: Field, given: object, at: Location) -> object:
        if given is REQUIRED:
            return self._wrong(at, "expected a value, got none")
        value = self.take(field.kind, given, at)
        if field.least and value == ():
            return self._wrong(at, "expected at least one, got an empty list")
        return value

    def take(self, kind: Any, given: object, at: Location) -> object:
        origin = get_origin(kind)
        if origin is tuple:
            if not isinstance(given, list | tuple):
                return self._wrong(at, f"expected a list, {got(given)}")
            return tuple([self.take(inner(kind), item, (*at, index)) for index, item in enumerate(given)])
        if origin is dict:
            return self._names(kind, given, at)
        if origin in UNIONS:  # with None, which only a default can be
            return None if given is None else self.take(inner(kind), given, at)
        if isinstance(kind := leaf(kind), Kind):
            return self._value(kind, given, at)
        return self.table(kind, given, at)

    def _names(self, kind: Any, given: object, at: Location) -> object:
        if not isinstance(given, dict):
            return self._wrong(at, f"expected a table, {got(given)}")
        name_kind, _ = get_args(kind)
        values = {}
        for name, value in given.items():
            if name_kind is not str:
                self.take(name_kind, name, (*at, name))
            values[name] = self.take(inner(kind), value, (*at, name))
        return values

    def _value(self, kind: Kind, given: object, at: Location) -> object:
        try:
            return kind.parse(given, self._sources)
        except Unexpected as unexpected:
            words = unexpected.words
        except (ValueError, OverflowError):
            words = kind.words
        return self._wrong(at, f"expected {words}" if kind.is_secret else f"expected {words}, {got(given)}")

    def _wrong(self, at: Location, sentence: str) -> object:
        self.problems.append(Problem(path_of(at), sentence))
        return None


@cache
def _descriptions(module: str, table: str) -> Mapping[str, str]:
    """What stands under each field, which Python itself forgets."""
    import ast
    import inspect

    [made] = ast.parse(inspect.getsource(getattr(sys.modules[module], table))).body
    assert isinstance(made, ast.ClassDef)  # noqa: S101 - it is the source of one
    found = {}
    for field, below in pairwise(made.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = inspect.cleandoc(words)
    return found
