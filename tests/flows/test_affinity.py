"""What a key made, that key serves; what a caller made, that caller reaches; a conversation stays with its key."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest

from daemon.demo.refusals import Limited
from daemon.demo.steps import Answer, Raw
from proxy.callers import Caller
from tests.flows.conftest import Bench, Start

JSON = {"content-type": "application/json"}


def caller(name: str, **settings: Any) -> Caller:
    return Caller(name, hashlib.sha256(f"ph-{name}".encode()).digest(), **settings)


CALLERS = [caller("anna"), caller("bert"), caller("boss", see_all=True)]


def made(object_id: str) -> Raw:
    return Raw(200, JSON, f'{{"id": "{object_id}", "object": "file"}}'.encode())


async def call(bench: Bench, method: str, path: str, name: str = "anna", **more: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer ph-{name}"}
    async with bench.session.request(method, f"{bench.url}{path}", headers=headers, **more) as response:
        return response.status, await response.json()


async def upload(bench: Bench, name: str = "anna") -> tuple[int, Any]:
    return await call(bench, "POST", "/v1/files", name, json={"purpose": "batch"})


async def test_a_file_is_read_with_the_key_that_made_it(start: Start) -> None:
    bench = await start([made("file-Abc123456")], [Answer()], [Answer()], callers=CALLERS)
    await upload(bench)
    for _ in range(5):
        assert (await call(bench, "GET", "/v1/files/file-Abc123456"))[0] == 200
    assert [bench.asked(key) for key in ("k1", "k2", "k3")] == [6, 0, 0]


@pytest.mark.parametrize(("name", "status"), [("anna", 200), ("bert", 404), ("boss", 200)])
async def test_another_callers_file_does_not_exist(start: Start, name: str, status: int) -> None:
    bench = await start([made("file-Abc123456")], callers=CALLERS)
    await upload(bench)
    got, body = await call(bench, "GET", "/v1/files/file-Abc123456", name)
    assert got == status
    if status == 404:
        assert body["error"]["code"] == "not_found"
        assert len(bench.upstream.requests) == 1, "nothing of it reached the upstream"


async def test_a_previous_response_binds_the_next_one_to_its_key_and_caller(start: Start) -> None:
    bench = await start([made("resp_0123456789Abcdef")], [Answer()], callers=CALLERS)
    first = {"model": "gpt-5", "input": "hi"}
    await call(bench, "POST", "/v1/responses", json=first)
    following = {"model": "gpt-5", "input": "and then?", "previous_response_id": "resp_0123456789Abcdef"}
    assert (await call(bench, "POST", "/v1/responses", json=following))[0] == 200
    assert (bench.asked("k1"), bench.asked("k2")) == (2, 0)
    assert (await call(bench, "POST", "/v1/responses", "bert", json=following))[0] == 404


@pytest.mark.parametrize(("names", "status"), [(["anna"], 200), (["anna", "bert"], 403)])
async def test_files_are_listed_only_while_there_is_one_caller(start: Start, names: list[str], status: int) -> None:
    bench = await start([Answer()], callers=[caller(name) for name in names])
    assert (await call(bench, "GET", "/v1/files"))[0] == status
    assert len(bench.upstream.requests) == (status == 200)


async def test_the_key_that_has_a_file_is_waited_for_rather_than_another_asked(start: Start) -> None:
    bench = await start([made("file-Abc123456"), Limited(retry_after="20")], [Answer()], callers=CALLERS)
    await upload(bench)
    status, body = await call(bench, "GET", "/v1/files/file-Abc123456")
    assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
    assert bench.asked("k2") == 0


async def chat(bench: Bench, opening: str, turn: int = 1) -> int:
    said = [{"role": "user", "content": opening}, *[{"role": "user", "content": f"turn {n}"} for n in range(turn)]]
    return (await call(bench, "POST", "/v1/chat/completions", json={"model": "gpt-5", "messages": said}))[0]


async def test_a_conversation_stays_with_its_key(start: Start) -> None:
    bench = await start([Answer()], [Answer()], [Answer()], callers=CALLERS)
    for turn in range(1, 7):
        assert await chat(bench, "one and the same beginning", turn) == 200
    assert sorted(bench.asked(key) for key in ("k1", "k2", "k3")) == [0, 0, 6]


async def test_different_conversations_are_spread_over_the_keys(start: Start) -> None:
    bench = await start([Answer()], [Answer()], [Answer()], callers=CALLERS)
    for number in itertools.islice(itertools.count(), 6):
        assert await chat(bench, f"beginning {number}") == 200
    assert [bench.asked(key) for key in ("k1", "k2", "k3")] == [2, 2, 2]


async def test_a_conversation_leaves_its_key_while_that_rests(start: Start) -> None:
    bench = await start([Answer(), Limited(retry_after="20")], [Answer()], callers=CALLERS)
    assert [await chat(bench, "hello", turn) for turn in (1, 2, 3)] == [200, 200, 200]
    assert (bench.asked("k1"), bench.asked("k2")) == (2, 2)
