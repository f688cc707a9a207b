"""
The settings as a JSON Schema, for editors that complete and check TOML while it is written. Pure.

Rule: what a setting is called, does and expects stands in `daemon.schema`; here is only how JSON Schema says it. It refuses no
config that `posthouse check` takes; that one knows more.
"""

from __future__ import annotations

import json
import math
from typing import Any, get_args, get_origin

from daemon.schema import Settings
from daemon.schema.kinds import MOST_WHOLE, Exactly, Kind, Matching, Number, OneOf, Whole
from daemon.schema.secrets import SecretKind
from daemon.schema.table import UNIONS, Field, Table, inner, inner_table, leaf

SECRET = {
    "anyOf": [
        {"type": "string"},
        *(
            {
                "type": "object",
                "properties": {name: {"type": "string", "description": what}},
                "required": [name],
                "additionalProperties": False,
            }
            for name, what in (
                ("env", "The variable of the environment that has it."),
                ("file", "The file that has it; a relative name begins at the config's folder."),
                ("credential", "The systemd credential that has it."),
            )
        ),
    ]
}
TYPES = {bool: "boolean", str: "string"}  # TOML has dates of its own, and JSON Schema has none
BOUNDS = {"above": "exclusiveMinimum", "below": "exclusiveMaximum", "least": "minimum", "most": "maximum"}


def editor_schema() -> str:
    """The text of the file."""
    made = {
        "$defs": {**{table.__name__: _table(table) for table in sorted(_below(Settings), key=_name)}, "Secret": SECRET},
        **_table(Settings),
        "title": "posthouse.toml",
        "$schema": "http://json-schema.org/draft-07/schema#",
    }
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"


def _name(table: type[Table]) -> str:
    return table.__name__


def _below(table: type[Table]) -> set[type[Table]]:
    """All tables that stand in one, and in those."""
    own = {found[0] for field in table.fields.values() if (found := inner_table(field.kind))}
    return own.union(*map(_below, own))


def _table(table: type[Table]) -> dict[str, Any]:
    made: dict[str, Any] = {"additionalProperties": False}
    if table.__doc__:
        made["description"] = table.__doc__
    made["properties"] = {key: _setting(field) for key, field in table.fields.items()}
    if required := [key for key, field in table.fields.items() if field.is_required]:
        made["required"] = required
    return {**made, "type": "object"}


def _setting(field: Field) -> dict[str, Any]:
    made = {} if field.is_required else {"default": field.default}
    if field.description:
        made["description"] = field.description
    made |= _kind(field.kind)
    return {**made, "minItems": field.least} if field.least else made


def _kind(kind: Any) -> dict[str, Any]:
    origin = get_origin(kind)
    if origin is tuple:
        return {"items": _kind(inner(kind)), "type": "array"}
    if origin is dict:
        names = leaf(get_args(kind)[0]) if get_args(kind)[0] is not str else None
        if isinstance(names, Matching):
            return {"patternProperties": {_for_javascript(names.pattern): _kind(inner(kind))}, "type": "object"}
        return {"additionalProperties": _kind(inner(kind)), "type": "object"}
    if origin in UNIONS:
        return {"anyOf": [_kind(inner(kind)), {"type": "null"}]}
    single = leaf(kind)
    return _value(single) if isinstance(single, Kind) else {"$ref": f"#/$defs/{single.__name__}"}


def _value(kind: Kind) -> dict[str, Any]:
    """What only our own code can check is any string, or a secret, here."""
    match kind:
        case SecretKind():
            return {"allOf": [{"$ref": "#/$defs/Secret"}]}
        case Exactly():
            return {"type": TYPES[kind.kind]} if kind.kind in TYPES else {}
        case Whole():
            return {"maximum": MOST_WHOLE, "minimum": kind.least, "type": "integer"}
        case Number():
            bounds = {said: getattr(kind, name) for name, said in BOUNDS.items()}
            return {**{said: bound for said, bound in bounds.items() if math.isfinite(bound)}, "type": "number"}
        case Matching():
            return {"pattern": _for_javascript(kind.pattern), "type": "string"}
        case OneOf():
            return {"enum": list(kind.values), "type": "string"}
    return {"type": "string"}


def _for_javascript(pattern: str) -> str:
    return f"^{pattern}$"
