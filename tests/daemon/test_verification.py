"""Why the console says “Token 验证失败”: what is concluded from what came, and from what did not."""

from __future__ import annotations

from collections.abc import Sequence
from string import Formatter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.wechat.gate import Why
from bot.wechat.view import Attempt, Kind
from daemon.operator.verification_words import VERIFICATION_WORDS, said
from daemon.verification import Cause, Misdirected, causes, port_trouble

HERE = {"path": "/wechat", "public_url": "https://bot.example.org"}
ANYWHERE = {"path": "/wechat", "listen": ["0.0.0.0:80"]}
ASTRAY = Misdirected(20.0, "/wechat/", "GET")


def refused(outcome: str, at: float = 10.0, kind: Kind = "verification") -> Attempt:
    return Attempt(at, kind, outcome)


def verified(at: float = 10.0) -> Attempt:
    return Attempt(at, "verification", "accepted")


def codes(**known: Any) -> list[str]:
    return [cause.code for cause in causes(**known)]


@pytest.mark.parametrize(
    ("attempt", "code"),
    [
        (refused("signature"), "token"),
        (refused("timestamp"), "clock"),
        (refused("plaintext", kind="push"), "plaintext"),
        (refused("no_aes_key", kind="push"), "no_aes_key"),
        (refused("undecipherable", kind="push"), "aes_key"),
        (refused("app_id", kind="push"), "app_id"),
    ],
)
def test_what_was_refused_names_the_cause_and_nothing_else_is_supposed(attempt: Attempt, code: str) -> None:
    assert codes(**HERE, attempts=[attempt]) == [code]
    assert codes(**ANYWHERE, attempts=[attempt]) == [code]


@pytest.mark.parametrize("outcome", ["malformed", "too_large"])
def test_what_is_certainly_not_wechat_says_nothing(outcome: str) -> None:
    assert codes(**HERE, attempts=[refused(outcome, kind="push")]) == ["unreachable"]


def test_every_refusal_of_the_gate_is_judged() -> None:
    for why in Why:
        assert causes(**HERE, attempts=[refused(why)])


def test_a_request_at_the_wrong_door_names_the_door_and_the_right_url() -> None:
    assert causes(**HERE, misdirected=[Misdirected(10.0, "/weixin", "GET"), ASTRAY]) == (
        Cause("path", {"url": "https://bot.example.org/wechat", "path": "/wechat", "other": "/wechat/"}),
    )


def test_the_newest_evidence_comes_first_and_each_cause_once() -> None:
    attempts = [refused("signature", 10.0), refused("timestamp", 30.0), refused("signature", 40.0)]
    assert codes(**HERE, attempts=attempts, misdirected=[ASTRAY]) == ["token", "clock", "path"]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"public_url": "https://bot.example.org"}, ["unreachable"]),
        ({"public_url": "http://bot.example.org:80"}, ["unreachable"]),
        ({"public_url": "http://bot.example.org:8080"}, ["port", "unreachable"]),
        ({"public_url": "https://bot.example.org:80"}, ["port", "unreachable"]),
        ({"public_url": "https://bot.example.org", "listen": ["127.0.0.1:8080"]}, ["unreachable"]),
        ({"listen": ["0.0.0.0:80"]}, ["unreachable"]),
        ({"listen": ["0.0.0.0:8080", "[::]:80"]}, ["unreachable"]),
        ({"listen": ["0.0.0.0:8080"]}, ["port", "unreachable"]),
        ({"listen": ["127.0.0.1:80", "[::1]:80", "localhost:80"]}, ["loopback", "unreachable"]),
        ({"listen": ["unix:/run/posthouse/http.sock"]}, ["loopback", "unreachable"]),
        ({"listen": ["127.0.0.1:80", "0.0.0.0:8080"]}, ["unreachable"]),
        ({}, ["unreachable"]),
    ],
)
def test_where_nothing_arrived_the_settings_are_suspected(known: dict[str, Any], expected: list[str]) -> None:
    assert codes(path="/wechat", **known) == expected


def test_a_request_that_anybody_makes_is_no_evidence_of_wechat() -> None:
    known = {"path": "/wechat", "public_url": "http://bot.example.org:8080"}
    assert codes(**known, attempts=[refused("missing_parameter")]) == ["port", "query", "unreachable"]
    assert codes(**HERE, attempts=[refused("missing_parameter"), refused("signature")]) == ["token"]


@pytest.mark.parametrize(
    ("attempts", "misdirected", "expected"),
    [
        ([refused("signature", 5.0), verified(10.0)], [], []),
        ([verified(10.0)], [Misdirected(5.0, "/", "GET")], []),
        ([verified(10.0), refused("missing_parameter", 30.0)], [], []),
        ([verified(10.0), refused("undecipherable", 30.0, "push")], [], ["aes_key"]),
        ([verified(10.0), refused("signature", 30.0)], [], ["token"]),
        ([verified(10.0)], [ASTRAY], ["path"]),
    ],
)
def test_only_what_came_after_the_last_verification_counts(
    attempts: list[Attempt], misdirected: list[Misdirected], expected: list[str]
) -> None:
    assert codes(**HERE, attempts=attempts, misdirected=misdirected) == expected


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([], []),
        ([refused("signature", kind="push")], []),  # a forged push, beside others that are taken
        ([refused("timestamp", kind="push")], []),
        ([refused("signature")], ["token"]),  # somebody submits a new token in the console
        ([refused("no_aes_key", kind="push")], ["no_aes_key"]),
    ],
)
def test_an_account_that_gets_pushes_has_what_a_submit_or_a_sealed_push_shows(
    attempts: list[Attempt], expected: list[str]
) -> None:
    assert codes(**ANYWHERE, deliveries=3, attempts=attempts, misdirected=[ASTRAY]) == expected


def test_without_an_account_that_is_the_cause() -> None:
    assert codes(path=None, public_url="http://bot.example.org:8080") == ["no_account"]
    [cause] = causes(path=None, misdirected=[ASTRAY])
    assert cause.facts["other"] == "/wechat/"


outcomes = st.sampled_from(["accepted", "too_large", *Why])
attempts_of_any_kind = st.lists(
    st.builds(Attempt, st.floats(0, 100), st.sampled_from(["verification", "push"]), outcomes), max_size=6
)
somewhere = st.builds(Misdirected, st.floats(0, 100), st.text(max_size=20), st.sampled_from(["GET", "POST"]))


@given(
    path=st.sampled_from([None, "/wechat"]),
    attempts=attempts_of_any_kind,
    misdirected=st.lists(somewhere, max_size=3),
    deliveries=st.integers(0, 2),
    public_url=st.sampled_from(["", "http://h:81", "https://h"]),
    listen=st.lists(st.sampled_from(["0.0.0.0:80", "127.0.0.1:8080", "unix:/run/x", "[::]:8080"]), max_size=2),
)
def test_whatever_came_each_cause_is_said_once_in_both_languages(**known: Any) -> None:
    found = causes(**known)
    assert len({cause.code for cause in found}) == len(found)
    for cause in found:
        for language in VERIFICATION_WORDS:
            saying = said(cause, language)
            assert saying.what
            assert saying.to_do


@given(attempts=attempts_of_any_kind, misdirected=st.lists(somewhere, max_size=3))
def test_once_verified_there_is_nothing_to_say(attempts: list[Attempt], misdirected: list[Misdirected]) -> None:
    assert causes(**HERE, attempts=[*attempts, verified(101.0)], misdirected=misdirected) == ()


def test_both_languages_say_the_same_causes_with_the_same_facts() -> None:
    english, chinese = VERIFICATION_WORDS["en"], VERIFICATION_WORDS["zh"]
    assert list(english) == list(chinese)
    for code in english:
        for part in ("what", "to_do"):
            assert fields(getattr(english[code], part)) == fields(getattr(chinese[code], part)), code


def test_a_strangers_path_stays_what_it_is() -> None:
    [cause] = causes(**HERE, misdirected=[Misdirected(1.0, "/{url}{0}%s", "GET")])
    assert "/{url}{0}%s" in said(cause, "en").what


@pytest.mark.parametrize(
    ("public_url", "listen", "port"),
    [
        ("https://bot.example.org:443", [], ""),
        ("https://bot.example.org:8443", ["0.0.0.0:443"], "8443"),
        ("", ["unix:/run/posthouse/http.sock"], ""),
        ("", ["[::]:8080"], "8080"),
    ],
)
def test_the_port_that_wechat_does_not_connect_to(public_url: str, listen: Sequence[str], port: str) -> None:
    assert port_trouble(public_url, listen) == port


def fields(sentence: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name is not None}
