"""
Where on the network the daemon of these settings goes, and where the world comes in. Pure.

Rule: nothing else is ever looked at: an upstream that no key is for, and WeChat's API without an app_secret, are not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from bot.wechat.api_hosts import hosts_of
from daemon.doctor.facts import Place, Role, Spot
from daemon.schema import Settings
from daemon.schema.bot import Account
from daemon.verification import PORTS


def places(settings: Settings, roles: Collection[Role]) -> list[Place]:
    """Those of the roles, each once, in the first of its roles."""
    found: dict[Spot, Place] = {}
    for place in _every(settings):
        if place.role in roles:
            found.setdefault(place.spot, place)
    return list(found.values())


def upstream_place(settings: Settings, name: str) -> Place:
    upstream = settings.upstreams[name]
    return _place(Role.UPSTREAM, upstream.base_url, upstream.source_address)


def public_place(settings: Settings) -> Place | None:
    return _place(Role.PUBLIC, settings.server.public_url) if settings.server.public_url else None


def calls_wechat(account: Account) -> bool:
    return account.app_secret is not None and account.customer_service == "auto"


def _every(settings: Settings) -> Iterator[Place]:
    used = {key.upstream for key in settings.keys}
    if settings.proxy.passthrough:  # its callers' own keys are for the first
        used.update(list(settings.upstreams)[:1])
    for name in settings.upstreams:
        if name in used:
            yield upstream_place(settings, name)
    hosts = [hosts_of(account.api_base) for account in settings.bot.accounts if calls_wechat(account)]
    yield from (_place(Role.WECHAT, first) for first, *_ in hosts)
    if place := public_place(settings):
        yield place
    yield from (_place(Role.SPARE, spare) for _, *spares in hosts for spare in spares)


def _place(role: Role, base: str, source_address: str = "") -> Place:
    parts = urlsplit(base)
    return Place(role, base, parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme], source_address)
