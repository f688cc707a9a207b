"""WeChat's side against little callbacks: good ones built with wechatpy, and deliberately bad ones."""

from __future__ import annotations

import asyncio
import json
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from wechatpy import parse_message
from wechatpy.crypto import WeChatCrypto
from wechatpy.replies import ImageReply, TextReply

from daemon.demo.envelope import Account, Mode, Reply
from daemon.demo.subscriber import Outcome, WeChatSide, What

SAFE = Account(mode=Mode.SAFE, app_id="wx0123456789abcdef", aes_key="A" * 43)
PLAIN = Account()
OPENID = "oSubscriber"
PATIENCE = 0.2  # seconds; five are WeChat's

Callback = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def wechat(callback: Callback, account: Account = PLAIN) -> AsyncIterator[WeChatSide]:
    app = web.Application()
    app.router.add_route("*", "/wechat", callback)
    async with (
        TestServer(app) as server,
        WeChatSide(str(server.make_url("/wechat")), account, patience=PATIENCE) as side,
    ):
        yield side


def saying(body: str | bytes, status: int = 200, account: Account = PLAIN) -> AbstractAsyncContextManager[WeChatSide]:
    async def callback(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    return wechat(callback, account)


def reply(**fields: str) -> str:
    every = {
        "ToUserName": OPENID,
        "FromUserName": PLAIN.id,
        "CreateTime": str(int(time.time())),
        "MsgType": "text",
        "Content": "hello",
    }
    return "<xml>" + "".join(f"<{k}>{v}</{k}>" for k, v in (every | fields).items()) + "</xml>"


async def echo_by_wechatpy(request: web.Request) -> web.Response:
    """Answers a push with its words."""
    return await by_wechatpy(request, lambda message: TextReply(message=message, content=message.content))


async def by_wechatpy(request: web.Request, answer: Callable[[Any], Any]) -> web.Response:
    """A callback as its users write it with wechatpy: opens the push, and seals the answer as the push was."""
    body = await request.text()
    crypto = WeChatCrypto(SAFE.token, SAFE.aes_key, SAFE.app_id)
    sealed = request.query.get("encrypt_type") == "aes"
    nonce, stamp = request.query["nonce"], request.query["timestamp"]
    if sealed:
        body = crypto.decrypt_message(body, request.query["msg_signature"], stamp, nonce)
    said = answer(parse_message(body)).render()
    return web.Response(text=crypto.encrypt_message(said, nonce, stamp) if sealed else said)


@pytest.mark.parametrize("mode", list(Mode))
async def test_wechatpy_takes_our_pushes_and_we_take_its_replies(mode: Mode) -> None:
    account = Account(mode=mode, app_id=SAFE.app_id, aes_key=SAFE.aes_key)
    async with wechat(echo_by_wechatpy, account) as side:
        outcome = await side.say(OPENID, "你好 <b> & 😀")
    assert (outcome.words, outcome.red_line) == ("你好 <b> & 😀", "")
    assert [delivery.what for delivery in outcome.deliveries] == [What.ANSWERED]


@pytest.mark.parametrize("mode", list(Mode))
async def test_a_picture_that_wechatpy_replies_with_has_its_media_id(mode: Mode) -> None:
    async def callback(request: web.Request) -> web.Response:
        return await by_wechatpy(request, lambda message: ImageReply(message=message, media_id="media-1"))

    async with wechat(callback, Account(mode=mode, app_id=SAFE.app_id, aes_key=SAFE.aes_key)) as side:
        outcome = await side.say(OPENID, "画")
    assert outcome.reply == Reply("image", media_id="media-1")


async def test_wechatpy_reads_a_tap_on_the_menu_and_a_photo() -> None:
    seen: list[str] = []

    async def callback(request: web.Request) -> web.Response:
        message = parse_message(await request.text())
        seen.append(message.image if message.type == "image" else f"{message.event} {message.key}")
        return web.Response()

    async with wechat(callback) as side:
        await side.click(OPENID, "today")
        await side.photo(OPENID, "http://127.0.0.1/pictures/a")
    assert seen == ["click today", "http://127.0.0.1/pictures/a"]


async def test_wechatpys_own_slip_with_the_end_of_cdata_is_seen() -> None:
    async with wechat(echo_by_wechatpy) as side:
        assert "not well-formed" in (await side.say(OPENID, "a ]]> b")).red_line


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{}", "not well-formed"),
        ("<xml></xml", "not well-formed"),
        ("<reply></reply>", "not one <xml>"),
        ("<!DOCTYPE xml><xml/>", "DOCTYPE"),
        (reply(Content="\x08"), "not well-formed"),
        (reply(Content="<![CDATA[x]]>]]></Content><Content>y"), "not well-formed"),
        (reply(Content="x</Content><Content>y"), "each field once"),
        (reply(ToUserName=PLAIN.id, FromUserName=OPENID), "swapped"),
        (reply(CreateTime="1760000000000"), "whole seconds"),
        (reply(MsgType="markdown"), "unknown MsgType"),
        (reply(Content=" "), "empty"),
        (reply(Content="汉" * 683), "2049 bytes"),
        (reply(MsgType="image"), "without a MediaId"),
        (reply(MsgType="image", Image="media-1"), "without a MediaId"),
        (reply(MsgType="image", Image="<MediaId></MediaId>"), "without a MediaId"),
        ("<xml><Encrypt>AAAA</Encrypt></xml>", "plain mode"),
    ],
)
async def test_a_malformed_reply_is_a_red_line_with_its_reason_at_once(body: str, reason: str) -> None:
    async with saying(body) as side:
        outcome = await side.say(OPENID, "hi")
    assert outcome.words is None
    assert reason in outcome.red_line
    assert [delivery.what for delivery in outcome.deliveries] == [What.MALFORMED]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (reply(), "not sealed"),
        ("<xml><Encrypt>AAAA</Encrypt></xml>", "lacks MsgSignature, Nonce, TimeStamp"),
        (
            "<xml><Encrypt>AAAA</Encrypt><MsgSignature>0</MsgSignature><TimeStamp>1</TimeStamp><Nonce>1</Nonce></xml>",
            "MsgSignature is wrong",
        ),
    ],
)
async def test_safe_mode_takes_only_sealed_and_signed_replies(body: str, reason: str) -> None:
    async with saying(body, account=SAFE) as side:
        assert reason in (await side.say(OPENID, "hi")).red_line


async def test_a_reply_of_exactly_2048_bytes_is_shown() -> None:
    async with saying(reply(Content="汉" * 682 + "ab")) as side:
        assert (await side.say(OPENID, "hi")).red_line == ""


@pytest.mark.parametrize(
    ("body", "is_right"), [(json.dumps({"ToUserName": OPENID}), False), (reply(), False), ("", True)]
)
async def test_an_account_set_to_json_takes_no_xml_and_no_half_reply(body: str, is_right: bool) -> None:
    async with saying(body, account=Account(form="json")) as side:
        assert ((await side.say(OPENID, "hi")).red_line == "") is is_right


async def test_a_whole_reply_in_json_is_shown() -> None:
    said = {"ToUserName": OPENID, "FromUserName": PLAIN.id, "CreateTime": 1_760_000_000, "MsgType": "text"}
    async with saying(json.dumps({**said, "Content": "好"}), account=Account(form="json")) as side:
        assert (await side.say(OPENID, "hi")).words == "好"


@pytest.mark.parametrize("body", ["", "success"])
async def test_success_is_neither_words_nor_a_red_line_and_ends_the_deliveries(body: str) -> None:
    async with saying(body) as side:
        outcome = await side.follow(OPENID)
    assert (outcome.words, outcome.red_line) == (None, "")
    assert [delivery.what for delivery in outcome.deliveries] == [What.DECLINED]


async def test_silence_is_closed_redelivered_twice_word_for_word_and_then_a_red_line() -> None:
    seen: list[tuple[str, bytes]] = []

    async def silent(request: web.Request) -> web.Response:
        seen.append((request.query_string, await request.read()))
        await asyncio.Event().wait()
        return web.Response()

    async with wechat(silent) as side:
        outcome = await side.say(OPENID, "hi")
    assert [delivery.what for delivery in outcome.deliveries] == [What.CLOSED] * 3
    assert all(delivery.seconds >= PATIENCE for delivery in outcome.deliveries)
    assert outcome.red_line == "no answer in 3 deliveries"
    assert len(seen) == 3
    assert len(set(seen)) == 1


async def test_a_refusal_is_redelivered_and_the_last_one_named() -> None:
    async with saying("no", status=403) as side:
        outcome = await side.say(OPENID, "hi")
    assert [delivery.what for delivery in outcome.deliveries] == [What.REFUSED] * 3
    assert outcome.red_line == "status 403"


async def test_an_answer_to_the_second_delivery_is_shown_and_each_change_is_told() -> None:
    deliveries = 0

    async def late(request: web.Request) -> web.Response:
        nonlocal deliveries
        deliveries += 1
        if deliveries == 1:
            await asyncio.Event().wait()
        return web.Response(text=reply())

    seen: list[Outcome] = []
    async with wechat(late) as side:
        outcome = await side.say(OPENID, "hi", watch=seen.append)
    assert outcome.words == "hello"
    assert [[delivery.what for delivery in each.deliveries] for each in seen] == [
        [What.OPEN],
        [What.CLOSED],
        [What.CLOSED, What.OPEN],
        [What.CLOSED, What.ANSWERED],
    ]


async def test_a_tap_sends_the_links_words_with_its_id() -> None:
    seen: list[ET.Element] = []

    async def callback(request: web.Request) -> web.Response:
        seen.append(ET.fromstring(await request.read()))
        link = '<![CDATA[等等 <a href="weixin://bizmsgmenu?msgmenucontent=继续&msgmenuid=e7">点这里</a>]]>'
        return web.Response(text=reply(Content=link))

    async with wechat(callback) as side:
        (link,) = (await side.say(OPENID, "hi")).links
        await side.tap(OPENID, link)
    assert (link.shown, link.content, link.id) == ("点这里", "继续", "e7")
    assert seen[1].findtext("Content") == "继续"
    assert seen[1].findtext("bizmsgmenuid") == "e7"
    assert seen[0].findtext("MsgId") != seen[1].findtext("MsgId")


async def test_events_have_no_msg_id_and_other_pushes_have_what_they_are_given() -> None:
    seen: list[ET.Element] = []

    async def callback(request: web.Request) -> web.Response:
        seen.append(ET.fromstring(await request.read()))
        return web.Response()

    async with wechat(callback) as side:
        await side.unfollow(OPENID)
        await side.push("location", OPENID, Location_X="23.1", Scale=20)
    assert (seen[0].findtext("Event"), seen[0].findtext("MsgId")) == ("unsubscribe", None)
    assert (seen[1].findtext("Location_X"), seen[1].findtext("Scale")) == ("23.1", "20")


async def test_verification_needs_the_echo_and_nothing_else() -> None:
    async def parrot(request: web.Request) -> web.Response:
        return web.Response(text=request.query["echostr"])

    async with wechat(parrot) as side:
        assert await side.verify()
    async with saying("<html>") as side:
        assert not await side.verify()
