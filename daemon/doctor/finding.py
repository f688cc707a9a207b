"""
What `doctor` says: a finding is one thing that was looked at, how it is, and what to do about it. Pure.

Rule: no secret stands in a finding; a key is its name and its last four characters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Area(StrEnum):
    """In the order in which they are shown: what an area needs stands before it."""

    CONFIG = "config"
    DNS = "dns"
    TLS = "tls"
    CLOCK = "clock"
    EGRESS = "egress"
    KEYS = "keys"
    DATABASE = "database"
    PORTS = "ports"
    WECHAT = "wechat"
    STREAM = "stream"


class Verdict(StrEnum):
    WELL = "well"
    DOUBT = "doubt"  # works, or could not be looked at
    ILL = "ill"


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` and `to_do` are sentences; there is nothing to do about what is well."""

    area: Area
    subject: str
    verdict: Verdict
    what: str
    to_do: str = ""


def well(area: Area, subject: str, what: str) -> Finding:
    return Finding(area, subject, Verdict.WELL, what)


def doubt(area: Area, subject: str, what: str, to_do: str) -> Finding:
    return Finding(area, subject, Verdict.DOUBT, what, to_do)


def ill(area: Area, subject: str, what: str, to_do: str) -> Finding:
    return Finding(area, subject, Verdict.ILL, what, to_do)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By area; within one as they were found."""
    places = {area: place for place, area in enumerate(Area)}
    return sorted(findings, key=lambda finding: places[finding.area])


def is_ill(findings: Iterable[Finding]) -> bool:
    return any(finding.verdict is Verdict.ILL for finding in findings)
