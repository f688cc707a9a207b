"""
Why WeChat's console would say “Token 验证失败” of an account, as causes, the most likely first. Pure.

Rule 1: what arrived speaks before what can only be supposed: where WeChat has come through, the network is not to blame.
Rule 2: only what came after the last accepted verification counts, so an account that is verified since has no causes. One that
        gets pushes has none but those that a new submit, or a push that does not open, shows.
Rule 3: a cause says what is known (`facts`), never a secret; what to do about it is in `daemon.operator.verification_words`.

Source: the console connects to port 80 for http:// and to 443 for https://, and to no other one.
developers.weixin.qq.com/miniprogram/dev/framework/server-ability/message-push.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from bot.wechat.view import Attempt
from proxy.value import value_type

CAUSE_OF_OUTCOME: Mapping[str, str] = {
    "signature": "token",
    "timestamp": "clock",
    "plaintext": "plaintext",
    "no_aes_key": "no_aes_key",
    "undecipherable": "aes_key",
    "app_id": "app_id",
}
ANYBODYS = frozenset({"missing_parameter", "duplicate_parameter"})  # a browser and a scanner are refused like this, too
FORGEABLE = frozenset({"signature", "timestamp"})  # a push like this, beside others that are taken, is not WeChat's
PORTS = {"http": 80, "https": 443}
YOUR_SERVER = "http://YOUR-SERVER"  # where no public_url says it
LOCAL = re.compile(r"(?:127\.[0-9.]+|localhost|\[::1\]):[0-9]+|unix:.+")


@value_type
class Misdirected:
    """A signed request to a path that is no account's. `path` is shortened, printable, and without a secret."""

    at: float  # epoch seconds
    path: str
    method: str


@value_type
class Cause:
    """
    `code` is a name of `verification_words`. Of `facts` every cause has "url", what the console's URL should be, "path", the
    account's, and "other": the path, the port or the address that was found instead, "" where there is none.
    """

    code: str
    facts: Mapping[str, str]


def causes(
    *,
    path: str | None,
    attempts: Sequence[Attempt] = (),
    misdirected: Sequence[Misdirected] = (),
    deliveries: int = 0,
    public_url: str = "",
    listen: Sequence[str] = (),
) -> tuple[Cause, ...]:
    """
    Of one account, or with `path` None of none at all. `attempts` and `misdirected` are the oldest first; `deliveries` counts
    the account's pushes that were taken since the start; `listen` is as in the config.
    """
    base = public_url or YOUR_SERVER
    if path is None:
        return (cause_of("no_account", base, "/wechat", misdirected[-1].path if misdirected else ""),)
    verified_at = max((each.at for each in attempts if _is_verified(each)), default=float("-inf"))
    arrived = [
        *((each.at, cause_of(code, base, path)) for each, code in _telling(attempts, deliveries)),
        *((each.at, cause_of("path", base, path, each.path)) for each in misdirected if not deliveries),
    ]
    newest: dict[str, Cause] = {}
    for at, cause in sorted(arrived, key=lambda each: each[0], reverse=True):
        if at > verified_at:
            newest.setdefault(cause.code, cause)
    if newest or deliveries or any(map(_is_verified, attempts)):
        return tuple(newest.values())
    anybody = [cause_of("query", base, path)] if any(each.outcome in ANYBODYS for each in attempts) else []
    return (*_supposed(base, path, public_url, listen), *anybody, cause_of("unreachable", base, path))


def cause_of(code: str, base: str, path: str, other: str = "") -> Cause:
    """`base` is the public URL, without a path of ours."""
    return Cause(code, {"url": base + path, "path": path, "other": other})


def port_trouble(public_url: str, listen: Sequence[str]) -> str:
    """The port that stands where the console looks for 80 or 443; "" where it is one of them, or nobody can know."""
    if public_url:
        parts = urlsplit(public_url)
        usual = PORTS[parts.scheme]
        return "" if (parts.port or usual) == usual else str(parts.port)
    ports = [address.rpartition(":")[2] for address in listen if not address.startswith("unix:")]
    return "" if not ports or {"80", "443"} & set(ports) else ports[0]


def _telling(attempts: Sequence[Attempt], deliveries: int) -> Iterator[tuple[Attempt, str]]:
    """The refusals that say something about the console's settings, each with its cause's code."""
    for each in attempts:
        code = CAUSE_OF_OUTCOME.get(each.outcome)
        if code and not (deliveries and each.kind == "push" and each.outcome in FORGEABLE):
            yield each, code


def _supposed(base: str, path: str, public_url: str, listen: Sequence[str]) -> tuple[Cause, ...]:
    """What the settings alone show. With a `public_url`, something in front may take what is not listened for here."""
    if not public_url and listen and all(map(LOCAL.fullmatch, listen)):
        return (cause_of("loopback", base, path, listen[0]),)
    port = port_trouble(public_url, listen)
    return (cause_of("port", base, path, port),) if port else ()


def _is_verified(attempt: Attempt) -> bool:
    return (attempt.kind, attempt.outcome) == ("verification", "accepted")
