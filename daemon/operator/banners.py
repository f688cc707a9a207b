"""
What is wrong as a whole, and what to do about it: the few sentences above everything else. Pure.

Rule 1: what is wrong with one key alone is told on its card; what needs a hand comes first, what only should be known last.
Rule 2: a thing is told once: where its upstream's banner explains why no key is ready, nothing else does.
Rule 3: of WeChat's verification only what arrived is told here; what can only be supposed stands at the account.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from bot.wechat.view import AccountView
from daemon.operator.figures import NAME_SHOWN, Countdown, countdown, excerpt
from daemon.operator.seen import Seen
from daemon.operator.wechat import NOT_WECHAT, account_causes, cause_row
from daemon.operator.words import Language, Words
from daemon.verification import CAUSE_OF_OUTCOME, FORGEABLE, causes
from proxy.health import KeyView, State
from proxy.value import value_type

LATELY = 600.0  # seconds
FORGED_PUSHES = 5  # in that time; one or two are a new Token, or an old push that comes again
STRANGERS = FORGEABLE | NOT_WECHAT
ARRIVED = frozenset({*CAUSE_OF_OUTCOME.values(), "path"})
OF_VERIFICATION = frozenset({"path", "token", "clock"})  # the others are about pushes, which come later
# Rules of cooldowns that a whole upstream has, and no key alone.
UPSTREAM_TROUBLES: Mapping[str, str] = {"incident": "ill", "region": "ill", "breaker": "resting"}
NAMES_SHOWN = 3  # keys of an organization, and organizations

RANK: Mapping[str, int] = {"ill": 0, "resting": 1, "off": 2}


@value_type
class Banner:
    """`about` is the upstream, the account or the organizations it concerns."""

    code: str
    tone: str
    what: str
    to_do: str
    about: tuple[str, ...] = ()
    until: str = ""  # what the countdown counts down to
    countdown: Countdown | None = None


@value_type
class _Trouble:
    code: str
    tone: str
    facts: Mapping[str, str] = field(default_factory=dict)
    about: tuple[str, ...] = ()
    until: str = ""
    seconds_left: float | None = None


def banners(seen: Seen, *, database_answers: bool, now: float, language: Language, words: Words) -> tuple[Banner, ...]:
    """`now` is epoch seconds."""
    found = [
        *_of_the_database(database_answers=database_answers),
        *_of_upstreams(seen.keys, words),
        *_of_the_pool(seen.keys, words),
        *_of_verification(seen, language, words),
        *_of_streams(seen),
        *_of_strangers(seen.accounts, now),
        *_of_organizations(seen.keys, words),
    ]
    return tuple(_banner(trouble, words) for trouble in sorted(found, key=lambda each: RANK[each.tone]))


def _banner(trouble: _Trouble, words: Words) -> Banner:
    saying = words.banners.sayings[trouble.code]
    return Banner(
        code=trouble.code,
        tone=trouble.tone,
        what=saying.what.format(**trouble.facts),
        to_do=saying.to_do.format(**trouble.facts),
        about=trouble.about,
        until=trouble.until,
        countdown=countdown(trouble.seconds_left),
    )


def _of_the_database(*, database_answers: bool) -> Iterator[_Trouble]:
    if not database_answers:
        yield _Trouble("database", "ill")


def _of_upstreams(keys: Sequence[KeyView], words: Words) -> Iterator[_Trouble]:
    for (upstream, rule), seconds in _upstream_troubles(keys).items():
        yield _Trouble(rule, UPSTREAM_TROUBLES[rule], {"upstream": upstream}, (upstream,), words.banners.again, seconds)


def _upstream_troubles(keys: Sequence[KeyView]) -> dict[tuple[str, str], float]:
    """Seconds left, by the upstream and the rule by which all of it rests."""
    return {
        (key.upstream, cell.rule): cell.seconds_left
        for key in keys
        for cell in key.cells
        if cell.rule in UPSTREAM_TROUBLES
    }


def _of_the_pool(keys: Sequence[KeyView], words: Words) -> Iterator[_Trouble]:
    enabled = [key for key in keys if key.state != State.DISABLED]
    if not keys or any(key.state == State.READY for key in keys):
        return
    if not enabled:
        yield _Trouble("none_enabled", "ill")
        return
    troubled = {upstream for upstream, _ in _upstream_troubles(keys)}
    if all(key.upstream in troubled for key in enabled):
        return
    # Of a suspect key a free check decides within seconds; it has no time of its own.
    resting = [key for key in enabled if key.state in ("cooling", State.SUSPECT)]
    if resting:
        yield _Trouble("none_ready", "resting", until=words.banners.first_back, seconds_left=_soonest(resting))
    else:
        yield _Trouble("none_left", "ill", until=words.banners.again, seconds_left=_soonest(enabled))


def _soonest(keys: Sequence[KeyView]) -> float | None:
    return min((key.seconds_left for key in keys if key.seconds_left is not None), default=None)


def _of_verification(seen: Seen, language: Language, words: Words) -> Iterator[_Trouble]:
    if not seen.accounts and seen.misdirected:
        [cause] = causes(path=None, misdirected=seen.misdirected, public_url=seen.public_url)
        saying = cause_row(cause, language, words)
        yield _Trouble("verification", "resting", {"what": saying.what, "to_do": saying.to_do})
    is_path_told = False  # whose account's request it was that came to the wrong path, nobody knows
    for account in seen.accounts:
        arrived = [cause for cause in account_causes(account, seen) if cause.code in ARRIVED]
        arrived = [cause for cause in arrived if not (is_path_told and cause.code == "path")]
        if arrived:
            is_path_told |= arrived[0].code == "path"
            saying = cause_row(arrived[0], language, words)
            introduced = words.banners.verification if arrived[0].code in OF_VERIFICATION else words.banners.refused
            facts = {"what": introduced(account.id, saying.what), "to_do": saying.to_do}
            yield _Trouble("verification", "resting" if account.counts.deliveries else "ill", facts, (account.id,))


def _of_streams(seen: Seen) -> Iterator[_Trouble]:
    if seen.front_buffers:
        yield _Trouble("front_buffers", "resting")


def _of_strangers(accounts: Sequence[AccountView], now: float) -> Iterator[_Trouble]:
    """Where WeChat's own pushes are taken, so that it is not the token that is wrong."""
    for account in accounts:
        refused = [each for each in account.attempts if each.kind == "push" and each.outcome in STRANGERS]
        count = sum(now - each.at <= LATELY for each in refused)
        if account.counts.deliveries and count >= FORGED_PUSHES:
            yield _Trouble("forged", "resting", {"path": account.path, "count": str(count)}, (account.id,))


def _of_organizations(keys: Sequence[KeyView], words: Words) -> Iterator[_Trouble]:
    groups: dict[str, list[str]] = {}
    for key in keys:
        if key.organization:
            groups.setdefault(key.organization, []).append(key.name)
    sharing = {organization: names for organization, names in groups.items() if len(names) > 1}
    if sharing:
        told = [_group(organization, names) for organization, names in list(sharing.items())[:NAMES_SHOWN]]
        if len(sharing) > NAMES_SHOWN:
            told.append(words.banners.others(len(sharing) - NAMES_SHOWN))
        yield _Trouble("organization", "off", {"groups": " · ".join(told)}, tuple(sharing))


def _group(organization: str, names: Sequence[str]) -> str:
    more = ", …" if len(names) > NAMES_SHOWN else ""
    return f"{excerpt(organization, NAME_SHOWN)} ({', '.join(names[:NAMES_SHOWN])}{more})"
