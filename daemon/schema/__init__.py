"""
Every setting of `posthouse.toml`: its name, its kind, its default, and what it does.

Rule 1: what the reference and the example config say about a setting stands under its field, and nowhere else.
Rule 2: what only two settings together can get wrong is in `daemon.agreement`.
"""

from collections.abc import Iterator

from daemon.schema.bot import Account, Bot, CloudRun, Images, Memory, UserLimits, Words
from daemon.schema.gateway import OPENAI, Alias, Caller, Key, Proxy, Upstream
from daemon.schema.server import Alerts, Limits, Operator, Server
from daemon.schema.table import Field, Table, inner_table, written
from daemon.schema.values import ModelName, Name
from proxy.value import value_type

__all__ = [
    "Account", "Alerts", "Alias", "Bot", "Caller", "CloudRun", "Images", "Key", "Limits", "Memory", "Operator", "Proxy",
    "Server", "Setting", "Settings", "Upstream", "UserLimits", "Words", "settings",
]  # fmt: skip


class Settings(Table):
    # Tables default to {} and not to an instance: their own defaults must be parsed with the sources at hand.
    server: Server = written({})
    operator: Operator = written({})
    upstreams: dict[Name, Upstream] = written({"openai": {"base_url": OPENAI}})
    keys: tuple[Key, ...] = ()
    models: dict[ModelName, Alias] = written({})
    proxy: Proxy = written({})
    bot: Bot = written({})
    alerts: Alerts = written({})


@value_type
class Setting:
    """`path` as in "keys[].weight" and "upstreams.*.base_url": [] stands for any item, * for any name."""

    path: str
    field: Field


def settings(table: type[Table] = Settings, path: str = "") -> Iterator[Setting]:
    """Every setting that is not itself a table, in the order of the config."""
    for key, field in table.fields.items():
        if found := inner_table(field.kind):
            below, among = found
            yield from settings(below, f"{path}{key}{among}.")
        else:
            yield Setting(f"{path}{key}", field)
