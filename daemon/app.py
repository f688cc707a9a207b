"""
The roof: it opens everything on one ladder, lets the rooms meet, and decides nothing.

Rule 1: lifetimes are indentation: what stands deeper in `running()` is opened later and closed earlier.
Rule 2: what the bot asks and what the gateway answers meet here, in `ask_through`, and nowhere else.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from aiohttp import web

from bot.ask import Ask, Message, Resting, Unanswered
from bot.desk import Desk
from bot.exchange import Reason
from bot.store import ExchangeStore
from bot.wechat.cloudrun import CloudRun
from bot.wechat.visits import Visits
from bot.wechat.webhook import Account, Webhook
from daemon import wiring
from daemon.addresses import Network, parsed
from daemon.errors import error_middleware
from daemon.gateway import new_id, open_gateway
from daemon.jobs import Job
from daemon.jobs import running as jobs_running
from daemon.misdirected import telling_misdirected
from daemon.operator.assets import read_assets
from daemon.operator.page import setup_templates
from daemon.operator.routes import Operator
from daemon.schema import Settings
from daemon.secret import Secret
from daemon.server import serving
from daemon.sqlite.database import Database
from daemon.sqlite.store import SqliteStore
from proxy.chat import Chat, EmptyAnswer, TornAnswer
from proxy.keypool import KeyPool
from proxy.refusal import Refusal

MOST_VERIFIED = 1_000  # addresses of WeChat's servers, which have no limit of connections; it has some hundred
EXPIRY_SECONDS = 3600.0  # between two looks for answers older than `bot.keep_days`


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
) -> AsyncIterator[Running]:
    """Everything there is, inside the block. Raises CannotListen and DatabaseRefused."""
    verified: set[Network] = set()

    def vouch(address: str) -> None:
        if len(verified) < MOST_VERIFIED and parsed(address):
            verified.add(ip_network(address))

    async with contextlib.AsyncExitStack() as ladder:
        database = await ladder.enter_async_context(Database(settings.server.database))
        store = SqliteStore(database)
        gateway = await ladder.enter_async_context(open_gateway(settings, database))
        models = wiring.model_and_prompt(settings)
        desk = await ladder.enter_async_context(
            Desk(
                store,
                ask_through(gateway.chat),
                settings=wiring.desk(settings),
                model_of=lambda account: models.get(account, (settings.bot.model, settings.bot.system_prompt)),
                clock=time.time,
            )
        )
        accounts = []
        for table in settings.bot.accounts:
            visits = Visits(
                desk,
                wiring.style(settings),
                clock=time.time,
                new_id=new_id,
                timing=wiring.timing(settings),
                queued_questions=settings.bot.queued_questions,
            )
            ladder.push_async_callback(visits.close)
            accounts.append(Account(table.id, table.path, wiring.gate(table), visits, app_id=table.app_id))

        async def forget_the_old() -> None:
            await store.expire(before=time.time() - settings.bot.keep_days * 86_400)

        await ladder.enter_async_context(jobs_running(Job("expiry", forget_the_old, EXPIRY_SECONDS)))

        assets = read_assets()
        webhooks = [
            Webhook(account, clock=time.time, random16=lambda: secrets.token_bytes(16), vouch=vouch)
            for account in accounts
        ]
        operator = Operator(
            password=_revealed(settings.operator.password),
            show_words=settings.operator.show_words,
            secret=gateway.install_secret,
            keys=gateway.pool.snapshot,
            has_eligible_key=gateway.pool.has_eligible,
            accounts=lambda: [webhook.view() for webhook in webhooks],
            store=store,
            assets=assets,
            clock=time.time,
            is_https=lambda request: request.scheme == "https",
            address=lambda request: request.remote or "",
        )
        middlewares = (error_middleware, telling_misdirected([account.path for account in accounts]))
        app = web.Application(middlewares=middlewares)
        app.on_response_prepare.append(_unsigned)
        setup_templates(app, assets)
        app.add_routes([*gateway.edge.routes(), *operator.routes(), *extra_routes()])
        for webhook in webhooks:
            app.add_routes(webhook.routes())
        if settings.bot.cloudrun.enabled:
            secret = _revealed(settings.bot.cloudrun.secret) or ""
            timing = wiring.cloudrun_timing(settings)
            app.add_routes(CloudRun(accounts, secret=secret, clock=time.time, timing=timing).routes())
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
            models.update(wiring.model_and_prompt(changed))

        yield Running(_url(bound), gateway.pool, operator, store, app, reload)


def ask_through(chat: Chat) -> Ask:
    """How the desk asks: over the same pool as every caller, with failures in the desk's own terms."""

    async def ask(messages: Sequence[Message], *, model: str) -> AsyncGenerator[str]:
        plain = [{"role": message.role, "content": message.content} for message in messages]
        try:
            async with contextlib.aclosing(chat.ask(plain, model=model)) as pieces:
                async for piece in pieces:
                    yield piece
        except TornAnswer:
            raise Unanswered(Reason.TRUNCATED) from None
        except EmptyAnswer:
            raise Unanswered(Reason.EMPTY) from None
        except Refusal as refusal:
            raise _in_the_desks_terms(refusal) from None

    return ask


def _in_the_desks_terms(refusal: Refusal) -> Resting | Unanswered:
    match refusal.code:
        case "rate_limit_exceeded" | "overloaded":
            return Resting(refusal.retry_after_seconds)
        case "pool_exhausted":
            return Resting(None)
    return Unanswered(Reason.REFUSED if refusal.status < 500 else Reason.UNREACHABLE)


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
