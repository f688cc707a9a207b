"""The demo as a visitor starts it: a process of its own."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

ROOT = Path(__file__).resolve().parents[3]
STARTED_WITHIN = 30  # seconds; a loaded machine imports slowly


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a child")
async def test_the_demo_serves_both_doors_and_ends_cleanly_when_interrupted(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", "demo", "--port", "0", "--log-level", "error",
        cwd=ROOT, env={"TMPDIR": str(tmp_path)}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(STARTED_WITHIN):
            said = (await process.stdout.readuntil(b"Ctrl-C")).decode()
        found = re.search(r"(http://127\.0\.0\.1:\d+)/demo", said)
        token = re.search(r"Bearer ([\w-]+)", said)
        assert found is not None
        assert token is not None
        assert re.search(r"/status, with the password:  \w{32}\n", said)
        await visit(found[1], token[1])
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), STARTED_WITHIN)
    assert process.returncode == 0, errors.decode()
    assert b"Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


async def test_a_demo_whose_port_is_taken_names_its_own_option_and_has_started_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "daemon", "demo", "--port", str(port), cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await asyncio.wait_for(process.communicate(), STARTED_WITHIN)
    refusal = f"cannot listen on 127.0.0.1:{port}: another program listens there; choose another port with --port"
    assert (process.returncode, errors.decode()) == (1, f"posthouse: {refusal}\n")


async def visit(url: str, token: str) -> None:
    own = {"Authorization": f"Bearer {token}"}
    jar = aiohttp.CookieJar(unsafe=True)  # cookies of a bare address, which browsers keep too
    async with aiohttp.ClientSession(url, headers=own, cookie_jar=jar) as session:
        body = {"model": "scripted-1", "messages": [{"role": "user", "content": "0 s"}]}
        async with session.post("/v1/chat/completions", json=body) as answer:
            assert answer.status == 200  # although two of the three keys are not well
        async with session.get("/demo/status") as answer:
            assert (answer.status, answer.url.path) == (200, "/status")
        await (await session.post("/demo/say", json={"visitor": "visitor1", "text": "想 0 秒"})).release()
        async with asyncio.timeout(10):
            reply: list[dict[str, str]] = []
            while not reply:
                async with session.get("/demo/view.json", params={"visitor": "visitor1"}) as answer:
                    reply = (await answer.json())["chat"][0]["reply"]
        assert "你问的是「想 0 秒」" in reply[0]["text"]
