"""What an error code means, and what the operator is told."""

from __future__ import annotations

import re
from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.wechat.api_errors import (
    ADVICE_OF_CODE,
    KIND_OF,
    ApiError,
    ApiKind,
    ApiOutcomeUnknown,
    ApiRefused,
    ApiUnreachable,
    advice,
    kind_of,
    refused,
)


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        (ApiKind.BUSY, [-1, 45011]),
        (ApiKind.TOKEN, [40001, 40014, 42001]),
        (ApiKind.NOT_ALLOWED, [48001]),
        (ApiKind.WINDOW, [45015, 45080]),
        (ApiKind.QUOTA, [45047]),
        (ApiKind.TOO_LONG, [45002]),
        (ApiKind.SUBSCRIBER, [40003, 43004, 43019, 48002]),
        (ApiKind.OPERATOR, [40164, 40125, 40013, 50002, 45009, 40243, 89503]),
        (ApiKind.CONTENT, [40007, 44004, 40033, 41005]),
        (ApiKind.OTHER, [1, 45072, 99999, -2]),
    ],
)
def test_a_code_is_of_its_kind(kind: ApiKind, codes: list[int]) -> None:
    assert [kind_of(code) for code in codes] == [kind] * len(codes)


@pytest.mark.parametrize(
    ("errmsg", "address"),
    [
        ("invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 5f-1a", "203.0.113.7"),
        ("invalid ip 203.0.113.7, not in whitelist hint: [abc.def]", "203.0.113.7"),
        ("invalid ip 0.0.0.0 ipv6 2001:db8::17, not in whitelist", "2001:db8::17"),
        ("invalid ip ::ffff:203.0.113.7", "203.0.113.7"),
        ("not in whitelist", ""),
        ("invalid ip 999.1.1.1", ""),
        ("x" * 600 + " 203.0.113.7", ""),
        ("", ""),
        (None, ""),
        (17, ""),
    ],
)
def test_the_address_that_wechat_names_is_taken_out(errmsg: object, address: str) -> None:
    error = refused(40164, errmsg)
    assert (error.code, error.kind, error.detail) == (40164, ApiKind.OPERATOR, address)


@given(code=st.sampled_from([*KIND_OF, 99999]), errmsg=st.text())
def test_nothing_else_of_wechats_words_goes_further(code: int, errmsg: str) -> None:
    detail = refused(code, errmsg).detail
    assert detail == "" or (code == 40164 and re.fullmatch(r"[0-9a-f:.]+", detail))


def test_only_a_forbidden_address_has_a_detail() -> None:
    assert refused(40125, "invalid appsecret 203.0.113.7").detail == ""


@pytest.mark.parametrize("code", [*KIND_OF, 99999])
def test_every_refusal_has_an_advice_of_one_sentence(code: int) -> None:
    sentence = advice(refused(code, ""))
    assert sentence.endswith(".")
    assert "{" not in sentence
    assert str(code) in sentence or code in ADVICE_OF_CODE or code == 40164


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused(40164, "invalid ip 203.0.113.7, not in whitelist"), ["203.0.113.7", "IP白名单"]),
        (refused(40164, ""), ["public address", "IP白名单"]),
        (refused(40125, ""), ["app_secret", "wrong"]),
        (refused(40013, ""), ["app_id", "wrong"]),
        (refused(48001, ""), ["verified"]),
        (ApiUnreachable("its name was not found"), ["name was not found", "firewall"]),
        (ApiOutcomeUnknown("status 502"), ["status 502", "api_base"]),
    ],
)
def test_the_advice_says_what_to_do(error: ApiError, words: list[str]) -> None:
    assert [word for word in words if word not in advice(error)] == []


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ApiRefused(45015, ApiKind.WINDOW), "WeChat refused with 45015 (window)"),
        (ApiRefused(40164, ApiKind.OPERATOR, "203.0.113.7"), "WeChat refused with 40164 (operator): 203.0.113.7"),
        (ApiUnreachable(), "WeChat's server could not be reached"),
        (ApiUnreachable("no connection"), "WeChat's server could not be reached: no connection"),
        (
            ApiOutcomeUnknown("status 502"),
            "WeChat's server took the call and did not say what became of it: status 502",
        ),
    ],
)
def test_an_error_is_a_sentence_and_a_copy_of_it_is_the_same(error: ApiError, sentence: str) -> None:
    assert str(error) == str(copy(error)) == sentence
    assert vars(copy(error)) == vars(error)
