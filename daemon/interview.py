"""
What `posthouse init` asks, and of whom: the operator, the environment, the upstream.

Rule 1: no secret is taken from the command line, where every user of the machine could read it.
Rule 2: a key goes only to an address that the config itself would accept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from pydantic import ValidationError

from daemon import config
from daemon.init import Answers, models_of, suggestion
from daemon.problems import WrongConfig, problems_in
from daemon.schema import Upstream
from daemon.schema.gateway import OPENAI
from daemon.secret import Sources

KEY_VARIABLE = "OPENAI_API_KEY"


def hold(flags: Mapping[str, str | None], *, asks: bool, environ: Mapping[str, str]) -> Answers:
    """The flags; for those that were not given the operator's words or, when not asking, what is usual."""

    def answer(flag: str, question: str, usual: str) -> str:
        given = flags[flag]
        if given is None:
            given = _asked(question, usual) if asks else usual
        return given.strip()

    listen = answer("listen", "Listen on", "0.0.0.0:8080")
    base_url = answer("base_url", "The upstream's API", OPENAI)
    _refuse_wrong_url(base_url)
    key, variable = environ.get(KEY_VARIABLE, "").strip(), KEY_VARIABLE
    if not key:
        key, variable = _asked_key() if asks else "", ""
    usual_model = suggestion(models_of(base_url, key)) if key and flags["model"] is None else ""
    model = answer("model", "Model that answers subscribers (empty: later)", usual_model)
    account_id = answer("account", "WeChat account's original id, gh_… (empty: later)", "")
    app_id = answer("app_id", "Its AppID, wx… (empty: no safe mode)", "") if account_id else ""
    return Answers(
        listen=listen,
        base_url=base_url,
        api_key="" if variable else key,
        key_variable=variable,
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


def _refuse_wrong_url(base_url: str) -> None:
    try:
        Upstream(base_url=base_url)
    except ValidationError as error:
        raise WrongConfig(problems_in(error, inside=("upstreams", "openai"))) from None


def _asked(question: str, usual: str) -> str:
    return str(click.prompt(question, default=usual, show_default=bool(usual), err=True))


def _asked_key() -> str:
    question = "API key (not shown; empty: later)"
    return str(click.prompt(question, default="", show_default=False, hide_input=True, err=True)).strip()
