from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bot.exchange import Exchange
from bot.memory_store import MemoryStore
from daemon.operator.mailroom import Mailroom


class SlowStore(MemoryStore):
    """Answers a look when it is told to; each has another count."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[int] = []  # their offsets
        self.may_answer = asyncio.Semaphore(0)

    async def pending(self, limit: int, offset: int = 0) -> Sequence[Exchange]:
        self.looks.append(offset)
        await self.may_answer.acquire()
        return ()

    async def count_pending(self) -> int:
        return len(self.looks)


async def started(*asking: asyncio.Task[object]) -> None:
    for _ in asking:
        await asyncio.sleep(0)


async def counted(asking: asyncio.Task[object]) -> object:
    return getattr(await asking, "pending_count", None)


async def test_who_asks_during_a_look_gets_the_next_one_and_all_of_them_the_same() -> None:
    store = SlowStore()
    room = Mailroom(store)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        first = group.create_task(room.mail())
        await started(first)
        later = [group.create_task(room.mail()) for _ in range(10)]
        await started(*later)
        assert store.looks == [0]
        store.may_answer.release()
        store.may_answer.release()
        assert await counted(first) == 1
        assert [await counted(each) for each in later] == [2] * 10
    assert store.looks == [0, 0]


async def test_each_page_is_looked_at_for_those_who_ask_for_it() -> None:
    store = SlowStore()
    room = Mailroom(store)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        asking = [group.create_task(room.mail(page)) for page in (1, 2, 2, 1, 2)]
        await started(*asking)
        for _ in range(3):
            store.may_answer.release()
        assert [await counted(each) for each in asking] == [1, 2, 2, 3, 2]
    assert store.looks == [0, 50, 0]  # the second who asked for the first page came after its look had begun


async def test_whoever_leaves_does_not_take_the_look_of_the_others_along() -> None:
    store = SlowStore()
    room = Mailroom(store)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        leaving = group.create_task(room.mail())
        await started(leaving)
        staying = group.create_task(room.mail())
        await started(staying)
        leaving.cancel()
        store.may_answer.release()
        assert await counted(staying) == 2


async def test_what_was_found_for_pages_that_nobody_asks_for_any_more_is_not_kept() -> None:
    store = SlowStore()
    room = Mailroom(store)
    for page in range(1, 50):
        store.may_answer.release()
        await room.mail(page)
    assert len(room._found) <= 2
