"""The commands about what is kept, and the one that asks: what they print, where, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.exchange import Exchange, Kind, State
from bot.picture import Picture
from daemon.cli import posthouse
from daemon.demo.refusals import Limited, Revoked
from daemon.demo.steps import Answer, CutStream, Step
from daemon.demo.upstream import ScriptedUpstream
from daemon.gallery import FolderGallery
from daemon.sqlite.database import Database
from daemon.sqlite.ledger import SqliteLedger
from daemon.sqlite.store import SqliteStore
from tests.journal import log_as_before

WHO = "o_0123456789abcdef"
AT = 1_764_000_000.0
ASKED = Exchange("e1", "gh_1", WHO, "p1", "what is a posthouse?", asked_at=AT)
ROWS = [
    replace(ASKED, state=State.COLLECTED, answer="A place to change horses.", answered_at=AT + 3, collected_at=AT + 3),
    replace(ASKED, id="e2", push_id="p2", account="gh_2", question="一只猫", kind=Kind.DRAWING, asked_at=AT + 9),
    replace(ASKED, id="e3", push_id="p3", openid="o_somebody_else"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("OPENAI_", "POSTHOUSE_", "WECHAT_")) or name in ("PORT", "STATE_DIRECTORY"):
            monkeypatch.delenv(name)
    (tmp_path / "posthouse.toml").write_text('[operator]\npassword = { env = "GONE" }\n')
    return tmp_path


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """`ask` sets the log up as a process of its own would; here others come after it."""
    with log_as_before():
        yield


def run(*arguments: str, said: str | None = None) -> Result:
    return CliRunner().invoke(posthouse, arguments, input=said, prog_name="posthouse")


async def filled(folder: Path) -> None:
    async with Database(folder / "posthouse.db") as database:
        secret = await SqliteLedger(database).install_secret()
        store = SqliteStore(database, secret)
        for row in ROWS:
            await store.begin(replace(row, state=State.QUEUED))
            await store.save(row)
        await store.choose_persona("gh_1", WHO, "老师")
        gallery = FolderGallery(folder / "posthouse.db.pictures", secret)
        await gallery.keep("gh_2", WHO, Picture("png", b"\x89PNG\r\n\x1a\n" + bytes(64)))


@pytest.fixture
def database(folder: Path) -> Path:
    asyncio.run(filled(folder))
    return folder / "posthouse.db"


def questions(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM exchange").fetchone()[0])


@pytest.mark.usefixtures("database")
def test_an_export_has_every_word_of_the_subscriber_and_of_nobody_else() -> None:
    result = run("export", WHO)

    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert [account["account"] for account in said["accounts"]] == ["gh_1", "gh_2"]
    [question] = said["accounts"][0]["questions"]
    assert (question["question"], question["answer"]) == (ROWS[0].question, ROWS[0].answer)
    assert question["asked_at"] == "2025-11-25T00:00:00+08:00"
    assert said["accounts"][0]["persona"] == "老师"
    assert "somebody" not in result.stdout


@pytest.mark.usefixtures("database")
def test_an_export_of_one_account_into_a_file_that_only_its_owner_reads(folder: Path) -> None:
    assert run("export", WHO, "--account", "gh_2", "--output", "out.json").exit_code == 0

    said = json.loads((folder / "out.json").read_text())
    assert [account["account"] for account in said["accounts"]] == ["gh_2"]
    assert stat.S_IMODE((folder / "out.json").stat().st_mode) == 0o600
    again = run("export", WHO, "--output", "out.json")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "out.json" in again.stderr


@pytest.mark.parametrize("command", ["export", "forget"])
@pytest.mark.usefixtures("database")
def test_of_a_stranger_nothing_is_kept_and_that_is_said(command: str) -> None:
    result = run(command, "o_stranger")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "posthouse: nothing is kept about o_stranger\n"


def test_forgetting_deletes_questions_answers_and_pictures_and_nobody_elses(database: Path) -> None:
    pictures = database.with_name("posthouse.db.pictures")
    assert list(pictures.rglob("*/*"))

    result = run("forget", WHO, "--yes")

    assert (result.exit_code, result.stdout) == (
        0,
        "deleted: 2 questions and answers; backups made before still have them\n",
    )
    assert questions(database) == 1
    assert not list(pictures.rglob("*/*"))
    assert b"change horses" not in database.read_bytes()
    assert run("forget", WHO, "--yes").exit_code == 1


def test_nobody_is_forgotten_unasked(database: Path) -> None:
    result = run("forget", WHO)

    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert questions(database) == 3


async def test_a_subscriber_is_forgotten_while_the_daemon_writes(folder: Path) -> None:
    await filled(folder)
    async with Database(folder / "posthouse.db") as daemon:
        store = SqliteStore(daemon, await SqliteLedger(daemon).install_secret())
        writes = asyncio.gather(*(store.begin(replace(ROWS[2], id=f"n{n}", push_id=f"n{n}")) for n in range(50)))
        result = await asyncio.to_thread(run, "forget", WHO, "--yes")
        await writes

        assert result.exit_code == 0, result.output
        assert await store.of("gh_1", WHO) == []
        assert not await store.save(ROWS[0])  # what was being thought about finds no row


async def test_a_backup_is_whole_while_the_daemon_writes(folder: Path) -> None:
    await filled(folder)
    async with Database(folder / "posthouse.db") as daemon:
        store = SqliteStore(daemon, b"secret")
        writes = asyncio.gather(*(store.begin(replace(ROWS[2], id=f"n{n}", push_id=f"n{n}")) for n in range(200)))
        result = await asyncio.to_thread(run, "backup", "copy.db", "--json")
        await writes

    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    copy = folder / "copy.db"
    assert said == {"file": "copy.db", "bytes": copy.stat().st_size, "questions": questions(copy)}
    assert said["questions"] >= 3
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not [path.name for path in folder.iterdir() if path.name.startswith((".copy", "copy.db-"))]
    async with Database(copy) as restored:
        assert await SqliteStore(restored, b"secret").get("e1") == ROWS[0]


@pytest.mark.usefixtures("database")
def test_a_backup_overwrites_nothing(folder: Path) -> None:
    (folder / "copy.db").write_text("precious")

    result = run("backup", "copy.db")

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert (folder / "copy.db").read_text() == "precious"


@pytest.mark.parametrize(
    "command", [("export", WHO), ("forget", WHO, "--yes"), ("backup", "copy.db")], ids=lambda c: c[0]
)
def test_without_a_database_there_is_one_sentence_and_none_is_made(folder: Path, command: tuple[str, ...]) -> None:
    result = run(*command)

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "there is none yet" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["posthouse.toml"]


async def asked(folder: Path, steps: list[Step], *arguments: str, said: str | None = None) -> Result:
    async with ScriptedUpstream({"sk-one": steps}) as upstream:
        (folder / "posthouse.toml").write_text(
            f'bot.model = "gpt-5"\nupstreams.openai.base_url = "{upstream.base_url}"\n'
            f'bot.queue_seconds = 0\nkeys = [{{ name = "one", secret = "sk-one" }}]\n'
        )
        return await asyncio.to_thread(run, "ask", *arguments, said=said)


async def test_a_question_is_answered_on_standard_output_and_leaves_nothing_behind(folder: Path) -> None:
    result = await asked(folder, [Answer(text="A place to change horses.")], "what is a posthouse?")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "A place to change horses.\n", "")
    assert [path.name for path in folder.iterdir()] == ["posthouse.toml"]


async def test_a_question_may_come_on_standard_input(folder: Path) -> None:
    result = await asked(folder, [Answer()], "-", said="驿站是什么？")

    assert "驿站是什么？" in result.stdout


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Limited("30"), "every key is resting; the first is back in"),
        (Revoked(), "key"),
        (CutStream(after_pieces=1), "cut off"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_question_that_is_not_answered_says_why_and_ends_with_one(folder: Path, step: Step, words: str) -> None:
    result = await asked(folder, [step], "what is a posthouse?")

    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_without_a_model_or_a_question_the_usage_is_wrong(folder: Path) -> None:
    (folder / "posthouse.toml").write_text("")
    assert "no model" in run("ask", "what?").stderr
    result = run("ask", "  ", "--model", "m")
    assert (result.exit_code, "no question" in result.stderr) == (2, True)
