"""What the daemon learns of the proxy in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from daemon.doctor.facts import Failure, First, Step
from daemon.front import Front, holds_back
from tests.pem import Authority

PASSWORD = "open the gate"


@pytest.mark.parametrize(
    ("first", "known"),
    [
        (First(status=200, is_stream=True, seconds=0.1), False),
        (First(status=200, is_stream=True), True),
        (First(), True),
        (First(status=200), None),
        (First(status=401), None),
        (First(status=502), None),
        (First(Failure(Step.ANSWER, "refused")), None),
    ],
)
def test_only_an_answer_of_ours_tells_anything(first: First, known: bool | None) -> None:
    assert holds_back(first) is known


@contextlib.asynccontextmanager
async def served(folder: Path, *, sends_at_once: bool) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    """Our events behind TLS, or what a proxy makes of them that waits for the end."""
    authority, over = Authority(), asyncio.Event()

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if sends_at_once:
            await response.write(b"event: page\ndata: x\n\n")
        await over.wait()
        return response

    app = web.Application()
    app.router.add_get("/status/events", events)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*authority.write(folder))
    server = TestServer(app, scheme="https", host="localhost")
    await server.start_server(ssl=tls)
    try:
        yield f"https://localhost:{server.port}", authority.trust()
    finally:
        over.set()
        await server.close()


async def test_a_front_that_lets_streams_through_is_known_to(tmp_path: Path) -> None:
    async with served(tmp_path, sends_at_once=True) as (url, context):
        front = Front(url, PASSWORD, context)
        await front.look()

    assert front.buffers is False


async def test_a_front_that_holds_streams_back_is_told_once(tmp_path: Path) -> None:
    async with served(tmp_path, sends_at_once=False) as (url, context):
        front = Front(url, PASSWORD, context, patience=0.2)
        with capture_logs() as logs:
            await front.look()
            await front.look()

    assert front.buffers is True
    assert [event["event"] for event in logs] == ["front.buffers"]


@pytest.mark.parametrize(
    ("url", "password"), [("http://127.0.0.1:1", PASSWORD), ("", PASSWORD), ("https://a.test", None)]
)
async def test_where_the_password_could_be_read_or_is_none_nobody_looks(url: str, password: str | None) -> None:
    front = Front(url, password)
    await front.look()

    assert front.buffers is None
