"""
What the ways tell: names, connections and certificates, the clock, and where we come out. Pure.

Rule: one fault is one ill finding: what was not reached because of an earlier step is not told again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address

from daemon.certificate import DAY, WARNED_BEFORE
from daemon.doctor.facts import Exit, KeyFact, Life, Role, Step, Way
from daemon.doctor.finding import Area, Finding, doubt, ill, well
from proxy.guard import INCIDENT_KEYS, REJECTIONS
from proxy.verdict import Rule

SLOW_LOOKUP_SECONDS = 1.0  # every new connection waits for it
CLOCK_DOUBT_SECONDS = 5.0  # NTP keeps a machine within milliseconds, so nothing sets this clock
CLOCK_ILL_SECONDS = 600.0  # what comes from WeChat is refused beyond it (bot.wechat.gate)
ADDRESSES_SHOWN = 2

NAME_ADVICE: Mapping[Role, str] = {
    Role.UPSTREAM: "Look at the name in its base_url, and at this machine's resolver (`resolvectl status`).",
    Role.WECHAT: "Look at the account's api_base, and at this machine's resolver (`resolvectl status`).",
    Role.PUBLIC: "Add an A record for it that leads to this server, or mend server.public_url.",
}
CONNECT_ADVICE: Mapping[Role, str] = {
    Role.UPSTREAM: "Look at its base_url, and whether a firewall lets this machine out to that port.",
    Role.WECHAT: "Look at the account's api_base, and whether a firewall lets this machine out to that port.",
    Role.PUBLIC: "Open the port in the provider's security group and the firewall, and let something listen there; where the "
    "provider does not let a server reach its own public address, try from another computer.",
}
TLS_ADVICE: Mapping[Role, str] = {
    Role.UPSTREAM: "Look at its base_url; else something on the way takes its place, and must not be trusted with a key.",
    Role.WECHAT: "Look at the account's api_base; else something on the way takes its place, and must not be trusted.",
    Role.PUBLIC: "Give the server in front a certificate for this name with its whole chain (certbot's fullchain.pem): WeChat "
    "and callers refuse this one.",
}


def dns_findings(ways: Sequence[Way]) -> Iterator[Finding]:
    for way in _main(ways):
        if _is_address(way.place.host):
            continue
        host, role = way.place.host, way.place.role
        if way.failure and way.failure.step is Step.NAME:
            yield ill(Area.DNS, host, f"No address: {way.failure.reason}.", NAME_ADVICE[role])
        elif role is Role.PUBLIC and all(":" in address for address in way.addresses):
            what = "The name has no A record, only AAAA, and many come by IPv4 alone, WeChat among them."
            yield ill(Area.DNS, host, what, "Add an A record for it that leads to this server.")
        elif way.lookup_seconds > SLOW_LOOKUP_SECONDS:
            what = f"The lookup takes {way.lookup_seconds:.1f} s, and every new connection waits for it."
            yield doubt(Area.DNS, host, what, "Use a nearer resolver (`resolvectl status` shows which one is used).")
        else:
            shown = ", ".join(way.addresses[:ADDRESSES_SHOWN])
            hidden = len(way.addresses) - ADDRESSES_SHOWN
            yield well(Area.DNS, host, shown + (f" and {hidden} more" if hidden > 0 else ""))
    yield from _spares(ways, Area.DNS, {Step.NAME}, "found")


def tls_findings(ways: Sequence[Way], own: Life | None, now: float) -> Iterator[Finding]:
    for way in _main(ways):
        subject, role = _subject(way), way.place.role
        if way.failure is None:
            if way.certificate is not None:
                yield _life(subject, way.certificate, now, is_ours=role is Role.PUBLIC)
            elif role is Role.PUBLIC:
                what = "Plain http: callers' tokens and the page's password cross the network in the clear."
                advice = "Set server.tls_certificate and tls_key, or put nginx or Caddy with a certificate in front."
                yield doubt(Area.TLS, subject, what, advice)
            else:
                yield well(Area.TLS, subject, "Connected; on this machine, without TLS.")
        elif way.failure.step is Step.CONNECT:
            yield ill(Area.TLS, subject, f"Not reached: {way.failure.reason}.", CONNECT_ADVICE[role])
        elif way.failure.step is Step.TLS:
            yield ill(Area.TLS, subject, f"Not to be trusted: {way.failure.reason}.", TLS_ADVICE[role])
    yield from _spares(ways, Area.TLS, {Step.CONNECT, Step.TLS}, "reached")
    if own is not None:
        yield _life("server.tls_certificate", own, now, is_ours=True)


def clock_findings(ways: Sequence[Way]) -> Iterator[Finding]:
    told = [(way.within_seconds, way.ahead_seconds, way.place.host) for way in ways if way.ahead_seconds is not None]
    if not told:
        what = "Nobody told the time: no upstream has answered."
        yield doubt(Area.CLOCK, "this machine", what, "Look with `timedatectl` whether the clock is set by NTP.")
        return
    within, ahead, host = min(told)
    off = max(0.0, abs(ahead) - within)
    where = f"{abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} the clock of {host}"
    if off > CLOCK_ILL_SECONDS:
        what = f"{where}: what comes from WeChat is refused as more than 10 minutes off."
        yield ill(Area.CLOCK, "this machine", what, "`timedatectl set-ntp true` sets it and keeps it right.")
    elif off > CLOCK_DOUBT_SECONDS:
        what = f"{where}. Beyond 10 minutes what comes from WeChat is refused."
        yield doubt(Area.CLOCK, "this machine", what, "`timedatectl set-ntp true` sets it and keeps it right.")
    else:
        yield well(Area.CLOCK, "this machine", f"Right, as the clock of {host} has it.")


def egress_findings(ways: Sequence[Way], keys: Sequence[KeyFact], sources: Mapping[str, str]) -> Iterator[Finding]:
    for address, trouble in sources.items():
        if trouble:
            what = f"No connection can go out from this source_address: {trouble}."
            yield ill(
                Area.EGRESS, address, what, "Mend upstreams.NAME.source_address, or give the machine that address."
            )
    for way in ways:
        if way.place.role is not Role.UPSTREAM or way.failure:
            continue
        verdicts = [key.verdict.rule for key in keys if key.host == way.place.host and key.verdict]
        rules = set(verdicts)
        if Rule.REGION in rules:
            what = f"Refused for the country or region that this server comes from{_out(way.exit, ': ')}."
            advice = "No other key helps: use a server, or a source_address, in a country that the upstream serves."
            yield ill(Area.EGRESS, _subject(way), what, advice)
        elif len(verdicts) >= INCIDENT_KEYS and rules <= REJECTIONS:
            what = (
                f"All keys are rejected at once, which is rarely the keys' fault{_out(way.exit, '; we come out as ')}."
            )
            advice = "Look at that address (a proxy, a VPN, a portal on the way) before you replace keys."
            yield doubt(Area.EGRESS, _subject(way), what, advice)
        elif rules:
            yield well(Area.EGRESS, _subject(way), f"Served here{_out(way.exit, '; we come out as ')}.")
        else:
            what = (
                f"No key was asked, so nobody said whether this country is served{_out(way.exit, '; we come out as ')}."
            )
            yield doubt(Area.EGRESS, _subject(way), what, "Add [[keys]], or mend what keeps them from being asked.")


def _main(ways: Sequence[Way]) -> Iterator[Way]:
    return (way for way in ways if way.place.role is not Role.SPARE)


def _spares(ways: Sequence[Way], area: Area, steps: set[Step], done: str) -> Iterator[Finding]:
    """The hosts that are asked when the account's own does not answer: one finding for all."""
    spares = [way for way in ways if way.place.role is Role.SPARE]
    lost = [way.place.host for way in spares if way.failure and way.failure.step in steps]
    subject = f"{len(spares)} more of WeChat"
    if lost:
        what = f"Not {done}: {', '.join(lost)}. They are asked where the account's own api_base does not answer."
        yield doubt(area, subject, what, "Nothing, while the others work.")
    elif spares and any(way.failure is None or way.failure.step in steps for way in spares):
        yield well(area, subject, f"All {done}; they are asked where the account's api_base does not answer.")


def _life(subject: str, life: Life, now: float, *, is_ours: bool) -> Finding:
    days = int((life.ends_at - now) / DAY)
    if not life.begins_at <= now < life.ends_at:  # of a file alone: with such a one no connection gets this far
        what = "The certificate has expired." if now >= life.ends_at else "The certificate is not valid yet."
        return ill(Area.TLS, subject, what, "Renew it, and see that this machine's clock is right (`timedatectl`).")
    if is_ours and life.ends_at - now < min(WARNED_BEFORE, (life.ends_at - life.begins_at) / 3):
        what = f"The certificate ends in {days} {'day' if days == 1 else 'days'}."
        return doubt(Area.TLS, subject, what, "Renew it, and see why that did not happen by itself (`certbot renew`).")
    return well(Area.TLS, subject, f"Certificate valid for {days} more {'day' if days == 1 else 'days'}.")


def _subject(way: Way) -> str:
    place = way.place
    port = "" if place.port in (80, 443) else f":{place.port}"
    return f"{place.host}{port}" + (f" from {place.source_address}" if place.source_address else "")


def _out(exit_: Exit, before: str) -> str:
    """Where we come out, as the upstream sees it; "" where it does not say."""
    if not exit_.address:
        return ""
    country = f", country {exit_.country}" if exit_.country else ""
    return before + exit_.address + country + (f", met at {exit_.site}" if exit_.site else "")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
