"""The config that holds: its file's or, without one, the environment's."""

from __future__ import annotations

import os
from pathlib import Path

from daemon import config, environment
from daemon.schema import Settings


def settings_of(named: Path | None) -> tuple[Path | None, Settings]:
    """And the file they come from. Raises WrongConfig, and OSError when the file cannot be read."""
    path = config.find(named)
    return path, config.load(path) if path else environment.settings(os.environ)
