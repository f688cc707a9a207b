"""A WebSocket is opened through the gateway, or refused: with which key, and for whom."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from daemon.demo.refusals import Limited, NoQuota, Overloaded, RegionBlocked, Revoked
from daemon.demo.steps import Answer, Hang, Raw, Reset
from daemon.demo.talk import Talk
from proxy.alias import Alias, Aliases
from proxy.reception import GatewaySettings
from tests.flows.conftest import TOKEN, Start
from tests.flows.sockets import (
    PATH,
    in_flight,
    limited,
    opened,
    raw_handshake,
    refused,
    said,
)

# --- opening


async def test_a_conversation_goes_through_with_the_pools_key(start: Start) -> None:
    bench = await start([Talk("Good day to you.")])

    async with opened(bench, headers={**bench.headers, "OpenAI-Beta": "realtime=v1", "Cookie": "a=b"}) as socket:
        assert in_flight(bench) == 1
        await socket.send_json({"type": "session.update", "session": {"instructions": "be kind"}})
        assert await said(socket, "session.updated")
        await socket.send_json({"type": "response.create"})
        done = await said(socket, "response.done")
        await socket.send_bytes(bytes(range(256)))
        assert await socket.receive_bytes() == bytes(range(256))
        await socket.send_str("no event")
        assert (await said(socket, "error"))["error"]["code"] == "invalid_json"

    assert done["response"]["output"][0]["content"][0]["text"] == "Good day to you."
    [asked] = bench.upstream.requests
    assert (asked.path, asked.key, asked.headers["OpenAI-Beta"]) == (PATH, "sk-1", "realtime=v1")
    own = ("Host", "Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key")
    theirs = ("Authorization", "OpenAI-Beta", "Accept-Encoding", "User-Agent", "Accept")
    assert {*asked.headers} <= {*own, *theirs}
    await bench.upstream.until(lambda upstream: upstream.talked[0].is_over)


async def test_what_the_caller_hears_of_the_handshake_is_its_business(start: Start) -> None:
    bench = await start([Talk()])
    async with raw_handshake(bench, "Sec-WebSocket-Protocol: realtime\n") as (head, _, _):
        names = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}
    assert names.pop("date")
    assert names.pop("x-lane") == "aiohttp"
    assert names == {
        "upgrade": "websocket",
        "connection": "upgrade",
        "sec-websocket-accept": "C/0nmHhBztSRGR1CwL6Tf4ZjwpY=",
        "sec-websocket-protocol": "realtime",
        "x-request-id": names["x-request-id"],
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "x-posthouse-request": "r1",
    }


async def test_a_browser_says_its_token_in_a_subprotocol_and_it_goes_no_further(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await start([Talk()])
    offered = (
        "realtime",
        f"openai-insecure-api-key.{TOKEN}",
        "openai-organization.org-mine",
        "openai-beta.realtime-v1",
    )

    async with opened(bench, headers={}, protocols=offered) as socket:
        assert socket.protocol == "realtime"

    [asked] = bench.upstream.requests
    assert asked.headers["Authorization"] == "Bearer sk-1"
    assert asked.headers["Sec-WebSocket-Protocol"] == "realtime, openai-beta.realtime-v1"
    assert TOKEN not in str(asked.headers)
    assert "org-mine" not in str(asked.headers)
    assert caplog.text == ""


async def test_where_no_subprotocol_is_agreed_on_none_is_spoken_and_none_is_logged(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await start([Talk(protocols=())])
    async with opened(bench, headers={}, protocols=("realtime", f"openai-insecure-api-key.{TOKEN}")) as socket:
        assert socket.protocol is None
    assert TOKEN not in caplog.text


async def test_frames_are_compressed_on_neither_side(start: Start) -> None:
    bench = await start([Talk()])
    async with opened(bench, compress=15) as socket:
        assert socket.compress == 0
    assert "Sec-WebSocket-Extensions" not in bench.upstream.requests[0].headers


async def test_a_caller_with_a_key_of_its_own_talks_with_that(start: Start) -> None:
    bench = await start([Talk()], settings=GatewaySettings(passthrough=True, queue_seconds=0))
    bench.upstream.script["sk-own"] = [Talk()]
    async with opened(bench, headers={}, protocols=("realtime", "openai-insecure-api-key.sk-own", "openai-project.p1")):
        assert in_flight(bench) == 0
    [asked] = bench.upstream.requests
    assert (asked.key, asked.headers["OpenAI-Project"]) == ("sk-own", "p1")


# --- before the upgrade


@pytest.mark.parametrize(
    ("step", "state"), [(Revoked(), "suspect"), (Limited(retry_after="30"), "cooling"), (NoQuota(), "exhausted")]
)
async def test_a_key_that_is_refused_before_the_upgrade_makes_way_for_the_next(
    start: Start, step: Any, state: str
) -> None:
    bench = await start([step], [Talk()])
    async with opened(bench):
        assert [asked.key for asked in bench.upstream.requests] == ["sk-1", "sk-2"]
        assert [view.in_flight for view in bench.pool.snapshot()] == [0, 1]
    assert (bench.state("k1"), bench.state("k2")) == (state, "ready")


@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        (Limited(retry_after="30"), 429, "rate_limit_exceeded"),
        (Revoked(), 503, "pool_exhausted"),
        (Overloaded(), 503, "server_is_overloaded"),
        (RegionBlocked(), 403, "unsupported_country_region_territory"),
        (Raw(400, {}, b'{"error":{"message":"no","type":"t","param":null,"code":"c"}}'), 400, "c"),
        (Raw(200, {}, b"{}"), 502, "upstream_unreachable"),
        (Raw(302, {"location": "http://127.0.0.1:1/"}), 502, "upstream_unreachable"),
        (Reset(), 502, "upstream_unreachable"),
    ],
)  # fmt: skip
async def test_the_last_refusal_is_a_plain_answer(start: Start, step: Any, status: int, code: str) -> None:
    bench = await start([step])
    answered, fault, headers = await refused(bench)
    assert (answered, fault["code"]) == (status, code)
    assert ("retry-after" in headers) == (status == 429)
    assert in_flight(bench) == 0


async def test_an_upstream_that_does_not_answer_the_handshake_is_given_up(start: Start) -> None:
    bench = await start([Hang()], upstream_settings={"first_byte_seconds": 0.1, "connect_seconds": 0.1})
    assert (await refused(bench))[:1] == (502,)
    assert in_flight(bench) == 0


@pytest.mark.parametrize("accept", ["", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="])
async def test_a_101_that_proves_nothing_is_no_websocket(start: Start, accept: str) -> None:
    head = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accept}
    bench = await start([Raw(101, head)])
    status, fault, _ = await refused(bench)
    assert (status, fault["code"]) == (502, "upstream_unreachable")
    assert in_flight(bench) == 0


async def test_a_101_that_nobody_asked_for_is_not_passed_on(start: Start) -> None:
    bench = await start([Raw(101, {"upgrade": "other", "connection": "Upgrade"})])
    async with bench.session.get(f"{bench.url}/v1/batches", headers=bench.headers) as response:
        assert response.status == 502


# --- who may, and what


@pytest.mark.parametrize(
    ("path", "options", "status", "code"),
    [
        (PATH, {"headers": {"Authorization": ""}}, 401, "invalid_api_key"),
        (PATH, {"headers": {"Authorization": "Bearer wrong"}}, 401, "invalid_api_key"),
        (
            PATH,
            {"headers": {"Authorization": "", "Sec-WebSocket-Protocol": "realtime, openai-insecure-api-key.wrong"}},
            401,
            "invalid_api_key",
        ),
        (PATH, {"headers": {"Sec-WebSocket-Protocol": "openai-insecure-api-key.other"}}, 401, "invalid_api_key"),
        (f"{PATH}&api_key={TOKEN}", {}, 400, "invalid_request"),
        ("/v1/organization/realtime", {}, 403, "path_not_allowed"),
        ("/v1/x/../realtime", {}, 400, "invalid_path"),
        (f"{PATH}&model=other", {}, 400, "invalid_request"),
        (f"{PATH};model=other", {}, 400, "invalid_request"),
        (PATH, {"method": "POST"}, 400, "invalid_request"),
        (PATH, {"headers": {"Sec-WebSocket-Key": "short"}}, 400, "invalid_request"),
        (PATH, {"headers": {"Sec-WebSocket-Version": "99"}}, 400, "invalid_request"),
        (PATH, {"headers": {"Connection": "keep-alive"}}, 400, "invalid_request"),
    ],
)
async def test_an_upgrade_that_may_not_be_is_refused_here(
    start: Start, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    bench = await start([Talk()])
    answered, fault, _ = await refused(bench, path, **options)
    assert (answered, fault["code"]) == (status, code)
    assert bench.upstream.requests == []


async def test_a_connection_whose_upgrade_was_refused_is_closed_or_goes_on_as_plain_http(start: Start) -> None:
    bench = await start([Answer()])
    async with raw_handshake(bench, "Authorization: Bearer other\n") as (head, reader, writer), asyncio.timeout(5):
        assert " 401 " in head.split("\r\n")[0]
        length = next(line for line in head.lower().split("\r\n") if line.startswith("content-length: "))
        await reader.readexactly(int(length.partition(" ")[2]))
        writer.write(f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        assert (await reader.read(64) or b"HTTP/1.1 200 ").startswith(b"HTTP/1.1 200 ")


async def test_a_token_for_some_models_opens_those_alone(start: Start) -> None:
    bench = await start([Talk()], callers=limited(models=("gpt-realtime*",)))
    async with opened(bench):
        pass
    for path, status in (
        ("/v1/realtime?model=gpt-5", 403),
        ("/v1/realtime", 400),
        ("/v1/realtime?intent=transcription", 400),
        ("/v1/responses?model=gpt-realtime", 400),  # there the model is named later, in messages
    ):
        assert (await refused(bench, path))[0] == status
    assert len(bench.upstream.requests) == 1


async def test_what_another_caller_made_cannot_be_named_in_a_message(start: Start) -> None:
    told = json.dumps({"id": "resp_6a1b2c", "object": "response", "output": []}).encode()
    bench = await start([Raw(200, {"content-type": "application/json"}, told), Answer()], callers=limited())
    asked = {"model": "gpt-5", "input": "hello"}
    async with bench.session.post(f"{bench.url}/v1/responses", json=asked, headers=bench.headers) as response:
        assert response.status == 200
    naming = {"type": "response.create", "previous_response_id": "resp_6a1b2c"}

    async with opened(bench, "/v1/responses") as socket:
        await socket.send_json(naming)
        assert await said(socket, "response.done")
    async with opened(bench, "/v1/responses", headers={"Authorization": "Bearer ph-team"}) as socket:
        await socket.send_json(naming)
        last = await socket.receive()
        assert (last.type, last.data, last.extra) == (WSMsgType.CLOSE, 1008, "not_found")

    assert [len(talked.heard) for talked in bench.upstream.talked] == [1, 0]


async def test_a_message_of_millions_of_names_is_refused_before_they_are_read(start: Start) -> None:
    """Sixteen megabytes of them were two seconds in which nobody was served."""
    bench = await start([Talk()], callers=limited())
    async with opened(bench) as socket:
        began = time.process_time()
        await socket.send_bytes(b'"A01234",' * 1_800_000)
        last = await socket.receive()
        assert (last.type, last.data, last.extra) == (WSMsgType.CLOSE, 1008, "invalid_request")
        assert time.process_time() - began < 1.0
    assert [len(talked.heard) for talked in bench.upstream.talked] == [0]


async def test_an_alias_is_asked_for_by_the_name_it_stands_for(start: Start) -> None:
    aliases = Aliases({"voice": Alias("gpt-realtime")})
    bench = await start([Talk()], settings=GatewaySettings(queue_seconds=0, aliases=aliases))
    async with opened(bench, "/v1/realtime?model=voice"):
        assert bench.upstream.requests[0].path == PATH


async def test_a_connection_has_its_place_among_the_callers_requests_until_it_ends(start: Start) -> None:
    bench = await start([Talk()], callers=limited(max_concurrency=1))
    async with opened(bench) as socket:
        status, fault, _ = await refused(bench)
        assert (status, fault["code"]) == (429, "caller_limit_exceeded")
        await socket.close()
    async with opened(bench):
        pass


async def test_a_minutes_requests_and_an_expired_token_hold_for_connections_too(start: Start) -> None:
    bench = await start([Talk()], callers=limited(requests_per_minute=1))
    async with opened(bench):
        assert (await refused(bench))[0] == 429
    bench = await start([Talk()], callers=limited(expires_at=1.0))
    assert (await refused(bench))[1]["code"] == "invalid_api_key"


async def test_a_key_with_room_for_one_conversation_has_no_second(start: Start) -> None:
    bench = await start([Talk()], keys={"k1": {"max_concurrency": 1}})
    async with opened(bench):
        assert (await refused(bench))[0] == 429
    await bench.upstream.until(lambda upstream: upstream.talked[0].is_over)
    async with opened(bench):
        pass


async def test_other_paths_can_be_upgraded_too(start: Start) -> None:
    bench = await start([Talk()])
    async with opened(bench, "/v1/responses") as socket:
        await socket.send_json({"type": "hello"})
        assert await said(socket, "echo")
    assert bench.upstream.requests[0].path == "/v1/responses"


async def test_an_unknown_token_is_a_handshake_error_to_a_client(start: Start) -> None:
    bench = await start([Answer()])
    with pytest.raises(WSServerHandshakeError) as caught:
        await bench.session.ws_connect(bench.url + PATH, headers={"Authorization": "Bearer wrong"})
    assert caught.value.status == 401
