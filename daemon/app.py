"""
The roof: it opens everything on one ladder, lets the rooms meet, and decides nothing.

Rule 1: lifetimes are indentation: what stands deeper in `running()` is opened later and closed earlier.
Rule 2: the bot and the gateway are opened here side by side; what one asks of the other meets in `daemon.adapters`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_network
from typing import TYPE_CHECKING

from aiohttp import web

from bot.fetch import wechat_hosts
from bot.store import ExchangeStore
from daemon import wiring
from daemon.accounts import Allows, open_bot
from daemon.addresses import Address, Network, parsed
from daemon.alerts import open_alerts
from daemon.certificate import Certificate, kept_fresh, open_certificate
from daemon.errors import error_middleware
from daemon.farewell import Farewell
from daemon.front import LOOK_SECONDS, Front
from daemon.gateway import open_gateway
from daemon.jobs import Flush, Job
from daemon.jobs import running as jobs_running
from daemon.listeners import can_speak_tls
from daemon.looking import looking
from daemon.misdirected import Misdirections, telling_misdirected
from daemon.news import telling_news
from daemon.operator.actions import Levers
from daemon.operator.assets import read_assets
from daemon.operator.page import setup_templates
from daemon.operator.routes import Operator
from daemon.operator.sign_in import SignedOut
from daemon.secret import Secret
from daemon.server import serving
from daemon.sqlite.database import Database
from daemon.sqlite.sign_outs import SqliteSignOuts
from daemon.sqlite.store import SqliteStore
from proxy.checks import check_now
from proxy.keypool import KeyPool
from proxy.value import value_type

if TYPE_CHECKING:
    from daemon.schema import Settings

MOST_VERIFIED = 1_000  # addresses of WeChat's servers, which have no limit of connections; it has some hundred


@value_type
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
    drain_seconds: float = 2.0,
    photo_hosts: Allows = wechat_hosts,
) -> AsyncIterator[Running]:
    """Everything there is, inside the block. Raises CannotListen, DatabaseRefused, BadWordFile and WrongConfig."""
    verified: set[Network] = set()

    def vouch(address: str) -> None:
        if len(verified) < MOST_VERIFIED and (known := parsed(address)):
            verified.add(_only(known))

    certificate = open_certificate(settings.server.tls_certificate, settings.server.tls_key)
    farewell = Farewell(drain_seconds, time.monotonic)
    async with contextlib.AsyncExitStack() as ladder:
        database = await ladder.enter_async_context(Database(settings.server.database))
        gateway = await ladder.enter_async_context(open_gateway(settings, database))
        store = SqliteStore(database, gateway.install_secret)
        bot = await ladder.enter_async_context(
            open_bot(settings, gateway, store, vouch=vouch, grace=farewell.left, photo_hosts=photo_hosts)
        )
        alerts = await ladder.enter_async_context(open_alerts(settings))
        await ladder.enter_async_context(telling_news(gateway.pool, (alerts.hear, bot.hear)))
        assets, misdirections = read_assets(), Misdirections(time.time)
        paths = [account.path for account in settings.bot.accounts]
        app = web.Application(middlewares=(error_middleware, telling_misdirected(paths, misdirections)))
        sign_outs, signed_out = SqliteSignOuts(database), SignedOut()
        signed_out.restore(await sign_outs.load())
        sign_outs_flush = Flush("sign outs", lambda: sign_outs.save(signed_out.rows()))
        await ladder.enter_async_context(jobs_running(sign_outs_flush))
        front = Front(settings.server.public_url, _revealed(settings.operator.password))
        look = looking(
            gateway,
            lambda: [webhook.view() for webhook in bot.webhooks],
            misdirected=misdirections.last,
            public_url=settings.server.public_url,
            listen=settings.server.listen,
            front_buffers=lambda: front.buffers,
        )

        async def scraped(accept: str, questions: Mapping[str, int] | None) -> tuple[bytes, str]:
            from daemon import metrics  # many daemons are never scraped, and prometheus_client is 1.3 MB

            sources = metrics.Sources(look, gateway.tally, gateway.line, gateway.book.totals, bot.answer_seconds)
            return await metrics.exposition(sources, accept, questions)

        operator = Operator(
            password=_revealed(settings.operator.password),
            show_words=settings.operator.show_words,
            secret=gateway.install_secret,
            look=look,
            levers=Levers(
                operate=gateway.pool.operate,
                check=lambda name: check_now(gateway.pool, name, gateway.sessions.towards),
                snapshot=gateway.pool.snapshot,
            ),
            exposition=scraped,
            has_eligible_key=gateway.pool.has_eligible,
            store=store,
            signed_out=signed_out,
            on_sign_out=sign_outs_flush.wake,
            assets=assets,
            templates=setup_templates(app, assets),
            clock=time.time,
            is_https=lambda request: request.scheme == "https",
            address=lambda request: request.remote or "",
        )
        gateway.watchers.append(operator.wake)
        app.add_routes([*gateway.edge.routes(), *operator.routes(), *bot.routes, *extra_routes()])
        look_at_certificate = await ladder.enter_async_context(kept_fresh(certificate))
        bound = await ladder.enter_async_context(
            serving(
                app,
                settings.server.listen,
                wiring.limits(settings),
                trusted_proxies=settings.server.trusted_proxies,
                exempt=verified,
                tls=certificate.context if certificate else None,
                pushes={webhook.path: webhook for webhook in bot.webhooks},
                fast_lane=gateway.edge.house if settings.server.fast_lane else None,
                drain_seconds=drain_seconds,
            )
        )
        ladder.callback(farewell.begin)
        await ladder.enter_async_context(jobs_running(Job("front", front.look, LOOK_SECONDS)))
        ladder.push_async_callback(operator.close)  # the page's streams end before the server waits for whatever runs

        def reload(changed: Settings) -> None:
            gateway.reconfigure(changed)
            bot.reconfigure(changed)
            alerts.reconfigure(changed)
            look_at_certificate()

        yield Running(_url(bound, certificate), gateway.pool, operator, store, app, reload)


@lru_cache(maxsize=MOST_VERIFIED)
def _only(address: Address) -> Network:
    return ip_network(address)


def _revealed(secret: Secret | None) -> str | None:
    return secret.reveal() if secret else None


def _url(bound: Sequence[str], certificate: Certificate | None) -> str:
    tcp = next((name for name in bound if not name.startswith("unix:")), "")
    for everywhere, here in (("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")):  # noqa: S104 - replaced, not bound
        tcp = tcp.replace(everywhere, here)
    scheme = "https" if certificate and can_speak_tls(tcp) else "http"
    return f"{scheme}://{tcp}" if tcp else ""
