"""
What the machine tells: the config's doubts, the database, what listens, and whether streams come through. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from daemon.doctor.facts import DatabaseFact, Door, DoorFact, StreamFact, Untried
from daemon.doctor.finding import Area, Finding, doubt, ill, well

MEGABYTE = 1_000_000
LEAST_BYTES = 100 * MEGABYTE  # the write-ahead log and a night's questions fit; below it writes may fail at any moment
GOOD_BYTES = 1_000 * MEGABYTE
START = "Start it (`systemctl start posthouse`, or `posthouse serve`); its log says why where it does not stay."

UNTRIED: Mapping[Untried, tuple[str, str]] = {
    Untried.NO_PASSWORD: (
        "Not tried: without a password there is no page whose events could be watched.",
        "Set operator.password.",
    ),
    Untried.OTHER_PASSWORD: (
        "Not tried: the running daemon takes another password than the config has.",
        "Restart it after a change of operator.password.",
    ),
    Untried.NO_URL: (
        "Not tried: nobody said where the world comes in.",
        "Set server.public_url, if something stands in front or WeChat is to come.",
    ),
    Untried.UNREACHED: ("Not tried: server.public_url is not reached.", "See dns and tls."),
    Untried.PLAIN: (
        "Not tried: by plain http to another machine the password could be read on the way.",
        "Use https for server.public_url; until then do not sign in there, but through `ssh -L`.",
    ),
}


def config_findings(source: str, doubts: Iterable[str]) -> Iterator[Finding]:
    """`source` is the file's name; a doubt is what is the matter, a semicolon, and what to do."""
    yield well(Area.CONFIG, source, "Nothing in it is wrong.")
    for each in doubts:
        what, _, advice = each.rpartition("; ")
        advice = advice if advice.startswith("run: ") else _sentence(advice)  # a full stop is no part of a command
        yield doubt(Area.CONFIG, source, _sentence(what), advice)


def port_findings(doors: Sequence[DoorFact], unknowable: Sequence[str], *, is_needed: bool) -> Iterator[Finding]:
    """`unknowable` listeners have a port that the system chooses; `is_needed`: somebody is to come in by the usual port."""
    for address in unknowable:
        yield doubt(
            Area.PORTS, address, "The system chooses this port, so nobody can knock.", "Name one in server.listen."
        )
    for fact in doors:
        if fact.is_configured:
            yield _own_door(fact)
        elif is_needed:
            yield _entrance(fact)


def database_findings(fact: DatabaseFact, doors: Sequence[DoorFact]) -> Iterator[Finding]:
    subject, runs = fact.path.name, any(each.is_configured and each.door is Door.OURS for each in doors)
    if fact.free_bytes is None:
        yield ill(
            Area.DATABASE,
            subject,
            f"Its folder {fact.path.parent} does not exist.",
            "Create it, for the daemon's user.",
        )
        return
    if not fact.exists:
        yield well(Area.DATABASE, subject, "There is none yet; the daemon makes it when it first starts.")
    elif fact.trouble:
        what, _, advice = fact.trouble.partition("; ")
        yield ill(Area.DATABASE, subject, _sentence(what), _sentence(advice))
    elif not fact.is_whole:
        what = f"{_size(fact.size_bytes)}, too large to be looked through here; as far as it was, it is whole."
        yield doubt(Area.DATABASE, subject, what, "`posthouse backup FILE` looks through all of it.")
    elif fact.users == () and runs:
        what = "Whole; but a daemon runs, and has another database open."
        yield doubt(
            Area.DATABASE, subject, what, "Name it in server.database by its whole path, so that all mean the same."
        )
    else:
        yield well(Area.DATABASE, subject, f"{_size(fact.size_bytes)}, whole; {_use(fact)}.")
    if not fact.folder_is_writable:
        what = f"Whoever runs this may not write into {fact.path.parent}."
        yield doubt(
            Area.DATABASE, subject, what, "Give it to the daemon's user; if it is, run doctor as that user or root."
        )
    yield _room(fact)


def stream_finding(fact: StreamFact, subject: str) -> Finding:
    if fact.untried is not None:
        return doubt(Area.STREAM, subject or "server.public_url", *UNTRIED[fact.untried])
    first = fact.public
    if first is not None and first.seconds is not None:
        return well(
            Area.STREAM, subject, f"The first event came after {first.seconds:.1f} s; nothing holds streams back."
        )
    streams_here = fact.local is not None and fact.local.seconds is not None
    if first is not None and streams_here and not first.failure and (first.is_stream or first.status == 0):
        what = "Something in front holds streams back: on this machine the first event comes at once, there none came."
        advice = (
            "In nginx `proxy_buffering off;` and `gzip off;` for this site, in a CDN no cache and no rewriting: as it is, "
            "answers come all at once, and long ones not at all."
        )
        return ill(Area.STREAM, subject, what, advice)
    what = f"No event came ({_answered(fact)})."
    return doubt(Area.STREAM, subject, what, "See ports and wechat; try again when those are well.")


def _own_door(fact: DoorFact) -> Finding:
    match fact.door:
        case Door.OURS:
            return well(Area.PORTS, fact.address, "The daemon answers.")
        case Door.CLOSED:
            return ill(Area.PORTS, fact.address, "Nothing listens there: the daemon does not run.", START)
        case Door.ANOTHER:
            advice = "Stop it (`ss -ltnp` names it), or change server.listen."
            return ill(Area.PORTS, fact.address, f"Another program answers there{_named(fact)}.", advice)
        case Door.FORBIDDEN:
            advice = "Run doctor as root, or as a user of the socket's group."
            return doubt(Area.PORTS, fact.address, "Whoever runs this may not use the socket.", advice)
    advice = "See who listens there (`ss -ltnp`); if it is the daemon, its log says what it is busy with."
    return ill(Area.PORTS, fact.address, "Connections are taken, and not answered.", advice)


def _entrance(fact: DoorFact) -> Finding:
    """The usual port on this machine, where the daemon itself does not listen."""
    match fact.door:
        case Door.OURS:
            return well(Area.PORTS, fact.address, f"What comes here is passed to the daemon{_named(fact)}.")
        case Door.ANOTHER:
            what = f"Another site answers here with {fact.status}{_named(fact)}, and passes nothing to the daemon."
            advice = "Give it a site of this name (nginx: server_name) that passes everything to the daemon."
            return doubt(Area.PORTS, fact.address, what, advice)
    what = "Nothing answers at this port of this machine, where callers and WeChat come in."
    advice = "Listen there, or let nginx or Caddy; right only where a proxy on another machine passes to the daemon's own port."
    return doubt(Area.PORTS, fact.address, what, advice)


def _room(fact: DatabaseFact) -> Finding:
    free = fact.free_bytes or 0
    what = f"{_size(free)} free where the database is."
    if free < LEAST_BYTES:
        return ill(
            Area.DATABASE, "disk", what, "Make room now: without it nothing can be kept, and questions are refused."
        )
    if free < max(GOOD_BYTES, 2 * fact.size_bytes):
        advice = "Make room: to erase what a subscriber asked to have forgotten takes twice the database."
        return doubt(Area.DATABASE, "disk", what, advice)
    return well(Area.DATABASE, "disk", what)


def _use(fact: DatabaseFact) -> str:
    if fact.users is None:
        return "who has it open cannot be seen from here"
    if not fact.users:
        return "no daemon has it open"
    return f"open in process {', '.join(map(str, fact.users))}"


def _answered(fact: StreamFact) -> str:
    first = fact.public
    if first is None:
        return "nothing was asked"
    return first.failure.reason if first.failure else f"status {first.status}" if first.status else "no answer in time"


def _named(fact: DoorFact) -> str:
    return f" ({fact.server})" if fact.server else ""


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _sentence(text: str) -> str:
    first = text.partition(" ")[0]
    begin = text if "/" in first or "." in first else text[:1].upper() + text[1:]  # a file's name is as it is
    return f"{begin}." if text else ""
