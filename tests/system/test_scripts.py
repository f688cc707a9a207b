"""The scripts as what reads them on a server sees them: dash, and an eye for what is wrong with shell."""

from __future__ import annotations

import subprocess

import pytest

from tests.system.conftest import ROOT

SCRIPTS = sorted((ROOT / "systemd").glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
@pytest.mark.parametrize("reader", [("dash", "-n"), ("shellcheck", "--shell=sh")], ids=" ".join)
def test_a_script_is_plain_shell(script: object, reader: tuple[str, ...]) -> None:
    read = subprocess.run([*reader, str(script)], capture_output=True, text=True, check=False)

    assert (read.returncode, read.stdout, read.stderr) == (0, "", "")
