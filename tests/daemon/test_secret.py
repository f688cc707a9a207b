"""Where secrets come from, and that no message or repr has one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import config
from daemon.schema import Settings
from daemon.secret import Sources, secrets_in
from daemon.wrong_config import WrongConfig

KEY = '[[keys]]\nname = "main"\nsecret = "a-key"\n'


def parsed(text: str, **environ: str) -> Settings:
    return config.parse_text(text, Sources(environ))


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(WrongConfig) as wrong:
        parsed(text, **environ)
    return str(wrong.value).splitlines()


def test_a_secret_comes_from_the_config_the_environment_a_file_or_a_credential(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "key").write_text("from-credential")
    references = ['"literal"', '{ env = "KEY" }', '{ file = "key" }', '{ credential = "key" }']
    keys = [f'[[keys]]\nname = "k{number}"\nsecret = {each}\n' for number, each in enumerate(references)]
    path = tmp_path / "posthouse.toml"
    path.write_text("".join(keys))

    loaded = config.load(path, {"KEY": "from-env", "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})

    assert [key.secret.reveal() for key in loaded.keys] == ["literal", "from-env", "from-file", "from-credential"]
    assert [key.secret.is_literal for key in loaded.keys] == [True, False, False, False]


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        ('{ env = "GONE" }', "expected the environment variable GONE to be set"),
        ('{ env = "EMPTY" }', "expected the environment variable EMPTY to be set"),
        ('{ file = "/nowhere/x" }', "expected a readable file /nowhere/x (no such file or directory)"),
        ('{ file = "/" }', "expected a readable file / (is a directory)"),
        ('{ credential = "x" }', "expected the systemd credential x, but $CREDENTIALS_DIRECTORY is not set"),
        ('{ credential = "../x" }', "expected the name of a systemd credential after credential ="),
        ('{ vault = "x" }', 'expected a string, { env = "NAME" }, { file = "path" } or { credential = "name" }'),
        ("3", 'expected a string, { env = "NAME" }, { file = "path" } or { credential = "name" }'),
        ('""', "expected an API key without spaces or line breaks"),
        ('"a\\r\\nb"', "expected an API key without spaces or line breaks"),
    ],
)
def test_a_secret_that_is_not_there_is_named_by_where_it_was_looked_for(reference: str, wanted: str) -> None:
    assert problems(f'[[keys]]\nname = "a"\nsecret = {reference}', EMPTY=" ") == [f"keys[0].secret: {wanted}"]


SECRET_SETTINGS = [
    "[operator]\npassword = [{0}]",
    '[[keys]]\nname = "a"\nsecret = [{0}]',
    '[[keys]]\nname = "a"\nsecret = {{ env = {0} }}',
    '[[keys]]\nname = "a"\nsecret = {{ vault = {0} }}',
    '[[proxy.callers]]\nname = "a"\ntoken = [{0}]',
    '[[bot.accounts]]\nid = "gh_1"\ntoken = {0}',
    '[[bot.accounts]]\nid = "gh_1"\ntoken = "abc"\nencoding_aes_key = {0}',
    '[[bot.accounts]]\nid = "gh_1"\ntoken = "abc"\napp_secret = {0}',
    "[bot.cloudrun]\nsecret = {0}",
    "[alerts]\nwebhook = {0}",
]


@pytest.mark.parametrize("setting", SECRET_SETTINGS)
@given(canary=st.text("abcXYZ019 -_.!", min_size=4, max_size=40).map(lambda text: f"-canary {text}"))
def test_no_message_contains_what_a_secret_setting_was_given(setting: str, canary: str) -> None:
    with pytest.raises(WrongConfig) as wrong:
        parsed(setting.format(f'"{canary}"'))

    assert canary not in str(wrong.value)
    assert "canary" not in str(wrong.value)


def test_a_key_pasted_into_the_wrong_setting_is_not_shown() -> None:
    key = "sk-" + "demo" * 3

    lines = problems(
        f'[[keys]]\nname = "{key} "\nsecret = {{ file = "/nowhere/{key}" }}\nupstream = "{key}"\n"{key}" = 1'
    )

    assert len(lines) == 4
    assert not [line for line in lines if key in line]


def test_a_long_value_is_told_by_its_length() -> None:
    [line] = problems(f'[bot]\nhold = "{"x" * 61}"')

    assert line == 'bot.hold: expected "three" or "one", got a string of 61 characters'


def test_no_secret_stands_in_the_repr_of_the_settings() -> None:
    whole = parsed(
        '[operator]\npassword = "canary"\n[[keys]]\nname = "a"\nsecret = "canary"\n'
        '[[proxy.callers]]\nname = "a"\ntoken = "canary-token"\n'
        '[bot]\nmodel = "m"\n[[bot.accounts]]\nid = "gh_1"\ntoken = "canary"\napp_id = "wx1"\n'
        f'encoding_aes_key = "{"canary0" * 6}x"\n'
    )

    assert "canary" not in f"{whole!r}{whole}{whole.keys[0].secret}{whole.operator.password!r}"
    assert sorted(secret.reveal()[:6] for secret in secrets_in(whole)) == ["canary"] * 4


def test_a_callers_token_is_kept_as_its_digest() -> None:
    digest = hashlib.sha256(b"a-token-of-mine").digest()
    tokens = ['"a-token-of-mine"', f'"sha256:{digest.hex()}"', '{ env = "TOKEN" }']

    for token in tokens:
        [caller] = parsed(f'[[proxy.callers]]\nname = "a"\ntoken = {token}', TOKEN="a-token-of-mine").proxy.callers
        assert caller.token == digest


@pytest.mark.parametrize("token", ["", "short", "with a space", "sha256:abc", f"sha256:{'g' * 64}"])
def test_a_token_that_could_be_guessed_or_is_half_a_hash_is_refused(token: str) -> None:
    [line] = problems(f'[[proxy.callers]]\nname = "a"\ntoken = "{token}"')

    assert line.startswith('proxy.callers[0].token: expected "sha256:" and 64 hexadecimal digits')


def test_one_secret_under_two_names_is_refused_wherever_the_two_are_kept() -> None:
    text = '[[keys]]\nname = "a"\nsecret = { env = "A" }\n[[keys]]\nname = "b"\nsecret = "same"'

    assert problems(text, A="same") == ["keys[1].secret: expected another one than that of keys[0]"]


def test_a_name_used_twice_is_refused() -> None:
    assert problems(f"{KEY}{KEY}".replace('"a-key"', '{ env = "A" }', 1), A="another") == [
        'keys[1].name: expected one of its own, got "main" like keys[0]'
    ]
