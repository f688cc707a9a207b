from __future__ import annotations

from pathlib import Path

from daemon.sqlite.database import Database
from daemon.sqlite.ledger import SqliteLedger
from daemon.sqlite.sign_outs import SqliteSignOuts


async def test_sign_outs_outlive_the_daemon_and_the_last_word_counts(tmp_path: Path) -> None:
    async with Database(tmp_path / "a.db") as database:
        assert await SqliteSignOuts(database).load() == {}
        await SqliteSignOuts(database).save({"a": 1})
        await SqliteSignOuts(database).save({"b": 2, "c": 3})
    async with Database(tmp_path / "a.db") as database:
        assert await SqliteSignOuts(database).load() == {"b": 2, "c": 3}


async def test_sign_outs_are_not_the_installations_secret(tmp_path: Path) -> None:
    async with Database(tmp_path / "a.db") as database:
        secret = await SqliteLedger(database).install_secret()
        await SqliteSignOuts(database).save({"a": 1})
        assert await SqliteLedger(database).install_secret() == secret
