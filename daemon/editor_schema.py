"""
The settings as a JSON Schema, for editors that complete and check TOML while it is written. Pure.

Rule: what a setting is called, does and expects stands in `daemon.schema`; here is only how JSON Schema says it. It refuses no
config that `posthouse check` takes; that one knows more.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from daemon.schema import Settings

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


class _Generator(GenerateJsonSchema):
    """What only our own code can check is any string, or a secret, here."""

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        return dict(A_SECRET if _is_secret(schema) else TEXT)

    def date_schema(self, schema: core_schema.DateSchema) -> JsonSchemaValue:
        return {}  # TOML has dates of its own, and JSON Schema has none


TEXT = {"type": "string"}
A_SECRET = {"secret": True}  # until all is made: pydantic wants to know every reference that it meets


def _is_secret(schema: core_schema.PlainValidatorFunctionSchema) -> bool:
    owner = getattr(schema["function"]["function"], "__self__", None)
    return type(owner).__name__.endswith("Kind")


def editor_schema() -> str:
    """The text of the file."""
    made = Settings.model_json_schema(mode="validation", schema_generator=_Generator)
    made["$schema"] = "http://json-schema.org/draft-07/schema#"
    made["title"] = "posthouse.toml"
    made["$defs"]["Secret"] = SECRET
    return json.dumps(_plain(made), ensure_ascii=False, indent=1) + "\n"


def _for_javascript(pattern: str) -> str:
    return pattern.replace(r"\A", "^").replace(r"\z", "$")


def _plain(node: Any) -> Any:
    """Without what says nothing to an editor, and with patterns as JavaScript writes them."""
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    if "secret" in node and node["secret"] is True:
        node = {
            **{name: value for name, value in node.items() if name != "secret"},
            "allOf": [{"$ref": "#/$defs/Secret"}],
        }
    kept = {name: _plain(value) for name, value in node.items() if not (name == "title" and value != "posthouse.toml")}
    if isinstance(pattern := kept.get("pattern"), str):
        kept["pattern"] = _for_javascript(pattern)
    if "patternProperties" in kept:
        kept["patternProperties"] = {_for_javascript(name): value for name, value in kept["patternProperties"].items()}
    if isinstance(kept.get("examples"), list):  # they are TOML's text
        del kept["examples"]
    return kept
