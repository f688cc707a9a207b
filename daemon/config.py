"""
`posthouse.toml`: where it is found, how it is read, and everything that is wrong with it at once.

Rule 1: a config is parsed once, here, into frozen `Settings`; nobody else reads TOML, or looks up a secret.
Rule 2: a file that is missing or unreadable is an OSError; a file that says something wrong is WrongConfig.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import tomli

from daemon.agreement import disagreements, repeated_secrets
from daemon.schema import Server, Settings
from daemon.schema.gateway import OPENAI, Key
from daemon.schema.table import read_table
from daemon.secret import Sources, secrets_in
from daemon.wrong_config import Problem, WrongConfig
from proxy.value import value_type

NAME = "posthouse.toml"
VARIABLE = "POSTHOUSE_CONFIG"
PLACES = (Path(NAME), Path("/etc/posthouse") / NAME)


def find(explicit: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The config to use; None where there is none. One that was named is the answer even if it does not exist."""
    if explicit is not None:
        return explicit
    if named := environ.get(VARIABLE):
        return Path(named)
    return next((path for path in PLACES if path.exists()), None)


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises WrongConfig, or OSError when the file cannot be read."""
    return parse(_document(path), Sources(environ, path.absolute().parent))


def parse(document: Mapping[str, Any], sources: Sources) -> Settings:
    """The settings that a document of TOML's own types gives. Raises WrongConfig."""
    settings, problems = read_table(Settings, _with_openai(document), sources)
    problems += disagreements(document)
    if settings is not None:
        problems += repeated_secrets(settings)
    if settings is None or problems:
        one_a_path = {problem.path: problem for problem in reversed(problems)}
        raise WrongConfig([one_a_path[path] for path in dict.fromkeys(problem.path for problem in problems)])
    return settings


def parse_text(text: str, sources: Sources, *, name: str = NAME) -> Settings:
    """The same for TOML. `name` is what a mistake in its syntax is reported under."""
    return parse(_toml(text, name), sources)


@value_type
class Glance:
    """What a command needs that looks into a running daemon's database: no secret among it, so none is looked up."""

    database: Path
    timezone: ZoneInfo
    show_words: bool
    upstreams: Mapping[str, str]  # by the names of keys, where a key says its upstream

    def upstream_of(self, key: str) -> str:
        return self.upstreams.get(key, str(Key.fields["upstream"].default))


def glance(path: Path | None, environ: Mapping[str, str] = os.environ) -> Glance:
    """Raises WrongConfig or OSError. Without a config file, what the environment alone would give."""
    document = _document(path) if path else {}
    sources = Sources(environ, path.absolute().parent if path else Path.cwd())
    server, problems = read_table(Server, document.get("server", {}), sources, at=("server",))
    if server is None:
        raise WrongConfig(problems)
    operator, keys = document.get("operator"), document.get("keys")
    named = [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
    return Glance(
        server.database,
        server.timezone,
        show_words=not (isinstance(operator, dict) and operator.get("show_words") is False),
        upstreams={str(key.get("name")): str(key["upstream"]) for key in named if "upstream" in key},
    )


def doubts(path: Path | None, settings: Settings, *, command: str = "posthouse") -> Iterator[str]:
    """What is not wrong, but unwise or unfinished. `path` is None for the environment; `command` is what we are called by."""
    if path and os.name == "posix" and any(secret.is_literal for secret in secrets_in(settings)):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield f"{path} holds secrets and others may read it (mode {mode:04o}); run: chmod 600 {path}"
    if path is None and not settings.keys and settings.names_given <= {"keys", "server"}:
        looked_for = ", ".join((f"${VARIABLE}", *map(str, PLACES)))
        yield f"no config file ({looked_for}) and no settings in the environment; `{command} init` writes a file"
    if not settings.keys:
        yield f"no key, so nothing can be answered; {'add [[keys]]' if path else 'set OPENAI_API_KEY'}"
    if not settings.proxy.callers and not settings.proxy.passthrough:
        advice = f"`{command} token NAME` makes a token" if path else "set POSTHOUSE_TOKEN"
        yield f"no caller, so /v1 answers 401 to everybody; {advice}"
    if settings.operator.password is None:
        advice = "set operator.password" if path else "set POSTHOUSE_PASSWORD"
        yield f"no password, so there is no status page; {advice}"
    if "bot" in settings.names_given and not settings.bot.accounts:
        missing = "[[bot.accounts]]" if settings.bot.model else "bot.model and [[bot.accounts]]"
        yield f"no WeChat account, so no subscriber is answered; fill in {missing}"


def _document(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # -sig: Windows' editors write a mark at the front
    except UnicodeDecodeError as error:
        raise WrongConfig([Problem(str(path), f"expected UTF-8, got something else at byte {error.start}")]) from None
    return _toml(text, str(path))


def _toml(text: str, name: str) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:  # its words give line and column, and never a value
        raise WrongConfig([Problem(name, f"not TOML: {str(error)[0].lower()}{str(error)[1:]}")]) from None
    except RecursionError:
        raise WrongConfig([Problem(name, "lists or tables stand in each other too deep")]) from None
    except ValueError:  # Python reads no number of more than 4,300 digits
        raise WrongConfig([Problem(name, "a number has more digits than any setting takes")]) from None


def _with_openai(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The upstream called openai need not say where it is. Any other must: its keys are not OpenAI's to see."""
    upstreams = document.get("upstreams")
    if not isinstance(upstreams, Mapping) or not isinstance(upstreams.get("openai"), Mapping):
        return document
    return {**document, "upstreams": {**upstreams, "openai": {"base_url": OPENAI, **upstreams["openai"]}}}
