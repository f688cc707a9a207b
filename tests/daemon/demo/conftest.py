"""The demo's page, over a callback and a gateway of the tests' own."""

from __future__ import annotations

import asyncio
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from daemon.demo import photo, scene
from daemon.demo.envelope import Account
from daemon.demo.page import DemoPage, Stage
from daemon.demo.phone import PHOTO, Kind, Phones
from daemon.demo.program import Program
from daemon.demo.subscriber import WeChatSide
from daemon.demo.upstream import ScriptedUpstream
from daemon.demo.wechat_server import WeChatServer
from daemon.operator.assets import read_assets
from daemon.operator.page import setup_templates
from proxy.health import KeyView

PATIENCE = 0.2  # seconds

Client = TestClient[web.Request, web.Application]


async def callback(request: web.Request) -> web.Response:
    """Answers a tap with its id, a photo with its address, 安静 never, an unfollow with `success`, other texts with a link."""
    push = ET.fromstring(await request.read())
    tapped, said = push.findtext("bizmsgmenuid"), push.findtext("Content")
    said = said or push.findtext("PicUrl") or push.findtext("EventKey")
    if said == "安静":
        await asyncio.Event().wait()
    if push.findtext("Event") == "unsubscribe":
        return web.Response(text="success")
    words = (
        f"第 {tapped} 封"
        if tapped
        else f'<b>{said}</b> <a href="weixin://bizmsgmenu?msgmenucontent=继续&msgmenuid=e1">取</a>。'
    )
    return web.Response(
        text=f"<xml><ToUserName>{push.findtext('FromUserName')}</ToUserName>"
        f"<FromUserName>{push.findtext('ToUserName')}</FromUserName><CreateTime>{int(time.time())}</CreateTime>"
        f"<MsgType>text</MsgType><Content><![CDATA[{words}]]></Content></xml>"
    )


@pytest.fixture
async def wechat() -> AsyncIterator[WeChatServer]:
    """The verified account's server."""
    server = WeChatServer(app_id="wx0123456789abcdef", app_secret="0" * 32)
    server.pictures[PHOTO] = ("image/png", photo.png())
    async with server:
        yield server


@pytest.fixture
async def client(wechat: WeChatServer) -> AsyncIterator[Client]:
    """The page, with a gateway that tries the limited key and then the well one."""
    async with AsyncExitStack() as stack:
        upstream = ScriptedUpstream(scene.script(0.0), organization=scene.organizations())
        await stack.enter_async_context(upstream)
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def gateway(request: web.Request) -> web.Response:
            body = {**await request.json(), "messages": [{"role": "user", "content": "0 s"}]}
            for name in ("limited", "well"):
                own = {
                    "Authorization": f"Bearer {scene.KEYS[name][0]}",
                    "X-Client-Request-Id": request.headers["X-Client-Request-Id"],
                }
                async with session.post(f"{upstream.base_url}/chat/completions", json=body, headers=own) as answer:
                    said, status = await answer.json(), answer.status
            return web.json_response(said, status=status)

        page, assets, app = DemoPage(), read_assets(), web.Application()
        setup_templates(app, assets)
        app.add_routes(
            [
                *page.routes(),
                web.get("/static/{name}", assets.get),
                web.post("/wechat", callback),
                web.post("/v1/chat/completions", gateway),
            ]
        )
        client = await stack.enter_async_context(TestClient(TestServer(app)))
        url = str(client.make_url("/"))
        side = await stack.enter_async_context(WeChatSide(f"{url}wechat", Account(), patience=PATIENCE))
        phones = await stack.enter_async_context(Phones(dict.fromkeys(Kind, side), wechat, menu_key="today"))
        program = await stack.enter_async_context(Program(url.rstrip("/"), "token"))
        cooling = KeyView("limited", "ited", "openai", "", "cooling", "rate", "", 1.0, 24.0, 0, 0, 1, "")
        ticket = "/status/sign-in?ticket=once"
        page.raise_curtain(Stage(phones, wechat, program, upstream, lambda: [cooling], lambda: ticket))
        yield client
