"""
What every client written in Python shares: it has acts by name, does each, and prints what came of them as one JSON
document.

`python program.py BASE_URL KEY FILE` is how a client is called; FILE is there to be uploaded.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

TOLD_OF_ERRORS = ("status_code", "http_status", "code", "param", "type", "body", "json_body")


def given() -> tuple[str, str, str]:
    """Base URL, key and file."""
    base_url, key, file = sys.argv[1:]
    return base_url, key, file


def perform(acts: Mapping[str, Callable[[], Any]]) -> None:
    json.dump({name: outcome(act) for name, act in acts.items()}, sys.stdout, default=plain)


def outcome(act: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"answer": act()}
    except Exception as error:  # noqa: BLE001 (whatever a library raises is its answer)
        told = {name: getattr(error, name) for name in TOLD_OF_ERRORS if hasattr(error, name)}
        headers = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None) or {}
        return {"raised": type(error).__name__, "message": str(error), **told, "headers": dict(headers)}


def fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def plain(value: Any) -> Any:
    """A library's own object as JSON takes it."""
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else dict(value)
