"""
What `posthouse init` asks, and of whom: the operator, the environment, the upstream.

Rule 1: no secret is taken from the command line, where every user of the machine could read it.
Rule 2: a key goes only to an address that the config itself would accept.
Rule 3: every answer is checked as it is given, by the schema's own check of its setting; a wrong one is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from daemon import config
from daemon.init import Answers, models_of, suggestion
from daemon.problems import Location
from daemon.schema.gateway import OPENAI
from daemon.schema.places import BaseUrl, Listen
from daemon.schema.secrets import ApiKey
from daemon.schema.table import problems_of
from daemon.schema.values import AccountId, AppId, ModelNameOrNone
from daemon.secret import Sources
from daemon.wrong_config import Problem, WrongConfig

KEY_VARIABLE = "OPENAI_API_KEY"

# What may be answered: where it stands in the config, and its kind there.
SETTINGS: Mapping[str, tuple[Location, Any]] = {
    "listen": (("server", "listen", 0), Listen),
    "base_url": (("upstreams", "openai", "base_url"), BaseUrl),
    "api_key": (("keys", 0, "secret"), ApiKey),
    "model": (("bot", "model"), ModelNameOrNone),
    "account": (("bot", "accounts", 0, "id"), AccountId),
    "app_id": (("bot", "accounts", 0, "app_id"), AppId),
}
MAY_WAIT = ("api_key", "account")  # "": the file says where it goes


def hold(flags: Mapping[str, str | None], *, asks: bool, environ: Mapping[str, str]) -> Answers:
    """The flags; for those that were not given the operator's words or, when not asking, what is usual. Raises WrongConfig."""
    key_there = environ.get(KEY_VARIABLE, "").strip() or None
    known = {**flags, "api_key": key_there}
    given = {name: _tidied(name, value) for name in SETTINGS if (value := known[name]) is not None}
    if problems := [problem for name, value in given.items() for problem in _problems(name, value)]:
        raise WrongConfig(problems)

    def answer(name: str, question: str, usual: str) -> str:
        if name in given:
            return given[name]
        return _asked(name, question, usual) if asks else usual

    listen = answer("listen", "Listen on", "0.0.0.0:8080")
    base_url = answer("base_url", "The upstream's API", OPENAI)
    key = answer("api_key", "API key (not shown; empty: later)", "")
    usual_model = suggestion(models_of(base_url, key)) if key and flags["model"] is None else ""
    model = answer("model", "Model that answers subscribers (empty: later)", usual_model)
    account_id = answer("account", "WeChat account's original id, gh_… (empty: later)", "")
    app_id = answer("app_id", "Its AppID, wx… (empty: no safe mode)", "") if account_id else ""
    return Answers(
        listen=listen,
        base_url=base_url,
        api_key="" if key_there else key,
        key_variable=KEY_VARIABLE if key_there else "",
        model=model,
        account_id=account_id,
        app_id=app_id,
    )


def gaps(answers: Answers, command: str) -> Iterator[str]:
    """What the file lacks, for the operator to fill in. `command` is what we are called by."""
    if answers.key_variable:
        yield f"the API key is not in the file: `{command} serve` needs {answers.key_variable} in its environment, too"
    elif not answers.api_key:
        yield "no API key yet: fill in [[keys]]"
    if not answers.model:
        yield "no model yet, none was given and the upstream named none: fill in bot.model"
    if not answers.account_id:
        yield "no WeChat account yet: fill in [[bot.accounts]]"


def refuse_what_is_wrong(text: str, environ: Mapping[str, str]) -> None:
    """Raises WrongConfig, but not for a model that is still open: the file says where it goes."""
    try:
        config.parse_text(text, Sources(environ, Path.cwd()))
    except WrongConfig as wrong:
        if problems := [problem for problem in wrong.problems if problem.path != "bot.model"]:
            raise WrongConfig(problems) from None


def _asked(name: str, question: str, usual: str) -> str:
    while True:
        is_secret = name == "api_key"
        said = click.prompt(question, default=usual, show_default=bool(usual), hide_input=is_secret, err=True)
        value = _tidied(name, str(said))
        problems = _problems(name, value)
        if not problems:
            return value
        click.echo(Problem("not taken", problems[0].sentence), err=True)


def _tidied(name: str, said: str) -> str:
    value = said.strip()
    is_bare_port = name == "listen" and value.isascii() and value.isdigit()
    return f"0.0.0.0:{value}" if is_bare_port else value


def _problems(name: str, value: str) -> list[Problem]:
    if not value and name in MAY_WAIT:
        return []
    location, kind = SETTINGS[name]
    return problems_of(kind, value, at=location)
