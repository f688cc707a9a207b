"""How the status page looks in a real Chromium, whatever it has to show: it fits, it is readable, and axe finds no fault."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.gallery import DESK, PHONE, PICTURES, ROOT, chromium, showing
from tests.daemon.operator.scenes import SCENES, Scene, a_table

# One loop for all, so that one Chromium can serve them all.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

AXE = Path(os.environ.get("AXE", ROOT / ".venv" / "browser" / "axe" / "node_modules" / "axe-core" / "axe.min.js"))
ARTIFACTS = ROOT / "artifacts"
RUN_AXE = """() => axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => violations.flatMap(
  ({id, nodes}) => nodes.map((node) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`)))"""

# Boxes that reach too far, and words that leave their box.
BEYOND_THE_EDGE = """() => [...document.querySelectorAll("body, body *")].filter((each) =>
  each.getBoundingClientRect().right > innerWidth + 1 || each.scrollWidth > Math.max(innerWidth, each.clientWidth)
).map((each) => each.outerHTML.slice(0, 200))"""

DAY, NIGHT = {"color_scheme": "light"}, {"color_scheme": "dark"}
AT_A_DESK, ON_A_PHONE = {"viewport": DESK}, {"viewport": PHONE}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as launched:
        yield launched


# Each scene in both languages; by day and by night, at a desk and on a phone.
LOOKS = [
    ("day", "en", DAY | AT_A_DESK),
    ("day", "zh", NIGHT | ON_A_PHONE),
    ("failing", "zh", DAY | ON_A_PHONE),
    ("failing", "en", NIGHT | AT_A_DESK),
    ("table", "zh", DAY | AT_A_DESK),
    ("table", "en", NIGHT | ON_A_PHONE),
    ("nothing", "zh", DAY | AT_A_DESK),
    ("nothing", "en", NIGHT | ON_A_PHONE),
    ("start", "en", DAY | ON_A_PHONE),
    ("start", "zh", NIGHT | AT_A_DESK),
    ("hostile", "en", DAY | ON_A_PHONE),
    ("hostile", "zh", NIGHT | AT_A_DESK),
]


@pytest.mark.parametrize(("scene", "lang", "look"), LOOKS)
async def test_it_fits_and_axe_finds_no_fault(browser: Browser, scene: str, lang: str, look: dict[str, Any]) -> None:
    """Keeps a picture of each beside."""
    shown = a_table(51) if scene == "table" else SCENES[scene]()
    async with showing(browser, shown, lang=lang, **look) as page:
        size = "phone" if look["viewport"] is PHONE else "desk"
        await page.screenshot(
            path=ARTIFACTS / f"status-{scene}-{size}-{look['color_scheme']}-{lang}.png", full_page=True
        )
        await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert await beyond_the_edge(page) == []
        await page.evaluate(AXE.read_text("utf-8"))
        assert await page.evaluate(RUN_AXE) == []


@pytest.mark.parametrize("look", [DAY, NIGHT])
async def test_axe_finds_no_fault_at_the_door(browser: Browser, look: dict[str, Any]) -> None:
    async with showing(browser, Scene(SCENES["nothing"]().seen), **look) as page:
        await page.context.clear_cookies()
        await page.reload()
        await expect(page.get_by_label("Password")).to_be_visible()
        assert await beyond_the_edge(page) == []
        await page.evaluate(AXE.read_text("utf-8"))
        assert await page.evaluate(RUN_AXE) == []


async def test_axe_would_find_a_fault(browser: Browser) -> None:
    async with showing(browser, SCENES["start"]()) as page:
        await page.evaluate("document.querySelector('.brand img').removeAttribute('alt')")
        await page.evaluate(AXE.read_text("utf-8"))
        faults = await page.evaluate(RUN_AXE)
        assert [fault.partition(":")[0] for fault in faults] == ["image-alt"]


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_on_a_phone_the_headline_breaks_between_its_clauses_alone(browser: Browser, lang: str) -> None:
    async with showing(browser, SCENES["day"](), lang=lang, viewport=PHONE) as page:
        clauses = page.locator("h1 .clause")
        await expect(clauses).to_have_count(2)
        for height in await clauses.evaluate_all("all => all.map((each) => each.getClientRects()[0].height)"):
            assert height < 40  # one line


async def test_what_is_wrong_and_what_to_do_is_on_the_first_screen_of_a_phone(browser: Browser) -> None:
    async with showing(browser, SCENES["failing"](), viewport=PHONE) as page:
        worst = page.locator(".banner.ill").first
        assert await worst.evaluate("(each) => each.getBoundingClientRect().bottom") < PHONE["height"]


async def test_a_finger_finds_every_button(browser: Browser) -> None:
    async with showing(browser, SCENES["day"](), viewport=PHONE) as page:
        heights = await page.locator(".acts button").evaluate_all("all => all.map((each) => each.offsetHeight)")
        assert min(heights) >= 34  # CSS pixels; WCAG 2.2 asks for 24


async def test_the_pictures_in_the_documents_are_those_of_the_gallery() -> None:
    kept = {path.stem for path in (ROOT / "docs" / "screenshots").glob("status-*.png")}
    assert kept == set(PICTURES)


async def beyond_the_edge(page: Page) -> list[str]:
    found: list[str] = await page.evaluate(BEYOND_THE_EDGE)
    return found
