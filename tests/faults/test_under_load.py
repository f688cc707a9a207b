"""The daemon as a process of its own with people on it: killed, reloaded, stopped, out of files, and given bad input."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bench.faults.doors import Discreet, Tally, opened
from bench.faults.fuzz import many
from bench.faults.house import KEYS, House
from bench.faults.kills import first_answer, killed
from bench.faults.plan import Plan
from bench.faults.stand import standing
from daemon.demo.steps import Answer
from daemon.demo.upstream import ScriptedUpstream

pytestmark = pytest.mark.tools  # it needs none, but a machine without other tests on it


async def test_two_kills_lose_nothing_and_bring_nothing_twice(tmp_path: Path) -> None:
    result = await killed(Plan(tmp_path, seed=3), 2, people=(6, 6, 2))

    assert result.is_kept
    assert result.books.lost == set()
    assert len(result.books.acknowledged) > 8
    assert result.troubles == {}


async def test_no_request_fails_while_the_config_is_read_again_and_again(tmp_path: Path) -> None:
    async with standing(tmp_path / "house", random.Random(1), think_seconds=0.0) as stand:
        house, good = stand.house, stand.house.config_text()
        await house.start()
        callers = stand.callers(3, pause_seconds=0.01)
        lives = [asyncio.create_task(caller.live()) for caller in callers]
        for number in range(9):
            house.config.write_text(good + ("nonsense = [" if number % 3 == 1 else ""))
            before = house.log.stat().st_size
            house.signal(signal.SIGHUP)
            async with asyncio.timeout(10):
                while b'"config.re' not in house.log.read_bytes()[before:]:  # reloaded, or refused
                    await asyncio.sleep(0.02)
        stand.scene.is_over = True
        await asyncio.gather(*lives)
        events = Counter(event["event"] for event in house.events())
    outcomes = sum((caller.outcomes for caller in callers), Counter[str]())
    assert set(outcomes) == {"whole"}
    assert (events["config.reloaded"], events["config.refused"]) == (6, 3)


async def test_at_sigterm_each_of_fifty_streams_says_that_it_is_not_whole(tmp_path: Path) -> None:
    async with standing(tmp_path / "house", random.Random(1)) as stand:
        slow = Answer("信会送到。" * 60 + "oc0#0⟧", pieces=60, chunk_seconds=1.0)
        stand.upstream.script |= {key: [slow] for key in KEYS}
        await stand.house.start()
        asked = [asyncio.create_task(caller.ask("oc0#0", streams=True)) for caller in stand.callers(50)]
        async with asyncio.timeout(20):
            await stand.upstream.until(lambda upstream: sum(r.status == 200 for r in upstream.requests) == 50)
        assert await stand.house.stop() == 0
        outcomes = Counter(await asyncio.gather(*asked))
    assert set(outcomes) == {"visibly cut"}


async def test_out_of_files_it_neither_spins_nor_fills_the_log_and_answers_again(tmp_path: Path) -> None:
    async with standing(tmp_path / "house", random.Random(1)) as stand, AsyncExitStack() as crowd:
        house = stand.house
        await house.start()
        limits = resource.prlimit(house.pid, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{house.pid}/fd"))
        resource.prlimit(house.pid, resource.RLIMIT_NOFILE, (used + 2, limits[1]))
        for _ in range(50):
            _, writer = await asyncio.open_connection("127.0.0.1", house.port)
            crowd.callback(writer.close)
        await crowd.aclose()
        resource.prlimit(house.pid, resource.RLIMIT_NOFILE, limits)

        await first_answer(stand)

        assert house.log.stat().st_size < 20_000


async def test_input_that_is_almost_right_is_answered_and_never_a_crash(tmp_path: Path) -> None:
    async with ScriptedUpstream({key: [Discreet()] for key in KEYS}, is_strict=False) as upstream:
        house = House(tmp_path, upstream.base_url, queue_seconds=0.5)
        async with opened(house, random.Random(20261127)) as doors:
            tally = Tally()
            for door in (doors.heads, doors.json, doors.xml, doors.sealed):
                await many(door, tally, 150)
            assert house.is_alive
        assert tally.faults == []
        assert tally.counts["4xx"] > 200
        assert house.troubles() == {}
