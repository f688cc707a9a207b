from __future__ import annotations

import time
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from daemon.misdirected import MOST_KEPT, PATH_CHARACTERS, Misdirected, Misdirections, telling_misdirected

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
    misdirections = Misdirections(lambda: 1_764_000_000.0)
    app = web.Application(middlewares=[telling_misdirected(["/wechat", "/second"], misdirections)])
    app.add_routes([web.route("*", "/wechat", ok), web.get("/v1/{rest:.*}", ok)])
    client = await aiohttp_client(app)
    with capture_logs() as events:
        await client.request(method, target)
    path = target.partition("?")[0]
    assert [(event["event"], event["path"], event["accounts"]) for event in events] == [
        ("push.misdirected", path, ["/second", "/wechat"])
    ] * is_told
    assert misdirections.last() == (Misdirected(1_764_000_000.0, path, method),) * is_told


async def test_without_any_account_the_advice_is_another(aiohttp_client: Any) -> None:
    client = await aiohttp_client(web.Application(middlewares=[telling_misdirected([], Misdirections(time.time))]))
    with capture_logs() as events:
        assert (await client.get(f"/wechat?{SIGNED}")).status == 404
    assert "no [[bot.accounts]]" in events[0]["advice"]


def test_the_last_are_kept_and_the_oldest_go() -> None:
    moments = iter(range(100))
    misdirections = Misdirections(lambda: float(next(moments)))
    for number in range(MOST_KEPT + 5):
        misdirections.note(f"/{number}", "GET")
    assert [each.path for each in misdirections.last()] == [f"/{number}" for number in range(5, MOST_KEPT + 5)]
    assert [each.at for each in misdirections.last()] == [float(number) for number in range(5, MOST_KEPT + 5)]


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/weixin", "/weixin"),
        ("/" + "x" * 5_000, "/" + "x" * (PATH_CHARACTERS - 1) + "…"),
        ("/a\x1b[31m\u202eb\n", "/a\ufffd[31m\ufffdb\ufffd"),
        ("/message/the-secret-of-cloud-run/post", "/message/…"),
    ],
)
def test_a_path_is_kept_short_printable_and_without_a_secret(path: str, kept: str) -> None:
    misdirections = Misdirections(time.time)
    misdirections.note(path, "GET")
    assert misdirections.last()[0].path == kept
