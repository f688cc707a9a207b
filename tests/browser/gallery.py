"""
The status page in every look: scenes served by the house, seen through a real Chromium.

`python -m tests.browser.gallery` takes the pictures of the documents anew; `pngquant` makes them small.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, async_playwright

from tests.daemon.operator.house import House, build
from tests.daemon.operator.scenes import SCENES, Scene

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ROOT = Path(__file__).resolve().parents[2]
DESK = {"width": 1180, "height": 900}
PHONE = {"width": 390, "height": 844}

# Of the documents: the scene, and how it is looked at. The height is as much of the page as says what it is about.
PICTURES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "status-zh": ("day", {"lang": "zh", "viewport": {**DESK, "height": 1240}}),
    "status-en": ("day", {"lang": "en", "viewport": {**DESK, "height": 1240}}),
    "status-dark": ("day", {"lang": "zh", "viewport": {**DESK, "height": 1240}, "color_scheme": "dark"}),
    "status-phone": ("day", {"lang": "zh", "viewport": {**PHONE, "height": 1400}, "device_scale_factor": 2}),
    "status-failing": ("failing", {"lang": "zh", "viewport": {**DESK, "height": 1500}}),
    "status-empty": ("nothing", {"lang": "zh", "viewport": DESK}),
}


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        await launched.close()


async def furnish(house: House, scene: Scene) -> None:
    """Nothing of what was there before stays."""
    for each in await house.store.pending(1_000_000):
        await house.store.forget(each.account, each.openid)
    house.rest, house.keys[:], house.accounts[:] = scene.seen, scene.seen.keys, scene.seen.accounts
    for exchange in scene.exchanges:
        await house.store.begin(exchange)


@asynccontextmanager
async def showing(browser: Browser, scene: Scene, *, lang: str = "en", **options: Any) -> AsyncIterator[Page]:
    """The scene's page, signed in, as it is served: it stands still, for it is given no script."""
    house = build()
    await furnish(house, scene)
    async with TestServer(house.app) as server:
        context = await browser.new_context(**{"viewport": DESK, **options})
        page = await context.new_page()
        await page.route("**/static/*.js*", lambda route: route.abort())
        await page.goto(str(server.make_url(f"{house.operator.one_time_ticket()}&lang={lang}")))
        yield page
        await context.close()


async def take_pictures(folder: Path) -> None:
    async with chromium() as browser:
        for name, (scene, options) in PICTURES.items():
            async with showing(browser, SCENES[scene](), **options) as page:
                await page.screenshot(path=folder / f"{name}.png")


if __name__ == "__main__":
    place = ROOT / "docs" / "screenshots"
    asyncio.run(take_pictures(place))
    files = [str(place / f"{name}.png") for name in PICTURES]
    subprocess.run(["pngquant", "--force", "--ext", ".png", "--strip", "--speed", "1", *files], check=True)
