"""The search for canaries itself: whoever lets one out in any usual spelling is seen, and nobody else."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import canaries

ROOT = Path(__file__).parent.parent
SECRET = "sk-one/two+three four?"


@pytest.mark.parametrize("how", canaries.spellings(SECRET))
def test_a_secret_is_seen_however_it_is_spelled(how: str) -> None:
    said = b'{"event": "x", "why": "' + canaries.spellings(SECRET)[how] + b'"}'
    (seen,) = canaries.found(said, [SECRET, "sk-another-one"])
    assert seen.startswith("sk… (22 characters) ")


@given(st.text(min_size=canaries.SHORTEST, max_size=40), st.binary(max_size=9), st.binary(max_size=9))
def test_a_secret_is_seen_in_the_middle_of_anything_in_base64(secret: str, before: bytes, after: bytes) -> None:
    whole = before + secret.encode("utf-8", "surrogatepass") + after
    for encoded in (b64encode(whole), urlsafe_b64encode(whole)):
        assert list(canaries.found(encoded, [secret]))


def test_what_holds_no_secret_is_not_suspected() -> None:
    for spelling in canaries.spellings("sk-quite-another-one").values():
        assert list(canaries.found(spelling, [SECRET])) == []


def test_words_may_stand_in_answers_and_secrets_nowhere() -> None:
    canaries.plant("sk-planted")
    canaries.plant_words("what I asked")
    canaries.hear("an answer", b"what I asked")
    assert canaries.leaks([("stdout", "asked")], None) == []
    canaries.plant("sk-planted")
    canaries.plant_words("what I asked")
    canaries.hear("an answer", b"sk-planted")
    assert len(canaries.leaks([("stdout", "what I asked")], None)) == 2
    assert canaries.leaks([("stdout", "sk-planted")], None) == []  # it was another test's


def test_a_daemon_s_log_is_read_for_the_secrets_of_its_config(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("daemon")
    (folder / "posthouse.toml").write_text('[operator]\npassword = "of-the-page"\n[[keys]]\nsecret = "sk-of-a-key"\n')
    (folder / "posthouse.log").write_text('{"event": "b2YtdGhlLXBhZ2U="}\n')
    assert canaries.leaks([], folder) == ["posthouse.log: of… (11 characters) in base64, 0 behind"]


LEAKING = """
from tests import canaries

def test_that_is_well():
    canaries.plant("sk-planted")
    canaries.plant_words("oSomebodyWhoAsks")
    print("{}")
"""


@pytest.mark.parametrize(
    ("said", "code"), [("nothing", 0), ("sk-planted", 1), ("detnalp-ks", 1), ("oSomebodyWhoAsks", 1)]
)
def test_a_test_fails_that_lets_one_out(tmp_path: Path, said: str, code: int) -> None:
    (tmp_path / "test_some.py").write_text(LEAKING.format(said))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-c",
        str(ROOT / "pyproject.toml"),
        str(tmp_path),
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == code, run.stdout
    assert ("What was told in confidence was seen" in run.stdout) is bool(code)
