"""Words that want to be more than words: a line of the log, markup on the page, a session, a file that others may read."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from daemon import log
from daemon.demo.envelope import Signed, seal, signature
from daemon.demo.steps import Answer, Raw
from daemon.operator.gate import FORM, SESSION
from tests import canaries
from tests.flows.daemon_bench import AES_KEY, SAFE, TOKEN, Town, path_of, town
from tests.journal import log_as_before

ANNA = "oAnna0000000000000000000001"
JSON = {"content-type": "application/json"}
MARKUP = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>"
FORGED = 'x\r\n{"event": "forged.line"}\x1b[2J\u2028\u202e\x85\x00'


@pytest.fixture
def journal() -> Iterator[io.StringIO]:
    """The log as a daemon writes it into a pipe."""
    stream = io.StringIO()
    with log_as_before():
        log.configure("debug", (), stream)
        yield stream


async def asked(place: Town, path: str, body: bytes = b"{}", **headers: str) -> int:
    url = f"{place.daemon.url}{path}"
    async with place.session.post(url, data=body, headers={"Authorization": f"Bearer {TOKEN}", **headers}) as answer:
        await answer.read()
        return answer.status


async def test_no_stranger_begins_a_line_of_the_log_or_changes_how_it_looks(
    tmp_path: Path, journal: io.StringIO
) -> None:
    told = json.dumps({"error": {"message": FORGED, "code": FORGED, "type": FORGED}}).encode()
    steps = [Raw(status, JSON, told) for status in (400, 401, 403, 404, 429, 500)]
    async with town(tmp_path, {"sk-1": steps, "sk-2": steps}, (SAFE,)) as place:
        quoted = "%0d%0a%1b%5b2J%e2%80%a8forged"
        for _ in steps:
            body = json.dumps({"model": "gpt-5", "user": FORGED, "messages": [{"role": "user", "content": FORGED}]})
            await asked(place, f"/v1/chat/{quoted}", body.encode(), **JSON)
            await asked(place, "/v1/chat/completions", body.encode(), **JSON, **{"User-Agent": "a\u2028\u202e"})
        await asked(place, f"/wechat/{quoted}?signature={quoted}&timestamp={quoted}&nonce={quoted}")
        await asked(place, f"{path_of(SAFE)}?signature={quoted}&timestamp={quoted}&nonce={quoted}")
        await asked(place, "/v1/models", Authorization="Bearer \u2028\u202e", **{"X-Forwarded-For": "\u2028, \u202e"})
        await place.side.say(ANNA, FORGED)
        await place.side.push("event", ANNA, Event=FORGED, EventKey=FORGED)
        await place.side.push(FORGED, ANNA, MediaId=FORGED)
    written = journal.getvalue()
    lines = written.removesuffix("\n").split("\n")
    assert len(lines) > 20
    assert all(line.isprintable() for line in lines)
    events = [json.loads(line)["event"] for line in lines]
    assert "forged.line" not in events
    assert {"request.finished", "push.refused"} <= set(events)


async def signed_in(place: Town, **planted: str) -> dict[str, str]:
    """The cookies of an operator whose browser has `planted` already."""
    url, cookies = f"{place.daemon.url}/status/sign-in", dict(planted)
    async with place.session.get(url, headers={"Cookie": _carried(cookies)}) as answer:
        cookies |= {name: cookie.value for name, cookie in answer.cookies.items()}
        (token,) = re.findall(r'name="form_token" value="([^"]+)"', await answer.text())
    fields = {"form_token": token, "password": "journey-password"}
    async with place.session.post(
        url, data=fields, headers={"Cookie": _carried(cookies)}, allow_redirects=False
    ) as answer:
        assert answer.status == 303
        return cookies | {name: cookie.value for name, cookie in answer.cookies.items()}


async def page(place: Town, cookies: dict[str, str], path: str = "/status") -> tuple[int, str]:
    url = f"{place.daemon.url}{path}"
    async with place.session.get(url, headers={"Cookie": _carried(cookies)}, allow_redirects=False) as answer:
        return answer.status, await answer.text()


def _carried(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items()) or "none=none"


async def test_a_session_that_was_planted_before_the_sign_in_opens_nothing_after_it(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Answer()]}) as place:
        planted = {SESSION: f"{int(time.time())}.{'a' * 32}.{'b' * 64}", FORM: "known-to-the-stranger"}
        mine = await signed_in(place, **planted)
        assert mine[SESSION] != planted[SESSION]
        assert (await page(place, mine))[0] == 200
        assert (await page(place, planted))[0] == 303
        again = await signed_in(place)
        assert again[SESSION] != mine[SESSION]


async def test_nothing_that_strangers_or_upstreams_say_is_markup_on_the_page(tmp_path: Path) -> None:
    told = json.dumps({"error": {"message": f"Limit for {MARKUP} in organization org-{MARKUP}", "code": MARKUP}})
    steps = [Raw(429, {**JSON, "openai-organization": f"org-{MARKUP}"}, told.encode())]
    async with town(tmp_path, {"sk-1": steps}, patience=0.2, system_prompt=MARKUP) as place:
        cookies = await signed_in(place)
        body = json.dumps({"model": MARKUP, "messages": [{"role": "user", "content": MARKUP}]}).encode()
        await asked(place, "/v1/chat/completions", body, **JSON)
        await asked(place, f"/wechat/{MARKUP}?signature={MARKUP}")
        await asked(place, f"{path_of(place.side.account)}?signature={MARKUP}&timestamp=1&nonce={MARKUP}")
        await place.side.say(MARKUP, MARKUP)
        for path in ("/status", "/status?lang=zh", f"/status?page={MARKUP}&lang={MARKUP}"):
            status, shown = await page(place, cookies, path)
            assert status == 200
            assert "alert(1)" not in re.sub(r"&lt;script&gt;alert\(1\)", "", shown)
            assert "<img src=x" not in shown
        assert "&lt;script&gt;alert(1)" in shown  # the question waits there


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


QUESTION, ANSWERED = "a question nobody else would ask", "an answer nobody else would get"


async def test_of_a_subscriber_who_left_no_byte_is_left_in_any_file(tmp_path: Path) -> None:
    """The pages of the database and its log are free then, and hold zeros. Backups keep what they were given."""
    mine = [ANNA, QUESTION, ANSWERED]
    async with town(tmp_path, {"sk-1": [Answer(ANSWERED)]}) as place:
        for number in range(20):
            await place.side.say(ANNA, f"{QUESTION} {number}")
        kept = b"".join(everything_in(tmp_path).values())
        assert len(list(canaries.found(kept, mine))) == len(mine)
        await place.side.unfollow(ANNA)
        while list(canaries.found(b"".join(everything_in(tmp_path).values()), mine)):
            assert await place.daemon.store.pending(10) == []
            await place.side.verify()  # it is erased behind the reply, within moments
    assert list(canaries.found(b"".join(everything_in(tmp_path).values()), mine)) == []
    with sqlite3.connect(tmp_path / "posthouse.db") as database:
        assert database.execute("PRAGMA freelist_count").fetchone() == (0,)
    database.close()


def drawing(document: dict[str, Any]) -> None:
    document["server"]["public_url"] = "https://bot.example.org"
    document["bot"]["images"] = {"model": "gpt-image-1"}


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
async def test_no_file_of_the_daemon_s_can_be_read_by_others_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with town(tmp_path, {"sk-1": [Answer()]}, amend=drawing) as place:
            await place.side.say(ANNA, "作画 一匹马")
            await place.side.say(ANNA, "hello")
            modes_of = {path: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    finally:
        os.umask(before)
    assert {"posthouse.db", "posthouse.db-wal"} < {path.name for path in modes_of if path.suffix.startswith(".db")}
    assert any(path.is_dir() for path in modes_of)
    assert [path.name for path, mode in modes_of.items() if mode & 0o077] == []


def sealed(content: bytes) -> str:
    key = b64decode(AES_KEY + "=")
    cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return b64encode(cipher.update(content) + cipher.finalize()).decode()


INSIDE = bytes(16) + (5).to_bytes(4, "big") + b"hello" + SAFE.app_id.encode()
PADDED = INSIDE + bytes([32 - len(INSIDE) % 32]) * (32 - len(INSIDE) % 32)
UNOPENABLE = {
    "no base64": "!!!!",
    "half a block": b64encode(bytes(16)).decode(),
    "padding of nothing": sealed(PADDED[:-1] + b"\x00"),
    "padding of too much": sealed(PADDED[:-1] + b"\xff"),
    "padding that is uneven": sealed(PADDED[:-2] + b"\x01" + PADDED[-1:]),
    "padding that reaches the length": sealed(bytes([32]) * 32),
    "a length beyond the end": sealed(PADDED[:16] + b"\xff\xff\xff\xff" + PADDED[20:]),
    "another app": seal(replace(SAFE, app_id="wx9999999999999999"), b"<xml/>", bytes(16)),
    "another key": seal(replace(SAFE, aes_key=AES_KEY[::-1]), b"<xml/>", bytes(16)),
    "no push inside": seal(SAFE, b"hello", bytes(16)),
    "a push from nobody": seal(SAFE, b"<xml/>", bytes(16)),
}


async def test_whatever_cannot_be_opened_gets_one_answer_down_to_its_headers(tmp_path: Path) -> None:
    """Signed rightly, which only WeChat can: and still nobody learns how far the opening came."""
    answers = set()
    async with town(tmp_path, {"sk-1": [Answer()]}, (SAFE,)) as place:
        for encrypt in UNOPENABLE.values():
            stamp = str(int(time.time()))
            query = {"timestamp": stamp, "nonce": "5", "encrypt_type": "aes"}
            query["msg_signature"] = signature(SAFE.token, stamp, "5", encrypt)
            push = Signed(query, json.dumps({"Encrypt": encrypt}).encode())
            answers.add(await _answer(place, push))
        assert place.model_calls == 0
    ((status, body, headers),) = answers
    assert (status, body) == (403, b"")
    assert "Content-Length" in dict(headers)


async def _answer(place: Town, push: Signed) -> tuple[int, bytes, tuple[tuple[str, Any], ...]]:
    url = f"{place.daemon.url}{path_of(SAFE)}"
    async with place.session.post(url, params=push.query, data=push.body) as answer:
        headers = tuple(sorted((name, value) for name, value in answer.headers.items() if name != "Date"))
        return answer.status, await answer.read(), headers
