"""Each key by one free call: what an upstream says of it, what the same keys are together, and the bot's models."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from aiohttp import web

from daemon.demo.refusals import (
    AddressBlocked,
    Deactivated,
    Limited,
    NoQuota,
    Overloaded,
    RegionBlocked,
    Revoked,
    html_error,
)
from daemon.demo.steps import JSON, Raw, Step
from daemon.demo.upstream import MODELS, ScriptedUpstream
from daemon.doctor import keys
from daemon.doctor.facts import Failure, KeyFact
from daemon.doctor.facts import Step as Reached
from daemon.doctor.finding import Verdict
from daemon.doctor.key_findings import key_findings, model_findings
from daemon.session import open_session
from proxy.key import Key, Upstream
from proxy.verdict import Rule
from proxy.verdict import Verdict as KeyVerdict
from tests.daemon.doctor.servers import serving

SECRET = "sk-proj-0123456789abcdef"
CONTEXT = ssl.create_default_context()
ILL, DOUBT, WELL = Verdict.ILL, Verdict.DOUBT, Verdict.WELL


async def asked(base_url: str, secret: str = SECRET, **of_upstream: Any) -> KeyFact:
    key = Key("main", secret, "", Upstream("openai", base_url, **of_upstream))
    async with open_session() as session:
        return await keys.ask(key, session, context=CONTEXT)


async def scripted(step: Step) -> KeyFact:
    async with ScriptedUpstream({SECRET: []}, checks={SECRET: [step]}) as upstream:
        return await asked(upstream.base_url)


async def test_a_key_that_is_well_costs_nothing_and_tells_its_models_and_organization() -> None:
    async with ScriptedUpstream({SECRET: []}, organization={SECRET: "org-ours"}) as upstream:
        fact = await asked(upstream.base_url)

    assert fact.models == frozenset(MODELS)
    assert fact.verdict is not None
    assert (fact.verdict.rule, fact.verdict.organization) == (Rule.OK, "org-ours")
    assert upstream.asked_of(SECRET) == []
    assert [(each.method, each.path) for each in upstream.requests] == [("GET", "/v1/models")]
    [finding] = key_findings([fact])
    assert (finding.subject, finding.verdict) == ("main (…cdef)", WELL)


@pytest.mark.parametrize(
    ("step", "verdict", "words"),
    [
        (Revoked(), ILL, "Rejected: 401 invalid_api_key."),
        (Deactivated(), ILL, "Its account is closed: 401 account_deactivated."),
        (NoQuota(), ILL, "Without quota: 429 insufficient_quota."),
        (AddressBlocked(), ILL, "Not allowed from this server's address: 401 ip_not_authorized."),
        (RegionBlocked(), DOUBT, "the upstream refuses the country"),
        (Limited("20"), DOUBT, "The upstream could not say: 429 rate_limit_exceeded, try again in 20 s."),
        (Overloaded(), DOUBT, "The upstream could not say: 503"),
        (html_error(502), DOUBT, "The upstream could not say: 502."),
        (
            Raw(403, JSON, b'{"error": {"message": "Missing scopes: api.model.read"}}'),
            DOUBT,
            "It cannot list models: 403.",
        ),
        (Raw(404, {}, b"<html>no such page</html>"), DOUBT, "It cannot list models: 404."),
        (Raw(302, {"location": "http://127.0.0.1:1/"}, b""), DOUBT, "It cannot list models: 302."),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
async def test_a_key_is_what_the_gateway_would_hold_it_for(step: Step, verdict: Verdict, words: str) -> None:
    [finding] = key_findings([await scripted(step)])

    assert (finding.verdict, words in finding.what) == (verdict, True), finding
    assert finding.to_do
    assert SECRET not in repr(finding)


@pytest.mark.parametrize("body", [b"no json", b"[" * 100_000, b'{"data": [1]}', b'{"data": null}', b'{"models": []}'])
async def test_a_list_that_is_none_leaves_the_models_unknown(body: bytes) -> None:
    fact = await scripted(Raw(200, JSON, body))

    assert (fact.models, fact.verdict and fact.verdict.rule) == (None, Rule.OK)


async def test_the_key_goes_where_its_upstream_wants_it_and_is_not_shown_when_it_is_short() -> None:
    seen: list[web.Request] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response({"data": []})

    async with serving(note) as port:
        fact = await asked(
            f"http://127.0.0.1:{port}/openai/v1", "short-key", auth="api-key", query={"api-version": "2026-01-01"}
        )

    [request] = seen
    assert (request.path_qs, request.headers["api-key"]) == ("/openai/v1/models?api-version=2026-01-01", "short-key")
    assert "Authorization" not in request.headers
    assert (fact.last4, fact.is_azure) == ("", True)


async def test_an_upstream_that_is_gone_leaves_the_key_unasked() -> None:
    async with serving() as port:
        pass
    fact = await asked(f"http://127.0.0.1:{port}/v1")

    assert fact.failure == Failure(Reached.ANSWER, "the connection is refused, so nothing listens there")
    [finding] = key_findings([fact])
    assert finding.verdict is DOUBT


async def test_keys_of_one_organization_are_named_together() -> None:
    script: dict[str, list[Step]] = {f"sk-{number}-0123456789": [] for number in range(4)}
    shared = dict.fromkeys(list(script)[:3], "org-0123456789abcdef")
    async with ScriptedUpstream(script, organization={**shared, "sk-3-0123456789": "org-other"}) as upstream:
        at = Upstream("openai", upstream.base_url)
        async with open_session() as session:
            facts = [
                await keys.ask(Key(f"k{number}", secret, "", at), session, context=CONTEXT)
                for number, secret in enumerate(script)
            ]

    [*_, shared_finding] = key_findings(facts)
    assert (shared_finding.subject, shared_finding.verdict) == ("k0, k1, k2", DOUBT)
    assert "org-…cdef" in shared_finding.what
    assert sum(finding.verdict is DOUBT for finding in key_findings(facts)) == 1


def listing(
    name: str, *models: str, of: tuple[str, ...] = ("*",), is_azure: bool = False, known: bool = True
) -> KeyFact:
    return KeyFact(
        name,
        "",
        "openai",
        "api.example.org",
        is_azure,
        of,
        verdict=KeyVerdict(Rule.OK),
        models=frozenset(models) if known else None,
    )


@pytest.mark.parametrize(
    ("facts", "verdict", "words"),
    [
        ([listing("a", "gpt-5", "gpt-4")], WELL, "every key"),
        ([listing("a", "gpt-5"), listing("b", "gpt-4")], DOUBT, "b would be asked in vain"),
        ([listing("a", "gpt-5"), listing("b", "gpt-4", of=("gpt-4",))], WELL, "every key"),
        ([listing("a", "gpt-4"), listing("b")], ILL, "no key has it (a, b)"),
        ([listing("a", "gpt-4", is_azure=True)], DOUBT, "deployment"),
        ([listing("a", of=())], ILL, "no key may be used for it"),
        ([listing("a", "gpt-5", of=("o3-*",))], ILL, "no key may be used for it"),
        ([listing("a", known=False)], DOUBT, "no key could list"),
        ([listing("a", known=False), listing("b", "gpt-5")], WELL, "every key"),
    ],
)
def test_the_bots_model_is_looked_for_in_what_its_keys_have(facts: list[KeyFact], verdict: Verdict, words: str) -> None:
    [finding] = model_findings(facts, {"gpt-5": "bot.model"})

    assert (finding.subject, finding.verdict, words in finding.what) == ("gpt-5", verdict, True), finding
    assert finding.what.startswith("bot.model: ")


def test_no_part_of_a_key_is_in_the_repr_of_what_is_known_of_it() -> None:
    fact = keys.unasked(Key("main", SECRET, "", Upstream("openai", "https://api.example.org/v1")))

    assert fact.last4 == "cdef"
    assert SECRET[:-4] not in repr(fact)
