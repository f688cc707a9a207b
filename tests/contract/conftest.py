"""Every engine that keeps exchanges, by name. A test that asks for `store` runs once on each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from bot.memory_store import MemoryStore
from bot.store import ExchangeStore
from daemon.sqlite.database import Database
from daemon.sqlite.store import SqliteStore


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[ExchangeStore]:
    yield MemoryStore()


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[ExchangeStore]:
    async with Database(folder / "posthouse.db") as database:
        yield SqliteStore(database, b"secret")


# name -> a factory that opens an empty store, in the folder where it needs one, and closes it
EXCHANGE_STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[ExchangeStore]]] = {
    "memory": memory,
    "sqlite": sqlite,
}


@pytest.fixture(params=EXCHANGE_STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ExchangeStore]:
    async with EXCHANGE_STORES[request.param](tmp_path) as opened:
        yield opened
