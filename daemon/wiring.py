"""
From settings to the values that the rooms take: each room gets the few it needs, none gets the settings.

Rule 1: nothing is opened and nothing is decided here; a setting's meaning is its room's.
Rule 2: a secret goes from its setting into the one object that uses it, and nowhere else.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from bot.ask import Voice
from bot.desk import DeskSettings
from bot.exchange import Exchange
from bot.memory import MemorySettings
from bot.subscriber import DayStart, Share
from bot.texts import Texts
from bot.thinking import ThinkingSettings
from bot.wechat.gate import Credentials, Gate
from bot.wechat.hold import Timing
from bot.wechat.intent import Rules
from bot.wechat.passive import Style
from daemon.secret import Secret
from daemon.server import Limits
from proxy.alias import Alias, Aliases
from proxy.callers import Caller, Callers
from proxy.key import Key, Upstream
from proxy.reception import GatewaySettings

if TYPE_CHECKING:
    from daemon.schema import Settings
    from daemon.schema.bot import Account


def upstreams(settings: Settings) -> dict[str, Upstream]:
    return {
        name: Upstream(
            name,
            table.base_url,
            auth=table.auth,
            query=dict(table.query),
            connect_seconds=table.connect_seconds,
            first_byte_seconds=table.first_byte_seconds,
            idle_seconds=table.idle_seconds,
            source_address=table.source_address,
            is_first=place == 0,
        )
        for place, (name, table) in enumerate(settings.upstreams.items())
    }


def keys(settings: Settings, install_secret: bytes) -> list[Key]:
    """A key's fingerprint is good for this database only: nobody can tell from it which key it is."""
    known = upstreams(settings)
    return [
        Key(
            table.name,
            secret := table.secret.reveal(),
            fingerprint=hmac.digest(install_secret, b"key:" + secret.encode(), hashlib.sha256).hex()[:32],
            upstream=known[table.upstream],
            uses=frozenset(table.uses),
            weight=table.weight,
            tier=table.tier,
            max_concurrency=table.max_concurrency,
            models=tuple(table.models),
            cooldown_seconds=table.cooldown_seconds,
            organization=table.organization,
            project=table.project,
        )
        for table in settings.keys
    ]


def callers(settings: Settings) -> Callers:
    zone: ZoneInfo = settings.server.timezone
    return Callers(
        [
            Caller(
                table.name,
                table.token,
                models=tuple(table.models),
                expires_at=datetime.combine(table.expires, time(), zone).timestamp() if table.expires else None,
                requests_per_minute=table.requests_per_minute,
                tokens_per_day=table.tokens_per_day,
                max_concurrency=table.max_concurrency,
                see_all=table.see_all,
            )
            for table in settings.proxy.callers
        ]
    )


def model_names(settings: Settings) -> frozenset[str]:
    """The models that the configuration names; those that only match a pattern are not among them."""
    names = {settings.bot.model, settings.bot.images.model, *(account.model for account in settings.bot.accounts)}
    names.update(settings.models, (alias.use for alias in settings.models.values()))
    names.update(*(key.models for key in settings.keys), *(caller.models for caller in settings.proxy.callers))
    return frozenset(name for name in names if name and not set(name) & set("*?["))


def gateway(settings: Settings) -> GatewaySettings:
    return GatewaySettings(
        deny=tuple(settings.proxy.deny),
        replay_bytes=settings.proxy.replay_bytes,
        max_body_bytes=settings.proxy.max_body_bytes,
        queue_seconds=settings.proxy.queue_seconds,
        passthrough=settings.proxy.passthrough,
        first_upstream=next(iter(upstreams(settings).values()), None),
        aliases=aliases(settings),
    )


def aliases(settings: Settings) -> Aliases:
    return Aliases({name: Alias(table.use, as_chat=table.as_ == "chat") for name, table in settings.models.items()})


def limits(settings: Settings) -> Limits:
    table = settings.server.limits
    return Limits(
        head_bytes=table.head_bytes,
        head_seconds=table.head_seconds,
        body_idle_seconds=table.body_idle_seconds,
        connections=table.connections,
        connections_per_address=table.connections_per_address,
    )


def chat_parameters(settings: Settings) -> Mapping[str, Any]:
    """What goes with every question; a parameter that is not set is not sent, since many models refuse it."""
    given = {"temperature": settings.bot.temperature, "max_tokens": settings.bot.max_tokens}
    return {name: value for name, value in given.items() if value is not None}


def desk(settings: Settings) -> DeskSettings:
    return DeskSettings(concurrency=settings.bot.concurrency)


def thinking(settings: Settings) -> ThinkingSettings:
    memory = settings.bot.memory
    return ThinkingSettings(
        settings.bot.answer_seconds,
        MemorySettings(memory.exchanges, memory.max_tokens, memory.idle_minutes * 60.0),
    )


def style(settings: Settings, picture_link: Callable[[Exchange], str]) -> Style:
    return Style(
        Texts(overrides=settings.bot.texts),
        prefix=settings.bot.prefix,
        label=settings.bot.label,
        picture_link=picture_link,
        picture_hours=settings.bot.images.keep_hours,
    )


def rules(settings: Settings, account: Account, *, forbids: Callable[[str], bool]) -> Rules:
    bot = settings.bot
    table = bot.limits if account.limits is None else account.limits
    return Rules(
        Texts(overrides=bot.texts),
        queued_questions=bot.queued_questions,
        draw_word=bot.images.keyword if bot.images.model else "",
        personas=tuple(bot.personas),
        menu=bot.menu,
        administrators=frozenset(account.administrators),
        share=Share(
            table.questions_per_day,
            table.questions_per_minute,
            table.images_per_day,
            frozenset(table.allow),
            frozenset(table.block),
        ),
        forbids=forbids,
    )


def day_start(settings: Settings) -> DayStart:
    """When a day of `server.timezone` began, epoch seconds."""
    zone: ZoneInfo = settings.server.timezone

    def began(now: float) -> float:
        return datetime.combine(datetime.fromtimestamp(now, zone).date(), time(), zone).timestamp()

    return began


def gallery_folder_of(database: Path) -> Path:
    """Where drawn pictures are: beside the database."""
    return database.with_name(f"{database.name}.pictures")


def any_https(host: str, port: int) -> bool:
    """Where an upstream of the operator's says that a picture lies; the session keeps it off private networks."""
    return port == 443


def timing(settings: Settings) -> Timing:
    return Timing(hold=settings.bot.hold, hold_seconds=settings.bot.hold_seconds, hold_budget=settings.bot.hold_budget)


def cloudrun_timing(settings: Settings) -> Timing:
    return Timing(hold="one", hold_seconds=settings.bot.cloudrun.hold_seconds)


def gate(account: Account) -> Gate:
    return Gate(
        Credentials(
            token=account.token.reveal(),
            app_id=account.app_id,
            encoding_aes_key=_revealed(account.encoding_aes_key),
            previous_encoding_aes_key=_revealed(account.previous_encoding_aes_key),
            allow_plaintext=account.allow_plaintext,
        )
    )


class Voices:
    """`bot.thinking.VoiceOf`; new settings hold from the next question on."""

    def __init__(self, settings: Settings) -> None:
        self.reconfigure(settings)

    def reconfigure(self, settings: Settings) -> None:
        self._bot = settings.bot
        self._accounts = {account.id: account for account in settings.bot.accounts}

    def __call__(self, account: str, persona: str) -> Voice:
        bot, table = self._bot, self._accounts.get(account)
        prompt = bot.system_prompt if table is None or table.system_prompt is None else table.system_prompt
        return Voice(
            (table.model if table else "") or bot.model,
            bot.personas.get(persona, prompt),
            bot.images.model,
            bot.images.size,
        )


def _revealed(secret: Secret | None) -> str:
    return secret.reveal() if secret else ""
