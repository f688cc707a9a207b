import asyncio

import pytest
from structlog.testing import capture_logs

from daemon.jobs import Flush, Job, running

SHORT = 0.01
LONG = 3600.0


class Counter:
    """Counts its runs and crashes in the first `crashes` of them."""

    def __init__(self, crashes: int = 0) -> None:
        self.runs = 0
        self._crashes = crashes
        self._changed = asyncio.Condition()

    async def __call__(self) -> None:
        self.runs += 1
        async with self._changed:
            self._changed.notify_all()
        if self.runs <= self._crashes:
            raise ValueError("what the subscriber said")

    async def reaches(self, runs: int) -> None:
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: self.runs >= runs)


async def test_a_job_runs_at_once_and_again() -> None:
    count = Counter()
    async with running(Job("count", count, SHORT)):
        await count.reaches(3)


async def test_a_job_waits_for_its_next_time() -> None:
    daily, often = Counter(), Counter()
    async with running(Job("daily", daily, LONG), Job("often", often, SHORT)):
        await often.reaches(5)
    assert daily.runs == 1


async def test_a_crashing_job_is_logged_by_type_and_goes_on() -> None:
    count = Counter(crashes=2)
    with capture_logs() as logs:
        async with running(Job("count", count, SHORT)):
            await count.reaches(3)
    assert [(log["event"], log["job"], log["error"]) for log in logs] == [("job.crashed", "count", "ValueError")] * 2
    assert "subscriber" not in str(logs)


async def test_a_job_ends_with_its_block_wherever_it_stands() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with asyncio.timeout(5), running(Job("hang", hang, LONG)):
        await started.wait()
    assert ended.is_set()


async def test_an_exception_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="own"):
        async with running(Job("count", Counter(), LONG)):
            raise KeyError("own")


async def test_a_flush_does_not_run_before_it_is_woken() -> None:
    flush, often = Counter(), Counter()
    async with running(Flush("flush", flush, SHORT), Job("often", often, SHORT)):
        await often.reaches(5)
        assert flush.runs == 0


async def test_many_wakes_are_one_run() -> None:
    count = Counter()
    flush = Flush("flush", count, LONG)
    async with running(flush):
        for _ in range(100):
            flush.wake()
        await count.reaches(1)
        assert count.runs == 1


async def test_a_wake_during_the_rest_waits_and_is_written_at_the_end_at_the_latest() -> None:
    count = Counter()
    flush = Flush("flush", count, LONG)
    async with asyncio.timeout(5), running(flush):
        flush.wake()
        await count.reaches(1)
        flush.wake()
        assert count.runs == 1
    assert count.runs == 2


async def test_a_flush_runs_again_after_its_rest() -> None:
    count = Counter()
    flush = Flush("flush", count, SHORT)
    async with running(flush):
        for runs in range(1, 4):
            flush.wake()
            await count.reaches(runs)


async def test_a_wake_in_the_middle_of_a_run_is_not_lost() -> None:
    """The end waits for the run that has begun, and then writes what changed meanwhile."""
    begun, may_end, runs = asyncio.Event(), asyncio.Event(), []

    async def write() -> None:
        runs.append("begun")
        begun.set()
        await may_end.wait()
        runs.append("ended")

    flush = Flush("flush", write, LONG)
    async with asyncio.timeout(5), running(flush):
        flush.wake()
        await begun.wait()
        flush.wake()
        asyncio.get_running_loop().call_soon(may_end.set)
    assert runs == ["begun", "ended"] * 2


async def test_a_flush_that_was_never_woken_still_runs_at_the_end() -> None:
    count = Counter()
    async with asyncio.timeout(5), running(Flush("flush", count, LONG)):
        pass
    assert count.runs == 1


async def test_what_a_crash_left_unwritten_is_written_later() -> None:
    count = Counter(crashes=1)
    flush = Flush("flush", count, SHORT / 10)
    with capture_logs() as logs:
        async with running(flush):
            flush.wake()
            await count.reaches(2)
    assert [log["event"] for log in logs] == ["job.crashed"]
