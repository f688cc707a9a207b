"""
Opens the gateway: the pool with its ledgers, the line, the way to the upstreams, and what writes their changes down.

Rule 1: nothing on the path of a request waits for the database: ledgers are read at the start and written by flushes.
Rule 2: new settings are taken up by the parts that stand; a part keeps what it knows (health, usage, objects, limits).
"""

from __future__ import annotations

import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from daemon import wiring
from daemon.jobs import Flush, Job
from daemon.jobs import running as jobs_running
from daemon.memory import LOOK_SECONDS, Watermark, limit_bytes
from daemon.request_log import record
from daemon.secret import secrets_in
from daemon.session import Sessions
from daemon.sqlite.affinity import SqliteAffinityLedger
from daemon.sqlite.database import Database
from daemon.sqlite.ledger import SqliteLedger
from daemon.sqlite.usage import SqliteUsage
from proxy.affinity import Affinity
from proxy.allowance import Allowances
from proxy.chat import Chat
from proxy.checks import check_due, look_for_resting
from proxy.draft import Unsupported
from proxy.draw import Drawing
from proxy.forward import Gateway
from proxy.keypool import KeyPool
from proxy.line import Line
from proxy.road import Road
from proxy.sender import Sender
from proxy.soft_affinity import SoftAffinity
from proxy.tally import Tally
from proxy.usage_book import Days, UsageBook
from proxy.usage_ledger import KEPT_DAYS
from proxy.value import value_type
from proxy.wire.pool import WirePool
from proxy.witness import Witnesses

if TYPE_CHECKING:
    from daemon.schema import Settings

CHECK_SECONDS = 1.0  # how late a free check may be
EXPIRY_SECONDS = 3600.0  # between two looks for what is older than it may become


@value_type
class OpenGateway:
    """
    `chat` asks and `drawing` has drawn for the bot, over the same pool; both send by `sender`. `watchers` are called after
    every change of a key, and may be added to.
    """

    pool: KeyPool
    edge: Gateway
    sender: Sender
    chat: Chat
    drawing: Drawing
    book: UsageBook
    tally: Tally
    line: Line
    allowances: Allowances
    sessions: Sessions
    install_secret: bytes
    watchers: list[Callable[[], None]]

    def reconfigure(self, settings: Settings) -> None:
        """Other keys, callers and limits from the next request on; requests on their way end as they began."""
        hidden = hidden_of(settings)
        open_all(self.sessions, settings)
        self.pool.reconfigure(wiring.keys(settings, self.install_secret))
        self.edge.reconfigure(wiring.callers(settings), wiring.gateway(settings), secrets=hidden)
        self.book.models = frozenset(wiring.model_names(settings))
        self.sender.queue_seconds, self.sender.secrets = settings.bot.queue_seconds, hidden
        self.chat.parameters, self.chat.api = wiring.chat_parameters(settings), settings.bot.api


def hidden_of(settings: Settings) -> list[str]:
    """What must not be seen in an error's body."""
    return [secret.reveal() for secret in secrets_in(settings)]


def open_all(sessions: Sessions, settings: Settings) -> None:
    """Every upstream's session, so that an address which is not there is told now, not by a caller's failure."""
    for upstream in wiring.upstreams(settings).values():
        sessions.towards(upstream)


def _ids() -> Iterator[str]:
    """Of 64 random bits each; the system is asked for many at a time."""
    while True:
        some = secrets.token_hex(2_048)
        yield from (some[at : at + 16] for at in range(0, len(some), 16))


new_id: Callable[[], str] = partial(next, _ids())


@contextlib.asynccontextmanager
async def open_gateway(settings: Settings, database: Database) -> AsyncIterator[OpenGateway]:
    ledger, usage, objects = SqliteLedger(database), SqliteUsage(database), SqliteAffinityLedger(database)
    install_secret, hidden = await ledger.install_secret(), hidden_of(settings)

    async def save_health() -> None:
        await ledger.save(pool.health(wall=time.time()))

    async def save_usage() -> None:
        used = book.unsaved()
        await usage.add(used)
        book.saved(used)

    async def save_objects() -> None:
        made = affinity.unsaved()
        await objects.save(made)
        affinity.saved(made)

    async def expire_usage() -> None:
        await usage.expire(before=days.ago(KEPT_DAYS))

    health_flush, usage_flush = Flush("key health", save_health), Flush("usage", save_usage)
    objects_flush = Flush("affinity", save_objects)

    line = Line()
    keys = wiring.keys(settings, install_secret)
    watchers = [health_flush.wake]

    def changed() -> None:
        for wake in watchers:
            wake()

    pool = KeyPool(keys, clock=time.monotonic, jitter=random.random, on_change=changed, on_room=line.kick)
    pool.restore(await ledger.load(), wall=time.time())
    health_flush.wake()  # so that the ledger speaks of the keys that are configured now, by their names of now
    days = Days(settings.server.timezone, time.time)
    book = UsageBook(wiring.model_names(settings), days, on_change=usage_flush.wake)
    book.restore(await usage.load(days.today()))
    affinity = Affinity(on_change=objects_flush.wake)
    affinity.restore(await objects.load())
    async with Sessions() as sessions, WirePool() as wires:
        open_all(sessions, settings)
        road = Road(line, wires.towards, sessions.towards, wires.at_hand)
        unsupported = Unsupported()
        tally, memory = Tally(), Watermark(limit_bytes(settings.server.limits.memory_bytes))
        sender = Sender(
            pool,
            road,
            book,
            tally,
            unsupported,
            clock=time.monotonic,
            jitter=random.random,
            new_id=new_id,
            queue_seconds=settings.bot.queue_seconds,
            secrets=hidden,
        )
        chat = Chat(sender, wiring.chat_parameters(settings), settings.bot.api)
        allowances = Allowances(
            clock=time.monotonic, tokens_today=book.spent_today, seconds_left_today=days.seconds_left
        )
        edge = Gateway(
            pool,
            wiring.callers(settings),
            road,
            wiring.gateway(settings),
            allowances=allowances,
            witnesses=Witnesses(book, affinity, SoftAffinity(secrets.token_bytes(16)), time.monotonic, time.time),
            tally=tally,
            unsupported=unsupported,
            secrets=hidden,
            wall_clock=time.time,
            jitter=random.random,
            new_id=new_id,
            is_short_of_memory=lambda: memory.is_over,
            record=record,
        )
        memory_watch = Job("memory", memory.look_now, LOOK_SECONDS)
        checks = Job("free checks", lambda: check_due(pool, sessions.towards), CHECK_SECONDS)
        looks = Job("looks at resting upstreams", lambda: look_for_resting(pool, sessions.towards), CHECK_SECONDS)
        expiry = Job("usage expiry", expire_usage, EXPIRY_SECONDS)
        async with jobs_running(health_flush, usage_flush, objects_flush, expiry, checks, looks, memory_watch):
            yield OpenGateway(
                pool=pool,
                edge=edge,
                sender=sender,
                chat=chat,
                drawing=Drawing(sender),
                book=book,
                tally=tally,
                line=line,
                allowances=allowances,
                sessions=sessions,
                install_secret=install_secret,
                watchers=watchers,
            )
