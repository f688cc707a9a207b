"""The demo as a visitor starts it: a process of its own."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daemon.demo import photo
from daemon.demo.phone import Chat, Kind

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
        await look_at_the_status_page(session)
        await asyncio.gather(ask_both(session), draw_on_both(session), send_a_photo(session))


async def look_at_the_status_page(session: aiohttp.ClientSession) -> None:
    """It told visitors to open port 80, and that a key named revoked was ready."""
    async with session.get("/status", params={"lang": "en"}) as answer:
        page = await answer.text()
    for advice in ("port 80", "security group", "developer settings", "Token 验证失败", "revoked"):
        assert advice not in page
    assert "No question has come yet." in page


async def ask_both(session: aiohttp.ClientSession) -> None:
    """In time, and too late for the one delivery that a verified account holds open."""
    await do(session, Chat("asking", Kind.PERSONAL), "say", text="想 0 秒")
    await do(session, Chat("asking", Kind.VERIFIED), "say", text="想 4.5 秒")
    (entry,) = await chat_of(session, Chat("asking", Kind.PERSONAL), lambda chat: bool(chat[0]["reply"]))
    assert "你问的是「想 0 秒」" in entry["reply"][0]["text"]
    asked, served = await chat_of(session, Chat("asking", Kind.VERIFIED), lambda chat: len(chat) == 2)
    assert asked["reply"] == []
    assert [delivery["tone"] for delivery in asked["deliveries"]] == ["well"]
    assert served["served"] == "客服消息"
    assert "你问的是「想 4.5 秒」" in served["reply"][0]["text"]


async def draw_on_both(session: aiohttp.ClientSession) -> None:
    """A link where pictures cannot be uploaded, the picture itself where they can."""
    for account in Kind:
        await do(session, Chat("drawing", account), "say", text="作画 0 秒的猫")
    (entry,) = await chat_of(session, Chat("drawing", Kind.PERSONAL), lambda chat: bool(chat[0]["reply"]))
    (link,) = [part["href"] for part in entry["reply"] if "href" in part]
    (entry,) = await chat_of(session, Chat("drawing", Kind.VERIFIED), lambda chat: bool(chat[0]["picture"]))
    for address in (link, entry["picture"]):
        async with session.get(address) as answer:
            assert (answer.status, answer.content_type) == (200, "image/png")


async def send_a_photo(session: aiohttp.ClientSession) -> None:
    await do(session, Chat("photographer", Kind.PERSONAL), "photo")
    (entry,) = await chat_of(session, Chat("photographer", Kind.PERSONAL), lambda chat: bool(chat[0]["reply"]))
    assert f"照片收到了，有 {len(photo.png()):,} 字节" in entry["reply"][0]["text"]


async def do(session: aiohttp.ClientSession, chat: Chat, what: str, **body: str) -> None:
    async with session.post(f"/demo/{what}", json={**chat._asdict(), **body}) as answer:
        assert answer.status == 204


async def chat_of(session: aiohttp.ClientSession, chat: Chat, claim: Callable[[Any], bool]) -> Any:
    """Its entries, as soon as `claim` holds for them."""
    async with asyncio.timeout(20):
        while True:
            async with session.get("/demo/view.json", params={**chat._asdict(), "lang": "zh"}) as answer:
                entries = (await answer.json())["chat"]
            if claim(entries):
                return entries
