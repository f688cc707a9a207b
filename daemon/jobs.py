"""
What the daemon does beside answering: fixed periodic jobs, and writing down what changed in memory.

Rule 1: a job that crashes is logged by its type and goes on at its next time; it never takes the daemon with it.
Rule 2: `Flush.wake` is synchronous, so that whoever changes a fact awaits nothing; one run covers all wakes before it.
Rule 3: at the end a periodic job is cancelled where it stands; a flush is let finish, and runs once more if anything woke it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from daemon.errors import where
from proxy.value import value_type

log = structlog.get_logger()

REST_FACTOR = 10  # how much longer a flush rests after a crash: a full disk is not emptied within a second


@value_type
class Job:
    """Runs at once, and then again `every_seconds` after the end of each run."""

    name: str
    run: Callable[[], Awaitable[None]]
    every_seconds: float


class Flush:
    """Runs soon after it was woken, at most once in `every_seconds`, and once more at the end."""

    def __init__(self, name: str, run: Callable[[], Awaitable[None]], every_seconds: float = 1.0) -> None:
        self.name = name
        self._run = run
        self._every_seconds = every_seconds
        self._woken = asyncio.Event()
        self._closing = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._closing.set()
        self._woken.set()

    async def keep(self) -> None:
        """Until `close`."""
        while not self._closing.is_set():
            await self._woken.wait()
            rest_seconds = await self._flush()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_seconds):
                    await self._closing.wait()
        if self._woken.is_set():
            await self._flush()

    async def _flush(self) -> float:
        """How long to rest before the next run. What could not be written stays to be written."""
        self._woken.clear()
        if await _is_done(self.name, self._run):
            return self._every_seconds
        self._woken.set()
        return self._every_seconds * REST_FACTOR


@contextlib.asynccontextmanager
async def running(*jobs: Job | Flush) -> AsyncIterator[None]:
    """Owns the tasks of `jobs`: none is left when the block is."""
    tasks = {asyncio.create_task(_repeat(job) if isinstance(job, Job) else job.keep()): job for job in jobs}
    try:
        yield
    finally:
        for task, job in tasks.items():
            if isinstance(job, Flush):
                job.close()
            else:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _repeat(job: Job) -> None:
    while True:
        await _is_done(job.name, job.run)
        await asyncio.sleep(job.every_seconds)


async def _is_done(name: str, run: Callable[[], Awaitable[None]]) -> bool:
    try:
        await run()
    # One of the three places that catch everything: a job's next run may succeed, and nobody else waits for it.
    except Exception as error:  # noqa: BLE001 - told by one log event, without the text
        log.error("job.crashed", job=name, error=type(error).__name__, where=where(error))
        return False
    return True
