"""
The config that holds, from its file or the environment; for the daemon, read by a process of its own.

Rule 1: what reads it, pydantic with the schema, works once for each config and would stay: 11 MB, and a third of a start. So a
        short process has all that, and the daemon imports its server meanwhile. A reload stops no request, for the same reason.
Rule 2: tables arrive plain, as namespaces of their fields. Where the daemon serves, `daemon.schema` is for type checkers alone.
Rule 3: secrets come by a pipe that only these two hold.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from daemon.wrong_config import WrongConfig

if TYPE_CHECKING:
    from daemon.schema import Settings


def settings_of(named: Path | None) -> tuple[Path | None, Settings]:
    """And the file they come from. Raises WrongConfig, and OSError when the file cannot be read."""
    from daemon import config, environment

    path = config.find(named)
    return path, config.load(path) if path else environment.settings(os.environ)


@dataclass(frozen=True, slots=True)
class Read:
    """`path` is None where the environment says it all; `doubts` are what is not wrong, but unwise."""

    path: Path | None
    settings: Settings
    doubts: tuple[str, ...]


class Reading:
    """A config that is being read from now on. Ask for its result."""

    def __init__(self, named: Path | None, command: str) -> None:
        """`command` is what we are called by. Raises OSError where no process can be started."""
        program = f"import sys; sys.path[:] = {sys.path}; from daemon.reading import main; main()"  # of our own modules
        self._process = subprocess.Popen(  # noqa: S603
            (sys.executable, "-c", program, command, *([str(named)] if named else ())),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )

    def result(self) -> Read:
        """Waits for it. Raises WrongConfig, and OSError when the file cannot be read."""
        written, _ = self._process.communicate()
        if self._process.returncode:
            raise ChildProcessError(0, "the process that reads the config did not come to its end")
        outcome = pickle.loads(written)  # noqa: S301 - from our own program, by a pipe that nobody else can write to
        if isinstance(outcome, Exception):
            raise outcome
        assert isinstance(outcome, Read)  # noqa: S101 - what `main` writes
        return outcome


def main() -> None:
    """The process: to standard output it writes a Read, or what `settings_of` raised."""
    gc.disable()  # nothing here lives long enough to be collected
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C is for the daemon to speak of
    from daemon import config

    command, *named = sys.argv[1:]
    outcome: Read | Exception
    try:
        path, settings = settings_of(Path(named[0]) if named else None)
        outcome = Read(path, settings, tuple(config.doubts(path, settings, command=command)))
    except (WrongConfig, OSError) as wrong:
        outcome = wrong
    try:
        _Plain(sys.stdout.buffer).dump(outcome)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the daemon was killed meanwhile; Python would write a traceback, now or as it ends
        os._exit(1)


class _Plain(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        from pydantic import BaseModel

        return (SimpleNamespace, (), vars(value)) if isinstance(value, BaseModel) else NotImplemented
