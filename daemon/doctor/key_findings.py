"""
What the free call says of each key, of keys together, and of the models that the bot is to use. Pure.

Rule: a verdict is the gateway's own (`proxy.verdict`), so a key is here what it would be there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from daemon.doctor.facts import KeyFact
from daemon.doctor.finding import Area, Finding, Verdict, doubt, ill, well
from proxy.verdict import Rule

# By rule: how bad, what, what to do. {reason} is the verdict's.
OF_RULE: Mapping[Rule, tuple[Verdict, str, str]] = {
    Rule.AUTH: (
        Verdict.ILL,
        "Rejected: {reason}.",
        "Copy the key again, whole, and see that it is this upstream's; if it was revoked, put a new one in its place.",
    ),
    Rule.DEAD: (Verdict.ILL, "Its account is closed: {reason}.", "Take the key out; the vendor's mail says why."),
    Rule.QUOTA: (
        Verdict.ILL,
        "Without quota: {reason}.",
        "Look at billing and limits on the vendor's site; what another organization pays for is another key.",
    ),
    Rule.ADDRESS: (
        Verdict.ILL,
        "Not allowed from this server's address: {reason}.",
        "Add the address under egress to the IP allow-list of the key's project on the vendor's site.",
    ),
    Rule.REGION: (
        Verdict.DOUBT,
        "Nobody knows: the upstream refuses the country that we come from.",
        "See egress; the key itself is not to blame.",
    ),
}
PASSING = (
    Verdict.DOUBT,
    "The upstream could not say: {reason}.",
    "Nothing, unless it goes on: a rest like this ends by itself.",
)
OTHER = (
    Verdict.DOUBT,
    "It cannot list models: {reason}.",
    "A restricted key may serve all the same; after a redirect or a 404 base_url is another's, or lacks its /v1.",
)
PASSES = frozenset({Rule.RATE, Rule.SLOW_DOWN, Rule.OVERLOAD, Rule.SERVER, Rule.UNKNOWN, Rule.CONNECT})


def key_findings(keys: Sequence[KeyFact]) -> Iterator[Finding]:
    yield from map(_of_one, keys)
    yield from _sharing(keys)


def model_findings(keys: Sequence[KeyFact], wanted: Mapping[str, str]) -> Iterator[Finding]:
    """`wanted` has the bot's models, each with the setting that names it."""
    for model, setting in wanted.items():
        allowed = [key for key in keys if any(fnmatchcase(model, glob) for glob in key.bot_models)]
        listing = [key for key in allowed if key.models is not None]
        lacking = [key.name for key in listing if model not in (key.models or ())]
        if not allowed:
            what = f"{setting}: no key may be used for it, so no question is answered."
            yield ill(Area.KEYS, model, what, 'Give a key `uses` with "bot" and `models` that match it.')
        elif not listing:
            what = f"{setting}: no key could list its models, so nobody knows whether there is such a one."
            yield doubt(Area.KEYS, model, what, 'Ask once: `posthouse ask "1 + 1 = ?"`.')
        elif not lacking:
            yield well(Area.KEYS, model, f"{setting}: every key that is asked for it has it.")
        elif all(key.is_azure for key in listing):  # which lists models, and is called by names of deployments
            what = f"{setting}: no model of that name is listed. The name of a deployment never is."
            yield doubt(Area.KEYS, model, what, 'If it is none, mend it; `posthouse ask "1 + 1 = ?"` tells.')
        elif len(lacking) == len(listing):
            what = f"{setting}: no key has it ({', '.join(lacking)})."
            advice = (
                "Look at its spelling; BASE_URL/models lists what there is, and the project's settings what is allowed."
            )
            yield ill(Area.KEYS, model, what, advice)
        else:
            what = f"{setting}: not all keys have it; {', '.join(lacking)} would be asked in vain."
            yield doubt(Area.KEYS, model, what, "Set `models` of those keys, or allow it in their project's settings.")


def _of_one(key: KeyFact) -> Finding:
    subject = key.name + (f" (…{key.last4})" if key.last4 else "")
    if key.verdict is None:
        why = f": {key.failure.reason}" if key.failure else ""
        return doubt(Area.KEYS, subject, f"Not asked, since {key.host} is not reached{why}.", "See dns and tls.")
    if key.verdict.rule is Rule.OK:
        count = "" if key.models is None else f"; {len(key.models)} models"
        return well(Area.KEYS, subject, f"Accepted by {key.upstream}{count}.")
    verdict, what, advice = OF_RULE.get(key.verdict.rule) or (PASSING if key.verdict.rule in PASSES else OTHER)
    return Finding(Area.KEYS, subject, verdict, what.format(reason=key.verdict.reason), advice)


def _sharing(keys: Sequence[KeyFact]) -> Iterator[Finding]:
    """Keys of one organization, as the upstream names it in its answers."""
    groups: dict[tuple[str, str], list[str]] = {}
    for key in keys:
        if key.verdict and key.verdict.organization:
            groups.setdefault((key.upstream, key.verdict.organization), []).append(key.name)
    for (_, organization), names in groups.items():
        if len(names) > 1:
            what = f"One organization ({_shortened(organization)}): its limits are shared, so more keys bring no more."
            advice = "Use keys of another organization of yours; other projects help only where those have limits of their own."
            yield doubt(Area.KEYS, ", ".join(names), what, advice)


def _shortened(organization: str) -> str:
    return organization if len(organization) <= 12 else f"{organization[:4]}…{organization[-4:]}"
