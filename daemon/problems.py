"""
How it is said what is wrong with a config: `keys[2].cooldown_seconds: expected a positive number, got "1h"`. Pure.

Rule 1: a line never shows the value of a secret setting, a long value, or anything that looks like an API key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import date, datetime, time

SHOWN_CHARACTERS = 60
MOST_BITS = 128  # of a number that is shown; in hexadecimal TOML takes any, and Python writes none of 4,300 digits

Location = Sequence[int | str]


def path_of(location: Location) -> str:
    """("keys", 2, "name") as keys[2].name; a name that TOML would quote is quoted."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
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
