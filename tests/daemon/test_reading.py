"""What the daemon gets of a config that another process has read for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from daemon import config
from daemon.reading import Reading
from daemon.reload import needs_restart
from daemon.secret import Sources, secrets_in
from daemon.wrong_config import WrongConfig

CONFIG = """
[server]
listen = ["127.0.0.1:0"]
timezone = "Europe/Berlin"
trusted_proxies = ["10.0.0.0/8", "fd00::/8"]
[[keys]]
name = "main"
secret = "sk-main-0001"
[[proxy.callers]]
name = "laptop"
token = "ph-token-1"
expires = 2027-01-01
[bot]
model = "gpt-5"
[[bot.accounts]]
id = "gh_0123456789ab"
token = "wechattoken"
limits = { questions_per_day = 5 }
"""


def plain(value: object) -> object:
    """What an eye that cannot see classes sees of a table."""
    match value:
        case BaseModel() | SimpleNamespace():
            return {name: plain(inner) for name, inner in vars(value).items()}
        case dict():
            return {name: plain(inner) for name, inner in value.items()}
        case tuple():
            return tuple(map(plain, value))
    return value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "posthouse.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    return path


def test_every_setting_arrives_as_it_was_read(file: Path) -> None:
    read = Reading(file, "posthouse").result()

    expected = config.load(file)
    assert read.path == file
    assert plain(read.settings) == plain(expected)
    assert list(read.doubts) == list(config.doubts(file, expected))
    assert sorted(map(hash, secrets_in(read.settings))) == sorted(map(hash, secrets_in(expected)))
    assert "sk-main" not in repr(read), "a repr may end in a log"


def test_what_arrives_can_be_compared_with_what_the_daemon_was_started_with(file: Path) -> None:
    started = Reading(file, "posthouse").result().settings
    file.write_text(CONFIG.replace("gpt-5", "gpt-6").replace('"wechattoken"', '"anothertoken"'))

    assert needs_restart(started, Reading(file, "posthouse").result().settings) == ["bot.accounts"]


def test_without_a_file_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(config.VARIABLE, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")

    read = Reading(None, "posthouse").result()

    assert (read.path, read.settings.keys[0].name) == (None, "key-1")


def test_all_that_is_wrong_arrives_at_once_and_without_a_secret(file: Path) -> None:
    file.write_text(CONFIG.replace('"main"', '"two words"').replace("[server]", "[server]\nsecret = 'sk-0123456789'"))

    with pytest.raises(WrongConfig) as caught:
        Reading(file, "posthouse").result()

    with pytest.raises(WrongConfig) as expected:
        config.parse_text(file.read_text(), Sources())
    assert str(caught.value) == str(expected.value)
    assert len(caught.value.problems) == 2
    assert "sk-0123456789" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Reading(tmp_path / "gone.toml", "posthouse").result()

    assert caught.value.filename in (tmp_path / "gone.toml", str(tmp_path / "gone.toml"))


@pytest.mark.skipif(os.name != "posix", reason="looks for a program of Unix")
def test_a_reader_that_is_killed_is_an_error_like_a_file_that_cannot_be_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(ChildProcessError, match="did not come to its end"):
        Reading(file, "posthouse").result()


def test_who_is_killed_while_it_starts_leaves_no_traceback_of_its_reader(file: Path) -> None:
    """Each kill -9 during a start left ten lines in the log, of the process that had nobody to write to any more."""
    ours, theirs = os.pipe()
    os.close(ours)
    program = (sys.executable, "-c", "from daemon.reading import main; main()", "posthouse", str(file))
    with os.fdopen(theirs, "wb") as nobody:
        ended = subprocess.run(program, stdout=nobody, stderr=subprocess.PIPE, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (1, b"")
