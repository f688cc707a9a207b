"""The status page in a real Chromium: with JavaScript and without, by day and by night, at a desk and on a phone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, async_playwright, expect

from bot.exchange import Exchange, State
from bot.wechat.view import Attempt
from proxy.health import KeyView
from tests.daemon.operator.house import PASSWORD, House, a_cell, a_key, an_account, build

# One loop for all, so that one Chromium can serve them all.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"
DESK = {"width": 1180, "height": 760}
PHONE = {"width": 390, "height": 844}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        await launched.close()


Open = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="module")
async def served() -> AsyncIterator[tuple[House, TestServer]]:
    house = build(keys=keys(), accounts=[an_account(*attempts(), answered=9, unanswered=1)])
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


def keys() -> list[KeyView]:
    return [
        a_key(name="main", last4="9f2c", answered=1204, failed=3, in_flight=2, last_request_id="req_7f3ac21b"),
        a_key(
            name="second",
            organization="org-lantern",
            state="cooling",
            rule="rate",
            reason="429, try again in 34 s",
            since_seconds=20.0,
            seconds_left=34.0,
            cells=(a_cell("gpt-small", 12.0), a_cell("deep-research", 3_700.0, "organization-model")),
        ),
        a_key(name="old", state="dead", rule="dead", reason="401 account_deactivated", since_seconds=60.0),
        a_key(name="spare", state="disabled"),
    ]


def attempts() -> list[Attempt]:
    now = 1_000_000.0
    return [
        Attempt(now - 620, "verification", "signature"),
        Attempt(now - 400, "verification", "accepted"),
        Attempt(now - 12, "push", "plaintext"),
    ]


async def ask(house: House, number: int, question: str, state: State = State.THINKING) -> None:
    await house.store.begin(
        Exchange(
            id=f"e{number}",
            account="gh_1",
            openid=f"oABC{number:020}9z",
            push_id=str(number),
            question=question,
            state=state,
            asked_at=house.time[0] - 40 * number,
        )
    )


@pytest.mark.parametrize("javascript", [True, False])
async def test_an_operator_signs_in_looks_and_leaves(open_page: Open, javascript: bool) -> None:
    page = await open_page("/status", java_script_enabled=javascript, locale="en-GB")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_have_text("That is not the password.")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_label("Password").press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("1 of 4 keys usable, no answers waiting")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Password")).to_be_visible()


@pytest.mark.parametrize("javascript", [True, False])
async def test_the_page_stays_fresh(open_page: Open, served: tuple[House, TestServer], javascript: bool) -> None:
    house, _ = served
    page = await open_page(java_script_enabled=javascript)
    await ask(house, 1, "<b>bold</b>")
    house.keys[1] = a_key(name="second")
    await expect(page).to_have_title("2 of 4 keys usable, 1 answer waiting · Posthouse", timeout=15_000)
    await expect(page.get_by_role("cell", name="<b>bold</b>")).to_be_visible()


async def test_a_countdown_ticks_between_two_looks_at_the_daemon(
    open_page: Open, served: tuple[House, TestServer]
) -> None:
    page = await open_page()
    await page.route("**/status*", lambda route: route.abort())
    await expect(page.locator(".back .count")).to_have_text("0:31", timeout=15_000)
    assert await page.locator("progress").evaluate("bar => bar.value") <= 31


async def test_a_fresh_page_keeps_the_place_and_the_focus(open_page: Open) -> None:
    page = await open_page(viewport=PHONE)
    await page.get_by_role("link", name="中文").focus()
    await page.evaluate("window.scrollTo(0, 300); document.querySelector('main').dataset.old = 'yes'")
    await expect(page.locator("main")).not_to_have_attribute("data-old", "yes", timeout=15_000)
    assert await page.evaluate("window.scrollY") == 300
    await expect(page.get_by_role("link", name="中文")).to_be_focused()


async def test_words_being_copied_are_not_swapped_away(open_page: Open) -> None:
    page = await open_page()
    await page.locator(".last code").dblclick()
    await page.evaluate("document.querySelector('main').dataset.old = 'yes'")
    async with page.expect_response("**/status*"), page.expect_response("**/status*"):
        pass
    await expect(page.locator("main")).to_have_attribute("data-old", "yes")


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_on_a_phone_the_headline_breaks_between_its_clauses_alone(open_page: Open, lang: str) -> None:
    page = await open_page(lang=lang, viewport=PHONE)
    clauses = page.locator("h1 .clause")
    await expect(clauses).to_have_count(2)
    for height in await clauses.evaluate_all("all => all.map((each) => each.getClientRects()[0].height)"):
        assert height < 40  # one line


async def test_a_daemon_that_is_gone_is_said_and_so_is_its_return(open_page: Open) -> None:
    page = await open_page()
    await page.route("**/status*", lambda route: route.abort())
    await expect(page.get_by_role("status")).to_contain_text("does not answer", timeout=15_000)
    await page.unroute("**/status*")
    await expect(page.locator("#lost")).to_be_hidden(timeout=15_000)


async def test_a_session_that_ended_leads_to_the_sign_in(open_page: Open) -> None:
    page = await open_page()
    await page.context.clear_cookies()
    await expect(page.get_by_label("Password")).to_be_visible(timeout=15_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("size", "viewport"), [("desk", DESK), ("phone", PHONE)])
@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_everything_fits_the_screen(
    open_page: Open,
    served: tuple[House, TestServer],
    scheme: str,
    size: str,
    viewport: dict[str, int],
    lang: str,
) -> None:
    """Keeps a picture of each page beside."""
    house, _ = served
    for number, state in enumerate((State.THINKING, State.ANSWERED, State.QUEUED, State.FAILED), 1):
        await ask(house, number, "为什么天是蓝的，海也是蓝的？请详细解释", state)
    look = {"color_scheme": scheme, "viewport": viewport}
    place = f"{size}-{scheme}-{lang}"
    await picture(await open_page(lang=lang, **look), f"full-{place}")
    await picture(await open_page(f"/status/sign-in?lang={lang}", **look), f"sign-in-{place}")
    house.keys.clear()
    house.accounts[:] = [an_account()]
    await empty_mailbox(house)
    await picture(await open_page(lang=lang, **look), f"empty-{place}")


async def picture(page: Page, name: str) -> None:
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.screenshot(path=ARTIFACTS / f"status-{name}.png", full_page=True)


async def empty_mailbox(house: House) -> None:
    for each in await house.store.pending(50):
        await house.store.forget(each.account, each.openid)
