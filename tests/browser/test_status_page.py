"""Into the status page and out of it in a real Chromium, with JavaScript and without."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.daemon.operator.house import PASSWORD, House, a_key, build

# One loop for all, so that one Chromium can serve them all.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
DESK = {"width": 1180, "height": 760}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        await launched.close()


Open = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="module")
async def served() -> AsyncIterator[tuple[House, TestServer]]:
    house = build(keys=[a_key(name="main"), a_key(name="old", state="dead")])
    server = TestServer(house.app)
    await server.start_server()
    yield house, server
    await server.close()


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(browser: Browser, served: tuple[House, TestServer]) -> AsyncIterator[Open]:
    """A page of its own, signed in unless told otherwise. What the browser complains about fails the test."""
    house, server = served
    complaints: list[str] = []

    async def open_page(path: str | None = None, *, lang: str = "en", **options: Any) -> Page:
        context = await browser.new_context(**{"viewport": DESK, **options})
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
        await page.goto(str(server.make_url(path or f"{house.operator.one_time_ticket()}&lang={lang}")))
        return page

    yield open_page
    for context in browser.contexts:
        await context.close()
    assert complaints == []


@pytest.mark.parametrize("javascript", [True, False])
async def test_an_operator_signs_in_looks_and_leaves(open_page: Open, javascript: bool) -> None:
    page = await open_page("/status", java_script_enabled=javascript, locale="en-GB")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_have_text("That is not the password.")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_label("Password").press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("1 of 2 keys usable, no answers waiting")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Password")).to_be_visible()
