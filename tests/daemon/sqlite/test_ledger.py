from __future__ import annotations

from pathlib import Path

from daemon.sqlite.database import Database
from daemon.sqlite.ledger import SqliteLedger


async def test_an_installation_keeps_the_secret_it_was_born_with(tmp_path: Path) -> None:
    async with Database(tmp_path / "a.db") as database:
        secret = await SqliteLedger(database).install_secret()

    async with Database(tmp_path / "a.db") as database:
        assert await SqliteLedger(database).install_secret() == secret
    async with Database(tmp_path / "b.db") as database:
        assert await SqliteLedger(database).install_secret() != secret
    assert len(secret) == 32
