from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from daemon.misdirected import telling_misdirected

SIGNED = "signature=0&timestamp=1&nonce=2"


async def ok(request: web.Request) -> web.Response:
    return web.Response()


@pytest.mark.parametrize(
    ("target", "is_told"),
    [
        (f"/wechat?{SIGNED}", False),
        (f"/wechat?{SIGNED}&echostr=3", False),
        (f"/other?{SIGNED}&echostr=3", True),
        (f"/wechat/?{SIGNED}", True),
        (f"/Wechat?{SIGNED}", True),
        (f"/?{SIGNED}", True),
        (f"/v1/models?{SIGNED}", True),  # a door of ours, but the wrong one
        ("/other?signature=0&timestamp=1", False),
        ("/other", False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_wechat_sends_to_a_path_that_is_no_accounts_is_told(
    aiohttp_client: Any, method: str, target: str, is_told: bool
) -> None:
    app = web.Application(middlewares=[telling_misdirected(["/wechat", "/second"])])
    app.add_routes([web.route("*", "/wechat", ok), web.get("/v1/{rest:.*}", ok)])
    client = await aiohttp_client(app)
    with capture_logs() as events:
        await client.request(method, target)
    path = target.partition("?")[0]
    assert [(event["event"], event["path"], event["accounts"]) for event in events] == [
        ("push.misdirected", path, ["/second", "/wechat"])
    ] * is_told


async def test_without_any_account_the_advice_is_another(aiohttp_client: Any) -> None:
    client = await aiohttp_client(web.Application(middlewares=[telling_misdirected([])]))
    with capture_logs() as events:
        assert (await client.get(f"/wechat?{SIGNED}")).status == 404
    assert "no [[bot.accounts]]" in events[0]["advice"]
