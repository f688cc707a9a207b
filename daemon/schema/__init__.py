"""
Every setting of `posthouse.toml`: its name, its kind, its default, and what it does.

Rule 1: what the reference and the example config say about a setting stands under its field, and nowhere else.
Rule 2: what only two settings together can get wrong is in `daemon.agreement`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from daemon.schema.bot import Account, Bot, CloudRun, Images, Memory, UserLimits, Words
from daemon.schema.gateway import OPENAI, Alias, Caller, Key, Proxy, Upstream
from daemon.schema.server import Alerts, Limits, Operator, Server
from daemon.schema.values import ModelName, Name, Table, written

__all__ = [
    "Account", "Alerts", "Alias", "Bot", "Caller", "CloudRun", "Images", "Key", "Limits", "Memory", "Operator", "Proxy",
    "Server", "Setting", "Settings", "Upstream", "UserLimits", "Words", "inner_table",
    "settings",
]  # fmt: skip


class Settings(Table):
    # Tables default to {} and not to an instance: their own defaults must be parsed with the sources at hand.
    server: Server = written({})
    operator: Operator = written({})
    upstreams: dict[Name, Upstream] = written({"openai": {"base_url": OPENAI}})
    keys: tuple[Key, ...] = written((), strict=False)
    models: dict[ModelName, Alias] = written({})
    proxy: Proxy = written({})
    bot: Bot = written({})
    alerts: Alerts = written({})


@dataclass(frozen=True, slots=True)
class Setting:
    """`path` as in "keys[].weight" and "upstreams.*.base_url": [] stands for any item, * for any name."""

    path: str
    field: FieldInfo

    @property
    def is_required(self) -> bool:
        return self.field.is_required()


def inner_table(field: FieldInfo) -> tuple[type[Table], str] | None:
    """The table a field holds, and how many: "" for one, "[]" for a list of them, ".*" for a table of them."""
    annotation: Any = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation, ""
    among = {tuple: "[]", dict: ".*"}.get(get_origin(annotation), "")
    for part in get_args(annotation):
        if isinstance(part, type) and issubclass(part, Table):
            return part, among
    return None


def settings(table: type[Table] = Settings, path: str = "") -> Iterator[Setting]:
    """Every setting that is not itself a table, in the order of the config."""
    for name, field in table.model_fields.items():
        here = f"{path}{field.alias or name}"
        inner = inner_table(field)
        if inner is None:
            yield Setting(here, field)
        else:
            yield from settings(inner[0], f"{here}{inner[1]}.")
