"""The operator's pages over a store in memory, with everything in a test's hand: keys, clock, address, scheme."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web
from aiohttp.client import ClientResponse
from aiohttp.test_utils import TestClient

from bot.memory_store import MemoryStore
from bot.store import ExchangeStore
from bot.wechat.hold import Counts
from bot.wechat.view import AccountView, Attempt
from daemon.operator.actions import Levers
from daemon.operator.assets import Assets, read_assets
from daemon.operator.live import Pace
from daemon.operator.page import setup_templates
from daemon.operator.routes import Operator
from daemon.operator.seen import Seen
from daemon.operator.sign_in import SignedOut
from proxy.health import CellView, Event, KeyView

PASSWORD = "open the gate"


@dataclass
class House:
    app: web.Application
    assets: Assets
    keys: list[KeyView]
    accounts: list[AccountView]
    store: ExchangeStore
    time: list[float] = field(default_factory=lambda: [1_000_000.0])
    operator: Operator = field(init=False)
    operated: list[tuple[str, str]] = field(default_factory=list)  # what the buttons did: an action and a key
    looks: int = 0
    saved_sign_outs: dict[str, int] = field(default_factory=dict)
    signed_out: SignedOut = field(default_factory=SignedOut)
    rest: Seen = field(default_factory=Seen)  # what is seen beside keys and accounts

    def look(self) -> Seen:
        self.looks += 1
        return replace(self.rest, keys=tuple(self.keys), accounts=tuple(self.accounts))

    def operate(self, name: str, event: Event) -> bool:
        return self._does(event, name)

    async def check(self, name: str) -> bool:
        return self._does("check", name)

    def _does(self, action: str, name: str) -> bool:
        self.operated.append((str(action), name))
        return any(key.name == name for key in self.keys)

    async def close(self, _: web.Application) -> None:
        await self.operator.close()

    def keep_sign_outs(self) -> None:
        self.saved_sign_outs = dict(self.signed_out.rows())


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


async def exposition(accept: str, questions: Mapping[str, int] | None) -> tuple[bytes, str]:
    return f"{accept} {questions}".encode(), "text/plain; charset=utf-8"


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
    pace: Pace | None = None,
    signed_out: Mapping[str, int] | None = None,
) -> House:
    app, assets = web.Application(), read_assets()
    house = House(app, assets, keys or [], list(accounts), store or MemoryStore())
    house.signed_out.restore(signed_out or {})
    house.operator = Operator(
        password=password,
        show_words=show_words,
        secret=secret,
        look=house.look,
        levers=Levers(operate=house.operate, check=house.check, snapshot=lambda: house.keys),
        exposition=exposition,
        has_eligible_key=lambda: has_eligible_key,
        store=house.store,
        signed_out=house.signed_out,
        on_sign_out=house.keep_sign_outs,
        assets=assets,
        templates=setup_templates(app, assets),
        clock=lambda: house.time[0],
        is_https=lambda request: is_https,
        address=lambda request: request.headers.get("X-Test-Address", "192.0.2.1"),
        pace=pace,
    )
    app.add_routes(house.operator.routes())
    app.on_shutdown.append(house.close)
    return house


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


def an_account(
    *attempts: Attempt, answered: int = 0, unanswered: int = 0, pushes: tuple[tuple[str, str, int], ...] = ()
) -> AccountView:
    counts = Counts(answered + unanswered, answered, unanswered, budget_left=20 - unanswered, budget=20)
    return AccountView("gh_1", "/wechat", attempts, counts, pushes=pushes)
