"""The journeys over TLS: the official client, a WebSocket, WeChat's callback, the operator, and the daemon as a process."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from click.testing import CliRunner
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from daemon.cli import posthouse
from daemon.demo.steps import Answer, Step
from daemon.demo.subscriber import WeChatSide
from daemon.demo.talk import Talk
from tests.daemon.test_reload import served
from tests.daemon.test_start import started
from tests.flows.daemon_bench import SAFE, TOKEN, Town, path_of, town, words
from tests.pem import Authority, new_key, pem_of, replace

on_both_lanes = pytest.mark.usefixtures("both_lanes")

AUTHORITY = Authority()
TRUST = AUTHORITY.trust()
ASKED: Any = [{"role": "user", "content": "hi"}]
FILES = 'tls_certificate = "fullchain.pem"\ntls_key = "privkey.pem"\n'  # beside the config


@asynccontextmanager
async def secure_town(folder: Path, *script: Step) -> AsyncIterator[Town]:
    AUTHORITY.write(folder)
    files = {"tls_certificate": "fullchain.pem", "tls_key": "privkey.pem"}
    async with town(
        folder, {"sk-1": script}, (SAFE,), amend=lambda document: document["server"].update(files)
    ) as place:
        assert place.daemon.url.startswith("https://127.0.0.1:")
        yield place


class SecureSide(WeChatSide):
    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=TRUST, force_close=True))
        return self


@on_both_lanes
async def test_the_official_client_streams_uploads_and_downloads(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8_000
    async with secure_town(tmp_path, Answer("Good day to you.")) as place:
        http = DefaultAsyncHttpxClient(verify=TRUST)
        async with AsyncOpenAI(api_key=TOKEN, base_url=f"{place.daemon.url}/v1", http_client=http) as client:
            chunks = await client.chat.completions.create(model="gpt-5", stream=True, messages=ASKED)
            told = [chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices]
            uploaded = await client.files.create(file=("a.bin", content), purpose="assistants")
            downloaded = await client.files.content(uploaded.id)
    assert "".join(told) == "Good day to you."
    assert len(told) > 1
    assert hashlib.sha256(downloaded.content).digest() == hashlib.sha256(content).digest()


@on_both_lanes
async def test_a_conversation_over_a_websocket_goes_through(tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with secure_town(tmp_path, Talk("Good day to you.")) as place, asyncio.timeout(20):
        url = f"{place.daemon.url}/v1/realtime?model=gpt-realtime"
        async with place.session.ws_connect(url, headers=headers, ssl=TRUST) as socket:
            assert (await socket.receive_json())["type"] == "session.created"
            await socket.send_json({"type": "response.create"})
            while (event := await socket.receive_json())["type"] != "response.done":
                pass
    assert event["response"]["output"][0]["content"][0]["text"] == "Good day to you."


@on_both_lanes
async def test_wechat_verifies_the_callback_and_a_subscriber_is_answered(tmp_path: Path) -> None:
    async with (
        secure_town(tmp_path, Answer("Good day to you.")) as place,
        SecureSide(f"{place.daemon.url}{path_of(SAFE)}", SAFE) as side,
    ):
        assert await side.verify()
        assert "Good day to you." in words(await side.say("o1", "hi"))


@on_both_lanes
async def test_the_operators_cookie_never_leaves_over_plain_http(tmp_path: Path) -> None:
    jar = aiohttp.CookieJar(unsafe=True)  # which keeps cookies of an address, too
    async with secure_town(tmp_path) as place, aiohttp.ClientSession(cookie_jar=jar) as visitor:
        page = f"{place.daemon.url}/status/sign-in"
        async with visitor.get(page, ssl=TRUST) as form:
            assert "Strict-Transport-Security" not in form.headers
            token = (await form.text()).split('name="form_token" value="')[1].split('"')[0]
        fields = {"form_token": token, "password": "journey-password"}
        async with visitor.post(page, data=fields, ssl=TRUST, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/status")
        async with visitor.get(f"{place.daemon.url}/status", ssl=TRUST, allow_redirects=False) as status:
            assert status.status == 200
    assert len(jar) > 0
    assert all(cookie["secure"] for cookie in jar)


def serial(port: int) -> str:
    """Of the certificate that a new handshake meets."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as pipe,
        TRUST.wrap_socket(pipe, server_hostname="localhost") as caller,
    ):
        found = caller.getpeercert()
    assert found
    return str(found["serialNumber"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
async def test_a_renewed_certificate_is_taken_up_at_a_sighup(tmp_path: Path) -> None:
    AUTHORITY.write(tmp_path)
    file = tmp_path / "posthouse.toml"
    file.write_text(f'[server]\nlisten = ["127.0.0.1:0"]\n{FILES}')
    async with served(file) as daemon, aiohttp.ClientSession() as session:
        port = int(daemon.url.removeprefix("https://127.0.0.1:"))
        async with session.get(f"{daemon.url}/healthz", ssl=TRUST) as answer:
            assert answer.status == 200
        before = await asyncio.to_thread(serial, port)
        AUTHORITY.write(tmp_path)
        daemon.process.send_signal(signal.SIGHUP)
        assert "days" in await daemon.line("certificate.loaded")
        assert await asyncio.to_thread(serial, port) != before
        async with session.get(f"{daemon.url}/healthz", ssl=TRUST) as answer:
            assert answer.status == 200, "on the connection of before"
    assert daemon.process.returncode == 0


def test_a_key_that_does_not_fit_ends_the_start_and_the_check_with_2(tmp_path: Path) -> None:
    _, key = AUTHORITY.write(tmp_path)
    replace(key, pem_of(new_key()))

    result = started(tmp_path, f'[server]\nlisten = ["127.0.0.1:0"]\n{FILES}')

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("server.tls_key: expected the key that belongs to ")
    assert result.stderr.count("\n") == 1
    assert checked(tmp_path) == (2, "", result.stderr)
    AUTHORITY.write(tmp_path)
    code, said, _ = checked(tmp_path)
    assert code == 0
    assert said.startswith(f"{tmp_path}/posthouse.toml: well: "), "and nothing else"
    assert said.count("\n") == 1


def checked(folder: Path) -> tuple[int, str, str]:
    """What `posthouse check` ends with, and says."""
    run = CliRunner().invoke(posthouse, ["check", "--config", str(folder / "posthouse.toml")], prog_name="posthouse")
    return run.exit_code, run.stdout, run.stderr
