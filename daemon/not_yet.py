"""
The settings whose feature is not built yet. They are refused when they differ from their default. Pure.

Rule 1: whoever builds a feature deletes its row here; nothing else knows that it was missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from daemon.problems import Location, Problem, path_of
from daemon.schema import Setting, settings

# A row names a setting, or a table and everything in it.
NOT_YET: Mapping[str, str] = {}


def phrase(setting: str) -> str | None:
    """What is missing for the setting of this path (as in `Setting.path`) to work; None when it works."""
    return next(
        (words for row, words in NOT_YET.items() if setting == row or setting.startswith((f"{row}.", f"{row}["))), None
    )


def unavailable(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What `document` sets to something else than the default, and nothing would happen."""
    for setting in settings():
        words = phrase(setting.path)
        if words is None:
            continue
        for location, value in _given(document, setting.path.replace("[]", ".[]").split("."), ()):
            if value != _default(setting):
                yield Problem(path_of(location), f"not available yet ({words})")


def _default(setting: Setting) -> object:
    default = setting.field.default
    return list(default) if isinstance(default, tuple) else default


def _given(node: Any, steps: list[str], location: Location) -> Iterator[tuple[Location, Any]]:
    """Every value in `node` that lies along `steps`; values of the wrong kind on the way are somebody else's to report."""
    if not steps:
        yield location, node
        return
    step, *rest = steps
    if step == "[]":
        items: list[tuple[int | str, Any]] = [*enumerate(node)] if isinstance(node, list) else []
    elif not isinstance(node, Mapping):
        items = []
    elif step == "*":
        items = [*node.items()]
    else:
        items = [(step, node[step])] if step in node else []
    for name, value in items:
        yield from _given(value, rest, (*location, name))
