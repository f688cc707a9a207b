"""Disks that fail, fill up, are locked or come back damaged, under the whole daemon: nothing false is said to anybody."""

from __future__ import annotations

import random
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bench.faults import trace
from bench.faults.durability import ask_all, traced
from bench.faults.stand import standing
from daemon.demo.steps import Answer
from daemon.sqlite.database import Database
from tests.flows.daemon_bench import TOKEN, Town, town, words

NOT_KEPT = "刚才没能记下"


async def asked_of_gateway(place: Town) -> int:
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
    url, headers = f"{place.daemon.url}/v1/chat/completions", {"Authorization": f"Bearer {TOKEN}"}
    async with place.session.post(url, json=body, headers=headers) as response:
        await response.read()
        return response.status


@contextmanager
def full(database: Path) -> Iterator[None]:
    """No file of this process grows beyond what the write-ahead log has now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = database.with_name(f"{database.name}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def locked(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("trouble", [full, locked])
async def test_while_nothing_can_be_written_subscribers_are_told_and_the_gateway_does_not_notice(
    tmp_path: Path, trouble: type
) -> None:
    async with town(tmp_path, {"sk-1": [Answer("信会送到")]}) as place:
        with trouble(tmp_path / "posthouse.db"):
            told = await place.side.say("o_1", "一")
            assert words(told).startswith(NOT_KEPT)
            assert len(told.deliveries) == 1
            assert await asked_of_gateway(place) == 200

        assert words(await place.side.say("o_1", "一")).startswith("信会送到")


async def test_a_daemon_whose_database_is_damaged_serves_gateway_and_subscribers(tmp_path: Path) -> None:
    path = tmp_path / "posthouse.db"
    async with Database(path):
        pass
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\x5a" * (len(data) - len(data) // 2))

    async with town(tmp_path, {"sk-1": [Answer("信会送到")]}) as place:
        assert await asked_of_gateway(place) == 200
        assert words(await place.side.say("o_1", "一")).startswith("信会送到")
    assert len([*tmp_path.glob("posthouse.db.damaged-*-0")]) == 1


@pytest.mark.tools
async def test_a_question_is_on_the_disk_before_anybody_is_told_that_it_was_kept(tmp_path: Path) -> None:
    """Every third sync fails; the order is the system calls' own. A kill would not show it: the kernel has the pages."""
    output = tmp_path / "trace"
    async with standing(tmp_path / "house", random.Random(1), think_seconds=0.0) as stand:
        await stand.house.start()
        tracer = await traced(stand.house.pid, output, inject="fdatasync:error=EIO:when=2+3")
        await ask_all(stand.readers(15, 15))
        stand.house.kill()
        await stand.house.gone()
        await tracer.wait()
    with output.open(errors="replace") as lines:
        finding = trace.read(lines)
    assert finding.early == set()
    assert finding.failed_syncs > 0
    assert finding.acknowledged
    assert finding.refused
    assert len(finding.acknowledged | finding.refused) == 30
