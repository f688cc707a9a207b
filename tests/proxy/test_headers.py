"""What passes in both directions, and what is blacked out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.headers import authorization, passable_down, passable_up, redacted
from proxy.key import Upstream
from tests.proxy.conftest import a_key

UP_KEPT = [
    "Content-Type",
    "Content-Encoding",
    "Accept",
    "User-Agent",
    "OpenAI-Beta",
    "Idempotency-Key",
    "X-Client-Request-Id",
    "x-stainless-lang",
    "x-stainless-retry-count",
    "X-Unknown",
]
UP_DROPPED = [
    "Connection",
    "Keep-Alive",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Proxy-Anything",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Host",
    "Content-Length",
    "Expect",
    "Accept-Encoding",
    "Authorization",
    "Api-Key",
    "X-Api-Key",
    "X-Goog-Api-Key",
    "Cookie",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Whatever",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "CF-Ray",
    "CDN-Loop",
    "Via",
    "Origin",
    "Referer",
    "OpenAI-Organization",
    "OpenAI-Project",
    "X-Posthouse-Secret",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X_Forwarded_For",
    "OpenAI_Organization",
]
DOWN_KEPT = [
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "Content-Disposition",
    "X-Request-Id",
    "OpenAI-Processing-Ms",
    "OpenAI-Version",
    "Retry-After",
    "retry-after-ms",
    "x-should-retry",
]
DOWN_DROPPED = [
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Transfer-Encoding",
    "Trailer",
    "Upgrade",
    "Set-Cookie",
    "Set-Cookie2",
    "OpenAI-Organization",
    "OpenAI-Project",
    "Alt-Svc",
    "Server",
    "Strict-Transport-Security",
    "Report-To",
    "NEL",
    "CF-Ray",
    "CF-Cache-Status",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-requests-reset",
    "x-posthouse-request",
]
CASES = pytest.mark.parametrize("spelled", [str, str.lower, str.upper])


@CASES
@pytest.mark.parametrize("name", UP_KEPT)
def test_goes_upstream(name: str, spelled: type[str]) -> None:
    assert (spelled(name), "v") in passable_up([(spelled(name), "v")])


@CASES
@pytest.mark.parametrize("name", UP_DROPPED)
def test_does_not_go_upstream(name: str, spelled: type[str]) -> None:
    assert passable_up([(spelled(name), "v")]) == [("Accept-Encoding", "identity")]


@CASES
@pytest.mark.parametrize("name", DOWN_KEPT)
def test_comes_down(name: str, spelled: type[str]) -> None:
    assert passable_down([(spelled(name), "v")]) == [(spelled(name), "v")]


@CASES
@pytest.mark.parametrize("name", DOWN_DROPPED)
def test_does_not_come_down(name: str, spelled: type[str]) -> None:
    assert passable_down([(spelled(name), "v")]) == []


@pytest.mark.parametrize("passable", [passable_up, passable_down])
def test_what_connection_names_is_for_one_hop_only(passable: type[list]) -> None:  # type: ignore[type-arg]
    pairs = [
        ("Connection", "close, X-Hop"),
        ("connection", " x-OTHER ,,"),
        ("X-Hop", "1"),
        ("x-other", "2"),
        ("X-Stays", "3"),
    ]
    names = [name for name, _ in passable(pairs)]
    assert [name for name in names if name != "Accept-Encoding"] == ["X-Stays"]


def test_an_answer_is_asked_for_unencoded_even_where_connection_names_that() -> None:
    up = passable_up([("Connection", "accept-encoding"), ("Accept-Encoding", "gzip")])
    assert up == [("Accept-Encoding", "identity")]


def test_a_header_that_comes_twice_passes_twice_and_in_order() -> None:
    pairs = [("X-A", "1"), ("X-B", "2"), ("x-a", "3")]
    assert passable_up(pairs)[:-1] == passable_down(pairs) == pairs


def test_a_stream_is_not_to_be_collected_on_its_way_and_has_no_length() -> None:
    pairs = [("Content-Length", "9"), ("cache-control", "public"), ("X-Accel-Buffering", "yes"), ("X-Request-Id", "r")]
    assert passable_down(pairs, is_stream=True) == [
        ("X-Request-Id", "r"),
        ("X-Accel-Buffering", "no"),
        ("Cache-Control", "no-cache"),
    ]


def test_a_key_shows_itself_as_its_upstream_wants_it() -> None:
    assert authorization(a_key("a")) == [("Authorization", "Bearer sk-secret-a")]
    azure = Upstream("azure", "https://azure.test/openai/v1", auth="api-key")
    assert authorization(a_key("a", upstream=azure)) == [("api-key", "sk-secret-a")]
    assert authorization(a_key("a", organization="org-a", project="proj_b"))[1:] == [
        ("OpenAI-Organization", "org-a"),
        ("OpenAI-Project", "proj_b"),
    ]


SECRETS = ["sk-pool", "sk-pool-long", "plainsecret", ""]


@pytest.mark.parametrize(
    ("body", "redacted_body"),
    [
        (b"in organization org-AbC123 on tokens", b"in organization org-[hidden] on tokens"),
        (b"project proj_AbC123.", b"project proj-[hidden]."),
        (b'"org-AbC123"', b'"org-[hidden]"'),
        (rb'"first line\norg-AbC123"', rb'"first line\norg-[hidden]"'),
        (rb'"\tproj_AbC123 \rsk-ab***yz"', rb'"\tproj-[hidden] \rsk-[hidden]"'),
        (b"key provided: sk-ab***xyz. You", b"key provided: sk-[hidden]. You"),
        (b"sk-proj-ab*********************wxyz", b"sk-[hidden]"),
        (b"sk-ab...wxyz", b"sk-[hidden]"),
        (b"sk-**", b"sk-[hidden]"),
        (b"used plainsecret here", b"used [key] here"),
        (b"sk-pool-long and sk-pool", b"[key] and [key]"),
        # What is no id stays as it is; a word that looks like one does not: rather that than an id shown.
        (b"organization, morg-abc123, sk-learn, task-list", b"organization, morg-abc123, sk-learn, task-list"),
        (b"see platform.openai.com/account/org-settings", b"see platform.openai.com/account/org-[hidden]"),
        (b"org-anic", b"org-[hidden]"),
        (b"org- proj_ sk-", b"org- proj_ sk-"),
        (b"", b""),
        (b"\xff\xfe org-AbC123", b"\xff\xfe org-[hidden]"),
    ],
)  # fmt: skip
def test_an_error_tells_nothing_about_keys_and_their_owners(body: bytes, redacted_body: bytes) -> None:
    assert redacted(body, SECRETS) == redacted_body


@given(st.binary(), st.sampled_from(["sk-pool", "sk-pool-long", "plainsecret"]), st.binary())
def test_no_secret_of_the_pool_is_left_whatever_is_around_it(before: bytes, secret: str, after: bytes) -> None:
    assert secret.encode() not in redacted(before + secret.encode() + after, SECRETS).replace(b"[key]", b"")
