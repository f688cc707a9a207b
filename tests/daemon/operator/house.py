"""The operator's pages over a store in memory, with everything in a test's hand: keys, clock, address, scheme."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.client import ClientResponse
from aiohttp.test_utils import TestClient

from bot.memory_store import MemoryStore
from bot.store import ExchangeStore
from bot.wechat.hold import Counts
from bot.wechat.view import AccountView, Attempt
from daemon.operator.assets import Assets, read_assets
from daemon.operator.page import setup_templates
from daemon.operator.routes import Operator
from daemon.operator.seen import Seen
from proxy.health import CellView, KeyView

PASSWORD = "open the gate"


@dataclass
class House:
    app: web.Application
    operator: Operator
    assets: Assets
    keys: list[KeyView]
    accounts: list[AccountView]
    store: ExchangeStore
    time: list[float]


@dataclass
class Visitor:
    house: House
    http: TestClient[web.Request, web.Application]

    async def get(self, path: str, **options: Any) -> ClientResponse:
        return await self.http.get(path, allow_redirects=False, **options)

    async def post(self, path: str, **options: Any) -> ClientResponse:
        return await self.http.post(path, allow_redirects=False, **options)

    async def sign_in(self, password: str = PASSWORD, **options: Any) -> ClientResponse:
        fields = {"form_token": await self.form_token("/status/sign-in"), "password": password}
        return await self.post("/status/sign-in", data=fields, **options)

    async def form_token(self, path: str) -> str:
        html = await (await self.get(path)).text()
        found = re.search(r'name="form_token" value="(\w+)"', html)
        assert found, html
        return found[1]


Visit = Callable[..., Awaitable[Visitor]]


def build(
    *,
    password: str | None = PASSWORD,
    secret: bytes = b"s" * 32,
    show_words: bool = True,
    keys: list[KeyView] | None = None,
    store: ExchangeStore | None = None,
    is_https: bool = False,
    has_eligible_key: bool = True,
    accounts: Sequence[AccountView] = (),
) -> House:
    keys, accounts, store, time = keys or [], list(accounts), store or MemoryStore(), [1_000_000.0]
    app, assets = web.Application(), read_assets()
    setup_templates(app, assets)
    operator = Operator(
        password=password,
        show_words=show_words,
        secret=secret,
        look=lambda: Seen(keys=keys, accounts=accounts),
        has_eligible_key=lambda: has_eligible_key,
        store=store,
        assets=assets,
        clock=lambda: time[0],
        is_https=lambda request: is_https,
        address=lambda request: request.headers.get("X-Test-Address", "192.0.2.1"),
    )
    app.add_routes(operator.routes())
    return House(app, operator, assets, keys, accounts, store, time)


def a_key(**changes: Any) -> KeyView:
    values: dict[str, Any] = {
        "name": "main",
        "last4": "a1b2",
        "upstream": "openai",
        "organization": "",
        "state": "ready",
        "rule": "",
        "reason": "",
        "since_seconds": None,
        "seconds_left": None,
        "in_flight": 0,
        "answered": 0,
        "failed": 0,
        "last_request_id": "",
    }
    return KeyView(**{**values, **changes})


def a_cell(model: str, seconds_left: float = 30.0, scope: str = "key-model") -> CellView:
    return CellView(scope=scope, model=model, seconds_left=seconds_left, rule="rate", reason="429, try again in 30 s")


def an_account(*attempts: Attempt, answered: int = 0, unanswered: int = 0) -> AccountView:
    counts = Counts(answered + unanswered, answered, unanswered, budget_left=20 - unanswered, budget=20)
    return AccountView("gh_1", "/wechat", attempts, counts)
