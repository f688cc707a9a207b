"""
What two settings can only get wrong together. Pure.

Rule 1: this looks at the document as it was written, so that its problems are reported beside those of single settings;
        a value of the wrong kind is passed over here, because the schema reports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bot.texts import BadTexts, Texts
from daemon.problems import got, path_of
from daemon.schema import Settings
from daemon.schema.bot import Account, Bot
from daemon.wrong_config import Problem

MOST_PERSONA_CHARACTERS = 20

MODEL_NEEDED = (
    "expected the name of a model, because subscribers are to be answered; BASE_URL/models of the upstream lists them"
)


def disagreements(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong between the settings of `document`, a config in TOML's own types."""
    bot, proxy = _table(document, "bot"), _table(document, "proxy")
    keys, callers, accounts = _items(document, "keys"), _items(proxy, "callers"), _items(bot, "accounts")
    upstreams = _table(document, "upstreams") or {"openai": {}}
    yield from _half_of_tls(_table(document, "server"))
    yield from _repeated("keys", keys, "name")
    yield from _repeated("proxy.callers", callers, "name")
    yield from _repeated("bot.accounts", accounts, "id")
    yield from _repeated("bot.accounts", accounts, "path", default=Account.fields["path"].default)
    yield from _unknown_upstreams(keys, upstreams)
    yield from _no_model(bot, accounts)
    yield from _half_encrypted(accounts)
    yield from _unsayable(_table(bot, "texts"))
    yield from _wordy(bot)
    yield from _without_a_place_for_pictures(document, _table(bot, "images"))
    yield from _ambiguous_personas(_table(bot, "personas"))
    yield from _secret_without_app_id(accounts)
    cloudrun = _table(bot, "cloudrun")
    if cloudrun.get("enabled") is True and cloudrun.get("secret", "") == "":
        yield Problem("bot.cloudrun.secret", "expected a secret, because anybody can forge these pushes without one")


def repeated_secrets(settings: Settings) -> Iterator[Problem]:
    """The same key or token under two names, wherever the two were kept: health and usage could not be told apart."""
    for path, field, values in (
        ("keys", "secret", [key.secret for key in settings.keys]),
        ("proxy.callers", "token", [caller.token for caller in settings.proxy.callers]),
    ):
        for index, value in enumerate(values):
            first = values.index(value)  # type: ignore[arg-type]
            if first < index:
                yield Problem(f"{path}[{index}].{field}", f"expected another one than that of {path}[{first}]")


def _repeated(path: str, tables: list[Mapping[str, Any]], field: str, default: object = None) -> Iterator[Problem]:
    seen: dict[object, int] = {}
    for index, table in enumerate(tables):
        value = table.get(field, default)
        if not isinstance(value, str):
            continue
        if value in seen:
            yield Problem(
                f"{path}[{index}].{field}", f"expected one of its own, {got(value)} like {path}[{seen[value]}]"
            )
        seen.setdefault(value, index)


def _half_of_tls(server: Mapping[str, Any]) -> Iterator[Problem]:
    both = ("tls_certificate", "tls_key")
    for missing, given in (both, both[::-1]):
        if server.get(missing, "") == "" and server.get(given, "") != "":
            yield Problem(f"server.{missing}", f"expected a value beside {given}, got none")


def _unknown_upstreams(keys: list[Mapping[str, Any]], upstreams: Mapping[str, Any]) -> Iterator[Problem]:
    for index, key in enumerate(keys):
        name = key.get("upstream", "openai")
        if isinstance(name, str) and name not in upstreams:
            yield Problem(f"keys[{index}].upstream", f"expected one of: {', '.join(upstreams)}; {got(name)}")


def _no_model(bot: Mapping[str, Any], accounts: list[Mapping[str, Any]]) -> Iterator[Problem]:
    """The bot has no model of its own: names age, and which one is affordable is the operator's to say."""
    asks = any(not account.get("model") for account in accounts) or _table(bot, "cloudrun").get("enabled") is True
    if asks and bot.get("model", "") == "":
        yield Problem("bot.model", MODEL_NEEDED)


def _half_encrypted(accounts: list[Mapping[str, Any]]) -> Iterator[Problem]:
    for index, account in enumerate(accounts):
        path = f"bot.accounts[{index}]"
        if account.get("encoding_aes_key", "") == "":
            if account.get("previous_encoding_aes_key", "") != "":
                yield Problem(f"{path}.encoding_aes_key", "expected a value beside previous_encoding_aes_key, got none")
        elif account.get("app_id", "") == "":
            yield Problem(
                f"{path}.app_id", "expected a value, because encrypted pushes are checked against it, got none"
            )


def _without_a_place_for_pictures(document: Mapping[str, Any], images: Mapping[str, Any]) -> Iterator[Problem]:
    """WeChat takes pictures of verified accounts alone; all others get a link, which begins with our own address."""
    if images.get("model", "") != "" and _table(document, "server").get("public_url", "") == "":
        yield Problem("server.public_url", "expected the address that links to pictures begin with, got none")


def _ambiguous_personas(personas: Mapping[str, Any]) -> Iterator[Problem]:
    for name in personas:
        if not name.strip() or name != name.strip() or len(name) > MOST_PERSONA_CHARACTERS:
            yield Problem(
                path_of(("bot", "personas", name)), "expected a name of 1 to 20 characters, no space around it"
            )


def _secret_without_app_id(accounts: list[Mapping[str, Any]]) -> Iterator[Problem]:
    for index, account in enumerate(accounts):
        if account.get("app_secret", "") != "" and account.get("app_id", "") == "":
            yield Problem(f"bot.accounts[{index}].app_id", "expected a value beside app_secret, got none")


def _unsayable(texts: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        Texts(overrides=_strings(texts))
    except BadTexts as bad:
        for name, sentence in bad.problems:
            yield Problem(path_of(("bot", "texts", name)), sentence)


def _wordy(bot: Mapping[str, Any]) -> Iterator[Problem]:
    """What stands around an answer leaves it half of a page."""
    texts = _strings(_table(bot, "texts"))
    prefix, label = (bot.get(name, Bot.fields[name].default) for name in ("prefix", "label"))
    if not (texts or {"prefix", "label"} & bot.keys()) or not isinstance(prefix, str) or not isinstance(label, str):
        return
    from bot.wechat.passive import Style  # what pages look like is for those who change it

    try:
        Style(Texts(overrides=texts), prefix, label)
    except BadTexts:
        pass  # is told for each
    except ValueError as wordy:
        yield Problem("bot", f"expected fewer words around an answer: {wordy}")


def _strings(table: Mapping[str, Any]) -> dict[str, str]:
    return {name: text for name, text in table.items() if isinstance(text, str)}


def _table(node: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = node.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _items(node: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The tables of a list; an item that is no table counts as an empty one, so that numbers stay right."""
    inner = node.get(name)
    return [item if isinstance(item, Mapping) else {} for item in inner] if isinstance(inner, list) else []
