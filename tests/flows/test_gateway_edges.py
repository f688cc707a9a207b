"""The gateway's edges: who is let in, which paths, which headers, how large a body, and what a slow neighbour costs."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.demo.dialects import error
from daemon.demo.refusals import Limited, Revoked, html_error
from daemon.demo.steps import Act, Answer, Call, Chunk, Head, Raw
from proxy.callers import Caller
from proxy.reception import GatewaySettings
from tests.flows.conftest import TOKEN, Bench, Start
from tests.flows.daemon_bench import TOKEN as DAEMON_TOKEN
from tests.flows.daemon_bench import town

MEGABYTE = 1 << 20
CHAT = b'{"model":"gpt-5","messages":[{"role":"user","content":"hi"}]}'
JSON = {"Content-Type": "application/json"}


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 16)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one answer with a Content-Length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def asked_raw(url: str, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    async with raw(url) as (reader, writer), asyncio.timeout(5):
        writer.write(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        return await answer_of(reader)


def code_of(body: bytes) -> str:
    fault = json.loads(body)["error"]
    assert set(fault) == {"message", "type", "param", "code"}
    return str(fault["code"])


async def refused(bench: Bench, **request: Any) -> tuple[int, str]:
    """Status and code of a refusal that never reached the upstream."""
    given: dict[str, Any] = {"method": "POST", "url": f"{bench.url}/v1/chat/completions", "data": CHAT, **request}
    async with bench.session.request(**given) as response:
        said = response.status, code_of(await response.read())
        assert response.headers["x-posthouse-request"]
    assert bench.upstream.requests == []
    return said


# --- who calls


STRANGERS = {
    "nobody": {},
    "an unknown token": {"Authorization": "Bearer guess"},
    "a token beside its scheme": {"Authorization": f"Basic {TOKEN}"},
    "an empty token": {"Authorization": "Bearer "},
    "an unknown api-key": {"api-key": "guess"},
    "two different credentials": {"Authorization": f"Bearer {TOKEN}", "api-key": "guess"},
    "the pool's own key": {"Authorization": "Bearer sk-1"},
}


@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS.keys())
async def test_whoever_shows_no_issued_token_is_told_so_in_openai_s_form(start: Start, headers: Any) -> None:
    bench = await start([Answer()])
    assert await refused(bench, headers=headers) == (401, "invalid_api_key")


@pytest.mark.parametrize("headers", [{"api-key": TOKEN}, {"Authorization": f"bearer {TOKEN}", "api-key": TOKEN}])
async def test_a_token_may_come_as_api_key_and_the_same_one_twice_is_one(start: Start, headers: Any) -> None:
    bench = await start([Answer()])
    async with bench.session.post(f"{bench.url}/v1/chat/completions", data=CHAT, headers=headers) as response:
        assert response.status == 200
    assert bench.upstream.requests[0].headers.getall("Authorization") == ["Bearer sk-1"]
    assert "api-key" not in bench.upstream.requests[0].headers


async def test_an_unknown_token_is_refused_before_the_body_is_sent(start: Start) -> None:
    bench = await start([Answer()])
    head = "POST /v1/chat/completions HTTP/1.1\nHost: x\nAuthorization: Bearer guess\nContent-Length: 1000000"
    status, _, body = await asked_raw(bench.url, head)
    assert (status, code_of(body)) == (401, "invalid_api_key")


EXPECT = "POST /v1/chat/completions HTTP/1.1\nHost: x\nContent-Type: application/json\nExpect: 100-continue"


async def test_an_unknown_token_that_expects_100_continue_gets_its_401_and_no_100(start: Start) -> None:
    bench = await start([Answer()])
    head = f"{EXPECT}\nAuthorization: Bearer guess\nContent-Length: 1000000"
    status, _, body = await asked_raw(bench.url, head)
    assert (status, code_of(body)) == (401, "invalid_api_key")


async def test_a_caller_that_expects_100_continue_gets_it_and_then_its_answer(start: Start) -> None:
    bench = await start([Answer("well")])
    async with raw(bench.url) as (reader, writer), asyncio.timeout(5):
        writer.write(
            f"{EXPECT}\nAuthorization: Bearer {TOKEN}\nContent-Length: {len(CHAT)}\n\n".replace("\n", "\r\n").encode()
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert bench.upstream.requests == []
        writer.write(CHAT)
        status, _, body = await answer_of(reader)
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, "well")
    assert "Expect" not in bench.upstream.requests[0].headers


async def test_an_expired_token_and_a_model_that_is_not_allowed_are_told_apart(start: Start) -> None:
    callers = [
        Caller("past", digest("past"), expires_at=1.0),
        Caller("small", digest("small"), models=("gpt-5-mini", "o3*")),
    ]
    bench = await start([Answer()], callers=callers)
    assert await refused(bench, headers={"Authorization": "Bearer past"}) == (401, "invalid_api_key")
    small = {"Authorization": "Bearer small"}
    assert await refused(bench, headers=small) == (403, "model_not_allowed")
    body = CHAT.replace(b"gpt-5", b"gpt-5-mini")
    for twice in (b'{"model":"gpt-5-mini","model":"gpt-5"}', b'{"model":"gpt-5-mini","\\u006dodel":"gpt-5"}'):
        assert await refused(bench, headers={**small, **JSON}, data=twice) == (400, "invalid_request")
    async with bench.session.post(f"{bench.url}/v1/chat/completions", data=body, headers=small) as response:
        assert response.status == 200


# --- which paths


DENIED = [
    "/v1/organization/users",
    "/v1/organization",
    "/v1/organization/",
    "/v1/%6frganization/users",
    "/v1/%6Frganization/%75sers",
    "/v1/ORGANIZATION/users",
    "/v1/projects/p",
    "/v1/dashboard/billing/usage?date=2026-01-01",
]
TRICKS = [
    "/v1/../v1/organization/users",
    "/v1/./models",
    "/v1/files/..",
    "/v1/files/%2e%2e/organization",
    "/v1/files/%2E%2e%2fmodels",
    "/v1/files%2f..%2forganization",
    "/v1/files%5c..%5corganization",
    "/v1/files\\..\\organization",
    "/v1//organization/users",
    "/v1/models%00",
    "/v1/models%0d%0aX-Other:1",
    "/v1/models%",
    "/v1/models%zz",
    "/v1/models;x=1",
    "/v1/models#fragment",
    "/v1",
    "/v1/",
    "/v1x/models",
    "/v1/models?a=%zz",
    "http://127.0.0.1/v1/models",
    "http://example.org/v1/models",
    "//example.org/v1/models",
    "/v1/mod\xe9ls",
]


@pytest.mark.parametrize("target", DENIED)
async def test_the_upstream_s_administration_is_denied_however_it_is_spelled(start: Start, target: str) -> None:
    bench = await start([Answer()])
    head = f"GET {target} HTTP/1.1\nHost: x\nAuthorization: Bearer {TOKEN}"
    status, _, body = await asked_raw(bench.url, head)
    assert (status, code_of(body)) == (403, "path_not_allowed")
    assert bench.upstream.requests == []


@pytest.mark.parametrize("target", TRICKS)
async def test_a_path_that_two_servers_might_read_differently_is_400_or_404_and_goes_nowhere(
    start: Start, target: str
) -> None:
    bench = await start([Answer()])
    head = f"GET {target} HTTP/1.1\nHost: x\nAuthorization: Bearer {TOKEN}"
    status, _, _ = await asked_raw(bench.url, head)
    assert status == (404 if target.startswith("//") else 400)
    assert bench.upstream.requests == []


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {TOKEN}"}], ids=["alone", "beside the header"])
@pytest.mark.parametrize("name", ["key", "api_key", "api-key", "access_token"])
async def test_a_token_in_the_url_is_refused_with_where_to_put_it_and_kept_out_of_the_log(
    start: Start, name: str, headers: dict[str, str]
) -> None:
    bench = await start([Answer()], settings=GatewaySettings(passthrough=True))
    url = f"{bench.url}/v1/chat/completions?{name}={TOKEN}"
    with capture_logs() as logs:
        async with bench.session.post(url, data=CHAT, headers=headers) as response:
            body = await response.read()
    assert (response.status, code_of(body)) == (400, "invalid_request")
    assert b"Authorization: Bearer" in body
    assert TOKEN not in f"{body!r} {logs} {response.headers}"
    assert logs
    assert bench.upstream.requests == []


@pytest.mark.parametrize("line", ["x" * 100_000, "x" * 7_000 + "\nX-More: " + "y" * 93_000], ids=["one", "two"])
async def test_a_hundred_kilobytes_of_headers_are_refused(start: Start, line: str) -> None:
    bench = await start([Answer()])
    head = (
        f"POST /v1/chat/completions HTTP/1.1\nHost: x\nAuthorization: Bearer {TOKEN}\nContent-Length: 2\nX-Long: {line}"
    )
    async with raw(bench.url) as (reader, writer), asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):  # it is told before it has said all
            writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n{}")
            await writer.drain()
        assert (await reader.readline()).split()[1] in (b"400", b"431")
    assert bench.upstream.requests == []


async def test_many_short_headers_of_a_hundred_kilobytes_are_refused_as_well(start: Start) -> None:
    bench = await start([Answer()])
    lines = "".join(f"X-{number}: {'y' * 90}\n" for number in range(1_000))
    head = f"GET /v1/models HTTP/1.1\nHost: x\n{lines}Authorization: Bearer {TOKEN}"
    async with raw(bench.url) as (reader, writer), asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
            await writer.drain()
        assert (await reader.readline()).split()[1] in (b"400", b"431")
    assert bench.upstream.requests == []


async def test_a_host_header_or_query_cannot_choose_another_upstream(start: Start) -> None:
    bench = await start([Answer()])
    head = f"GET /v1/things?url=http://example.org/&a=%2F HTTP/1.1\nHost: example.org\nAuthorization: Bearer {TOKEN}"
    assert (await asked_raw(bench.url, head))[0] == 200
    (received,) = bench.upstream.requests
    assert received.path == "/v1/things?url=http://example.org/&a=%2F"
    assert received.headers["Host"] == f"127.0.0.1:{bench.upstream.port}"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_is_forwarded_with_its_path_and_body(start: Start, method: str) -> None:
    bench = await start([Answer()])
    body = b"" if method in ("GET", "OPTIONS") else b"\x00\x01 any bytes \xff"
    url = f"{bench.url}/v1/vector_stores/vs_1/files%20x?after=a%2Bb"
    async with bench.session.request(method, url, data=body or None, headers=bench.headers) as response:
        seen = await response.json()
    assert (response.status, seen["method"]) == (200, method)
    (received,) = bench.upstream.requests
    assert (received.path, received.body) == ("/v1/vector_stores/vs_1/files%20x?after=a%2Bb", body)


async def test_head_is_answered_with_the_head_alone(start: Start) -> None:
    bench = await start([Raw(200, {"content-type": "application/json"}, b'{"a": 1}')])
    head = f"HEAD /v1/files/file-1 HTTP/1.1\nHost: x\nAuthorization: Bearer {TOKEN}\nConnection: close"
    async with raw(bench.url) as (reader, writer), asyncio.timeout(5):
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n"), "no body, and no end of a chunked one either"
    assert b"content-length: 8\r\n" in answer.lower()


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "CONNECT"])
async def test_other_methods_are_not_forwarded(start: Start, method: str) -> None:
    bench = await start([Answer()])
    head = f"{method} /v1/models HTTP/1.1\nHost: x\nAuthorization: Bearer {TOKEN}"
    assert (await asked_raw(bench.url, head))[0] in (400, 405)
    assert bench.upstream.requests == []


# --- which headers


async def test_upstream_sees_exactly_the_headers_that_are_its_business(start: Start) -> None:
    bench = await start([Answer()], keys={"k1": {"organization": "org-pool", "project": "proj-pool"}})
    kept = {
        "User-Agent": "OpenAI/Python 3.54.0",
        "Accept": "application/json",
        "Content-Type": "application/json",
        "OpenAI-Beta": "assistants=v2",
        "Idempotency-Key": "stainless-python-retry-1",
        "X-Stainless-Lang": "python",
        "X-Stainless-Retry-Count": "0",
        "X-Client-Request-Id": "mine",
        "X-Of-My-Own": "kept",
    }
    taken_off = {
        "Authorization": f"Bearer {TOKEN}",
        "api-key": TOKEN,
        "X-Api-Key": "secret",
        "X-Goog-Api-Key": "secret",
        "Cookie": "session=1",
        "OpenAI-Organization": "org-caller",
        "OpenAI-Project": "proj-caller",
        "Forwarded": "for=10.0.0.1",
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Real-IP": "10.0.0.1",
        "True-Client-IP": "10.0.0.1",
        "CF-Connecting-IP": "10.0.0.1",
        "Via": "1.1 proxy",
        "Origin": "https://example.org",
        "Referer": "https://example.org/",
        "Accept-Encoding": "gzip, br",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "gone",
        "Keep-Alive": "timeout=5",
        "Proxy-Authorization": "Basic eA==",
        "TE": "trailers",
    }
    lines = "\n".join(f"{name}: {value}" for name, value in {**kept, **taken_off}.items())
    head = f"POST /v1/chat/completions HTTP/1.1\nHost: gateway.example\n{lines}\nContent-Length: {len(CHAT)}"
    status, _, _ = await asked_raw(bench.url, head, CHAT)
    assert status == 200
    arrived = [(name.lower(), value) for name, value in bench.upstream.requests[0].headers.items()]
    assert sorted(arrived) == sorted(
        [
            *((name.lower(), value) for name, value in kept.items()),
            ("host", f"127.0.0.1:{bench.upstream.port}"),
            ("content-length", str(len(CHAT))),
            ("accept-encoding", "identity"),
            ("authorization", "Bearer sk-1"),
            ("openai-organization", "org-pool"),
            ("openai-project", "proj-pool"),
        ]
    )


async def test_the_caller_sees_exactly_the_headers_that_are_its_business(start: Start) -> None:
    kept = {
        "content-type": "application/json",
        "openai-version": "2020-10-01",
        "openai-processing-ms": "12",
        "retry-after": "7",
        "x-should-retry": "true",
        "etag": '"1"',
        "x-request-id": "req_1",
    }
    taken_off = {
        "set-cookie": "__cf_bm=1; path=/",
        "openai-organization": "org-pool",
        "openai-project": "proj-pool",
        "x-ratelimit-limit-requests": "5000",
        "x-ratelimit-remaining-tokens": "0",
        "alt-svc": 'h3=":443"',
        "server": "cloudflare",
        "cf-ray": "1",
        "cf-cache-status": "DYNAMIC",
        "strict-transport-security": "max-age=1",
        "via": "1.1 google",
        "report-to": "{}",
        "nel": "{}",
        "keep-alive": "timeout=5",
        "connection": "keep-alive, x-hop",
        "x-hop": "gone",
        "x-posthouse-request": "forged",
        "access-control-allow-origin": "*",
    }
    bench = await start([Raw(200, {**kept, **taken_off}, b"{}")])
    head = f"GET /v1/things HTTP/1.1\nHost: x\nAuthorization: Bearer {TOKEN}"
    status, headers, body = await asked_raw(bench.url, head)
    assert (status, body) == (200, b"{}")
    ours = {"x-posthouse-request": "r1", "content-length": "2"}
    assert {name: value for name, value in headers.items() if name not in ("date", "x-lane")} == {**kept, **ours}


async def test_an_error_body_names_no_organization_no_project_and_no_piece_of_a_key(start: Start) -> None:
    words = (
        "Project `proj_abc123` of organization org-SECRET9 (key sk-ab***wxyz, really sk-1) does not have access "
        "to that parameter."
    )
    refusal = json.dumps(error(words, param="n"), ensure_ascii=False).encode()
    bench = await start([Raw(400, JSON, refusal)])
    async with bench.session.post(f"{bench.url}/v1/things", headers=bench.headers, data=b"{}") as response:
        body = await response.text()
    assert response.status == 400
    assert json.loads(body)["error"]["param"] == "n"
    for secret in ("abc123", "SECRET9", "wxyz", "sk-1"):
        assert secret not in body


# --- callers with a key of their own


async def test_passthrough_sends_an_unknown_bearer_up_as_it_came_and_never_with_a_pool_key(start: Start) -> None:
    bench = await start([Answer("pool")], settings=GatewaySettings(passthrough=True))
    bench.upstream.script["sk-own"] = [Answer("own")]
    own = {"Authorization": "Bearer sk-own", "OpenAI-Organization": "org-own", "OpenAI-Project": "proj-own"}
    url = f"{bench.url}/v1/chat/completions"
    async with bench.session.post(url, data=CHAT, headers={**own, **JSON}) as response:
        assert (await response.json())["choices"][0]["message"]["content"] == "own"
    async with bench.session.post(url, data=CHAT, headers={**bench.headers, **JSON}) as response:
        assert (await response.json())["choices"][0]["message"]["content"] == "pool"
    first, second = (received.headers for received in bench.upstream.requests)
    assert first.getall("Authorization") == ["Bearer sk-own"]
    assert (first["OpenAI-Organization"], first["OpenAI-Project"]) == ("org-own", "proj-own")
    assert second.getall("Authorization") == ["Bearer sk-1"]
    assert "OpenAI-Organization" not in second


@pytest.mark.parametrize("step", [Limited(retry_after="20"), Revoked(), html_error(502)], ids=["429", "401", "502"])
async def test_passthrough_hands_on_errors_as_they_came_and_blames_no_pool_key(start: Start, step: Any) -> None:
    bench = await start([Answer("pool")], settings=GatewaySettings(passthrough=True))
    bench.upstream.script["sk-own"] = [step]
    headers = {"Authorization": "Bearer sk-own", **JSON}
    async with bench.session.post(f"{bench.url}/v1/chat/completions", data=CHAT, headers=headers) as response:
        seen = response.status, await response.read()
    call = Call("sk-own", "org-scripted", None, lambda _: 0.0)
    head, chunk = step.play(call)
    assert isinstance(head, Head)
    assert isinstance(chunk, Chunk)
    assert seen[0] == head.status
    if seen[0] != 429:  # its text has the model's name, which this call does not
        assert seen[1] == chunk.data
    else:
        assert b"in organization org-scripted" in seen[1]
        assert response.headers["Retry-After"] == "20"
    assert [received.key for received in bench.upstream.requests] == ["sk-own"]
    assert {view.state for view in bench.pool.snapshot()} == {"ready"}


async def test_passthrough_still_wants_some_bearer_and_still_denies_administration(start: Start) -> None:
    bench = await start([Answer()], settings=GatewaySettings(passthrough=True))
    assert await refused(bench) == (401, "invalid_api_key")
    own = {"Authorization": "Bearer sk-own"}
    url = f"{bench.url}/v1/organization/users"
    assert await refused(bench, url=url, headers=own) == (403, "path_not_allowed")


# --- bodies


async def test_a_chunked_body_arrives_whole_and_may_be_sent_again(start: Start) -> None:
    bench = await start([Limited()], [Answer("well")])

    async def pieces() -> AsyncIterator[bytes]:
        for i in range(0, len(CHAT), 7):
            yield CHAT[i : i + 7]

    headers = {**bench.headers, **JSON}
    async with bench.session.post(f"{bench.url}/v1/chat/completions", data=pieces(), headers=headers) as response:
        assert response.status == 200
    assert [received.body for received in bench.upstream.requests] == [CHAT, CHAT]
    assert [received.headers["Content-Length"] for received in bench.upstream.requests] == [str(len(CHAT))] * 2


async def test_a_multipart_upload_arrives_byte_for_byte(start: Start) -> None:
    bench = await start([Answer()])
    boundary = "----odd'()+_-./:=?border"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n--{boundary}\r\n'
        'Content-Disposition: form-data; name="file"; filename="驿站 a\\"b.bin"\r\n\r\n'
    ).encode()
    body += bytes(range(256)) * 4000 + f"\r\n--{boundary}--\r\n".encode()
    kind = f'multipart/form-data; boundary="{boundary}"'
    headers = {**bench.headers, "Content-Type": kind}
    async with bench.session.post(f"{bench.url}/v1/files", data=body, headers=headers) as response:
        assert response.status == 200
    (received,) = bench.upstream.requests
    assert received.headers["Content-Type"] == kind
    assert received.body == body


async def test_a_body_of_twenty_megabytes_is_streamed_and_its_429_is_not_rotated(start: Start) -> None:
    bench = await start([Limited(retry_after="20")], [Answer()])
    body = bytes(range(256)) * (20 * MEGABYTE // 256)
    headers = {**bench.headers, "Content-Type": "application/octet-stream"}
    async with bench.session.post(f"{bench.url}/v1/files", data=io.BytesIO(body), headers=headers) as response:
        assert response.status == 429
        assert code_of(await response.read()) == "rate_limit_exceeded"
    (received,) = bench.upstream.requests
    assert (received.key, received.body) == ("sk-1", body)
    assert received.headers["Content-Length"] == str(len(body))
    assert bench.state("k1") == "cooling"


@pytest.mark.parametrize("replay_bytes", [100, 10_000], ids=["streamed", "kept"])
@pytest.mark.parametrize("is_chunked", [True, False], ids=["chunked", "Content-Length"])
async def test_a_body_above_the_limit_is_413_and_no_request_reaches_the_upstream(
    start: Start, replay_bytes: int, is_chunked: bool
) -> None:
    bench = await start([Answer()], settings=GatewaySettings(max_body_bytes=1000, replay_bytes=replay_bytes))

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    data: Any = pieces() if is_chunked else b"x" * 1001
    assert await refused(bench, data=data, headers=bench.headers) == (413, "request_too_large")
    async with bench.session.post(f"{bench.url}/v1/things", data=b"x" * 1000, headers=bench.headers) as response:
        assert response.status == 200


async def test_a_body_that_lies_about_its_length_reaches_no_upstream(start: Start) -> None:
    bench = await start([Answer()])
    head = f"POST /v1/chat/completions HTTP/1.1\nHost: x\nAuthorization: Bearer {TOKEN}\nContent-Length: 1000"
    async with raw(bench.url) as (_, writer):
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + CHAT)
        await writer.drain()
    async with bench.session.get(f"{bench.url}/v1/models", headers=bench.headers) as response:
        assert response.status == 200
    assert [received.method for received in bench.upstream.requests] == ["GET"]


async def test_a_compressed_request_is_refused_because_nobody_can_see_what_it_asks(start: Start) -> None:
    bench = await start([Answer()])
    headers = {**bench.headers, **JSON, "Content-Encoding": "gzip"}
    assert await refused(bench, data=gzip.compress(CHAT), headers=headers) == (400, "invalid_request")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed_with_the_key(start: Start, status: int) -> None:
    elsewhere = await start([Answer()])
    location = f"{elsewhere.upstream.base_url}/chat/completions"
    bench = await start([Raw(status, {"location": location}, b"")], [Answer()])
    headers = {**bench.headers, **JSON}
    async with bench.session.post(f"{bench.url}/v1/chat/completions", data=CHAT, headers=headers) as response:
        assert (response.status, code_of(await response.read())) == (502, "upstream_unreachable")
        assert "Location" not in response.headers
        assert response.headers["x-should-retry"] == "false"  # 303 says that it was carried out
    assert (len(bench.upstream.requests), elsewhere.upstream.requests) == (1, [])


@pytest.mark.parametrize("status", [301, 307, 501, 505])
async def test_what_an_upstream_does_not_do_is_neither_sent_again_nor_held_against_it(
    start: Start, status: int
) -> None:
    # They were taken for failures: each was tried on a second key, and five of them rested the upstream for all callers.
    body = json.dumps({"error": {"message": "no", "type": "x", "param": None, "code": "not_here"}}).encode()
    raw = Raw(status, {"content-type": "application/json", "location": "/v1/x/"}, body)
    bench = await start([raw] * 6, [raw] * 6 + [Answer()])
    headers = {**bench.headers, **JSON}
    for _ in range(6):
        async with bench.session.post(f"{bench.url}/v1/chat/completions", data=CHAT, headers=headers) as response:
            passed_on = (status, "not_here") if status >= 400 else (502, "upstream_unreachable")
            assert (response.status, code_of(await response.read())) == passed_on
    assert len(bench.upstream.requests) == 6
    assert bench.pool.has_eligible()


# --- slow neighbours


@dataclass(slots=True)
class Flood:
    """So many megabytes as one answer. `written` counts what the upstream has been able to hand over."""

    megabytes: int
    written: list[int] = field(default_factory=list)

    def play(self, call: Call) -> Iterator[Act]:
        yield Head(200, {"content-type": "application/octet-stream"}, self.megabytes * MEGABYTE)
        for _ in range(self.megabytes * 16):
            yield Chunk(b"x" * (MEGABYTE // 16))
            self.written.append(MEGABYTE // 16)


# What the kernel's socket buffers of two connections over loopback take by themselves, and then some.
BUFFERS = 24 * MEGABYTE


async def test_a_caller_who_reads_nothing_does_not_make_us_hold_its_answer(start: Start) -> None:
    flood = Flood(64)
    bench = await start([flood], [Answer()], keys={"k1": {"models": ("flood",)}, "k2": {"models": ("gpt-5",)}})
    body = b'{"model":"flood"}'
    head = f"POST /v1/things HTTP/1.1\nHost: x\nAuthorization: Bearer {TOKEN}\nContent-Length: {len(body)}"
    async with raw(bench.url) as (reader, writer), asyncio.timeout(30):
        writer.write(f"{head}\n\n".replace("\n", "\r\n").encode() + body)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(100):  # meanwhile others are served: time enough for 64 MB to come, were they taken
            async with bench.session.post(f"{bench.url}/v1/things", data=CHAT, headers=bench.headers) as response:
                assert response.status == 200
                await response.read()
        assert 0 < sum(flood.written) < BUFFERS
        left = 64 * MEGABYTE
        while left:
            left -= len(await reader.read(MEGABYTE))
    assert sum(flood.written) == 64 * MEGABYTE


async def test_an_upstream_that_reads_nothing_does_not_make_us_hold_the_upload(tmp_path: Path) -> None:
    released = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def to_the_deaf(document: dict[str, Any]) -> None:
        document["upstreams"]["openai"]["base_url"] = f"http://127.0.0.1:{port}/v1"

    async with server, town(tmp_path, {"sk-1": []}, (), amend=to_the_deaf) as place:
        head = (
            f"POST /v1/files HTTP/1.1\nHost: x\nAuthorization: Bearer {DAEMON_TOKEN}\nContent-Length: {64 * MEGABYTE}"
        )
        async with raw(place.daemon.url) as (_, writer):
            writer.write(f"{head}\n\n".replace("\n", "\r\n").encode())
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < BUFFERS:
                    writer.write(bytes(MEGABYTE))
                    async with asyncio.timeout(1):  # not a byte more is taken: we have stopped reading
                        await writer.drain()
                    sent += MEGABYTE
            assert 0 < sent < BUFFERS
        released.set()


async def test_a_caller_who_leaves_in_mid_upload_breaks_it_off_upstream(start: Start) -> None:
    bench = await start([Answer()])
    head = f"POST /v1/files HTTP/1.1\nHost: x\nAuthorization: Bearer {TOKEN}\nContent-Length: {20 * MEGABYTE}"
    async with raw(bench.url) as (_, writer):
        writer.write(f"{head}\n\n".replace("\n", "\r\n").encode() + bytes(10 * MEGABYTE))
        await writer.drain()
        async with asyncio.timeout(5):
            await bench.upstream.until(lambda upstream: upstream.connections == 1)
    async with asyncio.timeout(5):
        while bench.pool.snapshot()[0].in_flight:  # until its key is free again
            await asyncio.sleep(0.01)
    assert bench.upstream.requests == [], "half an upload is no request"
