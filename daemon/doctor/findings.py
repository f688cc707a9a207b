"""
From what was seen to what is said: all findings of an examination, in order. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from daemon.doctor import key_findings, machine_findings, network_findings, wechat_findings
from daemon.doctor.doors import base_of
from daemon.doctor.facts import Facts
from daemon.doctor.finding import Area, Finding, in_order
from daemon.schema import Settings


def findings(
    facts: Facts,
    settings: Settings,
    *,
    areas: Collection[Area],
    source: str,
    doubts: Iterable[str],
    now: float,
) -> list[Finding]:
    """Those of `areas`. `source` names the config; `now` is epoch seconds."""
    every = [
        *machine_findings.config_findings(source, doubts),
        *network_findings.dns_findings(facts.ways),
        *network_findings.tls_findings(facts.ways, facts.own_certificate, now),
        *network_findings.clock_findings(facts.ways),
        *network_findings.egress_findings(facts.ways, facts.keys, facts.sources),
        *key_findings.key_findings(facts.keys),
        *(key_findings.model_findings(facts.keys, bot_models(settings)) if facts.keys else ()),
        *_of_the_machine(facts, settings),
        *_of_wechat(facts, settings),
    ]
    return in_order(each for each in every if each.area in areas)


def bot_models(settings: Settings) -> Mapping[str, str]:
    """The models that the bot asks, each with the setting that names it first."""
    bot = settings.bot
    named = {}
    if any(not account.model for account in bot.accounts) or not bot.accounts or bot.cloudrun.enabled:
        named[bot.model] = "bot.model"
    for account in bot.accounts:
        named.setdefault(account.model, f"the model of {account.id}")
    named.setdefault(bot.images.model, "bot.images.model")
    return {model: setting for model, setting in named.items() if model}


def _of_the_machine(facts: Facts, settings: Settings) -> Iterator[Finding]:
    server = settings.server
    unknowable = [address for address in server.listen if not base_of(address)]
    is_needed = bool(server.public_url or settings.bot.accounts)
    yield from machine_findings.port_findings(facts.doors, unknowable, is_needed=is_needed)
    if facts.database:
        yield from machine_findings.database_findings(facts.database, facts.doors)
    if facts.stream:
        yield machine_findings.stream_finding(facts.stream, server.public_url)


def _of_wechat(facts: Facts, settings: Settings) -> Iterator[Finding]:
    server = settings.server
    for account in facts.accounts:
        yield from wechat_findings.account_findings(
            account, facts.misdirected, public_url=server.public_url, listen=server.listen
        )
    if not settings.bot.accounts:
        yield from wechat_findings.no_account_findings(facts.misdirected, server.public_url)
