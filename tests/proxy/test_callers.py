"""Who may use the gateway."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import pytest

from proxy.callers import Caller, Callers, digest_of, token_of
from proxy.refusal import Refusal
from proxy.target import Target

NOW = 1_700_000_000.0


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([("Authorization", "Bearer ph-1")], "ph-1"),
        ([("authorization", "bearer ph-1")], "ph-1"),
        ([("AUTHORIZATION", "  BEARER   ph-1  ")], "ph-1"),
        ([("api-key", "ph-1")], "ph-1"),
        ([("Api-Key", " ph-1 ")], "ph-1"),
        ([("Authorization", "Bearer ph-1"), ("api-key", "ph-1")], "ph-1"),
        ([("Authorization", "Bearer ph-1"), ("Authorization", "Bearer ph-1")], "ph-1"),
        ([("Authorization", "Bearer ph-1"), ("Authorization", "Bearer ph-2")], None),
        ([("Authorization", "Bearer ph-1"), ("api-key", "ph-2")], None),
        ([("Authorization", "Basic ph-1"), ("api-key", "ph-1")], None),
        ([("Authorization", "Bearer ph-1"), ("api-key", "")], None),
        ([("Authorization", "Basic cGgtMQ==")], None),
        ([("Authorization", "ph-1")], None),
        ([("Authorization", "Bearer")], None),
        ([("Authorization", "Bearer ")], None),
        ([("Authorization", "")], None),
        ([("api-key", "")], None),
        ([("x-api-key", "ph-1")], None),
        ([("Cookie", "Authorization=Bearer ph-1")], None),
        ([], None),
    ],
)
def test_exactly_one_credential_counts(headers: Sequence[tuple[str, str]], token: str | None) -> None:
    assert token_of(headers) == token


LAPTOP = Caller("laptop", digest("ph-laptop"))
PHONE = Caller("phone", digest("ph-phone"), expires_at=NOW)


@pytest.mark.parametrize(
    ("token", "name"),
    [("ph-laptop", "laptop"), ("ph-phone", "phone"), ("ph-lapto", None), ("ph-laptop ", None), ("PH-LAPTOP", None)],
)
def test_a_token_is_its_callers_and_nobody_elses(token: str, name: str | None) -> None:
    caller = Callers([LAPTOP, PHONE]).caller_of(digest_of(token), now=NOW - 1)
    assert (caller.name if caller else None) == name


@pytest.mark.parametrize("token", [None, ""])
def test_no_token_is_nobodys_even_where_a_callers_digest_is_that_of_nothing(token: str | None) -> None:
    assert Callers([Caller("empty", digest(""))]).caller_of(digest_of(token), now=NOW) is None


@pytest.mark.parametrize("token", ["\u4f60\u597d", "\udcff\udc80", "x" * 100_000])
def test_an_odd_token_is_a_token_like_any_other(token: str) -> None:
    callers = Callers([Caller("odd", digest(token))])
    found = callers.caller_of(digest_of(token), now=NOW)
    assert found is not None
    assert callers.caller_of(digest_of(token + "x"), now=NOW) is None


@pytest.mark.parametrize("now", [NOW, NOW + 1e9])
def test_an_expired_token_is_told_so_and_not_that_it_is_unknown(now: float) -> None:
    with pytest.raises(Refusal) as refused:
        Callers([LAPTOP, PHONE]).caller_of(digest_of("ph-phone"), now=now)
    assert (refused.value.status, refused.value.code, refused.value.should_retry) == (401, "invalid_api_key", False)
    assert "expired" in refused.value.message


@pytest.mark.parametrize("token", ["ph-0", "ph-4", "ph-unknown", "", None])
def test_every_callers_digest_is_compared_whoever_asks(token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    known = [Caller(f"c{number}", digest(f"ph-{number}")) for number in range(5)]
    Callers(known).caller_of(digest_of(token), now=NOW)
    assert compared == [caller.digest for caller in known]


@pytest.mark.parametrize(
    ("models", "model", "allowed"),
    [
        (("*",), "anything", True),
        (("gpt-*",), "gpt-5", True),
        (("gpt-*",), "o3", False),
        (("gpt-*",), "GPT-5", False),
        (("gpt-5", "o3"), "o3", True),
        (("gpt-5",), "gpt-5-mini", False),
        (("gpt-5",), " gpt-5", False),
        (("gpt-?",), "gpt-5", True),
        ((), "gpt-5", False),
    ],
)
def test_a_caller_may_use_the_models_it_is_for(models: tuple[str, ...], model: str, allowed: bool) -> None:
    caller = Caller("laptop", digest("x"), models)
    assert caller.may_use_any_model is ("*" in models)
    if allowed:
        ask(caller, model=model)
        return
    with pytest.raises(Refusal) as refused:
        ask(caller, model=model)
    assert (refused.value.status, refused.value.code) == (403, "model_not_allowed")


def ask(
    caller: Caller, path: str = "/v1/chat/completions", *, model: str = "", method: str = "POST", **how: bool
) -> None:
    caller.must_be_allowed(method, Target(path), model, **{"is_seen": True, "is_upgrade": False, **how})


LIMITED = [
    Caller("a", digest("x"), models=("gpt-*",)),
    Caller("b", digest("x"), requests_per_minute=1),
    Caller("c", digest("x"), tokens_per_day=1),
    Caller("d", digest("x"), max_concurrency=1),
    Caller("e", digest("x"), expires_at=NOW),
]
WAYS_ROUND = [
    "/v1/batches",
    "/v1/batches/",
    "/v1/realtime/client_secrets",
    "/v1/realtime/sessions",
    "/v1/realtime/transcription_sessions",
    "/v1/realtime/%73essions",
    "/v1/Realtime/Sessions",
]


@pytest.mark.parametrize("path", WAYS_ROUND)
@pytest.mark.parametrize("caller", LIMITED, ids=lambda caller: caller.name)
def test_a_caller_with_limits_is_kept_from_the_paths_that_lead_around_them(caller: Caller, path: str) -> None:
    """A batch ran any model, and a session's own token skipped the gateway."""
    with pytest.raises(Refusal) as refused:
        ask(caller, path)
    assert (refused.value.status, refused.value.code) == (403, "path_not_allowed")
    ask(caller, path, method="GET")
    ask(LAPTOP, path)


def test_a_body_or_socket_whose_model_cannot_be_seen_is_refused_to_a_caller_with_models() -> None:
    caller = LIMITED[0]
    for how in ({"is_seen": False}, {"is_upgrade": True}):
        with pytest.raises(Refusal) as refused:
            ask(caller, **how)
        assert refused.value.status == 400
        ask(LAPTOP, **how)


def test_a_caller_shows_no_digest() -> None:
    assert "digest" not in repr(LAPTOP)
