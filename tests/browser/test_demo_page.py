"""The demo in a real Chromium: a visitor's two minutes, at a desk and on a phone."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from daemon.demo import pictures
from daemon.demo.wechat_server import WeChatServer

pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Any]]


@pytest.fixture
async def open_page(client: Client) -> AsyncIterator[Open]:
    """What the browser complains about fails the test."""
    from playwright.async_api import async_playwright  # only `make check` has it

    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        async def open_page(lang: str, **options: Any) -> Any:
            page = await browser.new_page(**options)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda line: complaints.append(line.text))
            await page.goto(str(client.make_url(f"/demo?lang={lang}")))
            return page

        yield open_page
        await browser.close()
    assert complaints == []


async def test_a_visitor_asks_taps_follows_and_calls(open_page: Open) -> None:
    page = await open_page("zh", viewport={"width": 1280, "height": 900})
    await page.fill("#text", "你好")
    await page.press("#text", "Enter")
    await page.click("#chat .theirs button")
    await page.get_by_text("第 e1 封").wait_for()
    await page.locator("#chat .theirs button.used").first.wait_for()
    await page.locator("#follow:not([disabled])").click()
    await page.get_by_text("你关注了这个公众号").wait_for()
    assert await page.text_content("#follow") == "已关注"
    await page.click("#call")
    await page.locator("#calls").get_by_text("429 限流").wait_for()
    await page.locator("#keys").get_by_text("0:24").wait_for()
    assert await page.locator("#chat b").count() == 0  # <b> in a reply is text


async def test_the_verified_account_is_a_chat_of_its_own_and_brings_its_answers(
    open_page: Open, wechat: WeChatServer
) -> None:
    page = await open_page("zh", viewport={"width": 390, "height": 844})
    await page.fill("#text", "你好")
    await page.press("#text", "Enter")
    await page.locator("#chat .theirs").wait_for()
    await page.get_by_role("button", name="认证号").click()
    await page.locator('#tabs [aria-pressed="true"]', has_text="认证号").wait_for()
    assert await page.locator("#chat .entry").count() == 0
    await page.get_by_role("button", name="更多").click()
    await page.get_by_role("button", name="发一张照片").click()
    await loaded(page.locator("#chat .photo"))
    openid = await page.evaluate("`oDemo${sessionStorage.visitor}`")
    wechat.typing(json.dumps({"touser": openid, "command": "Typing"}).encode())
    await page.locator("#title", has_text="对方正在输入…").wait_for()
    media_id = wechat.upload("image", "cat.png", pictures.png("cat", "64x64"))["media_id"]
    drawn = {"touser": openid, "msgtype": "image", "image": {"media_id": media_id}}
    wechat.on_sent(wechat.send(json.dumps(drawn).encode()))
    await page.locator("#chat .served", has_text="客服消息").wait_for()
    await loaded(page.locator("#chat .picture"))
    await page.locator("#title", has_text="驿站公众号").wait_for()
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    await page.reload()
    await page.locator("#chat .picture").wait_for()  # the chat that was open is so again
    await page.get_by_role("button", name="个人号").click()
    await page.locator("#chat .theirs").wait_for()
    assert await page.locator("#chat .entry").count() == 1


async def test_a_link_to_a_picture_opens_apart_from_the_demo(open_page: Open) -> None:
    page = await open_page("en", viewport={"width": 1280, "height": 900})
    await page.fill("#text", '<a href="http://127.0.0.1:9/media/1?a=2&b=3">看图</a>')
    await page.press("#text", "Enter")
    link = page.get_by_role("link", name="看图")
    assert [await link.get_attribute(name) for name in ("href", "target", "rel")] == [
        "http://127.0.0.1:9/media/1?a=2&b=3",
        "_blank",
        "noopener",
    ]


async def loaded(image: Any) -> None:
    await image.wait_for()
    assert await image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_at_a_desk_the_whole_phone_is_on_the_first_screen(open_page: Open, lang: str) -> None:
    page = await open_page(lang, viewport={"width": 1280, "height": 800})
    assert await page.evaluate("document.getElementById('compose').getBoundingClientRect().bottom") < 800


async def test_on_a_phone_nothing_reaches_beyond_the_edge(open_page: Open) -> None:
    page = await open_page("en", viewport={"width": 390, "height": 844}, color_scheme="dark")
    await page.click("#call")
    await page.locator("#seen li").nth(1).wait_for()
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
