"""
What WeChat's side tells of each account: its API, a verification of our own, and what the console met. Pure.

Rule 1: our own verification is signed with the config's token, so it shows the way and never the console's Token; that one
        shows in what the running daemon remembers.
Rule 2: where the same call succeeds on this machine and fails by the public URL, what stands between changes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bot.wechat.api_errors import ApiKind, ApiRefused, advice, kind_of
from daemon.doctor.facts import AccountFact, Called, Echo, Failure, Role, Step
from daemon.doctor.finding import Area, Finding, doubt, ill, well
from daemon.doctor.network_findings import CONNECT_ADVICE, NAME_ADVICE, TLS_ADVICE
from daemon.operator.verification_words import said
from daemon.verification import Cause, Misdirected, cause_of, causes, port_trouble

SUPPOSED = frozenset({"port", "loopback", "query", "unreachable"})  # codes of causes of which nothing has arrived
SLOW_SECONDS = 3.0  # of the five that WeChat waits, the way from China takes some as well
RESTART = "Restart it: the config was changed since it started. What it took up then still holds."


def account_findings(
    fact: AccountFact, misdirected: Sequence[Misdirected], *, public_url: str, listen: Sequence[str]
) -> Iterator[Finding]:
    yield _callback(fact, public_url, listen)
    yield from _console(fact, misdirected, public_url, listen)
    yield from _api(fact)


def no_account_findings(misdirected: Sequence[Misdirected], public_url: str) -> Iterator[Finding]:
    """Where WeChat comes all the same."""
    if misdirected:
        [cause] = causes(path=None, misdirected=misdirected, public_url=public_url)
        yield _of_cause("no account", cause, is_certain=True)


def _callback(fact: AccountFact, public_url: str, listen: Sequence[str]) -> Finding:
    """What became of our own verification, by the public URL where there is one."""
    subject, url = fact.id, public_url + fact.path
    if fact.local and fact.local.status == 403:
        what = f"The running daemon refuses a verification that is signed with the config's token, at {fact.path}."
        return ill(Area.WECHAT, subject, what, RESTART)
    if fact.local and fact.local.status == 404:
        what = f"The running daemon does not know the path {fact.path}, which the config gives to this account."
        return ill(Area.WECHAT, subject, what, RESTART)
    if fact.public is None:
        here = (
            "On this machine a signed verification is answered" if _is_right(fact.local) else "Nothing could be called"
        )
        what = f"{here}; by which URL WeChat comes is not known."
        tip = "Set server.public_url to what the URL in WeChat's console begins with, and run this again."
        return doubt(Area.WECHAT, subject, what, tip)
    if _is_right(fact.public):
        if port := port_trouble(public_url, listen):
            return _of_cause(subject, cause_of("port", public_url, fact.path, port), is_certain=True)
        if fact.public.seconds > SLOW_SECONDS:
            what = f"{url} answers a signed verification, after {fact.public.seconds:.1f} s; WeChat waits five."
            return doubt(Area.WECHAT, subject, what, "See what is slow: the server, or a proxy in front.")
        return well(Area.WECHAT, subject, f"{url} answers a signed verification as WeChat wants it.")
    what, to_do = _failed(fact.public, is_right_here=_is_right(fact.local), path=fact.path)
    return ill(Area.WECHAT, subject, f"{url}: {what}", to_do)


def _failed(called: Called, *, is_right_here: bool, path: str) -> tuple[str, str]:
    """What is the matter, and what to do."""
    by = f" ({called.server})" if called.server else ""
    if called.failure:
        return f"not reached: {called.failure.reason}.", _way_advice(called.failure)
    match called.status:
        case 200 if called.echo is Echo.WRAPPED:
            what = "the answer has more in it than what WeChat wants back, so something in front adds to it."
            return what, "Take out of the proxy whatever writes into answers (sub_filter, a CDN's scripts, statistics)."
        case 200:
            return f"another site answers{by}.", _site_advice(path)
        case 301 | 302 | 303 | 307 | 308:
            what = f"answered with a redirect to {called.location or 'somewhere else'}, which is no verification."
            return (
                what,
                "Enter the URL that it leads to in WeChat's console and in server.public_url, or end the redirect.",
            )
        case 401 | 407:
            return (
                f"a password is asked for{by}.",
                f"Let {path} through without one: WeChat has none; its signature is checked.",
            )
        case 403 if is_right_here:
            what = f"refused{by}, and taken on this machine: what stands between changes the request, or refuses it itself."
            return (
                what,
                "Let the proxy pass the URL on whole, with everything after the question mark, and refuse nothing.",
            )
        case 404 | 405 if is_right_here:
            return (
                f"status {called.status}{by}, and right on this machine: it is not passed to the daemon.",
                _site_advice(path),
            )
        case 502 | 503 | 504:
            what = f"status {called.status}{by}: the proxy in front does not reach the daemon."
            return what, "See ports: the daemon must run, and the proxy pass to the address that it listens on."
    return f"status {called.status}{by}, and not what WeChat wants back.", _site_advice(path)


def _console(
    fact: AccountFact, misdirected: Sequence[Misdirected], public_url: str, listen: Sequence[str]
) -> Iterator[Finding]:
    """What the console met, as the running daemon remembers it."""
    if fact.console is None:
        what = "What WeChat's console met is not known: no running daemon told it."
        yield doubt(Area.WECHAT, fact.id, what, "Let the daemon run with an operator.password, and run this again.")
        return
    found = causes(
        path=fact.path,
        attempts=fact.console.attempts,
        misdirected=misdirected,
        deliveries=fact.console.deliveries,
        public_url=public_url,
        listen=listen,
    )
    if not found:
        came = "has verified this URL" if not fact.console.deliveries else "sends pushes, and they are taken"
        yield well(Area.WECHAT, fact.id, f"WeChat {came}.")
    for cause in found:
        if not (cause.code == "port" and public_url and _is_right(fact.public)):  # told with our own verification
            yield _of_cause(fact.id, cause, is_certain=cause.code not in SUPPOSED)


def _api(fact: AccountFact) -> Iterator[Finding]:
    if not fact.has_api:
        yield well(
            Area.WECHAT, fact.id, "Without app_secret: WeChat's API is not used, and late answers wait for a tap."
        )
        return
    match fact.api_failure:
        case None:
            pushes = ""
            if fact.callback_addresses is not None:
                pushes = f" WeChat pushes from {fact.callback_addresses} addresses and networks."
            yield well(Area.WECHAT, fact.id, f"WeChat's API gives an access token.{pushes}")
        case Failure():
            what = f"WeChat's API gives no access token: {fact.api_failure.reason}."
            yield doubt(Area.WECHAT, fact.id, what, "See dns and tls; else run this again.")
        case ApiRefused(code=code) if kind_of(code) is ApiKind.BUSY:
            yield doubt(Area.WECHAT, fact.id, f"WeChat's API gives no access token ({code}).", advice(fact.api_failure))
        case ApiRefused(code=code):
            yield ill(Area.WECHAT, fact.id, f"WeChat's API gives no access token ({code}).", advice(fact.api_failure))
        case _:
            yield doubt(Area.WECHAT, fact.id, "WeChat's API gives no access token.", advice(fact.api_failure))


def _of_cause(subject: str, cause: Cause, *, is_certain: bool) -> Finding:
    saying = said(cause, "en")
    return (ill if is_certain else doubt)(Area.WECHAT, subject, saying.what, saying.to_do)


def _is_right(called: Called | None) -> bool:
    return called is not None and (called.status, called.echo) == (200, Echo.EXACT)


def _way_advice(failure: Failure) -> str:
    by_role = {Step.NAME: NAME_ADVICE, Step.TLS: TLS_ADVICE}.get(failure.step, CONNECT_ADVICE)
    return by_role[Role.PUBLIC]


def _site_advice(path: str) -> str:
    return (
        f"Let the site of this name in the proxy pass {path} to the daemon (nginx: server_name, and a location whose "
        "proxy_pass has no path of its own)."
    )
