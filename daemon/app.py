"""
The roof: it opens everything on one ladder, lets the rooms meet, and decides nothing.

Rule 1: lifetimes are indentation: what stands deeper in `running()` is opened later and closed earlier.
Rule 2: the bot and the gateway are opened here side by side; what one asks of the other meets in `daemon.adapters`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from aiohttp import web

from bot.fetch import wechat_hosts
from bot.store import ExchangeStore
from daemon import wiring
from daemon.accounts import Allows, open_bot
from daemon.addresses import Network, parsed
from daemon.errors import error_middleware
from daemon.gateway import open_gateway
from daemon.looking import looking
from daemon.misdirected import Misdirections, telling_misdirected
from daemon.operator.assets import read_assets
from daemon.operator.page import setup_templates
from daemon.operator.routes import Operator
from daemon.schema import Settings
from daemon.secret import Secret
from daemon.server import serving
from daemon.sqlite.database import Database
from daemon.sqlite.store import SqliteStore
from proxy.keypool import KeyPool

MOST_VERIFIED = 1_000  # addresses of WeChat's servers, which have no limit of connections; it has some hundred


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon that serves. `url` is its first TCP listener as a client on this machine reaches it, "" without one.

    `reload` takes up what `reload.needs_restart` does not name.
    """

    url: str
    pool: KeyPool
    operator: Operator
    store: ExchangeStore
    app: web.Application
    reload: Callable[[Settings], None]


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    *,
    extra_routes: Callable[[], Sequence[web.AbstractRouteDef]] = tuple,
    drain_seconds: float = 3.0,
    photo_hosts: Allows = wechat_hosts,
) -> AsyncIterator[Running]:
    """Everything there is, inside the block. Raises CannotListen, DatabaseRefused and BadWordFile."""
    verified: set[Network] = set()

    def vouch(address: str) -> None:
        if len(verified) < MOST_VERIFIED and parsed(address):
            verified.add(ip_network(address))

    async with contextlib.AsyncExitStack() as ladder:
        database = await ladder.enter_async_context(Database(settings.server.database))
        gateway = await ladder.enter_async_context(open_gateway(settings, database))
        store = SqliteStore(database, gateway.install_secret)
        bot = await ladder.enter_async_context(open_bot(settings, gateway, store, vouch=vouch, photo_hosts=photo_hosts))
        assets, misdirections = read_assets(), Misdirections(time.time)
        operator = Operator(
            password=_revealed(settings.operator.password),
            show_words=settings.operator.show_words,
            secret=gateway.install_secret,
            look=looking(
                gateway,
                lambda: [webhook.view() for webhook in bot.webhooks],
                misdirected=misdirections.last,
                public_url=settings.server.public_url,
                listen=settings.server.listen,
            ),
            has_eligible_key=gateway.pool.has_eligible,
            store=store,
            assets=assets,
            clock=time.time,
            is_https=lambda request: request.scheme == "https",
            address=lambda request: request.remote or "",
        )
        paths = [account.path for account in settings.bot.accounts]
        app = web.Application(middlewares=(error_middleware, telling_misdirected(paths, misdirections)))
        app.on_response_prepare.append(_unsigned)
        setup_templates(app, assets)
        app.add_routes([*gateway.edge.routes(), *operator.routes(), *bot.routes, *extra_routes()])
        bound = await ladder.enter_async_context(
            serving(
                app,
                settings.server.listen,
                wiring.limits(settings),
                trusted_proxies=settings.server.trusted_proxies,
                exempt=verified,
                drain_seconds=drain_seconds,
            )
        )

        def reload(changed: Settings) -> None:
            gateway.reconfigure(changed)
            bot.reconfigure(changed)

        yield Running(_url(bound), gateway.pool, operator, store, app, reload)


async def _unsigned(_: web.BaseRequest, response: web.StreamResponse) -> None:
    """Nobody needs to know which version of what serves here."""
    response.headers.pop("Server", None)


def _revealed(secret: Secret | None) -> str | None:
    return secret.reveal() if secret else None


def _url(bound: Sequence[str]) -> str:
    tcp = next((name for name in bound if not name.startswith("unix:")), "")
    for everywhere, here in (("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")):  # noqa: S104 - replaced, not bound
        tcp = tcp.replace(everywhere, here)
    return f"http://{tcp}" if tcp else ""
