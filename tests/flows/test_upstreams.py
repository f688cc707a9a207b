"""Several upstreams: which of them a request goes to, from which address, and what one that fails costs."""

from __future__ import annotations

import asyncio
import functools
import gc
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.demo.refusals import Limited, Revoked, ServerError
from daemon.demo.steps import JSON, Answer, Raw, Reset
from daemon.demo.upstream import ScriptedUpstream
from daemon.session import trouble_with
from proxy.checks import check, check_due
from proxy.verdict import Rule
from tests.flows.conftest import Start
from tests.flows.several import ASKED, TOKEN, code_of, document, key, paths, serving

HOME, OTHER, THIRD = "127.0.0.1", "127.0.0.2", "127.0.0.3"
FOREIGN = "192.0.2.1"  # of no machine: it is for documents. Source: RFC 5737
pytestmark = pytest.mark.usefixtures("both_lanes")
needs_loopback = pytest.mark.skipif(bool(trouble_with(OTHER)), reason="this system has one loopback address only")


@pytest.fixture
async def near() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream({"sk-n1": [Answer("near")], "sk-n2": [Answer("near")]}) as upstream:
        yield upstream


@pytest.fixture
async def far() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream({"sk-f1": [Answer("far")], "sk-f2": [Answer("far")]}) as upstream:
        yield upstream


def at(upstream: ScriptedUpstream, **settings: Any) -> dict[str, Any]:
    return {"base_url": upstream.base_url, **settings}


def nowhere() -> dict[str, Any]:
    """An upstream where nobody listens."""
    with socket.socket() as probe:
        probe.bind((HOME, 0))
        return {"base_url": f"http://{HOME}:{probe.getsockname()[1]}/v1"}


def remotes(upstream: ScriptedUpstream) -> list[str]:
    return [received.remote for received in upstream.requests]


# --- from which address


@needs_loopback
async def test_each_upstream_is_reached_from_its_own_address(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    """Also where two names lead to one host: a connection of one address never serves another."""
    written = document(
        {
            "near": at(near),
            "again": at(near, source_address=OTHER),
            "far": at(far, source_address=THIRD),
        },
        [
            key("n1", "near", models=["m1"]),
            key("n2", "again", models=["m2"]),
            key("f1", "far", models=["m3"]),
        ],
    )
    async with serving(tmp_path, written) as place:
        for model in ("m1", "m2", "m3", "m2", "m1"):
            assert await place.status_of(model) == 200
    assert [(r.key, r.remote) for r in near.requests] == [
        ("sk-n1", HOME),
        ("sk-n2", OTHER),
        ("sk-n2", OTHER),
        ("sk-n1", HOME),
    ]
    assert remotes(far) == [THIRD]
    assert near.connections == 2


@needs_loopback
async def test_free_checks_go_out_from_the_same_address(start: Start) -> None:
    bench = await start([Revoked()], [Answer()], upstream_settings={"source_address": OTHER})
    body = {"model": "gpt-5", "messages": ASKED}
    async with bench.session.post(f"{bench.url}/v1/chat/completions", json=body, headers=bench.headers) as response:
        assert response.status == 200
    bench.let_pass(5.0)
    await check_due(bench.pool, bench.sessions.towards)
    assert [(r.method, r.remote) for r in bench.upstream.requests] == [("POST", OTHER), ("POST", OTHER), ("GET", OTHER)]


async def test_whoever_redirects_a_free_check_is_not_the_api(start: Start) -> None:
    """An upstream that rested was taken for well again as soon as a page to sign in at stood in its place."""
    bench = await start([Answer()])
    bench.upstream.checks["sk-1"] = [Raw(302, {"location": "http://127.0.0.1:1/"})]
    key = bench.pool.key_named("k1")
    assert key is not None
    assert (await check(key, bench.sessions.towards)).rule is Rule.CONNECT


async def test_an_address_that_the_machine_does_not_have_is_told_once_and_costs_its_own_upstream_only(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    written = document(
        {"near": at(near, source_address=FOREIGN), "far": at(far)},
        [key("n1", "near", models=["m1"]), key("f1", "far", models=["m2"])],
    )
    with capture_logs() as logs:
        async with serving(tmp_path, written) as place:
            async with place.ask("m1") as response:
                assert (response.status, await code_of(response)) == (502, "upstream_unreachable")
            assert await place.status_of("m2") == 200
    assert near.connections == 0
    (told,) = [entry for entry in logs if entry["event"] == "source_address.refused"]
    assert (told["log_level"], told["upstream"], told["address"]) == ("error", "near", FOREIGN)
    assert "does not have that address" in told["reason"]


@needs_loopback
async def test_a_reload_takes_up_new_upstreams_and_new_addresses(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    async with serving(tmp_path, document({"near": at(near)}, [key("n1", "near")])) as place:
        assert await place.status_of() == 200
        place.reload(document({"near": at(near, source_address=OTHER)}, [key("n1", "near")]))
        assert await place.status_of() == 200
        place.reload(document({"far": at(far, source_address=THIRD)}, [key("f1", "far")]))
        assert await place.status_of() == 200
    assert (remotes(near), remotes(far)) == ([HOME, OTHER], [THIRD])


async def test_a_reload_forgets_the_key_and_the_token_that_are_no_longer_there(
    tmp_path: Path, near: ScriptedUpstream
) -> None:
    """Both stood in heads that were kept because they repeat, until some hundred others had come."""
    async with serving(tmp_path, document({"near": at(near)}, [key("n1", "near")])) as place:
        assert await place.status_of() == 200
        assert await place.status_of(token="ph-forgotten-token") == 401
        assert in_caches(b"sk-n1")
        written = document({"near": at(near)}, [key("n2", "near")])
        place.reload({**written, "proxy": {**written["proxy"], "callers": [{"name": "new", "token": "ph-new-token"}]}})
        assert not in_caches(b"sk-n1")
        assert not in_caches(TOKEN.encode())
        assert not in_caches(b"ph-forgotten-token")
        assert await place.status_of(token="ph-new-token") == 200


def in_caches(secret: bytes) -> bool:
    """Whether any function of ours that remembers has it, in bytes or as text."""
    caches = [each for each in gc.get_objects() if isinstance(each, functools._lru_cache_wrapper)]
    ours = [each for each in caches if each.__module__.partition(".")[0] in ("bot", "daemon", "proxy")]
    assert len(ours) > 5
    known: list[Any] = [held for each in ours for held in gc.get_referents(each) if held is not each.__dict__]
    seen: set[int] = set()
    while known:
        value = known.pop()
        if id(value) in seen or isinstance(value, type | ModuleType | FunctionType):
            continue
        seen.add(id(value))
        if (isinstance(value, bytes) and secret in value) or (isinstance(value, str) and secret.decode() in value):
            return True
        known += gc.get_referents(value)
    return False


# --- which upstream


async def test_the_models_of_the_keys_choose_the_upstream(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    written = document(
        {"near": at(near), "far": at(far)},
        [key("n1", "near", models=["gpt-*"]), key("f1", "far", models=["deepseek-*"])],
    )
    async with serving(tmp_path, written) as place:
        for model in ("gpt-5", "deepseek-chat", "gpt-5-mini"):
            assert await place.status_of(model) == 200
        async with place.ask("qwen-max") as response:
            assert (response.status, await code_of(response)) == (404, "model_not_found")
    assert [received.json["model"] for received in near.requests] == ["gpt-5", "gpt-5-mini"]
    assert [received.json["model"] for received in far.requests] == ["deepseek-chat"]


async def test_what_has_no_model_goes_to_the_first_upstream_whatever_the_tiers_are(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    """The first in the file, even where another has more keys, all of a lower tier and idle."""
    written = document(
        {"near": at(near), "far": at(far)}, [key("f1", "far"), key("f2", "far"), key("n1", "near", tier=3)]
    )
    async with serving(tmp_path, written) as place:
        for path in ("/files", "/models", "/batches/batch_1", "/files"):
            async with place.request("GET", path) as response:
                assert response.status == 200
        assert await place.status_of() == 200
    assert paths(near) == ["/v1/files", "/v1/models", "/v1/batches/batch_1", "/v1/files"]
    assert paths(far) == ["/v1/chat/completions"]


async def test_what_has_no_model_never_goes_to_another_upstream_however_the_first_fails(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    near.script["sk-n1"] = [ServerError(), Limited(retry_after="60")]
    written = document({"near": at(near), "far": at(far)}, [key("n1", "near"), key("f1", "far")])
    async with serving(tmp_path, written) as place:
        said = []
        for _ in range(3):
            async with place.request("GET", "/files") as response:
                said.append((response.status, await code_of(response)))
    assert [status for status, _ in said] == [500, 429, 429]
    assert said[1][1] == said[2][1] == "rate_limit_exceeded"
    assert far.requests == []


async def test_a_first_upstream_without_a_key_leaves_what_has_no_model_unserved(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    written = document({"near": at(near), "far": at(far)}, [key("f1", "far")])
    async with serving(tmp_path, written) as place, place.request("GET", "/files") as response:
        assert (response.status, await code_of(response)) == (503, "pool_exhausted")
    assert near.requests == far.requests == []


async def test_an_object_is_asked_for_where_it_was_made_though_the_path_has_no_model(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    far.script["sk-f1"] = [Raw(200, JSON, b'{"id": "resp_01", "object": "response"}')]
    written = document({"near": at(near), "far": at(far)}, [key("n1", "near", models=["gpt-*"]), key("f1", "far")])
    async with serving(tmp_path, written) as place:
        for method, path in (("POST", "/responses"), ("GET", "/responses/resp_01"), ("DELETE", "/responses/resp_01")):
            body = {"model": "deepseek-chat", "input": "hi"} if method == "POST" else None
            async with place.request(method, path, json=body) as response:
                assert response.status == 200
    assert near.requests == []
    assert paths(far) == ["/v1/responses", "/v1/responses/resp_01", "/v1/responses/resp_01"]


async def test_a_caller_with_its_own_key_is_passed_to_the_first_upstream(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    near.script["sk-own"] = [Answer("own")]
    written = document({"near": at(near), "far": at(far)}, [key("f1", "far")], passthrough=True)
    async with serving(tmp_path, written) as place:
        assert await place.status_of("deepseek-chat", token="sk-own") == 200
    assert [received.key for received in near.requests] == ["sk-own"]
    assert far.requests == []


# --- what one that fails costs


async def test_an_upstream_where_nobody_listens_is_passed_over_within_the_request(
    tmp_path: Path, far: ScriptedUpstream
) -> None:
    """Both of its keys are of the first tier; the second attempt goes to the next tier all the same."""
    written = document(
        {"near": nowhere(), "far": at(far)}, [key("n1", "near"), key("n2", "near"), key("f1", "far", tier=1)]
    )
    async with serving(tmp_path, written) as place:
        assert await place.status_of() == 200
        assert set(place.states().values()) == {"ready"}, "a key is not to blame for its upstream"
    assert len(far.requests) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses instead of waiting")
async def test_an_upstream_that_lets_nobody_in_is_passed_over_after_its_own_connect_seconds(
    tmp_path: Path, far: ScriptedUpstream
) -> None:
    with socket.create_server((HOME, 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        deaf = {"base_url": f"http://{HOME}:{full.getsockname()[1]}/v1", "connect_seconds": 0.3}
        written = document({"near": deaf, "far": at(far)}, [key("n1", "near"), key("f1", "far", tier=1)])
        async with serving(tmp_path, written) as place, asyncio.timeout(3):
            assert await place.status_of() == 200
    assert len(far.requests) == 1


async def test_an_upstream_that_answers_500_is_passed_over_within_the_request(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    near.script["sk-n1"] = near.script["sk-n2"] = [ServerError()]
    written = document(
        {"near": at(near), "far": at(far)}, [key("n1", "near"), key("n2", "near"), key("f1", "far", tier=1)]
    )
    async with serving(tmp_path, written) as place:
        assert await place.status_of() == 200
    assert (len(near.requests), len(far.requests)) == (1, 1)


async def test_a_key_that_is_limited_gives_way_to_its_own_tier_first(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    near.script["sk-n1"] = [Limited(retry_after="60")]
    near.organization = {"sk-n1": "org-1", "sk-n2": "org-2"}
    written = document(
        {"near": at(near), "far": at(far)}, [key("n1", "near"), key("n2", "near"), key("f1", "far", tier=1)]
    )
    async with serving(tmp_path, written) as place:
        assert await place.status_of() == 200
        near.script["sk-n2"] = [Limited(retry_after="60")]
        assert await place.status_of() == 200
    assert [received.key for received in near.requests] == ["sk-n1", "sk-n2", "sk-n2"]
    assert [received.key for received in far.requests] == ["sk-f1"]


async def test_a_question_that_may_have_been_answered_is_not_asked_of_another_upstream(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    near.script["sk-n1"] = [Reset()]
    written = document({"near": at(near), "far": at(far)}, [key("n1", "near"), key("f1", "far", tier=1)])
    async with serving(tmp_path, written) as place, place.ask() as response:
        assert (response.status, await code_of(response)) == (502, "upstream_outcome_unknown")
    assert far.requests == []


async def test_the_breaker_rests_one_upstream_and_leaves_the_other_alone(
    tmp_path: Path, near: ScriptedUpstream, far: ScriptedUpstream
) -> None:
    near.script["sk-n1"] = [ServerError()]
    written = document({"near": at(near), "far": at(far)}, [key("n1", "near"), key("f1", "far", tier=1)])
    async with serving(tmp_path, written) as place:
        assert [await place.status_of() for _ in range(8)] == [200] * 8
        assert place.states() == {"n1": "cooling", "f1": "ready"}
        async with place.request("GET", "/files") as response:
            assert (response.status, await code_of(response)) == (503, "overloaded")
    assert len(near.requests) == 5, "after five failures it is left in peace"
    assert len(far.requests) == 8
