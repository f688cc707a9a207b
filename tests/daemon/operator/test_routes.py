from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import NoReturn

import pytest

from bot.exchange import Exchange, State
from bot.memory_store import MemoryStore
from bot.store import StoreUnavailable
from bot.wechat.view import Attempt
from daemon.operator.health import DATABASE_SECONDS
from proxy.health import State as KeyState
from tests.daemon.operator.house import Visit, Visitor, a_cell, a_key, an_account

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">'


class SilentStore(MemoryStore):
    """A database that is gone: it fails, or it never answers."""

    def __init__(self, *, hangs: bool) -> None:
        super().__init__()
        self.hangs = hangs

    async def count_pending(self) -> int:
        await self._fail()

    async def pending(self, limit: int, offset: int = 0) -> Sequence[Exchange]:
        await self._fail()

    async def counts(self) -> dict[str, int]:
        await self._fail()

    async def _fail(self) -> NoReturn:
        if self.hangs:
            await asyncio.Event().wait()
        raise StoreUnavailable("disk full")


async def ask(visitor: Visitor, question: str, number: int = 0, state: State = State.THINKING) -> None:
    asked_at = visitor.house.time[0] - 75
    await visitor.house.store.begin(
        Exchange(
            id=f"e{number}",
            account="gh_1",
            openid=f"oABC{number:020}9z",
            push_id=str(number),
            question=question,
            state=state,
            asked_at=asked_at,
        )
    )


async def shown(visitor: Visitor, path: str = "/status?lang=en") -> str:
    await visitor.sign_in()
    answer = await visitor.get(path)
    assert answer.status == 200
    return await answer.text()


async def test_the_page_shows_a_key_and_a_question(visit: Visit) -> None:
    resting = a_key(
        name="second",
        organization="org-acme",
        state="cooling",
        rule="rate",
        reason="429, try again in 34 s",
        since_seconds=6.0,
        seconds_left=34.0,
        in_flight=2,
        answered=1204,
        failed=3,
        last_request_id="req_1",
        cells=(a_cell("gpt-x", 12.0),),
    )
    visitor = await visit(keys=[a_key(), resting])
    await ask(visitor, "为什么天是蓝的")
    html = await shown(visitor)
    assert "<title>1 of 2 keys usable, 1 answer waiting · Posthouse</title>" in html
    for expected in (
        "second", "sk-…a1b2", "org-acme", "Cooling", "The upstream limits how often it may ask.", "429, try again in 34 s",
        'data-seconds="34">0:34<', 'max="40"', "gpt-x", 'data-seconds="12">0:12<', "req_1",
        "1 min", "oABC…9z", "为什么天是蓝的", "Thinking",
    ):  # fmt: skip
        assert expected in html, expected


@pytest.mark.parametrize(
    ("path", "accepted", "expected"),
    [
        ("/status", "zh-CN", "1 把密钥中 1 把可用，没有待取的回答"),
        ("/status?lang=en", "zh-CN", "1 of 1 keys usable, no answers waiting"),
        ("/status", "en", "1 of 1 keys usable, no answers waiting"),
        ("/status?lang=zh", "en", "1 把密钥中 1 把可用，没有待取的回答"),
    ],
)
async def test_the_page_speaks_the_visitors_language(visit: Visit, path: str, accepted: str, expected: str) -> None:
    visitor = await visit(keys=[a_key()])
    await visitor.sign_in()
    html = await (await visitor.get(path, headers={"Accept-Language": accepted})).text()
    assert f"<title>{expected} · Posthouse</title>" in html


async def test_a_subscribers_words_are_text(visit: Visit) -> None:
    visitor = await visit(keys=[a_key(name="main", last_request_id=EVIL, state="dead", rule="x", reason=EVIL)])
    await ask(visitor, EVIL)
    html = await shown(visitor)
    assert "&lt;script&gt;alert(1)&lt;/sc…" in html
    assert "<script>" not in html
    assert "<img src=x" not in html


async def test_a_subscribers_words_can_be_switched_off(visit: Visit) -> None:
    visitor = await visit(show_words=False)
    await ask(visitor, "为什么天是蓝的")
    html = await shown(visitor)
    assert "oABC…9z" in html
    assert "为什么" not in html
    assert "为什么" not in await (await visitor.get("/status.json")).text()


async def test_an_openid_is_never_shown_whole(visit: Visit) -> None:
    visitor = await visit()
    await ask(visitor, "?")
    assert "oABC0" not in await shown(visitor)
    assert "oABC0" not in await (await visitor.get("/status.json")).text()


async def test_an_empty_house_says_what_to_do(visit: Visit) -> None:
    html = await shown(await visit())
    assert "Add a [[keys]] table" in html
    assert "Nothing waits." in html
    assert "No question has come yet." in html
    assert "No account is configured." in html


@pytest.mark.parametrize("hangs", [False, True])
async def test_the_keys_are_shown_while_the_database_is_silent(visit: Visit, hangs: bool) -> None:
    html = await shown(await visit(keys=[a_key(name="survivor")], store=SilentStore(hangs=hangs)))
    assert "survivor" in html
    assert "The database does not answer." in html
    assert "Nothing waits." not in html


async def test_the_page_shows_what_came_from_wechat_and_why_it_was_refused(visit: Visit) -> None:
    refused = Attempt(1_000_000.0 - 75, "verification", "signature")
    html = await shown(await visit(accounts=[an_account(refused, answered=9, unanswered=1)]))
    for expected in ("gh_1", "/wechat", "Verification", "wrong signature", "1 min ago", ">9<", ">19 / 20<"):
        assert expected in html, expected


async def test_an_account_nobody_has_knocked_at_says_what_to_enter_and_where_to_look(visit: Visit) -> None:
    html = await shown(await visit(accounts=[an_account()]), "/status?lang=zh")
    assert "还没有收到验证。" in html
    assert "http://你的域名/wechat" in html


async def test_ten_keys_and_fifty_questions_stay_under_forty_kilobytes(visit: Visit) -> None:
    states = [*KeyState, "cooling", "cooling", "cooling", "ready"]
    keys = [
        a_key(
            name=f"key-with-a-long-name-{number}",
            organization=f"org-{number:024}",
            state=str(state),
            rule="rate",
            reason="429 rate_limit_exceeded, try again in 34 s",
            since_seconds=5.0,
            seconds_left=34.0,
            last_request_id=f"req_{number:032}",
            cells=(a_cell("gpt-some-model-2026-01-01"),) * 2,
        )
        for number, state in enumerate(states)
    ]
    assert len(keys) == 10
    attempts = (Attempt(0.0, "verification", "duplicate_parameter"),) * 5
    visitor = await visit(keys=keys, accounts=[an_account(*attempts)] * 2)
    for number in range(50):
        await ask(visitor, "为什么天是蓝的，海也是蓝的？请详细解释一下。", number)
    assert len((await shown(visitor, "/status?lang=zh")).encode()) < 40_000


async def test_the_json_is_the_same_view(visit: Visit) -> None:
    visitor = await visit(keys=[a_key(state="cooling", seconds_left=3.5)])
    await ask(visitor, "?")
    await visitor.sign_in()
    view = json.loads(await (await visitor.get("/status.json")).text())
    assert view["headline"] == "0 of 1 keys usable, 1 answer waiting"
    assert view["keys"][0]["seconds_left"] == 3.5
    assert view["pending"][0]["state"] == "thinking"


@pytest.mark.parametrize("path", ["/status", "/status.json", "/status/sign-in"])
@pytest.mark.parametrize("signed_in", [False, True])
async def test_every_answer_forbids_what_a_page_does_not_need(visit: Visit, path: str, signed_in: bool) -> None:
    visitor = await visit()
    if signed_in:
        await visitor.sign_in()
    headers = (await visitor.get(path)).headers
    policy = headers["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", "script-src 'self'"} <= set(policy)
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"


async def test_a_page_has_nothing_that_its_own_policy_forbids(visit: Visit) -> None:
    visitor = await visit(keys=[a_key(state="cooling", seconds_left=3.0, since_seconds=1.0)])
    for html in (await (await visitor.get("/status/sign-in")).text(), await shown(visitor)):
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script>|https?://", html)


@pytest.mark.parametrize("hangs", [False, True])
async def test_the_metrics_do_not_wait_for_a_silent_database(visit: Visit, hangs: bool) -> None:
    visitor = await visit(store=SilentStore(hangs=hangs))
    await visitor.sign_in()
    async with asyncio.timeout(5 * DATABASE_SECONDS):
        answer = await visitor.get("/metrics")
    assert (answer.status, await answer.text()) == (200, "*/* None")


async def test_what_waits_comes_in_pages(visit: Visit) -> None:
    visitor = await visit()
    for number in range(51):
        await ask(visitor, f"question {number:02}", number)
    first = await shown(visitor)
    second, again = [await (await visitor.get(f"/status?lang=en&page={page}")).text() for page in ("2", "-1")]
    assert ("question 00" in first, "question 50" in first) == (True, False)
    assert ("question 00" in second, "question 50" in second) == (False, True)
    assert again == first


async def test_the_process_is_healthy_while_it_serves(visit: Visit) -> None:
    answer = await (await visit(password=None, store=SilentStore(hangs=True), has_eligible_key=False)).get("/healthz")
    assert (answer.status, await answer.text()) == (200, "ok\n")


@pytest.mark.parametrize(
    ("has_eligible_key", "hangs", "reasons"),
    [
        (True, None, []),
        (False, None, ["no_key_eligible"]),
        (True, False, ["database_unavailable"]),
        (False, True, ["no_key_eligible", "database_unavailable"]),
    ],
)
async def test_readiness_tells_why_not_in_codes(
    visit: Visit, has_eligible_key: bool, hangs: bool | None, reasons: list[str]
) -> None:
    store = MemoryStore() if hangs is None else SilentStore(hangs=hangs)
    answer = await (await visit(password=None, store=store, has_eligible_key=has_eligible_key)).get("/readyz")
    assert answer.status == (503 if reasons else 200)
    assert await answer.json() == {"ready": not reasons, "reasons": reasons}
