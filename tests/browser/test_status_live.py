"""The status page while it is open, in a real Chromium: what changes is seen, whatever the network makes of the stream."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, TCPConnector
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Locator, Page, Route, async_playwright, expect

from bot.exchange import Exchange, State
from daemon.demo.refusals import Limited
from daemon.demo.steps import Answer
from daemon.operator.live import Pace
from proxy.history import HistoryView, Moment
from tests.daemon.operator.events import BASIC, NEVER, Stream
from tests.daemon.operator.house import House, a_key, build
from tests.flows.daemon_bench import TOKEN, town

# One loop for all, so that one Chromium can serve them all.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PHONE = {"width": 390, "height": 844}
PAGE, EVENTS = "**/status?*", "**/status/events?*"
PACE = Pace(event=0.05, look=0.05, glance=0.01, beat=0.1)
SILENT = Pace(event=0.05, look=NEVER, beat=NEVER, fresh=NEVER)  # says the page once, and nothing more unless woken


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="module")
async def new_page(browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
    """An empty page of its own. What the browser complains about fails the test."""
    complaints: list[str] = []

    async def new_page(**options: Any) -> Page:
        page = await (await browser.new_context(**options)).new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
        return page

    yield new_page
    for context in browser.contexts:
        await context.close()
    assert complaints == []


Serve = Callable[..., Awaitable["Watched"]]


class Watched:
    """A house that is served, and pages that look at it."""

    def __init__(self, house: House, server: TestServer, new_page: Callable[..., Awaitable[Page]]) -> None:
        self.house, self.server, self._new_page = house, server, new_page

    async def page(self, **options: Any) -> Page:
        return await self.open(await self._new_page(**options))

    async def open(self, page: Page) -> Page:
        await page.goto(str(self.server.make_url(f"{self.house.operator.one_time_ticket()}&lang=en")))
        return page

    @property
    def viewers(self) -> int:
        return len(self.house.operator._live._viewers)

    async def until(self, viewers: int) -> None:
        async with asyncio.timeout(15):
            while self.viewers != viewers:
                await asyncio.sleep(0.005)


@pytest_asyncio.fixture(loop_scope="module")
async def serve(new_page: Callable[..., Awaitable[Page]]) -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def serve(**changes: Any) -> Watched:
            house = build(**{"keys": [a_key(name="main"), a_key(name="spare")], "pace": PACE, **changes})
            server = TestServer(house.app)
            await server.start_server()
            stack.push_async_callback(server.close)
            return Watched(house, server, new_page)

        yield serve


async def block(route: Route) -> None:
    await route.abort()


async def hold(route: Route) -> None:
    """Neither an answer nor an end."""


def card(page: Page, name: str) -> Locator:
    return page.locator(".card", has=page.get_by_role("heading", name=name))


def button(page: Page, key: str, action: str) -> Locator:
    return page.locator(f'button[formaction^="/status/keys/{key}/{action}"]')


async def test_a_429_is_seen_as_it_happens_and_so_is_the_keys_return(
    new_page: Callable[..., Awaitable[Page]], tmp_path: Path
) -> None:
    """The daemon as it is, at its own pace, and not one fetch of the page after the first."""
    async with town(tmp_path, {"sk-1": [Limited("2")], "sk-2": [Answer("Hi.")]}, accounts=()) as place:
        page = await new_page()
        await page.goto(f"{place.daemon.url}{place.daemon.operator.one_time_ticket()}&lang=en")
        await page.route(PAGE, block)
        await expect(card(page, "k1")).to_contain_text("Ready")
        body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with place.session.post(f"{place.daemon.url}/v1/chat/completions", json=body, headers=headers) as answer:
            assert answer.status == 200
        await expect(card(page, "k1")).to_contain_text("Cooling")
        for left in ("0:02", "0:01"):
            await expect(card(page, "k1").locator("b[data-seconds]").first).to_have_text(left)
        await expect(card(page, "k1")).to_contain_text("Ready")
        await expect(page).to_have_title("2 of 2 keys usable, no answers waiting · Posthouse")
        await expect(page.locator("#lost")).to_be_hidden()


async def test_a_question_that_comes_is_seen_as_text(serve: Serve) -> None:
    watched = await serve()
    page = await watched.page()
    asked = Exchange("e", "gh_1", "oABC", "1", "<b>bold</b>", state=State.THINKING, asked_at=watched.house.time[0])
    await watched.house.store.begin(asked)
    await expect(page.get_by_role("cell", name="<b>bold</b>")).to_be_visible()
    await expect(page).to_have_title("2 of 2 keys usable, 1 answer waiting · Posthouse")


async def test_without_javascript_the_page_reads_itself_again(serve: Serve) -> None:
    watched = await serve()
    page = await watched.page(java_script_enabled=False)
    await expect(page.locator("meta[http-equiv=refresh]")).to_have_count(1)  # the browser's own clock does it
    watched.house.keys.append(a_key(name="late-key"))
    await page.reload()
    await expect(card(page, "late-key")).to_be_visible()
    assert watched.viewers == 0


async def test_a_countdown_ticks_by_itself(serve: Serve) -> None:
    cooling = a_key(name="main", state="cooling", rule="rate", since_seconds=6.0, seconds_left=34.0)
    page = await (await serve(pace=SILENT, keys=[cooling])).page()
    await page.route(PAGE, block)
    await expect(page.locator("b[data-seconds]").first).to_have_text("0:32", timeout=15_000)
    assert await page.locator("progress").evaluate("bar => bar.value") <= 32


@pytest.mark.parametrize("stall", [hold, block])
async def test_where_no_stream_comes_through_the_page_is_fetched(
    serve: Serve, new_page: Callable[..., Awaitable[Page]], stall: Callable[[Route], Awaitable[None]]
) -> None:
    watched, page = await serve(), await new_page()
    await page.route(EVENTS, stall)
    await watched.open(page)
    watched.house.keys.append(a_key(name="late-key"))
    await expect(card(page, "late-key")).to_be_visible(timeout=15_000)
    watched.house.keys.append(a_key(name="later-key"))
    await expect(card(page, "later-key")).to_be_visible(timeout=15_000)
    assert watched.viewers == 0


async def test_a_stream_that_falls_silent_gives_way_to_fetching_and_is_tried_again(
    serve: Serve, new_page: Callable[..., Awaitable[Page]]
) -> None:
    watched, page = await serve(pace=SILENT), await new_page()
    await page.clock.install()
    await watched.open(page)
    await watched.until(viewers=1)
    watched.house.keys.append(a_key(name="late-key"))
    await page.clock.fast_forward(19_000)
    await expect(card(page, "late-key")).to_have_count(0)
    await page.clock.fast_forward(2_000)
    await expect(card(page, "late-key")).to_be_visible()
    await watched.until(viewers=0)
    await page.clock.fast_forward(61_000)
    await watched.until(viewers=1)
    watched.house.keys.append(a_key(name="later-key"))
    watched.house.operator.wake()
    await expect(card(page, "later-key")).to_be_visible()


async def test_a_daemon_that_is_gone_is_said_and_so_is_its_return(serve: Serve) -> None:
    watched = await serve()
    page = await watched.page()
    await watched.until(viewers=1)
    await page.route("**/status**", block)
    await watched.house.operator.close()
    await expect(page.get_by_role("status")).to_contain_text("does not answer", timeout=15_000)
    await page.unroute("**/status**")
    await expect(page.locator("#lost")).to_be_hidden(timeout=15_000)
    watched.house.keys.append(a_key(name="late-key"))
    await expect(card(page, "late-key")).to_be_visible(timeout=15_000)


async def test_signing_out_in_one_tab_ends_the_others(serve: Serve) -> None:
    watched = await serve()
    page = await watched.page()
    other = await page.context.new_page()
    await other.goto(str(watched.server.make_url("/status?lang=en")))
    await watched.until(viewers=2)
    await other.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Password")).to_be_visible(timeout=15_000)
    await watched.until(viewers=0)


async def test_an_upgraded_daemon_starts_the_page_anew(serve: Serve, new_page: Callable[..., Awaitable[Page]]) -> None:
    def event(files: str) -> str:
        return f'event: main\ndata: {{"title": "t", "main": "<main>{files}</main>", "files": "{files}"}}\n\n'

    async def upgraded(route: Route) -> None:
        await route.fulfill(content_type="text/event-stream", body=event("old") + event("old") + event("new"))

    watched, page = await serve(), await new_page()
    await page.route(EVENTS, upgraded, times=1)
    await watched.open(page)
    await watched.until(viewers=1)
    assert await page.evaluate("performance.getEntriesByType('navigation')[0].type") == "reload"
    await expect(card(page, "main")).to_be_visible()


async def hide(page: Page, *, is_hidden: bool) -> None:
    await page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_hidden,
    )


async def test_a_page_in_the_background_asks_for_nothing(serve: Serve) -> None:
    watched = await serve()
    page = await watched.page()
    await watched.until(viewers=1)
    await hide(page, is_hidden=True)
    await watched.until(viewers=0)
    watched.house.keys.append(a_key(name="late-key"))
    await hide(page, is_hidden=False)
    await watched.until(viewers=1)
    await expect(card(page, "late-key")).to_be_visible()


# --- what must survive a fresh <main>


def with_history(name: str, **changes: Any) -> Any:
    return a_key(name=name, history=HistoryView(moments=(Moment(5.0, "key.cooled", "rate", "429"),)), **changes)


async def test_a_fresh_page_keeps_what_is_open_where_one_is_and_what_is_focused(serve: Serve) -> None:
    watched = await serve(keys=[with_history(f"k{number}") for number in range(6)])
    page = await watched.page(viewport=PHONE)
    await page.locator("#history-k3 summary").click()
    await page.locator("#history-k4 summary").focus()
    await page.evaluate("window.scrollTo(0, 300)")
    watched.house.keys[0] = with_history("k0", in_flight=7)
    watched.house.keys.insert(0, with_history("new"))
    await expect(card(page, "new")).to_be_visible()
    await expect(page.locator("#history-k3")).to_have_attribute("open", "")
    await expect(page.locator("details[open]")).to_have_count(1)
    await expect(page.locator("#history-k4 summary")).to_be_focused()
    assert await page.evaluate("window.scrollY") > 0


async def test_words_being_copied_are_not_swapped_away(serve: Serve) -> None:
    watched = await serve(keys=[a_key(name="main", last_request_id="req_1")])
    page = await watched.page()
    await page.get_by_text("req_1").dblclick()
    watched.house.keys[0] = a_key(name="main", last_request_id="req_2")
    watched.house.keys.append(a_key(name="late-key"))
    await expect(page).to_have_title("2 of 2 keys usable, no answers waiting · Posthouse")
    assert await page.evaluate("String(document.getSelection())") == "req_1"
    await expect(card(page, "late-key")).to_have_count(0)
    await page.evaluate("document.getSelection().removeAllRanges()")
    watched.house.keys.append(a_key(name="later-key"))
    await expect(card(page, "later-key")).to_be_visible()


# --- the buttons


@pytest.mark.parametrize("javascript", [True, False])
async def test_the_buttons_do_what_they_say(
    new_page: Callable[..., Awaitable[Page]], tmp_path: Path, javascript: bool
) -> None:
    async with town(tmp_path, {"sk-1": [Answer("Hi.")] * 9, "sk-2": [Answer("Hi.")]}, accounts=()) as place:
        page = await new_page(java_script_enabled=javascript)
        await page.goto(f"{place.daemon.url}{place.daemon.operator.one_time_ticket()}&lang=en")
        await button(page, "k1", "disable").click()
        await expect(card(page, "k1")).to_contain_text("Disabled")
        assert [key.state for key in place.daemon.pool.snapshot()] == ["disabled", "ready"]
        assert page.url == f"{place.daemon.url}/status?lang=en"
        enable = button(page, "k1", "enable")
        if javascript:
            await expect(enable).to_be_focused()
        await enable.click()
        await expect(card(page, "k1")).to_contain_text("Ready")
        await button(page, "k1", "check").click()
        await place.until(lambda upstream: any(asked.path == "/v1/models" for asked in upstream.requests))
        await expect(card(page, "k1")).to_contain_text("Ready")


async def test_a_button_shows_that_it_works_until_it_has(serve: Serve) -> None:
    watched, may_end = await serve(), asyncio.Event()
    page = await watched.page()

    async def slowly(route: Route) -> None:
        await may_end.wait()
        await route.continue_()

    await page.route("**/status/keys/**", slowly)
    check = button(page, "main", "check")
    await check.click()
    await expect(check).to_have_attribute("aria-busy", "true")
    await check.click()
    watched.house.keys.append(a_key(name="late-key"))
    await expect(card(page, "late-key")).to_be_visible()
    await expect(check).to_have_attribute("aria-busy", "true")
    may_end.set()
    await expect(check).not_to_have_attribute("aria-busy", "true")
    assert watched.house.operated == [("check", "main")]


async def test_a_click_means_the_button_it_began_on(serve: Serve) -> None:
    """While the mouse is down another key takes the place under it."""
    watched = await serve()
    page = await watched.page()
    await button(page, "main", "check").hover()
    await page.mouse.down()
    watched.house.keys.insert(0, a_key(name="intruder", state="dead"))
    await expect(card(page, "intruder")).to_be_visible()
    await page.mouse.up()
    await button(page, "spare", "check").click()
    await expect(button(page, "spare", "check")).not_to_have_attribute("aria-busy", "true")
    assert ("check", "intruder") not in watched.house.operated
    assert ("check", "spare") in watched.house.operated


async def test_in_the_table_of_many_keys_a_row_stays_its_keys(serve: Serve) -> None:
    watched = await serve(keys=[a_key(name=f"k{number:02}") for number in range(60)])
    page = await watched.page()
    last = button(page, "k59", "check")
    await last.focus()
    watched.house.keys.insert(0, a_key(name="late-key"))
    watched.house.keys.insert(30, watched.house.keys.pop())
    del watched.house.keys[10]
    await expect(button(page, "late-key", "check")).to_be_visible()
    await expect(last).to_be_focused()
    shown = await page.locator("tbody tr th").evaluate_all(
        "all => all.map((each) => each.textContent.trim().split(' ')[0])"
    )
    assert shown == [key.name for key in watched.house.keys]
    await page.keyboard.press("Enter")
    await expect(last).not_to_have_attribute("aria-busy", "true")
    assert watched.house.operated == [("check", "k59")]


async def test_a_form_of_another_session_leads_to_the_page_as_it_is(serve: Serve) -> None:
    watched = await serve()
    page = await watched.page()
    await page.locator("#act [name=form_token]").evaluate("field => (field.value = 'stale')")
    async with page.expect_navigation():
        await button(page, "main", "check").click()
    await button(page, "main", "check").click()
    await expect(button(page, "main", "check")).not_to_have_attribute("aria-busy", "true")
    assert watched.house.operated == [("check", "main")]


async def test_fifty_other_viewers_do_not_disturb(serve: Serve) -> None:
    watched = await serve()
    page = await watched.page()
    async with ClientSession(connector=TCPConnector(limit=0), headers=BASIC) as session, AsyncExitStack() as stack:
        url = watched.server.make_url("/status/events?lang=en")
        streams = [Stream(await stack.enter_async_context(session.get(url))) for _ in range(50)]
        await watched.until(viewers=51)
        looks = watched.house.looks
        watched.house.keys.append(a_key(name="late-key"))
        await expect(card(page, "late-key")).to_be_visible()
        for stream in streams:
            await stream.main_with("late-key")
        assert watched.house.looks - looks < 40  # of one of them, not of each
