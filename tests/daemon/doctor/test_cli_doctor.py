"""The command: how it ends, what it prints, and that it fits a terminal."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from daemon.cli import posthouse
from daemon.demo.refusals import Revoked
from daemon.demo.steps import Step
from daemon.demo.upstream import ScriptedUpstream
from daemon.doctor.finding import Area, Finding, Verdict, doubt, ill, well
from daemon.doctor.report import rows, show
from tests.journal import log_as_before

SECRET = "sk-proj-0123456789abcdef"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("OPENAI_", "POSTHOUSE_", "WECHAT_")) or name in ("PORT", "STATE_DIRECTORY"):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The command sets the log up as a process of its own would; here others come after it."""
    with log_as_before():
        yield


def run(*arguments: str) -> Result:
    return CliRunner().invoke(posthouse, ("doctor", *arguments), prog_name="posthouse")


async def examined(steps: list[Step], *arguments: str) -> Result:
    async with ScriptedUpstream({SECRET: steps}) as upstream:
        path = Path("posthouse.toml")
        path.write_text(
            f'upstreams.openai.base_url = "{upstream.base_url}"\n'
            f'keys = [{{ name = "main", secret = "{SECRET}" }}]\nserver.listen = ["127.0.0.1:0"]\n'
        )
        path.chmod(0o600)
        return await asyncio.to_thread(run, *arguments)


def json_of(result: Result) -> list[dict[str, Any]]:
    return list(json.loads(result.stdout))


async def test_where_nothing_is_ill_it_ends_with_0_and_json_has_every_finding() -> None:
    result = await examined([], "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    for row in json_of(result):
        assert list(row) == ["area", "subject", "verdict", "what", "to_do"]
        assert row["verdict"] in ("well", "doubt")
    [key] = [row for row in json_of(result) if row["area"] == "keys"]
    assert (key["subject"], key["what"], key["to_do"]) == ("main (…cdef)", "Accepted by openai; 2 models.", "")


async def test_where_something_is_ill_it_ends_with_1_and_no_secret_is_shown() -> None:
    result = await examined([Revoked()])

    assert (result.exit_code, result.stderr) == (1, "")
    assert "Rejected: 401 invalid_api_key." in result.stdout
    assert "1 ill" in result.stdout
    assert SECRET not in result.output
    assert "Traceback" not in result.output


async def test_one_area_alone_and_two() -> None:
    assert {row["area"] for row in json_of(await examined([], "--only", "keys", "--json"))} == {"keys"}
    two = json_of(await examined([Revoked()], "--only", "database", "--only", "config", "--json"))
    assert {row["area"] for row in two} == {"config", "database"}


def test_a_wrong_config_ends_with_2_and_says_what_is_wrong() -> None:
    Path("posthouse.toml").write_text("server.listen = [1]\n")
    result = run()

    assert (result.exit_code, result.stdout) == (2, "")
    assert "server.listen[0]" in result.stderr


def test_wrong_usage_ends_with_2_and_the_help_names_every_area() -> None:
    assert run("--only", "weather").exit_code == 2
    said = run("--help").stdout
    assert all(area in said for area in Area)


def test_the_same_key_twice_is_named_as_what_is_wrong() -> None:
    Path("posthouse.toml").write_text('keys = [{ name = "a", secret = "k" }, { name = "b", secret = "k" }]\n')
    result = run()

    assert (result.exit_code, "keys[1].secret: expected another one than that of keys[0]" in result.stderr) == (2, True)


def shown(findings: list[Finding], width: int) -> list[str]:
    stream = io.StringIO()
    show(findings, Console(file=stream, width=width))
    return stream.getvalue().splitlines()


LONG = "http://bot.example.org:8080/wechat/gh_0123456789ab-and-more"
FINDINGS = [
    well(Area.CONFIG, "/etc/posthouse/posthouse.toml", "Nothing in it is wrong."),
    ill(Area.KEYS, "main (…cdef)", "Rejected: 401 invalid_api_key. " * 4, "Copy the key again, whole. " * 5),
    doubt(Area.WECHAT, LONG, f"{LONG} answers.", "Wait."),
    well(Area.WECHAT, LONG, "[bold]no markup[/bold] \x1b[2Jno control\u202e"),
]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal_and_says_everything(width: int) -> None:
    lines = shown(FINDINGS, width)

    assert max(map(len, lines)) <= width
    text = "".join("".join(lines).split())
    for finding in FINDINGS[:-1]:
        assert "".join(finding.to_do.split())[:20] in text
    assert "[bold]nomarkup[/bold]" in text
    assert not {"\x1b", "\u202e"} & set(text)
    assert [line.strip() for line in lines if line and line == line.lstrip()] == [
        "config",
        "keys",
        "wechat",
        "1 ill, 1 in doubt, 2 well",
    ]


def test_json_is_text_whatever_a_stranger_wrote_into_a_header() -> None:
    what = "Another program answers there (\udcff\x1b[31m\u202enginx)."  # the first: a byte that is no UTF-8
    [row] = rows([ill(Area.PORTS, "127.0.0.1:80", what, "Stop it.")])

    assert row["what"] == "Another program answers there (  [31m nginx)."


def test_verdicts_are_told_by_words_and_not_by_colour_alone() -> None:
    text = "\n".join(shown(FINDINGS, 100))
    assert all(f"  {verdict} " in text for verdict in Verdict)
