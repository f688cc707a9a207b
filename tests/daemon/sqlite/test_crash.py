"""
`kill -9` in the middle of writing. It proves the order of commit and answer, not the disk: the kernel keeps what was written
though never synced.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from daemon.sqlite.database import Database
from daemon.sqlite.store import SqliteStore

ROOT = Path(__file__).parents[3]

SUBSCRIBERS = """
import asyncio, sys
from pathlib import Path
from bot.exchange import Exchange
from daemon.sqlite.database import Database
from daemon.sqlite.store import SqliteStore

async def ask(store, who):
    for number in range(1_000_000):
        row = await store.begin(Exchange(f"{who}-{number}", "gh_a", f"o_{who}", str(number), question="?" * 500))
        print(row.id, flush=True)

async def main():
    async with Database(Path(sys.argv[1])) as database:
        store = SqliteStore(database, b"secret")
        await asyncio.gather(*(ask(store, who) for who in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 37, 150, 800])
async def test_every_acknowledged_question_survives_kill_9(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "posthouse.db"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUBSCRIBERS, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    lines = [await child.stdout.readline() for _ in range(acknowledged)]
    child.kill()
    lines += [line async for line in child.stdout]
    await child.wait()

    async with Database(path) as database:
        kept = {row.id for row in await SqliteStore(database, b"secret").unfinished()}

    assert {line.decode().strip() for line in lines if line.endswith(b"\n")} <= kept
