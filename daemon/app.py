"""
The roof: it opens everything on one ladder, lets the rooms meet, and decides nothing.

Rule 1: lifetimes are indentation: what stands deeper in `running()` is opened later and closed earlier.
Rule 2: what the bot asks and what the gateway answers meet here, in `ask_through`, and nowhere else.
"""

from __future__ import annotations

import contextlib
import random
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
from daemon.config import secrets as secrets_of
from daemon.errors import error_middleware
from daemon.jobs import Flush, Job
from daemon.jobs import running as jobs_running
from daemon.operator.assets import read_assets
from daemon.operator.page import setup_templates
from daemon.operator.routes import Operator
from daemon.schema import Settings
from daemon.secret import Secret
from daemon.server import serving
from daemon.session import upstream_session
from daemon.sqlite.affinity import SqliteAffinityLedger
from daemon.sqlite.database import Database
from daemon.sqlite.ledger import SqliteLedger
from daemon.sqlite.store import SqliteStore
from daemon.sqlite.usage import SqliteUsage
from proxy.affinity import Affinity
from proxy.allowance import Allowances
from proxy.chat import Chat, EmptyAnswer, TornAnswer
from proxy.checks import check_due
from proxy.forward import Gateway
from proxy.keypool import KeyPool
from proxy.line import Line
from proxy.refusal import Refusal
from proxy.soft_affinity import SoftAffinity
from proxy.upstream import Road
from proxy.usage_book import Days, UsageBook
from proxy.witness import Witnesses

CHECK_SECONDS = 1.0  # how late a free check may be
MOST_VERIFIED = 1_000  # addresses of WeChat's servers, which have no limit of connections; it has some hundred
EXPIRY_SECONDS = 3600.0  # between two looks for answers older than `bot.keep_days`


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon that serves. `url` is its first TCP listener as a client on this machine reaches it, "" without one."""

    url: str
    pool: KeyPool
    operator: Operator
    store: ExchangeStore
    app: web.Application


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
        store, ledger = SqliteStore(database), SqliteLedger(database)
        install_secret = await ledger.install_secret()

        keys = wiring.keys(settings, install_secret)
        hidden = [secret.reveal() for secret in secrets_of(settings)]
        flush = Flush("key health", lambda: ledger.save(pool.health(wall=time.time())))
        line = Line()
        pool = KeyPool(keys, clock=time.monotonic, jitter=random.random, on_change=flush.wake, on_room=line.kick)
        pool.restore(await ledger.load(), wall=time.time())

        async def save_usage() -> None:
            used = book.unsaved()
            await usage.add(used)
            book.saved(used)

        usage, days = SqliteUsage(database), Days(settings.server.timezone, time.time)
        flush_usage = Flush("usage", save_usage)
        book = UsageBook(wiring.model_names(settings), days, on_change=flush_usage.wake)
        book.restore(await usage.load(days.today()))
        allowances = Allowances(
            clock=time.monotonic, tokens_today=book.spent_today, seconds_left_today=days.seconds_left
        )

        async def save_objects() -> None:
            made = affinity.unsaved()
            await objects.save(made)
            affinity.saved(made)

        objects, flush_objects = SqliteAffinityLedger(database), Flush("affinity", save_objects)
        affinity = Affinity(on_change=flush_objects.wake)
        affinity.restore(await objects.load())
        soft = SoftAffinity(secrets.token_bytes(16))
        witnesses = Witnesses(book, affinity, soft, time.monotonic, time.time)

        session = await ladder.enter_async_context(upstream_session())
        road = Road(line, session)
        chat = Chat(
            pool,
            road,
            book,
            wiring.chat_parameters(settings),
            clock=time.monotonic,
            jitter=random.random,
            new_id=_new_id,
            queue_seconds=settings.bot.queue_seconds,
            secrets=hidden,
        )
        models = wiring.model_and_prompt(settings)
        desk = await ladder.enter_async_context(
            Desk(
                store,
                ask_through(chat),
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
                new_id=_new_id,
                timing=wiring.timing(settings),
                queued_questions=settings.bot.queued_questions,
            )
            ladder.push_async_callback(visits.close)
            accounts.append(Account(table.id, table.path, wiring.gate(table), visits, app_id=table.app_id))

        async def forget_the_old() -> None:
            await store.expire(before=time.time() - settings.bot.keep_days * 86_400)

        await ladder.enter_async_context(
            jobs_running(
                flush,
                flush_usage,
                flush_objects,
                Job("free checks", lambda: check_due(pool, session), CHECK_SECONDS),
                Job("expiry", forget_the_old, EXPIRY_SECONDS),
            )
        )

        assets = read_assets()
        operator = Operator(
            password=_revealed(settings.operator.password),
            show_words=settings.operator.show_words,
            secret=install_secret,
            keys=pool.snapshot,
            has_eligible_key=pool.has_eligible,
            store=store,
            assets=assets,
            clock=time.time,
            is_https=lambda request: request.scheme == "https",
            address=lambda request: request.remote or "",
        )
        gateway = Gateway(
            pool,
            wiring.callers(settings),
            road,
            wiring.gateway(settings),
            allowances=allowances,
            witnesses=witnesses,
            secrets=hidden,
            wall_clock=time.time,
            jitter=random.random,
            new_id=_new_id,
        )
        app = web.Application(middlewares=[error_middleware])
        app.on_response_prepare.append(_unsigned)
        setup_templates(app, assets)
        app.add_routes([*gateway.routes(), *operator.routes(), *extra_routes()])
        for account in accounts:
            webhook = Webhook(account, clock=time.time, random16=lambda: secrets.token_bytes(16), vouch=vouch)
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
        yield Running(_url(bound), pool, operator, store, app)


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
        case "rate_limit_exceeded":
            return Resting(refusal.retry_after_seconds)
        case "pool_exhausted":
            return Resting(None)
    return Unanswered(Reason.REFUSED if refusal.status < 500 else Reason.UNREACHABLE)


async def _unsigned(_: web.BaseRequest, response: web.StreamResponse) -> None:
    """Nobody needs to know which version of what serves here."""
    response.headers.pop("Server", None)


def _new_id() -> str:
    return secrets.token_hex(8)


def _revealed(secret: Secret | None) -> str | None:
    return secret.reveal() if secret else None


def _url(bound: Sequence[str]) -> str:
    tcp = next((name for name in bound if not name.startswith("unix:")), "")
    for everywhere, here in (("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")):  # noqa: S104 - replaced, not bound
        tcp = tcp.replace(everywhere, here)
    return f"http://{tcp}" if tcp else ""
