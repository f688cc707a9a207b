"""A daemon that cannot start says why in one sentence, and how it ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def started(folder: Path, config: str, **more: str) -> subprocess.CompletedProcess[str]:
    (folder / "posthouse.toml").write_text(config)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **more}
    command = (sys.executable, "-m", "daemon", "serve", "--log-level", "error")
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=30, check=False)


def test_a_port_in_use_is_one_sentence_and_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        result = started(tmp_path, f'server.listen = ["{address}"]')

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"posthouse: cannot listen on {address}: another program listens there")
    assert result.stderr.count("\n") == 1


def test_a_database_that_cannot_be_made_is_one_sentence_and_1(tmp_path: Path) -> None:
    """Its folder is a file: root, who runs the tests in a container, may write into a read-only folder."""
    (tmp_path / "folder").touch()

    result = started(tmp_path, 'server.listen = ["127.0.0.1:0"]\nserver.database = "sqlite:folder/posthouse.db"')

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"posthouse: database {tmp_path}/folder/posthouse.db: ")
    assert result.stderr.count("\n") == 1


def test_without_the_parser_that_it_was_tested_with_it_does_not_start(tmp_path: Path) -> None:
    """The one in Python, which aiohttp falls back to, took requests that could be read in two ways: more than once."""
    result = started(tmp_path, 'server.listen = ["127.0.0.1:0"]', AIOHTTP_NO_EXTENSIONS="1")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("posthouse: aiohttp is installed without its compiled parser")
    assert result.stderr.count("\n") == 1
