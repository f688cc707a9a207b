"""
Opens the bot: the desk with its thinker, and each account with its visits, its courier and its callback.

Rule 1: lifetimes are indentation: an account's courier closes before its visits' desk, and the desk before the gateway.
Rule 2: models and prompts are taken up at a reload; what an account was opened with stays until the next start.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import ClientSession, web

from bot.desk import Desk
from bot.exchange import Exchange, State
from bot.fetch import Fetch, wechat_hosts
from bot.picture import Picture
from bot.texts import Texts
from bot.thinking import Studio, Thinker
from bot.wechat.api import WeChatApi, hosts_of
from bot.wechat.cloudrun import CloudRun
from bot.wechat.counter import Counter
from bot.wechat.courier import Courier
from bot.wechat.delivery import Account
from bot.wechat.plain import plain
from bot.wechat.visits import Visits
from bot.wechat.webhook import Webhook
from daemon import wiring
from daemon.adapters import KeysBackstage, ask_through, draw_through, look_through
from daemon.gallery import FolderGallery
from daemon.gateway import EXPIRY_SECONDS, OpenGateway, new_id
from daemon.jobs import Job
from daemon.jobs import running as jobs_running
from daemon.media import Media
from daemon.news import Administrators, Hear
from daemon.secret import Secret
from daemon.session import open_public_session, open_session
from daemon.sqlite.store import SqliteStore
from proxy.tally import ANSWER_BOUNDS, Histogram
from proxy.value import value_type

if TYPE_CHECKING:
    from daemon.schema import Settings
    from daemon.schema.bot import Account as AccountTable
    from daemon.word_file import WordFile

NOTICES_SECONDS = 2.0  # between two looks for what administrators were not told yet
WORDS_SECONDS = 5.0  # between two looks at the file of words
SENDING_SECONDS = 0.5  # for a message that is just being sent at the end: cut there, nobody knows whether it arrived

Allows = Callable[[str, int], bool]


@value_type
class OpenBot:
    desk: Desk
    webhooks: Sequence[Webhook]
    couriers: dict[str, Courier]  # by account id
    routes: Sequence[web.AbstractRouteDef]
    answer_seconds: Histogram
    hear: Hear
    reconfigure: Callable[[Settings], None]


@contextlib.asynccontextmanager
async def open_bot(
    settings: Settings,
    gateway: OpenGateway,
    store: SqliteStore,
    *,
    vouch: Callable[[str], None],
    grace: Callable[[], float],
    photo_hosts: Allows = wechat_hosts,
) -> AsyncIterator[OpenBot]:
    """
    `vouch` hears every address that has shown to be WeChat's; `grace` tells how many seconds are left at the end for what is
    on its way; `photo_hosts` are those that photos are fetched from.
    """
    async with contextlib.AsyncExitStack() as ladder:
        here = photo_hosts is not wechat_hosts
        public = await ladder.enter_async_context(open_public_session(allow_loopback=here))
        voices = wiring.Voices(settings)
        gallery = FolderGallery(wiring.gallery_folder_of(settings.server.database), gateway.install_secret)
        media = Media(
            gallery,
            gateway.install_secret,
            public_url=settings.server.public_url,
            keep_seconds=settings.bot.images.keep_hours * 3600.0,
            clock=time.time,
        )
        words = _word_file(settings.bot.words.file) if settings.bot.words.file else None
        forbids = words.finds if words else _nothing
        couriers: dict[str, Courier] = {}
        answer_seconds = Histogram(ANSWER_BOUNDS)

        async def upload(exchange: Exchange, picture: Picture) -> str:
            courier = couriers.get(exchange.account)
            return "" if courier is None else await courier.upload(exchange, picture)

        def heard_of(exchange: Exchange) -> None:
            if exchange.state is State.ANSWERED:
                answer_seconds.add(max(0.0, exchange.answered_at - exchange.asked_at))
            if (courier := couriers.get(exchange.account)) is not None:
                courier.heard_of(exchange)

        thinker = Thinker(
            ask_through(gateway.chat),
            voice_of=voices,
            clock=time.time,
            settings=wiring.thinking(settings),
            look=look_through(Fetch(public, allows=photo_hosts)),
            studio=Studio(draw_through(gateway.drawing, Fetch(public, allows=wiring.any_https)), gallery, upload),
            hides=_hiding(words) if words else _nothing,
        )
        desk = await ladder.enter_async_context(
            Desk(
                store,
                thinker,
                settings=wiring.desk(settings),
                clock=time.time,
                on_outcome=heard_of,
            )
        )
        ladder.push_async_callback(_close, desk.close, grace, 0.0)
        accounts = []
        for table in settings.bot.accounts:
            style = wiring.style(settings, lambda exchange: media.link(exchange.picture, exchange.answered_at))
            rules = wiring.rules(settings, table, forbids=forbids)
            courier = None
            if table.app_secret and table.customer_service == "auto":
                api = _api(await ladder.enter_async_context(open_session()), table, table.app_secret)
                courier = couriers[table.id] = Courier(table.id, api, desk, store, style, clock=time.time)
                ladder.push_async_callback(_close, courier.close, grace, SENDING_SECONDS)
            counter = Counter(
                store,
                desk,
                rules,
                clock=time.time,
                day_start=wiring.day_start(settings),
                backstage=KeysBackstage(gateway.pool),
                can_notify=courier.may_send if courier else lambda: False,
            )
            timing = wiring.timing(settings)
            visits = Visits(desk, style, rules, counter, clock=time.time, new_id=new_id, timing=timing, courier=courier)
            ladder.push_async_callback(visits.close)
            accounts.append(Account(table.id, table.path, wiring.gate(table), visits, app_id=table.app_id))
        for courier in couriers.values():
            await courier.resume()

        async def forget_the_old() -> None:
            now, kept = time.time(), settings.bot.keep_days * 86_400
            await store.expire(before=now - kept)
            # No picture outlives the question that it answers: `posthouse forget` finds pictures by questions.
            await gallery.expire(before=now - min(settings.bot.images.keep_hours * 3600, kept))

        administrators = Administrators(
            store.notified,
            {account: courier.tell for account, courier in couriers.items()},
            Texts(overrides=settings.bot.texts),
            {table.id: frozenset(table.administrators) for table in settings.bot.accounts},
        )
        jobs = [Job("expiry", forget_the_old, EXPIRY_SECONDS)]
        if couriers:
            jobs.append(Job("notices", administrators.tell, NOTICES_SECONDS))
        if words is not None:
            jobs.append(Job("words", words.refresh, WORDS_SECONDS))
        await ladder.enter_async_context(jobs_running(*jobs))
        webhooks = [
            Webhook(account, clock=time.time, random16=lambda: secrets.token_bytes(16), vouch=vouch)
            for account in accounts
        ]
        routes: list[web.AbstractRouteDef] = [route for webhook in webhooks for route in webhook.routes()]
        if settings.bot.images.model:
            routes += media.routes()
        if settings.bot.cloudrun.enabled and settings.bot.cloudrun.secret:
            secret, timing = settings.bot.cloudrun.secret.reveal(), wiring.cloudrun_timing(settings)
            routes += CloudRun(accounts, secret=secret, clock=time.time, timing=timing).routes()
        yield OpenBot(desk, webhooks, couriers, routes, answer_seconds, administrators.hear, voices.reconfigure)


def _api(session: ClientSession, table: AccountTable, app_secret: Secret) -> WeChatApi:
    return WeChatApi(
        session,
        app_id=table.app_id,
        app_secret=app_secret.reveal(),
        hosts=hosts_of(table.api_base),
        clock=time.monotonic,
    )


async def _close(close: Callable[[float], Awaitable[None]], grace: Callable[[], float], at_least: float) -> None:
    await close(max(grace(), at_least))


def _word_file(path: Path) -> WordFile:
    from daemon.word_file import WordFile  # few accounts have one, and its patterns take 5 ms of a start

    words = WordFile(path)
    words.load()
    return words


def _hiding(words: WordFile) -> Callable[[str], bool]:
    """Looks at what the model wrote, and at what is read of it."""
    return lambda text: words.finds(text) or words.finds(plain(text))


def _nothing(text: str) -> bool:
    return False
