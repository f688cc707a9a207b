"""The commands: what they print, where, and how they end."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.exchange import Exchange
from daemon import config
from daemon.cli import posthouse
from daemon.schema import Settings
from daemon.sqlite.database import Database
from daemon.sqlite.ledger import SqliteLedger
from daemon.sqlite.store import SqliteStore
from daemon.sqlite.usage import SqliteUsage
from proxy.ledger import CellRecord, Health, KeyRecord
from proxy.usage_ledger import Usage

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "serve",
    "demo",
    "check",
    "init",
    "token",
    "keys",
    "pending",
    "usage",
    "ask",
    "export",
    "forget",
    "backup",
    "doctor",
)
OURS = ("OPENAI_", "POSTHOUSE_", "WECHAT_")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty folder, in an environment that says nothing."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(OURS) or name in ("PORT", "STATE_DIRECTORY"):
            monkeypatch.delenv(name)
    return tmp_path


def run(*arguments: str, said: str | None = None, **environ: str) -> Result:
    return CliRunner().invoke(posthouse, arguments, input=said, env=environ, prog_name="posthouse")


def started(*arguments: str, interpreter: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The same as a process of its own, in this folder."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = (sys.executable, *interpreter, "-m", "daemon", *arguments)
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)


def written(text: str) -> Path:
    path = Path("posthouse.toml")
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def loaded(path: str = "posthouse.toml") -> Settings:
    return config.load(Path(path), {"OPENAI_API_KEY": "k"})


def test_the_help_names_every_command_and_each_has_its_own() -> None:
    assert set(posthouse.commands) == set(COMMANDS)
    for command in COMMANDS:
        assert f"  {command} " in run("--help").stdout
        assert run(command, "--help").exit_code == 0


def test_the_version_is_one_line() -> None:
    result = started("--version")

    assert (result.returncode, result.stdout.count("\n"), result.stderr) == (0, 1, "")
    assert result.stdout.startswith("posthouse ")


@pytest.mark.parametrize("arguments", [("chek",), ("check", "--no"), ("token",), ("demo", "--port", "x")])
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_without_its_packages_one_line_says_what_to_run() -> None:
    result = started("demo", interpreter=("-S",))

    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "make demo" in result.stderr
    assert result.stdout == ""


# check


def test_a_config_that_is_well_is_one_line_that_says_what_it_has() -> None:
    lines = "operator.password = 'p'\nproxy.callers = [{ name = 'c', token = 't-0123456789abcdef' }]\n"
    written(f'{lines}[[keys]]\nname = "a"\nsecret = "k"\n')

    result = run("check")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "posthouse.toml: well: 1 key, 1 caller, 0 WeChat accounts; listens on 0.0.0.0:8080\n"


def test_a_command_is_named_as_it_was_called() -> None:
    written("")

    assert "`posthouse token NAME`" in run("check").stderr
    assert "`python -m daemon token NAME`" in started("check").stderr


def test_a_config_with_ten_errors_is_ten_lines_and_2() -> None:
    limits = "".join(f"{name} = 'x'\n" for name in ("head_bytes", "head_seconds", "body_idle_seconds", "connections"))
    bot = "".join(f"{name} = 'x'\n" for name in ("answer_seconds", "hold", "hold_seconds", "keep_days", "lable"))
    written(f"[server.limits]\n{limits}[bot]\n{bot}[[keys]]\nname = 'a'\nsecret = {{ env = 'GONE' }}\n")

    result = started("check")

    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 10
    assert "keys[0].secret: expected the environment variable GONE to be set" in result.stderr.splitlines()
    assert "bot.lable: unknown setting; did you mean label?" in result.stderr.splitlines()


@pytest.mark.parametrize("command", ["check", "serve", "keys", "pending", "usage"])
def test_a_config_that_is_not_there_is_one_sentence_and_1(command: str) -> None:
    result = run(command, "--config", "gone.toml")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "posthouse: gone.toml: no such file or directory\n"


@pytest.mark.parametrize("command", ["check", "serve", "keys", "pending", "usage"])
def test_a_config_that_is_not_toml_is_one_line_and_2(command: str) -> None:
    written("[server")

    result = run(command)

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("posthouse.toml: not TOML: ")


@pytest.mark.skipif(os.name != "posix", reason="modes are posix's")
def test_a_config_that_others_may_read_is_well_with_a_warning() -> None:
    written("[operator]\npassword = 'canary'").chmod(0o644)

    result = run("check")

    assert result.exit_code == 0
    assert result.stderr.startswith("warning: posthouse.toml holds secrets and others may read it")
    assert "canary" not in result.output


def test_without_a_file_the_environment_is_checked() -> None:
    well, wrong = run("check", OPENAI_API_KEY="k"), run("check", OPENAI_API_KEY="a b")

    assert well.stdout.startswith("the environment: well: 1 key")
    assert (wrong.exit_code, wrong.stderr) == (2, "OPENAI_API_KEY: expected an API key without spaces or line breaks\n")


# init and token


def test_init_without_questions_writes_a_config_that_is_well(folder: Path) -> None:
    result = run("init", "--yes")

    assert result.exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["posthouse.toml"]
    assert Path("posthouse.toml").stat().st_mode & 0o777 == 0o600
    [caller] = loaded().proxy.callers
    [token] = [word for word in result.stdout.split() if word.startswith("ph-")]
    assert caller.token == hashlib.sha256(token.encode()).digest()
    assert token not in Path("posthouse.toml").read_text()


def test_check_names_what_init_could_not_know() -> None:
    run("init", "--yes")

    result = run("check")

    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "warning: no key, so nothing can be answered; add [[keys]]",
        "warning: no WeChat account, so no subscriber is answered; fill in bot.model and [[bot.accounts]]",
    ]


def test_init_asks_for_what_no_flag_says_and_shows_no_key() -> None:
    # listen, API, key, model, account, AppID
    result = run("init", said="\nhttp://127.0.0.1:1/v1\nthe-key-itself\nm\ngh_1\nwx1\n")

    assert result.exit_code == 0, result.output
    assert "the-key-itself" not in result.output
    whole = loaded()
    assert whole.keys[0].secret.reveal() == "the-key-itself"
    assert (whole.bot.model, whole.bot.accounts[0].id, whole.bot.accounts[0].app_id) == ("m", "gh_1", "wx1")


def test_init_asks_a_wrong_answer_again_at_once_with_the_reason() -> None:
    listen, base_url = "0.0.0.0:99999\n8451\n", "http://api.test/v1\nhttp://127.0.0.1:1/v1\n"
    key, account = "the key\nthe-key-itself\n", "mine\ngh_1\n"

    result = run("init", said=f"{listen}{base_url}{key}m\n{account}app\nwx1\n")

    assert result.exit_code == 0, result.output
    assert [line for line in result.stderr.splitlines() if line.startswith("not taken: ")] == [
        'not taken: expected a port from 0 to 65535, got "0.0.0.0:99999"',
        'not taken: expected an https:// URL (http:// to this machine only), without a query, got "http://api.test/v1"',
        "not taken: expected an API key without spaces or line breaks",
        'not taken: expected an account id such as "gh_…", got "mine"',
        'not taken: expected an AppID such as "wx…", got "app"',
    ]
    whole = loaded()
    assert whole.server.listen == ("0.0.0.0:8451",)
    assert whole.keys[0].secret.reveal() == "the-key-itself"
    assert (whole.bot.accounts[0].id, whole.bot.accounts[0].app_id) == ("gh_1", "wx1")


def test_init_refuses_a_wrong_flag_before_it_asks_anything() -> None:
    result = run("init", "--account", "mine", said="")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == 'bot.accounts[0].id: expected an account id such as "gh_…", got "mine"\n'


@pytest.mark.parametrize(
    ("flags", "printed"),
    [
        ((), []),
        (("--account", "gh_1"), ["Token"]),
        (("--account", "gh_1", "--app-id", "wx1"), ["Token", "EncodingAESKey"]),
    ],
)
def test_init_prints_for_wechats_console_what_the_file_has(flags: tuple[str, ...], printed: list[str]) -> None:
    result = run("init", "--yes", "--model", "m", *flags)

    console = [line.split() for line in result.stdout.splitlines() if line.startswith("WeChat's console")]
    assert [words[2].rstrip(":") for words in console] == printed
    assert all(words[3] in Path("posthouse.toml").read_text() for words in console)


def test_init_takes_flags_and_the_environments_key() -> None:
    flags = ("--listen", "127.0.0.1:9000", "--model", "m", "--account", "gh_1", "--app-id", "wx1")

    result = run("init", "--yes", "--config", "mine.toml", *flags, OPENAI_API_KEY="canary")

    assert result.exit_code == 0, result.output
    assert "`posthouse serve` needs OPENAI_API_KEY in its environment, too" in result.stderr
    assert "canary" not in Path("mine.toml").read_text()
    whole = loaded("mine.toml")
    assert whole.server.listen == ("127.0.0.1:9000",)
    assert whole.keys[0].secret.reveal() == "k"


def test_init_leaves_an_existing_config_alone() -> None:
    written("# mine")

    result = run("init", "--yes")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "posthouse: posthouse.toml: there is one already, which stays as it is\n"
    assert Path("posthouse.toml").read_text() == "# mine"


def test_init_writes_nothing_that_check_would_refuse(folder: Path) -> None:
    result = run("init", "--yes", "--account", "gh", "--listen", "here", "--model", "m")

    assert result.exit_code == 2
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["server.listen[0]", "bot.accounts[0].id"]
    assert list(folder.iterdir()) == []


def test_token_prints_a_token_once_and_lines_that_the_config_takes() -> None:
    result = run("token", "laptop")

    token, lines = result.stdout.split("\n", 1)
    written(lines)
    [caller] = loaded().proxy.callers
    assert result.exit_code == 0
    assert token.startswith("ph-")
    assert token not in lines
    assert (caller.name, caller.token) == ("laptop", hashlib.sha256(token.encode()).digest())


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, 'a"\nx', "名"])
def test_token_refuses_a_name_that_the_config_would_refuse(name: str) -> None:
    assert run("token", name).exit_code == 2


# keys, pending and usage


HEALTH = Health(
    keys=(
        KeyRecord("f1", "ready", name="limited", answered=3),
        KeyRecord("f2", "dead", rule="dead", reason="said [red]no\x1b[2J", name="revoked"),
    ),
    cells=(
        CellRecord(("key", "f1"), until=4e9, since=0.0, rule="rate", reason="429"),
        CellRecord(("key", "f2"), until=1.0, since=0.0, rule="rate", reason="long ago"),
    ),
)
USED = [
    Usage(f"2026-11-{day}", caller, "limited", "gpt-5", "reported", 2, 30, 12, 8)
    for day in ("09", "20", "22")
    for caller in ("team", "laptop")
]
QUESTION = Exchange("e1", "gh_1", "o_0123456789abcdef", "p1", question="a question of more than twenty characters")


@pytest.fixture
async def database(folder: Path) -> None:
    """As a daemon leaves it behind, beside a config whose secret this shell does not have."""
    written("[operator]\npassword = { env = 'GONE' }")
    async with Database(folder / "posthouse.db") as opened:
        await SqliteLedger(opened).save(HEALTH)
        await SqliteStore(opened, b"secret").begin(QUESTION)
        await SqliteUsage(opened).add(USED)


@pytest.mark.usefixtures("database")
def test_keys_shows_states_and_cooldowns_and_resolves_no_secret() -> None:
    result = run("keys", "--json")

    assert result.exit_code == 0, result.output
    limited, revoked = json.loads(result.stdout)
    assert (limited["name"], limited["state"], limited["answered"]) == ("limited", "cooling", 3)
    assert [cooldown["rule"] for cooldown in limited["cooldowns"]] == ["rate"]
    assert (revoked["state"], revoked["cooldowns"]) == ("dead", [])


@pytest.mark.usefixtures("database")
def test_the_table_of_keys_takes_an_upstreams_words_as_words() -> None:
    result = run("keys")

    assert "said [red]no [2J" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.usefixtures("database")
def test_pending_masks_the_subscriber_and_cuts_the_question() -> None:
    [row] = json.loads(run("pending", "--json").stdout)

    assert row["subscriber"] == "o_01…ef"
    assert row["question"] == "a question of more t…"
    assert row["state"] == "queued"


@pytest.mark.usefixtures("database")
def test_pending_shows_no_words_where_the_page_shows_none() -> None:
    written("[operator]\nshow_words = false")

    [row] = json.loads(run("pending", "--json").stdout)

    assert row["question"] is None
    assert "more than" not in run("pending").stdout


@pytest.mark.usefixtures("database")
def test_usage_shows_the_last_days_with_any_use_and_the_newest_first() -> None:
    result = run("usage", "--days", "2", "--json")

    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(row["day"][-2:], row["caller"]) for row in rows] == [
        ("22", "laptop"),
        ("22", "team"),
        ("20", "laptop"),
        ("20", "team"),
    ]
    assert [rows[0][f"{kind}_tokens"] for kind in ("prompt", "completion", "cached")] == [30, 12, 8]
    assert "prompt tokens" in run("usage").stdout


@pytest.mark.parametrize("command", ["keys", "pending", "usage"])
def test_without_a_database_there_is_one_sentence_and_none_is_made(folder: Path, command: str) -> None:
    result = run(command)

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "there is none yet" in result.stderr
    assert list(folder.iterdir()) == []
