"""The example config and the reference say what the schema says, and the example is a config that is well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from daemon import config, config_reference
from daemon.editor_schema import editor_schema
from daemon.schema import Setting, settings
from daemon.secret import Sources

EXAMPLE = config_reference.EXAMPLE.read_text("utf-8")


@pytest.mark.parametrize(
    ("path", "made"),
    [
        (config_reference.EXAMPLE, config_reference.example()),
        (config_reference.REFERENCE, config_reference.reference()),
        (config_reference.EDITORS, editor_schema()),
    ],
    ids=["example", "reference", "schema for editors"],
)
def test_the_file_is_what_the_schema_makes_of_it(path: Path, made: str) -> None:
    assert path.read_text("utf-8") == made, "run: python -m daemon.config_reference"


def test_the_example_as_it_is_sets_nothing_but_defaults() -> None:
    assert config.parse_text(EXAMPLE, Sources()) == config.parse_text("", Sources())


def test_the_example_with_everything_set_is_well() -> None:
    text = re.sub(r"(?m)^#(?=[a-z\[])(?!as = |use = |\[models|personas = |menu = )", "", EXAMPLE)
    environ = {"OPENAI_API_KEY": "k", "POSTHOUSE_PASSWORD": "p", "WECHAT_TOKEN": "abc", "WECHAT_AES_KEY": "a" * 43}

    whole = config.parse_text(text, Sources(environ))

    assert (len(whole.keys), len(whole.proxy.callers), len(whole.bot.accounts)) == (1, 1, 1)
    assert whole.bot.texts


@pytest.mark.parametrize("setting", list(settings()), ids=lambda setting: setting.path)
def test_every_setting_says_what_it_does_in_the_example(setting: Setting) -> None:
    name = setting.path.rpartition(".")[2]

    assert setting.field.description
    assert f"# {setting.field.description}\n" in EXAMPLE
    assert re.search(rf"(?m)^#?{name} = ", EXAMPLE)
