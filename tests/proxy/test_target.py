"""Which paths are forwarded, and that whatever could be read in two ways is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.key import Upstream
from proxy.refusal import Refusal
from proxy.target import Target, refuse_credential_in_query, target_of

DENY = ("/v1/organization/*", "/v1/projects/*", "/v1/dashboard/*")

PLAIN = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/models",
    "/v1/models/gpt-5",
    "/v1/models/ft:gpt-4o:org::id",
    "/v1/files/file-abc/content",
    "/v1/vector_stores/vs_1/files",
    "/v1/files/",
    "/v1/a.b/c..d/...",
    "/v1/.well-known",
    "/v1/a~b!c$d&e'f(g)h*i+j,k=l:m@n",
    "/v1/%E4%BD%A0%E5%A5%BD",
    "/v1/a%20b",
    "/v1/v1/models",
    "/v1/organizations",
    "/v1/my/organization/x",
    "/v1/responses/%41",
]
NOT_PLAIN = [
    "",
    "/",
    "/v1",
    "/v1/",
    "/v2/models",
    "/V1/models",
    "v1/models",
    "/v1models",
    "/v1.0/models",
    "//v1/models",
    "/v1//models",
    "/v1/models//",
    "/v1/models//x",
    "/v1/../v1/models",
    "/v1/..",
    "/v1/.",
    "/v1/./models",
    "/v1/models/..",
    "/v1/models/../organization/users",
    "/v1/%2e%2e/admin",
    "/v1/%2E%2E/admin",
    "/v1/.%2e/admin",
    "/v1/%2e/models",
    "/v1/models%2fx",
    "/v1/models%2Fx",
    "/v1%2fmodels",
    "/v1/a%5cb",
    "/v1/a%5Cb",
    "/v1/a\\b",
    "/v1\\models",
    "/v1/..\\admin",
    "/v1/a%00b",
    "/v1/a\x00b",
    "/v1/a%0ab",
    "/v1/a%0d%0aHost:x",
    "/v1/a\r\nHost: x",
    "/v1/a\nb",
    "/v1/models\n",
    "/v1/a%7fb",
    "/v1/a%1fb",
    "/v1/a b",
    "/v1/a\tb",
    "/v1/a;b",
    "/v1/..;/admin",
    "/v1/a%3bb",
    "/v1/%252e%252e/admin",
    "/v1/%252forganization",
    "/v1/a%25",
    "/v1/a%",
    "/v1/a%4",
    "/v1/a%zz",
    "/v1/a%u002e",
    "/v1/%c0%ae%c0%ae/admin",
    "/v1/%c0%afadmin",
    "/v1/%ff",
    "/v1/\u4f60",
    "/v1/\uff0e\uff0e/admin",
    "/v1/\u2215admin",
    "/v1/a\udc80b",
    "/v1/a#b",
    "/v1/models#",
    '/v1/"',
    "/v1/<x>",
    "/v1/{x}",
    "/v1/[x]",
    "/v1/a|b",
    "/v1/a^b",
    "/v1/a`b",
    "http://evil.test/v1/models",
    "https://evil.test/v1/models",
    "//evil.test/v1/models",
    "evil.test:443",
    "*",
    "/v1@evil.test/models",
    "/v1:80/models",
    "?/v1/models",
]
DENIED = [
    "/v1/organization/users",
    "/v1/organization",
    "/v1/organization/",
    "/v1/organization/a/b/c",
    "/v1/projects/p/users",
    "/v1/dashboard/billing/usage",
    "/v1/Organization/users",
    "/v1/ORGANIZATION/users",
    "/v1/%6frganization/users",
    "/v1/%6Frganization/users",
    "/v1/organizatio%6e/users",
    "/v1/%4frganization/users",
    "/v1/p%72ojects/x",
    "/v1/dashboard/billing?x=1",
]


@pytest.mark.parametrize("raw", PLAIN)
def test_a_plain_path_is_forwarded_as_it_came(raw: str) -> None:
    assert target_of(raw, DENY) == Target(raw)


@pytest.mark.parametrize("raw", NOT_PLAIN)
def test_a_path_that_some_server_might_read_differently_is_refused(raw: str) -> None:
    with pytest.raises(Refusal) as refused:
        target_of(raw, DENY)
    assert (refused.value.status, refused.value.code) == (400, "invalid_path")


@pytest.mark.parametrize("raw", DENIED)
def test_a_denied_path_is_recognised_however_it_is_spelled(raw: str) -> None:
    with pytest.raises(Refusal) as refused:
        target_of(raw, DENY)
    assert (refused.value.status, refused.value.code) == (403, "path_not_allowed")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "a=1",
        "a=1&b=2&a=3",
        "limit=20&after=file-abc",
        "include[]=step_details",
        "x=a+b%20c",
        "url=https://evil.test/v1/../x",
        "?a=1",
        "a=%00",
        "a;b",
        "=&&=",
    ],
)
def test_a_query_passes_as_it_came(query: str) -> None:
    assert target_of(f"/v1/files?{query}") == Target("/v1/files", query)


@pytest.mark.parametrize(
    "query", ["a=b c", "a=\r\nHost: x", "a=\x00", "a=1#f", "a=%", "a=%2", 'a="', "a=<x>", "a=\u4f60", "a=\\"]
)
def test_a_query_that_is_not_plain_is_refused(query: str) -> None:
    with pytest.raises(Refusal) as refused:
        target_of(f"/v1/files?{query}")
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("base", "extra", "raw", "url"),
    [
        ("https://a.test/v1", {}, "/v1/models", "https://a.test/v1/models"),
        ("https://a.test", {}, "/v1/models?x=1", "https://a.test/models?x=1"),
        ("https://a.test/openai/v1", {}, "/v1/v1/x", "https://a.test/openai/v1/v1/x"),
        ("https://a.test/v1", {"api-version": "2024 1"}, "/v1/x", "https://a.test/v1/x?api-version=2024+1"),
        ("https://a.test/v1", {"api-version": "1"}, "/v1/x?a=b", "https://a.test/v1/x?a=b&api-version=1"),
        ("https://a.test/v1", {}, "/v1/%E4%BD%A0?q=%20", "https://a.test/v1/%E4%BD%A0?q=%20"),
        ("https://a.test/v1", {"v": "1"}, "/v1/x?v=2&a=b&%76=3&V=4&v", "https://a.test/v1/x?a=b&V=4&v=1"),
        ("https://a.test/openai/deployments/d", {"v": "1"}, "/v1/x", "https://a.test/openai/deployments/d/x?v=1"),
    ],
)
def test_the_base_url_takes_the_place_of_v1(base: str, extra: dict[str, str], raw: str, url: str) -> None:
    assert target_of(raw).url(Upstream("a", base, query=extra)) == url


@pytest.mark.parametrize(
    "query",
    [
        "key=x",
        "api_key=x",
        "api-key=x",
        "access_token=x",
        "a=1&key=x",
        "a=1;key=x",
        "API_Key=x",
        "%6bey=x",
        "key",
        "key=",
    ],
)
def test_a_credential_in_the_query_is_refused_and_not_repeated(query: str) -> None:
    with pytest.raises(Refusal) as refused:
        refuse_credential_in_query(f"/v1/models?{query}")
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")
    assert "Authorization: Bearer" in refused.value.message
    assert "key" not in refused.value.message


@pytest.mark.parametrize(
    "query", ["", "metadata[key]=x", "keys=x", "api-version=1", "after=key", "monkey=1", "a=b%26key%3Dx"]
)
def test_a_query_that_only_looks_like_one_with_a_credential_passes(query: str) -> None:
    refuse_credential_in_query(f"/v1/models?{query}")


@given(st.text(max_size=60) | st.text("/.%2eEfF5c\\;?#@:v1 organizt", max_size=60))
def test_whatever_passes_goes_to_the_configured_host_below_its_base(tail: str) -> None:
    try:
        target = target_of(f"/v1/{tail}", DENY)
    except Refusal:
        return
    url = target.url(Upstream("a", "https://a.test/base"))
    assert url.startswith("https://a.test/base/")
    assert "/../" not in url.split("?")[0] + "/"
    assert not any(ord(letter) <= 32 or ord(letter) >= 127 for letter in url)
