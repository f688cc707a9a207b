"""Tasks that have one owner, who can wait for them and cancel them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end(self, grace_seconds: float) -> int:
        """
        Let them come to their end for `grace_seconds`, then cancel those that are left: how many. None is left afterwards.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + grace_seconds
        while self._tasks and now() < deadline:
            await asyncio.wait(self._tasks, timeout=deadline - now())
        cancelled = len(self._tasks)
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        return cancelled
