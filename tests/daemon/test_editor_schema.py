"""What an editor says of a config, by the schema that is shipped, is what `posthouse check` says."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import tomli

from daemon.config_reference import EDITORS, EXAMPLE

SCHEMA = json.loads(EDITORS.read_text("utf-8"))
WHOLE = re.sub(r"(?m)^#(?=[a-z\[])(?!as = |use = |\[models|personas = |menu = )", "", EXAMPLE.read_text("utf-8"))


def faults(text: str) -> list[str]:
    return [fault.message for fault in jsonschema.Draft7Validator(SCHEMA).iter_errors(tomli.loads(text))]


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", [EXAMPLE.read_text("utf-8"), WHOLE, ""], ids=["example", "everything set", "nothing"])
def test_a_config_that_is_well_shows_no_fault(text: str) -> None:
    assert faults(text) == []


@pytest.mark.parametrize(
    "secret", ['"sk-1"', '{ env = "OPENAI_API_KEY" }', '{ file = "key" }', '{ credential = "key" }']
)
def test_a_secret_may_come_in_each_of_its_ways(secret: str) -> None:
    assert faults(f"[[keys]]\nname = 'main'\nsecret = {secret}") == []


@pytest.mark.parametrize(
    "text",
    [
        "[server]\nlistn = []",
        "[server]\nlisten = '0.0.0.0:80'",
        "[server.limits]\nhead_bytes = 0",
        "[bot]\nhold = 'two'",
        "[bot]\nhold_seconds = 5",
        "[[keys]]\nname = 'a b'\nsecret = 'x'",
        "[[keys]]\nname = 'main'",
        "[[keys]]\nname = 'main'\nsecret = { environment = 'X' }",
        "[[bot.accounts]]\nid = 'wx1'\ntoken = 'abc'",
    ],
)
def test_what_is_wrong_at_a_glance_is_shown_while_it_is_written(text: str) -> None:
    assert faults(text)


def test_every_setting_is_explained() -> None:
    tables = [SCHEMA, *SCHEMA["$defs"].values()]
    settings = [setting for table in tables for setting in table.get("properties", {}).values()]

    assert len(settings) > 80
    assert [
        setting for setting in settings if not ({"description", "$ref", "items", "patternProperties"} & set(setting))
    ] == []
