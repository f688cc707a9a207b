"""Drawn pictures by their links."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from bot.picture import Picture
from daemon.demo.pictures import png
from daemon.gallery import FolderGallery
from daemon.media import Media

CAT = Picture("png", png("a cat", "64x64"))
HERE = "https://bot.example.org"


class Shop:
    def __init__(self, folder: Path) -> None:
        self.now = 1_000.0
        self.folder = folder
        self.gallery = FolderGallery(folder, b"secret")
        self.media = Media(self.gallery, b"secret", public_url=HERE, keep_seconds=3600.0, clock=lambda: self.now)
        self.client: TestClient[web.Request, web.Application]

    async def link(self) -> str:
        picture_id = await self.gallery.keep("gh_a", "o_anna", CAT)
        link = self.media.link(picture_id, 1_000.0)
        assert link.startswith(f"{HERE}/media/")
        return link.removeprefix(HERE)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(tmp_path / "pictures")
    app = web.Application()
    app.add_routes(shop.media.routes())
    async with TestClient(TestServer(app)) as shop.client:
        yield shop


async def test_a_link_shows_its_picture_and_nothing_can_run_in_it(shop: Shop) -> None:
    answer = await shop.client.get(await shop.link())

    assert (answer.status, answer.content_type, await answer.read()) == (200, "image/png", CAT.data)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"] == "inline"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Cache-Control"] == "private, max-age=3600"


async def test_a_look_at_the_head_is_answered(shop: Shop) -> None:
    answer = await shop.client.head(await shop.link())

    assert (answer.status, answer.content_type, answer.content_length) == (200, "image/png", len(CAT.data))
    assert await answer.read() == b""


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda link: link.replace("expires=4600", "expires=9999"),
        lambda link: link[:-1] + ("A" if link[-1] != "A" else "B"),
        lambda link: link.partition("?")[0],
        lambda link: link.partition("&")[0],
        lambda link: link.replace("/media/", "/media/0"),
        lambda link: link.replace("signature=", "signature=%FF"),
        lambda link: link.replace("expires=", "expires=%FF"),
        lambda link: link.replace("expires=", "expires=1&expires="),
        lambda link: link.replace("expires=", "expires=%D9%A1"),
    ],
)
async def test_a_link_that_was_not_signed_for_this_shows_nothing_and_says_what_to_do(
    shop: Shop, spoilt: object
) -> None:
    answer = await shop.client.get(spoilt(await shop.link()))  # type: ignore[operator]

    assert answer.status == 403
    assert "重新点" in await answer.text()


async def test_a_link_works_until_it_expires(shop: Shop) -> None:
    link = await shop.link()
    shop.now = 4_599.0
    assert (await shop.client.get(link)).status == 200

    shop.now = 4_600.0
    answer = await shop.client.get(link)

    assert answer.status == 410
    assert "重新画一张" in await answer.text()


async def test_a_picture_of_somebody_who_left_is_gone(shop: Shop) -> None:
    link = await shop.link()
    await shop.gallery.forget("gh_a", "o_anna")

    answer = await shop.client.get(link)

    assert answer.status == 404
    assert "重新画一张" in await answer.text()


async def test_a_link_to_one_picture_does_not_open_another(shop: Shop) -> None:
    mine, theirs = await shop.link(), await shop.link()
    assert mine.partition("?")[0] != theirs.partition("?")[0]

    answer = await shop.client.get(f"{theirs.partition('?')[0]}?{mine.partition('?')[2]}")

    assert answer.status == 403


async def test_a_disk_that_cannot_be_read_is_told_as_such_and_no_picture_is_called_gone(shop: Shop) -> None:
    link = await shop.link()
    [path] = [path for path in shop.folder.rglob("*") if path.is_file()]
    path.unlink()
    path.mkdir()
    with capture_logs() as logs:
        answer = await shop.client.get(link)

    assert answer.status == 503
    assert "再点一次" in await answer.text()
    assert logs == [{"event": "store.refused", "log_level": "warning", "reason": "a picture: Is a directory"}]


def test_nothing_of_it_shows_the_secret(tmp_path: Path) -> None:
    assert "secret" not in repr(Shop(tmp_path).media) + repr(Shop(tmp_path).gallery)
