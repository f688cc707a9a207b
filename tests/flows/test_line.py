"""Requests that find no key wait in line, each caller in turn, and are answered when there is room."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from typing import Any

import pytest

from daemon.demo.refusals import Bucket, Limited
from daemon.demo.steps import Answer, Hang
from proxy.callers import Caller
from proxy.reception import GatewaySettings
from tests.flows.conftest import Bench, Start

PATIENT = GatewaySettings(queue_seconds=8)
ONE_AT_A_TIME = {"k1": {"max_concurrency": 1}, "k2": {"max_concurrency": 1}}


def caller(name: str) -> Caller:
    return Caller(name, hashlib.sha256(f"ph-{name}".encode()).digest())


async def ask(bench: Bench, token: str = "ph-test-token", **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
    sent = {"Authorization": f"Bearer {token}", **headers}
    async with bench.session.post(f"{bench.url}/v1/chat/completions", json=body, headers=sent) as response:
        return response.status, await response.json(), {name.lower(): value for name, value in response.headers.items()}


async def test_a_request_waits_for_a_key_that_is_back_soon_instead_of_failing(start: Start) -> None:
    bench = await start([Limited(retry_after="0.4"), Answer("well")], settings=PATIENT)
    assert (await ask(bench))[0] == 429, "the request that met the limit has used its key up"
    began = time.monotonic()
    assert (await ask(bench))[0] == 200
    assert 0.2 < time.monotonic() - began < 2


async def test_a_request_does_not_wait_for_a_key_that_is_back_too_late(start: Start) -> None:
    bench = await start([Limited(retry_after="20")], settings=PATIENT)
    await ask(bench)
    status, _, headers = await asyncio.wait_for(ask(bench), 2)
    assert (status, headers["retry-after"]) == (429, "20")


async def test_a_request_is_kept_no_longer_than_its_client_waits(start: Start) -> None:
    bench = await start([Hang()], settings=PATIENT, keys={"k1": {"max_concurrency": 1}})
    busy = asyncio.create_task(ask(bench))
    await bench.upstream.until(lambda upstream: len(upstream.requests) == 1)
    status, _, _ = await asyncio.wait_for(ask(bench, **{"x-stainless-read-timeout": "1"}), 3)
    assert status == 429
    busy.cancel()


async def test_ten_callers_share_two_keys_of_one_request_each_and_nobody_starves(start: Start) -> None:
    """One caller comes with forty requests before nine others come with one each: the nine are not behind the forty."""
    names = [f"c{number}" for number in range(10)]
    bench = await start(
        [Answer(think_seconds=0.02)],
        [Answer(think_seconds=0.02)],
        settings=PATIENT,
        keys=ONE_AT_A_TIME,
        callers=[caller(name) for name in names],
    )
    order: list[str] = []

    async def one(name: str) -> None:
        status, _, _ = await ask(bench, f"ph-{name}")
        assert status == 200
        order.append(name)

    greedy = [asyncio.create_task(one("c0")) for _ in range(40)]
    await bench.upstream.until(lambda upstream: len(upstream.requests) >= 2)
    others = [asyncio.create_task(one(name)) for name in names[1:]]
    await asyncio.gather(*greedy, *others)
    assert Counter(order) == {"c0": 40, **dict.fromkeys(names[1:], 1)}
    last_of_the_others = max(order.index(name) for name in names[1:])
    assert last_of_the_others < 30, order


async def test_a_full_line_refuses_the_next_at_once(start: Start) -> None:
    bench = await start([Hang()], settings=PATIENT, keys={"k1": {"max_concurrency": 1}})
    waiting = [asyncio.create_task(ask(bench)) for _ in range(65)]
    async with asyncio.timeout(5):
        while len(bench.line) < 64:
            await asyncio.sleep(0)
    status, _, headers = await asyncio.wait_for(ask(bench), 2)
    assert (status, headers["retry-after"]) == (429, "1")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_caller_who_leaves_the_line_leaves_no_trace(start: Start) -> None:
    bench = await start([Hang()], settings=PATIENT, keys={"k1": {"max_concurrency": 1}})
    busy = asyncio.create_task(ask(bench))
    await bench.upstream.until(lambda upstream: len(upstream.requests) == 1)
    waiting = asyncio.create_task(ask(bench))
    async with asyncio.timeout(2):
        while not len(bench.line):
            await asyncio.sleep(0)
        waiting.cancel()
        while len(bench.line):
            await asyncio.sleep(0)
    busy.cancel()
    async with asyncio.timeout(2):
        while bench.pool.snapshot()[0].in_flight:
            await asyncio.sleep(0)
    assert len(bench.upstream.requests) == 1


@pytest.mark.parametrize("keys", [3])
async def test_keys_with_a_real_token_bucket_serve_all_they_can_and_meet_one_429_each_at_most(
    start: Start, keys: int
) -> None:
    """K keys of R a minute: K·R requests within a minute all succeed. Here R is 1,200, and the minute 3 s of it."""
    per_minute = 1_200.0
    bench = await start(*[[Bucket(per_minute)] for _ in range(keys)], settings=PATIENT)
    wanted = int(keys * per_minute * 3 / 60)
    began = asyncio.get_running_loop().time()

    async def one(number: int) -> int:
        await asyncio.sleep(max(0.0, began + number * 3.0 / wanted - asyncio.get_running_loop().time()))
        return (await ask(bench))[0]

    statuses = Counter(await asyncio.gather(*(one(number) for number in range(wanted))))
    assert statuses == {200: wanted}
    refused = Counter(received.key for received in bench.upstream.requests if received.status == 429)
    assert all(count <= 1 for count in refused.values()), refused
