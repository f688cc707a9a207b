"""
A secret, and where it is kept: in the config itself, the environment, a file, or a systemd credential.

Rule 1: only `reveal()` gives the value; repr, str and format give "***".
Rule 2: no error tells a value, only what was looked for.
Rule 3: whoever holds secrets and crashes leaves no core: they would be in it, and what was being said.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path

from proxy.value import value_type

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
CREDENTIAL = re.compile(r"[A-Za-z0-9._-]{1,255}")  # what systemd takes as a name. Source: systemd.exec(5)
FORMS = 'a string, { env = "NAME" }, { file = "path" } or { credential = "name" }'


class Secret:
    """`is_literal`: it stands in the config itself, so whoever reads that file knows it."""

    __slots__ = ("_value", "is_literal")

    def __init__(self, value: str, *, is_literal: bool = False) -> None:
        self._value = value
        self.is_literal = is_literal

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def secrets_in(settings: object) -> Iterator[Secret]:
    """Every one, in tables within tables, for the log to mask."""
    pending = [settings]
    while pending:
        match pending.pop():
            case Secret() as secret:
                yield secret
            case tuple() | list() as items:
                pending.extend(items)
            case dict() as names:
                pending.extend(names.values())
            case object(__dict__=fields):
                pending.extend(fields.values())


def leave_no_core() -> None:
    """Of this process, and of those it starts from now on."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class SecretMissing(Exception):
    """`wanted` completes the sentence "expected …"."""

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted


@value_type
class Sources:
    """Where references are looked up; relative file names begin at `folder`."""

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path = Path()


def resolve(given: object, sources: Sources) -> Secret:
    """The secret that a setting gives or refers to. Raises SecretMissing."""
    if isinstance(given, Secret):
        return given
    if isinstance(given, str):
        return Secret(given, is_literal=True)
    if not isinstance(given, dict) or len(given) != 1:
        raise SecretMissing(FORMS)
    [(kind, name)] = given.items()
    if kind not in ("env", "file", "credential") or not isinstance(name, str):
        raise SecretMissing(FORMS)
    if kind == "env":
        return _from_environment(name, sources)
    if kind == "file":
        return _from_file(sources.folder / name, f"a readable file {name}")
    return _from_credential(name, sources)


def _from_environment(name: str, sources: Sources) -> Secret:
    if not VARIABLE.fullmatch(name):  # not shown: a key pasted in the wrong place looks like this
        raise SecretMissing("the name of an environment variable after env =")
    value = sources.environ.get(name, "").strip()
    if not value:
        raise SecretMissing(f"the environment variable {name} to be set")
    return Secret(value)


def _from_credential(name: str, sources: Sources) -> Secret:
    if not CREDENTIAL.fullmatch(name):
        raise SecretMissing("the name of a systemd credential after credential =")
    directory = sources.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise SecretMissing(f"the systemd credential {name}, but $CREDENTIALS_DIRECTORY is not set")
    return _from_file(Path(directory) / name, f"the systemd credential {name}")


def _from_file(path: Path, wanted: str) -> Secret:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise SecretMissing(f"{wanted} in UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a file name"
        raise SecretMissing(f"{wanted} ({reason[0].lower()}{reason[1:]})") from None
    if not value:
        raise SecretMissing(f"{wanted} that is not empty")
    return Secret(value)
