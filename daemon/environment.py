"""
A start without a config file: the settings that the environment gives, under the names other programs use for them.

Rule 1: this only writes the document a config file would have been; `config.parse` checks it like any other.
Rule 2: what is wrong is reported under the name of the variable. An empty variable counts as not set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon import config
from daemon.problems import got
from daemon.schema import Settings
from daemon.schema.places import PORT
from daemon.secret import Sources
from daemon.wrong_config import Problem, WrongConfig

ACCOUNT: Mapping[str, str] = {
    "WECHAT_ID": "id",
    "WECHAT_TOKEN": "token",
    "WECHAT_APP_ID": "app_id",
    "WECHAT_AES_KEY": "encoding_aes_key",
    "WECHAT_APP_SECRET": "app_secret",
}
SECRETS = ("token", "encoding_aes_key", "app_secret")
KEY = re.compile(r"OPENAI_API_KEY(?:_([0-9]{1,6}))?")


def settings(environ: Mapping[str, str]) -> Settings:
    """Raises WrongConfig."""
    given = {name: value for name, value in environ.items() if value.strip()}
    variables: dict[str, str] = {}  # path of a setting -> the variable it comes from
    document: dict[str, Any] = {}
    if port := given.get("PORT"):
        document["server"] = {"listen": [f"0.0.0.0:{port}"]}
        variables["server.listen[0]"] = "PORT"
    if "POSTHOUSE_PASSWORD" in given:
        document["operator"] = {"password": {"env": "POSTHOUSE_PASSWORD"}}
    for variable in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):  # the second is what clients before 1.0 read
        if variable in given:
            document["upstreams"] = {"openai": {"base_url": given[variable].strip()}}
            variables["upstreams.openai.base_url"] = variable
            break
    document["keys"] = []
    for index, (name, variable) in enumerate(_keys(given)):
        document["keys"].append({"name": name, "secret": {"env": variable}})
        variables[f"keys[{index}].secret"] = variable
    if "POSTHOUSE_TOKEN" in given:
        document["proxy"] = {"callers": [{"name": "environment", "token": {"env": "POSTHOUSE_TOKEN"}}]}
        variables["proxy.callers[0].token"] = "POSTHOUSE_TOKEN"
    if bot := _bot(given):
        document["bot"] = bot
    variables["bot.model"] = "POSTHOUSE_MODEL"
    variables |= {f"bot.accounts[0].{field}": variable for variable, field in ACCOUNT.items()}
    try:
        return config.parse(document, Sources(environ, Path.cwd()))
    except WrongConfig as wrong:
        raise WrongConfig([_named(problem, variables, given) for problem in wrong.problems]) from None


def _named(problem: Problem, variables: Mapping[str, str], given: Mapping[str, str]) -> Problem:
    variable = variables.get(problem.path, problem.path)
    if variable == "PORT":  # the host before it is ours
        return Problem(variable, f"expected {PORT}, {got(given[variable])}")
    return Problem(variable, problem.sentence)


def _keys(given: Mapping[str, str]) -> list[tuple[str, str]]:
    """(name, variable) of every key, in the order of their numbers: OPENAI_API_KEY, OPENAI_API_KEY_2 …"""
    numbers = {int(match[1] or 1): variable for variable in given if (match := KEY.fullmatch(variable))}
    return [(f"key-{number}", numbers[number]) for number in sorted(numbers)]


def _bot(given: Mapping[str, str]) -> dict[str, Any]:
    bot: dict[str, Any] = {}
    if "POSTHOUSE_MODEL" in given:
        bot["model"] = given["POSTHOUSE_MODEL"].strip()
    account = {
        field: {"env": variable} if field in SECRETS else given[variable].strip()
        for variable, field in ACCOUNT.items()
        if variable in given
    }
    if account:
        bot["accounts"] = [account]
    return bot
