"""
What is wrong with a config, one line each: `keys[2].cooldown_seconds: expected a positive number, got "1h"`. Pure.

Rule 1: a line never shows the value of a secret setting, a long value, or anything that looks like an API key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import date, datetime, time
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from daemon.schema import Settings, inner_table
from daemon.schema.values import Table
from daemon.wrong_config import Problem

SHOWN_CHARACTERS = 60
MOST_BITS = 128  # of a number that is shown; in hexadecimal TOML takes any, and Python writes none of 4,300 digits

Location = Sequence[int | str]


def problems_in(error: ValidationError, *, inside: Location = ()) -> list[Problem]:
    """`inside` is where the table that was validated stands in the config."""
    return [
        Problem(path_of((*inside, *detail["loc"])), _sentence(detail, inside))
        for detail in error.errors(include_url=False)
        if not (detail["type"] == "too_short" and detail["input"])  # items that are wrong count as missing, too
    ]


def path_of(location: Location) -> str:
    """("keys", 2, "name") as keys[2].name; a name that TOML would quote is quoted."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":  # pydantic's mark for "the name itself is wrong"
            name = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else shown(part)
            path += f".{name}" if path else name
    return path


def got(value: object) -> str:
    """How a sentence shows what a setting was given."""
    if isinstance(value, bool | int | float | str | date | datetime | time):
        return f"got {shown(value)}"
    return "got a list" if isinstance(value, list | tuple) else "got a table"


def shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        return "a number beyond all use"
    if not isinstance(value, str):
        return str(value).lower()  # true, inf, 2027-01-01, as TOML writes them
    if len(value) > SHOWN_CHARACTERS:
        return f"a string of {len(value)} characters"
    return json.dumps(value, ensure_ascii=not value.isprintable())


def _sentence(detail: ErrorDetails, inside: Location) -> str:
    kind, given = detail["type"], detail["input"]
    match kind:
        case "extra_forbidden":
            return _unknown((*inside, *detail["loc"]))
        case "missing":
            return "expected a value, got none"
        case "secret":
            return f"expected {detail['msg']}"
        case "expected":
            return f"expected {detail['msg']}, {got(given)}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"expected a table, {got(given)}"
        case "tuple_type" | "list_type":
            return f"expected a list, {got(given)}"
        case "too_short":
            return "expected at least one, got an empty list"
    return (
        f"{detail['msg'][0].lower()}{detail['msg'][1:]}"  # nothing of today comes here; pydantic's words show no value
    )


def _unknown(location: Location) -> str:
    nearest = get_close_matches(str(location[-1]).lower(), _names_beside(location[:-1]), n=1)
    return "unknown setting" + (f"; did you mean {nearest[0]}?" if nearest else "")


def _names_beside(location: Location) -> list[str]:
    """The settings that the table at `location` knows."""
    table: type[Table] = Settings
    parts = iter(location)
    for part in parts:
        inner = inner_table({field.alias or name: field for name, field in table.model_fields.items()}[str(part)])
        if inner is None:
            return []
        table, among = inner
        if among:
            next(parts, None)  # the item's number or name
    return [field.alias or name for name, field in table.model_fields.items()]
