"""
JSON from strangers: what cannot be read is nothing, never an exception. Pure.
"""

from __future__ import annotations

import json
from typing import Any


def json_of(data: bytes | str) -> Any:
    """The value, None where it is no JSON or nested too deep."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
