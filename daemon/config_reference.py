"""
The settings' documentation, made from the schema: `docs/configuration.md`, `systemd/posthouse.example.toml`, and beside
it a JSON Schema for editors.

Run `python -m daemon.config_reference` after a change of the schema; a test compares the files with what this makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daemon.editor_schema import editor_schema
from daemon.schema import Settings
from daemon.schema.kinds import Kind
from daemon.schema.table import Field, Table, inner_table, leaf

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "configuration.md"
EXAMPLE = ROOT / "systemd" / "posthouse.example.toml"
EDITORS = ROOT / "systemd" / "posthouse.schema.json"

# What stands for * in the example, in a table of tables.
EXAMPLE_NAMES = {"upstreams": "openai", "models": '"text-davinci-003"'}

EXAMPLE_HEAD = """\
# Posthouse's configuration: every setting, what it does, and its default.
#
# A line that begins with "#" and a letter or bracket, without a space, is a setting that is not set; take the # away to
# set it. What is set below has its default. Times are in seconds and sizes in bytes where the name says so.
#
# A secret is a string or one of { env = "NAME" } (a variable of the environment), { file = "path" }, and
# { credential = "name" } (of systemd). With secrets in it, this file belongs to one user alone: chmod 600.
#
# posthouse check   says everything that is wrong with it at once.
"""

REFERENCE_HEAD = """\
# Configuration

<!-- Made by `python -m daemon.config_reference` from the schema; do not edit. -->

`posthouse.toml` is found at `--config`, `$POSTHOUSE_CONFIG`, `./posthouse.toml`, `/etc/posthouse/posthouse.toml`, in
that order. `posthouse init` writes one, `posthouse check` says everything that is wrong with it at once, and
[`systemd/posthouse.example.toml`](../systemd/posthouse.example.toml) has every setting in it. An editor that knows TOML
(Even Better TOML in VS Code, or taplo) completes and explains settings when the config's first line is
`#:schema ./posthouse.schema.json` and [`systemd/posthouse.schema.json`](../systemd/posthouse.schema.json) lies beside it.

A secret is a string or one of `{ env = "NAME" }`, `{ file = "path" }` (relative to the config), and
`{ credential = "name" }` (a systemd credential). An unknown name is an error.

Without a config file `posthouse serve` takes its settings from the environment: `OPENAI_API_KEY`, `OPENAI_API_KEY_2` …,
`OPENAI_BASE_URL` or `OPENAI_API_BASE`, `POSTHOUSE_TOKEN` (without it `/v1` answers 401), `POSTHOUSE_PASSWORD`,
`POSTHOUSE_MODEL`, `WECHAT_ID`, `WECHAT_TOKEN`, `WECHAT_APP_ID`, `WECHAT_AES_KEY`, `WECHAT_APP_SECRET`, `PORT`.
"""


def reference() -> str:
    return "\n".join([REFERENCE_HEAD, *_sections(Settings, "", "")])


def example() -> str:
    return "\n".join([EXAMPLE_HEAD, *_tables(Settings, "", "", is_set=True)])


def _sections(table: type[Table], path: str, header: str) -> Iterator[str]:
    plain = [(name, field) for name, field in table.fields.items() if inner_table(field.kind) is None]
    if plain:
        yield f"## `{header}`\n"
        if table.__doc__:
            yield f"{table.__doc__}\n"
        yield "| setting | default | expected | |\n|---|---|---|---|"
        for name, field in plain:
            cells = (f"`{name}`", _default_cell(field), _words(field), field.description)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        yield ""
    for name, field in table.fields.items():
        if inner := inner_table(field.kind):
            below, among = inner
            own = f"{path}{name}{among}."
            dotted = f"{path}{name}".replace("[]", "") + (".NAME" if among == ".*" else "")
            yield from _sections(below, own, f"[[{dotted}]]" if among == "[]" else f"[{dotted}]")


def _tables(table: type[Table], path: str, header: str, *, is_set: bool) -> Iterator[str]:
    """`is_set`: the table is part of a config where nothing is set; otherwise all of it is commented out."""
    sign = "" if is_set else "#"
    plain = [(name, field) for name, field in table.fields.items() if inner_table(field.kind) is None]
    if plain:
        if table.__doc__:
            yield f"# {table.__doc__}"
        yield f"{sign}{header}"
        for name, field in plain:
            yield from _lines(f"{path}{name}", name, field, is_set=is_set)
        yield ""
    for name, field in table.fields.items():
        if inner := inner_table(field.kind):
            below, among = inner
            dotted = _example_path(f"{path}{name}{among}")
            stays_set = is_set and among != "[]" and name != "models"
            own_header = f"[[{dotted}]]" if among == "[]" else f"[{dotted}]"
            yield from _tables(below, f"{path}{name}{among}.", own_header, is_set=stays_set)


def _lines(path: str, name: str, field: Field, *, is_set: bool) -> Iterator[str]:
    yield f"# {field.description}"
    default = None if field.is_required or field.default is None else _toml(field.default)
    shown = field.example or default
    if shown is None:
        return
    if shown != default and not field.is_required:
        yield f"# Default: {default if default is not None else 'not set'}."
    stays_set = is_set and (shown == default or path == "upstreams.*.base_url")
    yield f"{'' if stays_set else '#'}{name} = {shown}"


def _example_path(path: str) -> str:
    for name, example_name in EXAMPLE_NAMES.items():
        path = path.replace(f"{name}.*", f"{name}.{example_name}")
    return path.replace("[]", "")


def _default_cell(field: Field) -> str:
    if field.is_required:
        return "required"
    return "not set" if field.default is None else f"`{_toml(field.default)}`"


def _words(field: Field) -> str:
    """What a setting's kind says it expects; of a list, what each item is expected to be."""
    single = leaf(field.kind)
    return single.words if isinstance(single, Kind) else ""


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{}"
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def main() -> None:
    REFERENCE.write_text(reference(), encoding="utf-8")
    EXAMPLE.write_text(example(), encoding="utf-8")
    EDITORS.write_text(editor_schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
