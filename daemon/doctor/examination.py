"""
The examination: which probes these settings need, all at once, and what came of them.

Rule 1: a probe gives a fact whatever happens, and ends in time; what it needs of another one it awaits.
Rule 2: nothing is contacted that the areas which are asked for do not need.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bot.wechat.api_errors import ApiError
from daemon import wiring
from daemon.certificate import read_pair
from daemon.doctor import keys, machine, network, own_urls, wechat_api
from daemon.doctor.doors import Site, base_of, entrance, knock
from daemon.doctor.facts import (
    AccountFact,
    Called,
    DatabaseFact,
    Door,
    DoorFact,
    Facts,
    Failure,
    First,
    KeyFact,
    Life,
    Role,
    Spot,
    StreamFact,
    Untried,
    Way,
)
from daemon.doctor.finding import Area
from daemon.doctor.own_urls import Memory
from daemon.doctor.patience import USUAL, Patience
from daemon.doctor.places import calls_wechat, places, public_place, upstream_place
from daemon.doctor.probes import Probes, Tell
from daemon.schema import Settings
from daemon.schema.bot import Account
from daemon.secret import Secret
from daemon.session import trouble_with
from proxy.key import Key

EVERY = frozenset(Area)
OF_EVERY_WAY = frozenset({Area.DNS, Area.TLS, Area.CLOCK})
OF_UPSTREAMS = frozenset({Area.EGRESS, Area.KEYS})
OF_OURSELVES = frozenset({Area.WECHAT, Area.STREAM})

Ways = Mapping[Spot, asyncio.Task[Way]]
Doors = Sequence[tuple[Site, asyncio.Task[DoorFact]]]


async def examine(
    settings: Settings,
    *,
    areas: Collection[Area] = EVERY,
    context: ssl.SSLContext | None = None,
    clock: Callable[[], float] = time.time,
    tell: Tell = lambda label, done, planned: None,
    patience: Patience = USUAL,
) -> Facts:
    """`context` says whose certificates are believed; `clock` is this machine's, epoch seconds. Raises WrongConfig."""
    wanted = frozenset(areas)
    life = _own_certificate(settings)
    async with contextlib.AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            believed = context or ssl.create_default_context()
            visit = _Visit(settings, Probes(group, stack, tell), believed, clock, patience)
            start = visit.probes.start
            ways = visit.start_ways(wanted)
            asked = visit.start_keys(ways) if wanted & OF_UPSTREAMS else []
            doors = visit.start_doors() if wanted & (OF_OURSELVES | {Area.PORTS}) else []
            memory = start("the daemon's memory", visit.remember(doors)) if Area.WECHAT in wanted else None
            accounts = visit.start_accounts(ways, doors) if Area.WECHAT in wanted else []
            stream = start("events", visit.watch(ways, doors)) if Area.STREAM in wanted else None
            database = start("database", visit.look_at_database()) if Area.DATABASE in wanted else None
        remembered = (memory.result() if memory else None) or Memory({}, ())
        return Facts(
            ways=[task.result() for task in ways.values()],
            keys=[task.result() for task in asked],
            sources=_sources(settings) if wanted & OF_UPSTREAMS else {},
            doors=[task.result() for _, task in doors],
            accounts=[
                replace(fact, console=remembered.consoles.get(fact.path))
                for fact in (task.result() for task in accounts)
            ],
            misdirected=remembered.misdirected,
            stream=stream.result() if stream else None,
            database=database.result() if database else None,
            own_certificate=life,
        )


@dataclass(frozen=True, slots=True)
class _Visit:
    settings: Settings
    probes: Probes
    context: ssl.SSLContext
    clock: Callable[[], float]
    patience: Patience

    def start_ways(self, areas: frozenset[Area]) -> Ways:
        roles = set(Role) if areas & OF_EVERY_WAY else set()
        roles |= {Role.UPSTREAM} if areas & OF_UPSTREAMS else set()
        roles |= {Role.PUBLIC} if areas & OF_OURSELVES else set()
        ways = {}
        for place in places(self.settings, roles):
            session = self.probes.session_from(place.source_address)
            probe = network.along(place, session, context=self.context, clock=self.clock, seconds=self.patience.step)
            ways[place.spot] = self.probes.start(place.host, probe)
        return ways

    def start_keys(self, ways: Ways) -> list[asyncio.Task[KeyFact]]:
        return [
            self.probes.start(
                f"key {key.name}", self._ask(key, ways[upstream_place(self.settings, key.upstream.name).spot])
            )
            for key in wiring.keys(self.settings, b"")
        ]

    def start_doors(self) -> Doors:
        server, public, seconds = self.settings.server, public_place(self.settings), self.patience.knock
        own = _believing(server.tls_certificate) if server.tls_certificate else self.context
        doors = []
        for address in server.listen:
            if base := base_of(address, has_certificate=server.tls_certificate is not None):
                site = Site(base, self.probes.session_to(address), own)
                doors.append((site, self.probes.start(address, knock(address, site, seconds=seconds))))
        address, base = entrance(public, server.listen)
        if address:
            site = Site(base, self.probes.session_to(address), self.context)
            host = public.host if public else ""
            probe = knock(address, site, is_configured=False, host=host, seconds=seconds)
            doors.append((site, self.probes.start(address, probe)))
        return doors

    def start_accounts(self, ways: Ways, doors: Doors) -> list[asyncio.Task[AccountFact]]:
        return [
            self.probes.start(account.id, self._look_at(account, ways, doors)) for account in self.settings.bot.accounts
        ]

    async def remember(self, doors: Doors) -> Memory | None:
        password, site = self.settings.operator.password, await _open(doors)
        if password is None or site is None:
            return None
        return await own_urls.remembered(site, password.reveal(), clock=self.clock, seconds=self.patience.page)

    async def look_at_database(self) -> DatabaseFact:
        path, seconds = self.settings.server.database, self.patience.database
        return await asyncio.to_thread(machine.look_at_database, path, seconds=seconds)

    async def watch(self, ways: Ways, doors: Doors) -> StreamFact:
        password, public = self.settings.operator.password, public_place(self.settings)
        if password is None:
            return StreamFact(Untried.NO_PASSWORD)
        site = await _open(doors)
        local = await self._first_event(site, password) if site else None
        if local and local.status == 401:  # to try it once more would cost one more of the few guesses that one has
            return StreamFact(Untried.OTHER_PASSWORD, local=local)
        if public is None:
            return StreamFact(Untried.NO_URL, local=local)
        if (way := await ways[public.spot]).failure:
            return StreamFact(Untried.UNREACHED, local=local)
        if not own_urls.may_carry_a_password(public.base, way.addresses):
            return StreamFact(Untried.PLAIN, local=local)
        return StreamFact(public=await self._first_event(self._public_site(), password), local=local)

    async def _ask(self, key: Key, way: asyncio.Task[Way]) -> KeyFact:
        if failure := (await way).failure:
            return replace(keys.unasked(key), failure=failure)
        return await keys.ask(
            key,
            self.probes.session_from(key.upstream.source_address),
            context=self.context,
            seconds=self.patience.key,
        )

    async def _look_at(self, account: Account, ways: Ways, doors: Doors) -> AccountFact:
        (failure, addresses), local, public = await asyncio.gather(
            self._call_api(account), self._call_locally(account, doors), self._call_publicly(account, ways)
        )
        return AccountFact(
            account.id,
            account.path,
            has_api=calls_wechat(account),
            api_failure=failure,
            callback_addresses=addresses,
            public=public,
            local=local,
        )

    async def _call_api(self, account: Account) -> tuple[ApiError | Failure | None, int | None]:
        if not calls_wechat(account):
            return None, None
        return await wechat_api.ask(account, self.probes.session_from(), context=self.context, patience=self.patience)

    async def _call_locally(self, account: Account, doors: Doors) -> Called | None:
        site = await _open(doors)
        return await self._verify(site, account) if site else None

    async def _call_publicly(self, account: Account, ways: Ways) -> Called | None:
        public = public_place(self.settings)
        if public is None:
            return None
        if failure := (await ways[public.spot]).failure:
            return Called(failure)
        return await self._verify(self._public_site(), account)

    async def _verify(self, site: Site, account: Account) -> Called:
        token, seconds = account.token.reveal(), self.patience.verification
        return await own_urls.verify(site, account.path, token, clock=self.clock, seconds=seconds)

    async def _first_event(self, site: Site, password: Secret) -> First:
        return await own_urls.first_event(site, password.reveal(), seconds=self.patience.event)

    def _public_site(self) -> Site:
        return Site(self.settings.server.public_url, self.probes.session_from(), self.context)


async def _open(doors: Doors) -> Site | None:
    """The first of the daemon's own at which it answers."""
    for site, task in doors:
        fact = await task
        if fact.is_configured and fact.door is Door.OURS:
            return site
    return None


def _believing(certificate: Path) -> ssl.SSLContext:
    """That very certificate, whatever name a caller on this machine knows the server by."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _own_certificate(settings: Settings) -> Life | None:
    certificate, key = settings.server.tls_certificate, settings.server.tls_key
    if certificate is None or key is None:
        return None
    pair = read_pair(certificate, key, None)
    return Life(pair.begins_at, pair.ends_at)


def _sources(settings: Settings) -> Mapping[str, str]:
    used = {settings.upstreams[key.upstream].source_address for key in settings.keys}
    return {address: trouble_with(address) for address in used if address}
