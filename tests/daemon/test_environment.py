"""A start without a config file, from the variables other programs use."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon import environment
from daemon.wrong_config import WrongConfig


def problems(**environ: str) -> list[str]:
    with pytest.raises(WrongConfig) as wrong:
        environment.settings(environ)
    return str(wrong.value).splitlines()


def test_nothing_set_is_a_daemon_without_keys() -> None:
    settings = environment.settings({})

    assert (settings.keys, settings.proxy.callers, settings.bot.accounts) == ((), (), ())


def test_one_key_is_enough_for_the_gateway() -> None:
    [key] = environment.settings({"OPENAI_API_KEY": "first"}).keys

    assert (key.secret.reveal(), key.upstream, key.uses) == ("first", "openai", ("proxy", "bot"))


def test_numbered_keys_come_in_the_order_of_their_numbers() -> None:
    environ = {"OPENAI_API_KEY_10": "c", "OPENAI_API_KEY_2": "b", "OPENAI_API_KEY": "a", "OPENAI_API_KEY_3": ""}

    settings = environment.settings(environ)

    assert [(key.name, key.secret.reveal()) for key in settings.keys] == [
        ("key-1", "a"),
        ("key-2", "b"),
        ("key-10", "c"),
    ]


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
def test_the_upstream_is_the_one_other_programs_would_use(variable: str) -> None:
    settings = environment.settings({variable: "https://gateway.test/v1/"})

    assert settings.upstreams["openai"].base_url == "https://gateway.test/v1"


def test_the_bot_of_the_environment_has_one_account() -> None:
    settings = environment.settings(
        {
            "OPENAI_API_KEY": "k",
            "POSTHOUSE_MODEL": "m",
            "POSTHOUSE_TOKEN": "a-callers-token",
            "POSTHOUSE_PASSWORD": "p",
            "WECHAT_ID": "gh_1",
            "WECHAT_TOKEN": "abc",
            "WECHAT_APP_ID": "wx1",
            "WECHAT_AES_KEY": "a" * 43,
            "PORT": "80",
        }
    )

    [account] = settings.bot.accounts
    assert (account.id, account.path, account.token.reveal(), account.app_id) == ("gh_1", "/wechat", "abc", "wx1")
    assert account.encoding_aes_key is not None
    assert settings.bot.model == "m"
    assert settings.server.listen == ("0.0.0.0:80",)
    assert settings.operator.password is not None
    assert len(settings.proxy.callers) == 1


def test_the_database_stands_in_the_state_directory() -> None:
    assert environment.settings({"STATE_DIRECTORY": "/srv/p"}).server.database == Path("/srv/p/posthouse.db")


@pytest.mark.parametrize(
    ("environ", "lines"),
    [
        ({"OPENAI_API_KEY_2": "a b"}, ["OPENAI_API_KEY_2: expected an API key without spaces or line breaks"]),
        (
            {
                "WECHAT_APP_SECRET": "a b",
                "WECHAT_ID": "gh_1",
                "WECHAT_TOKEN": "abc",
                "POSTHOUSE_MODEL": "m",
                "WECHAT_APP_ID": "wx1",
            },
            ["WECHAT_APP_SECRET: expected an AppSecret of letters and digits"],
        ),
        ({"WECHAT_ID": "gh_1", "POSTHOUSE_MODEL": "m"}, ["WECHAT_TOKEN: expected a value, got none"]),
        ({"PORT": "http"}, ['PORT: expected a port from 0 to 65535, got "http"']),
        ({"PORT": "99999"}, ['PORT: expected a port from 0 to 65535, got "99999"']),
    ],
)
def test_what_is_wrong_is_told_by_the_variables_name(environ: dict[str, str], lines: list[str]) -> None:
    assert problems(**environ)[: len(lines)] == lines


def test_an_account_without_a_model_names_the_variable() -> None:
    [line] = problems(WECHAT_ID="gh_1", WECHAT_TOKEN="abc")

    assert line.startswith("POSTHOUSE_MODEL: expected the name of a model")
