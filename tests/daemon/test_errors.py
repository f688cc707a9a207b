import asyncio

import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient
from structlog.testing import capture_logs

from daemon.addresses import household
from daemon.errors import BodyStalled, error_middleware, where

Client = TestClient[web.Request, web.Application]


class Secretive(Exception):
    """Its text must go nowhere."""


async def crash(request: web.Request) -> web.Response:
    raise Secretive("what the subscriber said")


async def crash_in_the_middle(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    await answer.write(b"half")
    raise Secretive("what the subscriber said")


async def read_all(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def refuse_in_json(request: web.Request) -> web.Response:
    raise web.HTTPForbidden(text='{"error": "own"}', content_type="application/json")


async def stall(request: web.Request) -> web.Response:
    raise BodyStalled


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    app = web.Application(middlewares=[error_middleware], client_max_size=10)
    for prefix in ("", "/v1"):
        app.router.add_get(f"{prefix}/crash", crash)
        app.router.add_get(f"{prefix}/middle", crash_in_the_middle)
        app.router.add_post(f"{prefix}/read", read_all)
        app.router.add_get(f"{prefix}/own", refuse_in_json)
        app.router.add_get(f"{prefix}/stall", stall)
    return await aiohttp_client(app)


async def test_a_crash_is_one_log_event_without_its_words(client: Client) -> None:
    with capture_logs() as logs:
        answer = await client.get("/crash")
        text = await answer.text()
    assert (answer.status, text) == (500, "500: internal error\n")
    assert [(event["event"], event["error"]) for event in logs] == [("request.crashed", "Secretive")]
    assert "subscriber" not in str(logs)


async def test_under_v1_a_crash_is_in_openais_form_and_names_its_log_event(client: Client) -> None:
    with capture_logs() as logs:
        answer = await client.get("/v1/crash")
        body = await answer.json()
    assert answer.status == 500
    assert body == {"error": {"message": "internal error", "type": "server_error", "param": None, "code": None}}
    assert answer.headers["x-posthouse-request"] == logs[0]["request"]


async def test_an_answer_that_has_begun_breaks_off(client: Client) -> None:
    with capture_logs() as logs:
        answer = await client.get("/middle")
        with pytest.raises(ClientPayloadError):
            await answer.read()
    assert answer.status == 200
    assert [event["event"] for event in logs] == ["request.crashed"]


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/nothing", 404, "404: Not Found"),
        ("/read", 405, "405: Method Not Allowed"),
        ("/own", 403, '{"error": "own"}'),
        ("/v1/own", 403, '{"error": "own"}'),
        ("/stall", 408, "408: the request's body stopped coming\n"),
    ],
)
async def test_foreseen_refusals_are_short_and_not_logged(client: Client, path: str, status: int, text: str) -> None:
    with capture_logs() as logs:
        answer = await client.get(path)
        assert (answer.status, await answer.text()) == (status, text)
    assert logs == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, None),
        ("POST", "/v1/read", 413, "request_too_large"),
        ("GET", "/v1/stall", 408, None),
    ],
)
async def test_under_v1_a_refusal_is_in_openais_form(
    client: Client, method: str, path: str, status: int, code: str | None
) -> None:
    answer = await client.request(method, path, data=b"more than ten bytes" if method == "POST" else None)
    error = (await answer.json())["error"]
    assert (answer.status, error["type"], error["code"]) == (status, "invalid_request_error", code)


def test_the_place_of_a_crash_is_the_innermost_line_of_our_own() -> None:
    with pytest.raises(AttributeError) as crash:
        household(asyncio)  # type: ignore[arg-type]
    assert where(crash.value).startswith("daemon/addresses.py:")


def test_a_crash_in_foreign_code_alone_has_no_place() -> None:
    assert where(Secretive()) == ""


@pytest.mark.parametrize("path", ["/chat/completions", "/models"])
async def test_a_client_whose_base_url_lacks_its_v1_is_told_so(client: Client, path: str) -> None:
    answer = await client.post(path, json={})
    error = (await answer.json())["error"]
    assert answer.status == 404
    assert "ends in /v1" in error["message"]
