"""The database, its folder and its disk: against real files, whole, damaged and in use."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.doctor.facts import DatabaseFact, Door, DoorFact
from daemon.doctor.finding import Finding, Verdict
from daemon.doctor.machine import look_at_database, users_of
from daemon.doctor.machine_findings import config_findings, database_findings
from daemon.sqlite import DatabaseRefused
from daemon.sqlite.checkup import check
from daemon.sqlite.database import Database

ILL, DOUBT, WELL = Verdict.ILL, Verdict.DOUBT, Verdict.WELL
OURS = DoorFact("127.0.0.1:8080", True, Door.OURS)
GOOD = DatabaseFact(Path("/var/lib/posthouse/posthouse.db"), True, is_whole=True, size_bytes=10**7, free_bytes=10**11)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "posthouse.db"
    async with Database(path) as database:
        await database.write(("CREATE TABLE filler (words TEXT)", ()))
        await database.write(*[("INSERT INTO filler VALUES (?)", ("x" * 4_000,)) for _ in range(100)])
    return path


def of_file(fact: DatabaseFact, *doors: DoorFact) -> Finding:
    return next(finding for finding in database_findings(fact, doors) if finding.subject == fact.path.name)


def of_disk(fact: DatabaseFact) -> Finding:
    return next(finding for finding in database_findings(fact, ()) if finding.subject == "disk")


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


async def test_a_database_that_is_whole_is_left_as_it_was(path: Path) -> None:
    before = contents(path.parent)
    fact = look_at_database(path)

    assert (fact.exists, fact.is_whole, fact.trouble, fact.folder_is_writable) == (True, True, "", True)
    assert fact.size_bytes == path.stat().st_size
    assert contents(path.parent) == before
    assert of_file(fact).verdict is WELL


async def test_a_database_that_a_daemon_writes_to_is_looked_at_and_the_daemon_is_seen(path: Path) -> None:
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM filler'); print(1, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", f"{script}; sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        async with Database(path):
            fact = look_at_database(path)
        other.communicate(b"", timeout=10)

    assert fact.is_whole
    assert fact.users is not None
    assert other.pid in fact.users
    assert str(other.pid) in of_file(fact, OURS).what
    assert other.pid not in (users_of(path) or ())


async def test_a_damaged_database_is_ill(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for page in range(20, 60):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)

    finding = of_file(look_at_database(path))
    assert (finding.verdict, "damaged" in finding.what, "backup" in finding.to_do) == (ILL, True, True), finding


async def test_what_is_no_database_is_ill_and_one_of_a_newer_program_as_well(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"not a database at all" * 100)
    async with Database(path) as database:
        await database.write(("PRAGMA user_version = 999", ()))

    assert [of_file(look_at_database(each)).verdict for each in (other, path)] == [ILL, ILL]


def test_a_look_that_takes_too_long_ends_in_time_and_does_not_say_that_the_file_is_damaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:  # 60 MB, which take some fifty milliseconds
        connection.executemany("INSERT INTO filler VALUES (zeroblob(?))", [(1_000_000,)] * 60)
        connection.commit()

    assert not check(path, seconds=0.0)
    assert of_file(look_at_database(path, seconds=0.0)).verdict is DOUBT
    assert check(path, seconds=10.0)


async def test_a_file_that_is_whole_is_looked_through_and_one_that_is_gone_is_refused(path: Path) -> None:
    assert check(path, seconds=10.0)
    with pytest.raises(DatabaseRefused, match="none yet"):
        check(path.with_name("gone.db"), seconds=1.0)


def test_without_a_database_none_is_made(tmp_path: Path) -> None:
    fact = look_at_database(tmp_path / "posthouse.db")

    assert (of_file(fact).verdict, list(tmp_path.iterdir())) == (WELL, [])


def test_a_folder_that_does_not_exist_is_ill(tmp_path: Path) -> None:
    fact = look_at_database(tmp_path / "gone" / "posthouse.db")

    [finding] = database_findings(fact, ())
    assert (finding.verdict, "gone" in finding.what) == (ILL, True)


@pytest.mark.parametrize(
    ("changed", "doors", "verdict"),
    [
        ({}, (), WELL),
        ({"users": ()}, (), WELL),
        ({"users": (7,)}, (OURS,), WELL),
        ({"users": None}, (OURS,), WELL),
        ({"users": ()}, (OURS,), DOUBT),
        ({"is_whole": False}, (), DOUBT),
        ({"trouble": "it is damaged; restore a backup"}, (), ILL),
    ],
)
def test_every_state_of_the_file_is_judged(
    changed: dict[str, object], doors: tuple[DoorFact, ...], verdict: Verdict
) -> None:
    finding = of_file(replace(GOOD, **changed), *doors)  # type: ignore[arg-type]
    assert (finding.verdict, bool(finding.to_do)) == (verdict, verdict is not WELL)


@pytest.mark.parametrize(
    ("free", "size", "verdict"),
    [
        (10**11, 10**7, WELL),
        (5 * 10**8, 10**7, DOUBT),
        (5 * 10**9, 3 * 10**9, DOUBT),
        (5 * 10**7, 10**7, ILL),
        (0, 0, ILL),
    ],
)
def test_the_disk_needs_room_for_the_log_and_for_erasing(free: int, size: int, verdict: Verdict) -> None:
    assert of_disk(replace(GOOD, free_bytes=free, size_bytes=size)).verdict is verdict


def test_a_folder_that_may_not_be_written_is_told_beside_the_file() -> None:
    found = list(database_findings(replace(GOOD, folder_is_writable=False), ()))
    assert [finding.verdict for finding in found] == [WELL, DOUBT, WELL]


def test_the_configs_doubts_are_told_apart_from_what_to_do_about_them() -> None:
    doubts = [
        "/etc/p.toml holds secrets and others may read it (mode 0644); run: chmod 600 /etc/p.toml",
        "no key, so nothing can be answered; add [[keys]]",
    ]
    [first, *others] = config_findings("/etc/p.toml", doubts)

    assert first.verdict is WELL
    assert [(finding.verdict, finding.what, finding.to_do) for finding in others] == [
        (DOUBT, "/etc/p.toml holds secrets and others may read it (mode 0644).", "run: chmod 600 /etc/p.toml"),
        (DOUBT, "No key, so nothing can be answered.", "Add [[keys]]."),
    ]
