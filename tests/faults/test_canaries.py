"""Secrets and subscribers' words are planted everywhere, everything goes wrong, and none of them is seen anywhere."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, encode_basic_auth

from daemon import log
from daemon.demo.dialects import error
from daemon.demo.envelope import Account, Mode
from daemon.demo.refusals import Limited, Revoked
from daemon.demo.steps import Answer, CutStream, LyingLength, Raw, Reset, Step
from tests import canaries
from tests.flows.daemon_bench import Town, path_of, town
from tests.journal import log_as_before

CANARIES = {
    "first key": "sk-canary-first-key",
    "second key": "sk-canary-second-key",
    "token": "canary-issued-token",
    "WeChat token": "canarywechattoken",
    "AES key": "canary" + "AES" * 12 + "c",
    "password": "canary-password",
    "relay secret": "canary-relay-secret",
    "question": "canary question of mine",
    "system prompt": "canary prompt",
    "answer": "canary answer",
    "openid": "oCANARYcanaryCANARYcanary001",
    "guessed token": "canary-guess",
}
ACCOUNT = Account(
    "gh_0000000000aa", CANARIES["WeChat token"], Mode.SAFE, app_id="wx00000000000000aa", aes_key=CANARIES["AES key"]
)
JSON = {"content-type": "application/json"}
CHAT = "/v1/chat/completions"


@pytest.fixture
def journal() -> Iterator[io.StringIO]:
    """The log of every level, with no secret masked: nothing may rely on the mask."""
    stream = io.StringIO()
    with log_as_before():
        log.configure("debug", (), stream)
        logging.root.setLevel(logging.DEBUG)
        yield stream


def amend(document: dict[str, Any]) -> None:
    document["operator"]["password"] = CANARIES["password"]
    document["operator"]["show_words"] = False
    document["proxy"]["callers"] = [{"name": "test", "token": CANARIES["token"]}]
    document["proxy"]["queue_seconds"] = 0
    document["bot"]["system_prompt"] = CANARIES["system prompt"]
    document["bot"]["cloudrun"] = {"enabled": True, "secret": CANARIES["relay secret"]}


def found(text: str) -> list[str]:
    said = text.encode("utf-8", "surrogatepass")
    return [name for name, canary in CANARIES.items() if any(canaries.found(said, [canary]))]


async def every_way_to_fail(place: Town) -> list[str]:
    """What strangers and callers are told."""
    told: list[str] = []

    async def ask(path: str, *, data: bytes = b"", token: str = CANARIES["token"], **headers: str) -> None:
        url, headers = f"{place.daemon.url}{path}", {"Authorization": f"Bearer {token}", **headers}
        try:
            async with place.session.post(url, data=data, headers={**JSON, **headers}) as response:
                told.append(f"{response.headers} {await response.text()}")
        except ClientError as failure:
            told.append(repr(failure))

    question = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": CANARIES["question"]}]}).encode()
    for _ in range(10):  # through the whole script of both keys
        await ask(CHAT, data=question)
    await ask(CHAT, data=question[:-5])
    await ask(CHAT, data=question, token=CANARIES["guessed token"])
    await ask(CHAT, data=question, **{"api-key": CANARIES["guessed token"]})
    await ask("/v1/../" + CANARIES["token"], data=question)
    await ask(f"/v1/files?key={CANARIES['token']}", data=question)
    await ask(f"/message/{CANARIES['guessed token']}/post", data=question)
    await ask(f"/message/{CANARIES['relay secret']}/post", data=question)
    await ask(f"{path_of(ACCOUNT)}?signature={CANARIES['guessed token']}", data=question)
    await ask("/status/sign-in", data=f"password={CANARIES['password']}".encode())
    for path in (
        "/healthz",
        "/readyz",
        "/status",
        "/status/sign-in",
        "/metrics",
        "/nothing",
        "/static/x",
        "/v1/models",
    ):
        async with place.session.get(f"{place.daemon.url}{path}", allow_redirects=False) as response:
            told.append(f"{response.headers} {await response.text()}")
    for password in (CANARIES["password"], CANARIES["guessed token"]):
        basic = {"Authorization": encode_basic_auth("operator", password)}
        for path in ("/status", "/status.json", "/metrics"):
            async with place.session.get(f"{place.daemon.url}{path}", headers=basic) as response:
                told.append(f"{response.headers} {await response.text()}")
    return told


ECHO = json.dumps(
    error(f"Incorrect API key provided: {CANARIES['first key']} {CANARIES['second key']}", param="n")
).encode()


async def test_no_secret_and_no_word_of_a_subscriber_is_in_a_log_or_in_an_error(
    tmp_path: Path, journal: io.StringIO
) -> None:
    failures: list[Step] = [
        Raw(400, JSON, ECHO),
        Raw(500, JSON, ECHO),
        LyingLength(),
        Reset(),
        CutStream(then=Answer(CANARIES["answer"])),
        Raw(404, JSON, ECHO),
        Limited(retry_after="1"),
        Revoked(),
    ]
    scripts = {CANARIES["first key"]: failures, CANARIES["second key"]: [*reversed(failures)]}
    async with town(tmp_path, scripts, (ACCOUNT,), amend=amend) as place:
        told = await every_way_to_fail(place)
        asked = [
            asyncio.create_task(place.side.say(CANARIES["openid"], f"{CANARIES['question']} {number}"))
            for number in range(3)
        ]
        await asyncio.wait(asked, timeout=1)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await place.side.unfollow(CANARIES["openid"])
    written = journal.getvalue()
    assert "request.finished" in written
    assert "push.refused" in written
    assert found(written) == []
    assert [(name, said) for said in told for name in found(said)] == []


async def test_nothing_shows_a_secret_when_it_is_printed(tmp_path: Path) -> None:
    """A repr gets into tracebacks, debuggers and logs that nobody has thought of."""
    scripts = {CANARIES["first key"]: [Answer(CANARIES["answer"])], CANARIES["second key"]: [Answer()]}
    async with town(tmp_path, scripts, (ACCOUNT,), amend=amend) as place:
        await place.side.say(CANARIES["openid"], CANARIES["question"])
        await place.has_told()
        rows = await place.daemon.store.mailbox(ACCOUNT.id, CANARIES["openid"])
        shown = [repr(place.daemon), repr(place.daemon.pool.snapshot()), repr(rows), repr(place.daemon.app)]
    assert [(name, text) for text in shown for name in found(text)] == []
