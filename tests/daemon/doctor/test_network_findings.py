"""What is said of the ways: a table for each area."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from daemon.doctor.facts import Exit, Failure, KeyFact, Life, Place, Role, Step, Way
from daemon.doctor.finding import Finding, Verdict
from daemon.doctor.network_findings import clock_findings, dns_findings, egress_findings, tls_findings
from proxy.verdict import Rule
from proxy.verdict import Verdict as KeyVerdict

ILL, DOUBT, WELL = Verdict.ILL, Verdict.DOUBT, Verdict.WELL
NOW = 1_764_000_000.0
DAY = 86_400.0
UPSTREAM = Way(
    Place(Role.UPSTREAM, "https://api.example.org/v1", "https", "api.example.org", 443),
    addresses=("192.0.2.1", "192.0.2.2", "192.0.2.3"),
    certificate=Life(NOW - DAY, NOW + 60 * DAY),
    ahead_seconds=0.2,
    within_seconds=0.6,
)
PUBLIC = replace(UPSTREAM, place=Place(Role.PUBLIC, "https://bot.example.org", "https", "bot.example.org", 443))
PLAIN = replace(
    PUBLIC, place=Place(Role.PUBLIC, "http://bot.example.org", "http", "bot.example.org", 80), certificate=None
)
LOCAL = Way(Place(Role.UPSTREAM, "http://127.0.0.1:4000/v1", "http", "127.0.0.1", 4000), addresses=("127.0.0.1",))
WECHAT = replace(UPSTREAM, place=Place(Role.WECHAT, "https://hk.api.example.org", "https", "hk.api.example.org", 443))


def spare(name: str, step: Step | None = None) -> Way:
    place = Place(Role.SPARE, f"https://{name}.example.org", "https", f"{name}.example.org", 443)
    return replace(UPSTREAM, place=place, failure=Failure(step, "it fails") if step else None)


def failed(way: Way, step: Step) -> Way:
    return replace(way, failure=Failure(step, "it fails"))


def verdicts(found: Iterable[Finding]) -> list[tuple[str, Verdict]]:
    return [(finding.subject, finding.verdict) for finding in found]


def said(found: Iterable[Finding]) -> str:
    return " ".join(f"{finding.what} {finding.to_do}" for finding in found)


@pytest.mark.parametrize(
    ("way", "verdict", "words"),
    [
        (UPSTREAM, WELL, "192.0.2.1, 192.0.2.2 and 1 more"),
        (failed(UPSTREAM, Step.NAME), ILL, "base_url"),
        (failed(WECHAT, Step.NAME), ILL, "api_base"),
        (failed(PUBLIC, Step.NAME), ILL, "A record"),
        (failed(UPSTREAM, Step.TLS), WELL, "192.0.2.1"),
        (replace(UPSTREAM, lookup_seconds=3.2), DOUBT, "3.2 s"),
        (replace(PUBLIC, addresses=("2001:db8::1",)), ILL, "no A record"),
        (replace(UPSTREAM, addresses=("2001:db8::1",)), WELL, "2001:db8::1"),
    ],
)
def test_names(way: Way, verdict: Verdict, words: str) -> None:
    found = list(dns_findings([way]))
    assert verdicts(found) == [(way.place.host, verdict)]
    assert words in said(found)


def test_an_address_has_no_name_to_be_looked_up() -> None:
    assert list(dns_findings([LOCAL])) == []


@pytest.mark.parametrize(
    ("way", "verdict", "words"),
    [
        (UPSTREAM, WELL, "60 more days"),
        (LOCAL, WELL, "on this machine"),
        (failed(UPSTREAM, Step.CONNECT), ILL, "Not reached: it fails."),
        (failed(LOCAL, Step.CONNECT), ILL, "Not reached: it fails."),
        (failed(PUBLIC, Step.CONNECT), ILL, "security group"),
        (failed(UPSTREAM, Step.TLS), ILL, "must not be trusted with a key"),
        (failed(PUBLIC, Step.TLS), ILL, "whole chain"),
        (failed(WECHAT, Step.TLS), ILL, "api_base"),
        (PLAIN, DOUBT, "in the clear"),
        (replace(PUBLIC, certificate=Life(NOW - 80 * DAY, NOW + 9 * DAY)), DOUBT, "ends in 9 days"),
        (replace(PUBLIC, certificate=Life(NOW - 80 * DAY, NOW + 1.5 * DAY)), DOUBT, "ends in 1 day."),
        (replace(PUBLIC, certificate=Life(NOW - 1 * DAY, NOW + 5 * DAY)), WELL, "5 more days"),  # one of six days
        (replace(UPSTREAM, certificate=Life(NOW - 80 * DAY, NOW + 2 * DAY)), WELL, "2 more days"),  # theirs to renew
    ],
)
def test_connections_and_certificates(way: Way, verdict: Verdict, words: str) -> None:
    found = list(tls_findings([way], None, NOW))
    assert [verdict_ for _, verdict_ in verdicts(found)] == [verdict]
    assert words in said(found)


def test_what_has_no_address_is_not_told_a_second_time() -> None:
    assert list(tls_findings([failed(UPSTREAM, Step.NAME)], None, NOW)) == []


def test_the_daemons_own_certificate_is_watched_without_a_public_url() -> None:
    found = list(tls_findings([], Life(NOW - 80 * DAY, NOW + 3 * DAY), NOW))
    assert verdicts(found) == [("server.tls_certificate", DOUBT)]
    expired, early = Life(NOW - 80 * DAY, NOW - DAY), Life(NOW + DAY, NOW + 80 * DAY)
    assert verdicts(tls_findings([], expired, NOW)) == [("server.tls_certificate", ILL)]
    assert verdicts(tls_findings([], early, NOW)) == [("server.tls_certificate", ILL)]


def test_wechats_other_hosts_are_one_finding() -> None:
    well = [spare("a"), spare("b")]
    assert verdicts(dns_findings(well)) == verdicts(tls_findings(well, None, NOW)) == [("2 more of WeChat", WELL)]
    lost = [spare("a"), spare("b", Step.NAME), spare("c", Step.TLS)]
    assert verdicts(dns_findings(lost)) == verdicts(tls_findings(lost, None, NOW)) == [("3 more of WeChat", DOUBT)]
    assert "b.example.org" in said(dns_findings(lost))
    assert "c.example.org" in said(tls_findings(lost, None, NOW))
    nowhere = [spare("a", Step.NAME), spare("b", Step.NAME)]
    assert list(tls_findings(nowhere, None, NOW)) == []


@pytest.mark.parametrize(
    ("ahead", "verdict", "words"),
    [
        (0.3, WELL, "Right"),
        (-5.4, WELL, "Right"),  # within what a clock of whole seconds can tell
        (7.0, DOUBT, "7 s ahead of the clock of api.example.org"),
        (-90.0, DOUBT, "90 s behind"),
        (601.0, ILL, "more than 10 minutes"),
        (-86_400.0, ILL, "86,400 s behind"),
    ],
)
def test_the_clock(ahead: float, verdict: Verdict, words: str) -> None:
    found = list(clock_findings([replace(UPSTREAM, ahead_seconds=ahead)]))
    assert verdicts(found) == [("this machine", verdict)]
    assert words in said(found)


def test_the_clock_that_is_told_most_exactly_is_believed() -> None:
    slow = replace(UPSTREAM, ahead_seconds=9.0, within_seconds=8.0)
    assert verdicts(clock_findings([slow, UPSTREAM])) == [("this machine", WELL)]
    assert verdicts(clock_findings([])) == [("this machine", DOUBT)]


def key(rule: Rule | None) -> KeyFact:
    return KeyFact("k", "", "openai", "api.example.org", False, ("*",), verdict=KeyVerdict(rule) if rule else None)


HONGKONG = replace(UPSTREAM, exit=Exit("203.0.113.7", "HK", "HKG"))


@pytest.mark.parametrize(
    ("way", "rules", "verdict", "words"),
    [
        (UPSTREAM, [Rule.OK], WELL, "Served here."),
        (HONGKONG, [Rule.OK], WELL, "we come out as 203.0.113.7, country HK, met at HKG."),
        (HONGKONG, [Rule.REGION, Rule.OK], ILL, "comes from: 203.0.113.7, country HK, met at HKG."),
        (UPSTREAM, [Rule.REGION], ILL, "comes from."),
        (replace(UPSTREAM, exit=Exit("203.0.113.7")), [Rule.OK], WELL, "we come out as 203.0.113.7."),
        (replace(UPSTREAM, exit=Exit(site="HKG")), [Rule.OK], WELL, "Served here."),
        (UPSTREAM, [Rule.AUTH], WELL, "Served here"),
        (HONGKONG, [Rule.AUTH, Rule.DEAD], DOUBT, "All keys are rejected at once"),
        (UPSTREAM, [Rule.AUTH, Rule.OK], WELL, "Served here"),
        (UPSTREAM, [], DOUBT, "No key was asked"),
        (HONGKONG, [None], DOUBT, "we come out as 203.0.113.7"),
    ],
)
def test_where_we_come_out(way: Way, rules: list[Rule | None], verdict: Verdict, words: str) -> None:
    found = list(egress_findings([way], [key(rule) for rule in rules], {}))
    assert verdicts(found) == [("api.example.org", verdict)]
    assert words in said(found)


def test_nothing_is_said_of_an_upstream_that_is_not_reached_or_of_another_place() -> None:
    assert list(egress_findings([failed(UPSTREAM, Step.TLS), PUBLIC, WECHAT], [], {})) == []


def test_a_source_address_that_the_machine_does_not_have_is_ill() -> None:
    sources = {"192.0.2.9": "this machine does not have that address", "127.0.0.2": ""}
    assert verdicts(egress_findings([], [], sources)) == [("192.0.2.9", ILL)]
    from_there = replace(UPSTREAM, place=replace(UPSTREAM.place, source_address="127.0.0.2", port=8443))
    assert verdicts(egress_findings([from_there], [key(Rule.OK)], {})) == [
        ("api.example.org:8443 from 127.0.0.2", WELL)
    ]


def test_every_finding_that_is_not_well_says_what_to_do() -> None:
    ways = [failed(way, step) for way in (UPSTREAM, PUBLIC, WECHAT, spare("a")) for step in Step]
    every = [*dns_findings(ways), *tls_findings(ways, None, NOW), *clock_findings(ways), *egress_findings(ways, [], {})]
    assert every
    assert all(bool(finding.to_do) is (finding.verdict is not WELL) for finding in every)
