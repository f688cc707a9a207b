"""The demo's page: what a visitor does, and what the page then shows."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from daemon.demo.page import DemoPage

VISITOR = "visitor1"

Client = TestClient[web.Request, web.Application]


async def done(client: Client, what: str, **body: str) -> None:
    async with client.post(f"/demo/{what}", json={"visitor": VISITOR, **body}) as answer:
        assert answer.status == 204


async def shown(client: Client, lang: str = "zh") -> dict[str, Any]:
    async with client.get("/demo/view.json", params={"visitor": VISITOR, "lang": lang}) as answer:
        assert answer.status == 200
        view: dict[str, Any] = await answer.json()
        return view


async def replied(client: Client, number: int) -> dict[str, Any]:
    """The visitor's entry of that number, once it has come to its end."""
    while True:
        entries = (await shown(client))["chat"]
        for entry in entries:
            if entry["number"] == number and (entry["reply"] or entry["red_line"]):
                return dict(entry)


async def test_what_is_said_is_answered_in_words_and_links_never_in_markup(client: Client) -> None:
    await done(client, "say", text="你好")
    entry = await replied(client, 1)
    assert entry["said"] == "你好"
    assert entry["reply"] == [
        {"text": "<b>你好</b> "},
        {"text": "取", "content": "继续", "id": "e1"},
        {"text": "。"},
    ]
    assert [delivery["tone"] for delivery in entry["deliveries"]] == ["well"]


async def test_a_tap_collects_by_the_links_id(client: Client) -> None:
    await done(client, "tap", content="继续", id="e1")
    assert (await replied(client, 1))["reply"] == [{"text": "第 e1 封"}]


async def test_a_follow_is_a_note_and_not_words(client: Client) -> None:
    await done(client, "follow")
    entry = await replied(client, 1)
    assert (entry["said"], entry["note"]) == ("", "你关注了这个公众号")


async def test_silence_shows_three_deliveries_and_the_red_line(client: Client) -> None:
    await done(client, "say", text="安静")
    entry = await replied(client, 1)
    assert [re.sub(r"\d+\.\d", "N", delivery["text"]) for delivery in entry["deliveries"]] == [
        "第 1 次推送：等满 N 秒，微信断开，重发",
        "第 2 次推送：等满 N 秒，微信断开，重发",
        "第 3 次推送：等满 N 秒，微信断开，不再重发",
    ]
    assert entry["red_line"] == "该公众号提供的服务出现故障，请稍后再试"


async def test_one_visitor_does_not_see_anothers_chat(client: Client) -> None:
    await done(client, "say", text="你好")
    async with client.get("/demo/view.json", params={"visitor": "somebodyelse"}) as answer:
        assert (await answer.json())["chat"] == []


async def test_a_call_shows_the_keys_that_were_tried_for_it(client: Client) -> None:
    await done(client, "call")
    view = await shown(client, "en")
    (call,) = view["calls"]
    assert [(each["key"], each["said"]) for each in call["tried"]] == [
        ("limited", "429 rate limit, retry in 25 s"),
        ("well", "200 answered"),
    ]
    assert call["result"].startswith("200 · ")
    assert [(each["caller"], each["key"]) for each in view["seen"]] == [("program", "well"), ("program", "limited")]


async def test_the_strip_of_keys_counts_down_in_the_visitors_language(client: Client) -> None:
    (key,) = (await shown(client))["keys"]
    assert (key["name"], key["tone"], key["left"]) == ("limited", "resting", "还要 0:24")
    (key,) = (await shown(client, "en"))["keys"]
    assert key["left"] == "back in 0:24"


@pytest.mark.parametrize(("lang", "title"), [("zh", "驿站演示"), ("en", "Posthouse demo")])
async def test_the_page_is_whole_in_both_languages_and_runs_nothing_inline(
    client: Client, lang: str, title: str
) -> None:
    async with client.get("/demo", params={"lang": lang}) as answer:
        html = await answer.text()
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert f"<h1>{title}</h1>" in html
    assert "style=" not in html
    assert html.count("<script") == html.count("<script src=") == 1


async def test_the_status_page_is_reached_by_a_ticket(client: Client) -> None:
    async with client.get("/demo/status", params={"lang": "en"}, allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == "/status/sign-in?ticket=once&lang=en"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"visitor=visitor1&text=x", "application/x-www-form-urlencoded", 415),  # what another site's form can send
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"visitor": "../", "text": "x"}', "application/json", 400),
    ],
)
async def test_a_post_that_our_page_would_not_make_is_refused(
    client: Client, body: bytes, kind: str, status: int
) -> None:
    async with client.post("/demo/say", data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status == status


async def test_before_the_daemon_runs_the_page_says_so() -> None:
    app = web.Application()
    app.add_routes(DemoPage().routes())
    async with TestClient(TestServer(app)) as early, early.get("/demo/view.json") as answer:
        assert answer.status == 503
