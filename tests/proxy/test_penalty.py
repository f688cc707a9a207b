"""What each rule costs: the whole table."""

from __future__ import annotations

import pytest

from proxy.health import Event
from proxy.hints import LONGEST
from proxy.key import Key
from proxy.penalty import Cooldown, Downfall, penalty
from proxy.verdict import Rule, Verdict
from tests.proxy.conftest import a_key

KEY, IMPATIENT = a_key("a"), a_key("a", cooldown_seconds=3600.0)
TABLE: list[tuple[str, Verdict, Key, str, str, Cooldown | Downfall | None]] = [
    (
        "a limit belongs to organization and model",
        Verdict(Rule.RATE, wait_seconds=20),
        KEY,
        "m",
        "org-a",
        Cooldown(("organization-model", "org-a", "m"), 20),
    ),
    ("while no organization is known", Verdict(Rule.RATE), KEY, "m", "", Cooldown(("key-model", "fp-a", "m"), None)),
    ("without a model", Verdict(Rule.RATE), KEY, "", "org-a", Cooldown(("organization", "org-a"), None)),
    ("without both", Verdict(Rule.RATE), KEY, "", "", Cooldown(("key", "fp-a"), None)),
    ("the operator's hour", Verdict(Rule.RATE), IMPATIENT, "", "", Cooldown(("key", "fp-a"), 3600.0)),
    ("a hint counts before it", Verdict(Rule.RATE, wait_seconds=2), IMPATIENT, "", "", Cooldown(("key", "fp-a"), 2)),
    ("slow down", Verdict(Rule.SLOW_DOWN), KEY, "m", "org-a", Cooldown(("organization", "org-a"), None, 5.0, 300.0)),
    ("slow down, told how", Verdict(Rule.SLOW_DOWN, wait_seconds=9), KEY, "m", "", Cooldown(("key", "fp-a"), 9, 5.0, 300.0)),
    ("overload", Verdict(Rule.OVERLOAD), KEY, "m", "org-a", Cooldown(("key-model", "fp-a", "m"), None, 1.0, 30.0)),
    ("overload without a model", Verdict(Rule.OVERLOAD), KEY, "", "org-a", Cooldown(("key", "fp-a"), None, 1.0, 30.0)),
    ("region", Verdict(Rule.REGION), KEY, "m", "org-a", Cooldown(("upstream", "openai"), 600.0)),
    ("no such model", Verdict(Rule.MODEL), KEY, "m", "org-a", Cooldown(("key-model", "fp-a", "m"), 3600.0)),
    ("no such model, none named", Verdict(Rule.MODEL), KEY, "", "org-a", None),
    ("quota", Verdict(Rule.QUOTA), KEY, "m", "org-a", Downfall(Event.QUOTA, 600.0, 21_600.0, takes_organization=True)),
    ("a project's", Verdict(Rule.QUOTA, is_project_limit=True), KEY, "m", "org-a", Downfall(Event.QUOTA, 600.0, 21_600.0)),
    ("rejected", Verdict(Rule.AUTH), KEY, "m", "org-a", Downfall(Event.AUTH)),
    ("dead", Verdict(Rule.DEAD), KEY, "m", "org-a", Downfall(Event.DEAD)),
    ("address", Verdict(Rule.ADDRESS), KEY, "m", "org-a", Downfall(Event.ADDRESS, 3600.0, 3600.0)),
]  # fmt: skip
FREE = [Rule.OK, Rule.TOO_LARGE, Rule.CLIENT, Rule.SERVER, Rule.UNKNOWN, Rule.CONNECT, Rule.GONE]


@pytest.mark.parametrize(
    ("verdict", "key", "model", "organization", "cost"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_a_rule_costs_what_the_table_says(
    verdict: Verdict, key: Key, model: str, organization: str, cost: Cooldown | Downfall | None
) -> None:
    assert penalty(verdict, key, model=model, organization=organization) == cost


@pytest.mark.parametrize("rule", FREE)
def test_what_no_key_is_to_blame_for_costs_nothing(rule: Rule) -> None:
    assert penalty(Verdict(rule, wait_seconds=20), KEY, model="m", organization="org-a") is None


def test_every_rule_is_in_one_of_the_two_tables() -> None:
    assert {row[1].rule for row in TABLE} | set(FREE) == set(Rule)


@pytest.mark.parametrize(
    ("base", "most", "seconds"),
    [(1.0, 60.0, [1, 2, 4, 8, 16, 32, 60, 60]), (1.0, 30.0, [1, 2, 4, 8, 16, 30]), (5.0, 300.0, [5, 10, 20, 40, 80, 160, 300])],
)  # fmt: skip
def test_without_a_hint_each_strike_doubles_the_rest_up_to_its_most(
    base: float, most: float, seconds: list[float]
) -> None:
    cooldown = Cooldown(("key", "fp-a"), None, base, most)
    assert [cooldown.seconds_after(strikes, 0.0) for strikes in range(len(seconds))] == seconds
    assert cooldown.seconds_after(1_000_000, 0.0) == most


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 20.0), (0.5, 21.0), (1.0, 22.0)])
def test_jitter_makes_a_rest_longer_and_never_shorter(jitter: float, seconds: float) -> None:
    assert Cooldown(("key", "fp-a"), 20.0).seconds_after(7, jitter) == pytest.approx(seconds)


def test_no_rest_is_longer_than_a_day() -> None:
    assert Cooldown(("key", "fp-a"), LONGEST).seconds_after(0, 1.0) == LONGEST == 86_400.0


def test_without_quota_each_strike_doubles_ten_minutes_up_to_six_hours() -> None:
    downfall = Downfall(Event.QUOTA, 600.0, 21_600.0)
    assert [downfall.seconds_after(strikes) for strikes in range(7)] == [600, 1200, 2400, 4800, 9600, 19_200, 21_600]
    assert downfall.seconds_after(1_000_000) == 21_600


def test_a_rejected_key_waits_for_a_check_and_not_for_a_time() -> None:
    assert Downfall(Event.AUTH).seconds_after(3) is None
