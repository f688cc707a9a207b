"""The demo's page: what a visitor does, and what the page then shows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from daemon.demo import photo, pictures
from daemon.demo.page import DemoPage
from daemon.demo.wechat_platform import Refused
from daemon.demo.wechat_server import WeChatServer

VISITOR = "visitor1"

Client = TestClient[web.Request, web.Application]


async def done(client: Client, what: str, account: str = "personal", **body: str) -> None:
    async with client.post(f"/demo/{what}", json={"visitor": VISITOR, "account": account, **body}) as answer:
        assert answer.status == 204


async def shown(client: Client, lang: str = "zh", account: str = "personal") -> dict[str, Any]:
    query = {"visitor": VISITOR, "account": account, "lang": lang}
    async with client.get("/demo/view.json", params=query) as answer:
        assert answer.status == 200
        view: dict[str, Any] = await answer.json()
        return view


def said_to(visitor: str, **call: object) -> bytes:
    return json.dumps({"touser": f"oDemo{visitor}", **call}, ensure_ascii=False).encode()


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
    assert (await shown(client))["follows"]


async def test_an_unfollow_says_that_all_was_deleted_once_the_daemon_has_said_so(client: Client) -> None:
    await done(client, "follow")
    await done(client, "unfollow")
    while not (entry := (await shown(client))["chat"][-1])["note"].endswith("都删掉了。"):
        assert entry["note"] == "你取消了关注"
    assert [delivery["tone"] for delivery in entry["deliveries"]] == ["well"]
    assert not (await shown(client))["follows"]


async def test_a_photo_is_pushed_by_an_address_that_gives_it_and_shown(client: Client, wechat: WeChatServer) -> None:
    await done(client, "photo")
    entry = await replied(client, 1)
    assert f"<b>{wechat.base_url}/pictures/photo.png</b>" in entry["reply"][0]["text"]
    async with client.get(entry["photo"]) as answer:
        assert (answer.content_type, await answer.read()) == ("image/png", photo.png())


async def test_a_tap_on_the_menu_pushes_its_key(client: Client) -> None:
    await done(client, "menu")
    entry = await replied(client, 1)
    assert entry["note"] == "你点了菜单「今天的信」"
    assert entry["reply"][0] == {"text": "<b>today</b> "}


async def test_an_ordinary_link_in_a_reply_is_one_that_opens_something(client: Client) -> None:
    await done(client, "say", text='<a href="http://127.0.0.1:8080/media/1?a=2&b=3">看图</a>')
    reply = (await replied(client, 1))["reply"]
    assert reply[1] == {"text": "看图", "href": "http://127.0.0.1:8080/media/1?a=2&b=3"}
    assert reply[3] == {"text": "取", "content": "继续", "id": "e1"}


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "/demo", "HTTPS://a"])
async def test_no_other_address_becomes_a_link(client: Client, address: str) -> None:
    await done(client, "say", text=f'<a href="{address}">看图</a>')
    assert f'<a href="{address}">看图</a>' in (await replied(client, 1))["reply"][0]["text"]


async def test_the_two_accounts_are_two_chats(client: Client) -> None:
    await done(client, "say", text="你好")
    await done(client, "say", account="verified", text="再问一次")
    assert [entry["said"] for entry in (await shown(client))["chat"]] == ["你好"]
    assert [entry["said"] for entry in (await shown(client, account="verified"))["chat"]] == ["再问一次"]


async def test_a_visitor_may_be_written_to_once_the_verified_account_has_heard_them(
    client: Client, wechat: WeChatServer
) -> None:
    await done(client, "say", text="你好")
    with pytest.raises(Refused):
        wechat.typing(said_to(VISITOR, command="Typing"))
    await done(client, "say", account="verified", text="你好")
    wechat.typing(said_to(VISITOR, command="Typing"))
    assert (await shown(client, account="verified"))["typing"]
    assert not (await shown(client))["typing"]


async def test_customer_service_messages_are_bubbles_of_their_own(client: Client, wechat: WeChatServer) -> None:
    await done(client, "follow", account="verified")
    drawn = pictures.png("a cat", "64x64")
    media_id = wechat.upload("image", "cat.png", drawn)["media_id"]
    wechat.on_sent(wechat.send(said_to(VISITOR, msgtype="text", text={"content": "写好了"})))
    wechat.on_sent(wechat.send(said_to(VISITOR, msgtype="image", image={"media_id": media_id})))
    _, words, picture = (await shown(client, account="verified"))["chat"]
    assert (words["served"], words["reply"], words["deliveries"]) == ("客服消息", [{"text": "写好了"}], [])
    assert (picture["served"], picture["reply"]) == ("客服消息", [])
    async with client.get(picture["picture"]) as answer:
        assert (answer.content_type, await answer.read()) == ("image/png", drawn)
    assert (await shown(client, "en", "verified"))["chat"][1]["served"] == "customer service message"


@pytest.mark.parametrize("path", ["/demo/media/media-1", "/demo/photos/other.png"])
async def test_a_picture_that_there_is_not_is_not_found(client: Client, path: str) -> None:
    async with client.get(path) as answer:
        assert answer.status == 404


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
    async with client.get("/demo/view.json", params={"visitor": "somebodyelse", "account": "personal"}) as answer:
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
        (b'{"visitor": "../", "account": "personal", "text": "x"}', "application/json", 400),
        (b'{"visitor": "visitor1", "account": "other", "text": "x"}', "application/json", 400),
        (b'{"visitor": "visitor1", "text": "x"}', "application/json", 400),
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
