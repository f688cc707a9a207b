"""Names for models: what goes upstream in their place, to the byte, and what is said of them."""

from __future__ import annotations

import json
from bisect import bisect_left
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.alias import Alias, Aliases, Question, renamed
from proxy.command import Begin, End
from proxy.draft import Unsupported
from proxy.peek import Peek, peek
from proxy.refusal import Refusal
from proxy.target import Target

JSON = "application/json"
ALIASES = Aliases({"old": Alias("new"), "davinci": Alias("gpt-5", as_chat=True), "vendor/old": Alias("new")})


def question(
    body: bytes | None, path: str = "/v1/chat/completions", method: str = "POST", kind: str = JSON
) -> Question:
    target = Target(*path.split("?"))
    seen = peek(body, kind) if body is not None else Peek()
    return ALIASES.question(method, Question(target, seen, body), kind, Unsupported())


# --- the name alone


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"old"}', b'{"model":"new"}'),
        (b' \n{ "a" : 1e-05 ,\t"model" :\r\n "old" , "b":[ ] }\n', b' \n{ "a" : 1e-05 ,\t"model" :\r\n "new" , "b":[ ] }\n'),
        (b'{"x":{"model":"old"},"model":"old"}', b'{"x":{"model":"old"},"model":"new"}'),
        (b'{"x":"{\\"model\\": 1","model":"old"}', b'{"x":"{\\"model\\": 1","model":"new"}'),
        (b'{"m\\u006fdel":"\\u006fld","x":"\\u9a7f"}', b'{"m\\u006fdel":"new","x":"\\u9a7f"}'),
        ('{"x":"驿:{,","model":"old","y":"站"}'.encode(), '{"x":"驿:{,","model":"new","y":"站"}'.encode()),
    ],
)  # fmt: skip
def test_nothing_but_the_model_s_name_changes(before: bytes, after: bytes) -> None:
    asked = question(before)
    assert asked.body == after
    assert asked.seen.model == "new"
    assert (asked.draft, asked.retelling) == (None, None)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("model"), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text().filter(lambda name: name != "model"), JSON_VALUES),
    st.dictionaries(st.text().filter(lambda name: name != "model"), JSON_VALUES),
    st.booleans(),
    st.sampled_from([None, 1, "\t"]),
)
def test_a_renamed_body_says_the_same_of_another_model(
    before: dict[str, Any], after: dict[str, Any], is_plain: bool, indent: Any
) -> None:
    fields = {**before, "model": "old", **{name: value for name, value in after.items() if name not in before}}
    body = json.dumps(fields, indent=indent, ensure_ascii=is_plain).encode("utf-8", "replace")
    again = json.dumps({**fields, "model": "new"}, indent=indent, ensure_ascii=is_plain).encode("utf-8", "replace")
    assert renamed(body, JSON, "new") == again


def test_of_a_form_only_the_model_s_part_changes() -> None:
    kind = 'multipart/form-data; boundary="b-1"'
    form = (
        b'--b-1\r\nContent-Disposition: form-data; name="file"; filename="old"\r\n\r\nold\r\n'
        b'--b-1\r\nContent-Disposition: form-data; name="model"\r\n\r\nold\r\n'
        b'--b-1\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nold\r\n--b-1--\r\n'
    )
    asked = question(form, "/v1/audio/transcriptions", kind=kind)
    assert asked.body == form.replace(b'"model"\r\n\r\nold', b'"model"\r\n\r\nnew')
    assert asked.seen.model == "new"


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("model=old", "model=new"),
        ("a=model&model=old&b=1", "a=model&model=new&b=1"),
        ("mod%65l=ol%64", "model=new"),
    ],
)
def test_a_websocket_has_its_model_in_the_query(query: str, sent: str) -> None:
    asked = ALIASES.question("GET", Question(Target("/v1/realtime", query), Peek("old")), "", Unsupported())
    assert (asked.target, asked.seen.model) == (Target("/v1/realtime", sent), "new")


@pytest.mark.parametrize("model", ["new", "other", "OLD", ""])
def test_a_name_that_is_no_alias_stays(model: str) -> None:
    body = json.dumps({"model": model}).encode()
    target = Target("/v1/completions")
    plain = Question(target, peek(body, JSON), body)
    assert ALIASES.question("POST", plain, JSON, Unsupported()) is plain


def test_without_aliases_nothing_changes_anywhere() -> None:
    plain = Question(Target("/v1/models"), Peek())
    assert Aliases().question("GET", plain, "", Unsupported()) is plain


# --- as chat


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/completions/", "/v1/completions?a=1"])
def test_a_legacy_completion_by_such_a_name_is_asked_as_chat(path: str) -> None:
    asked = question('{"model":"davinci","prompt":"驿站？","max_tokens":5}'.encode(), path)
    assert asked.draft is not None
    assert asked.body == asked.draft.body
    said = {"model": "gpt-5", "messages": [{"role": "user", "content": "驿站？"}], "max_tokens": 5}
    assert json.loads(asked.draft.body) == said
    assert asked.target == Target("/v1/chat/completions", "a=1" if "?" in path else "")
    assert asked.seen == peek(asked.draft.body, JSON), "what is judged is what is sent"
    assert asked.seen.opening
    assert asked.retelling is not None


def test_what_a_model_has_refused_is_not_said_to_it_again() -> None:
    unsupported = Unsupported()
    unsupported.add("gpt-5", "max_tokens")
    body = b'{"model":"davinci","prompt":"hi","max_tokens":5}'
    asked = ALIASES.question("POST", Question(Target("/v1/completions"), peek(body, JSON), body), JSON, unsupported)
    assert asked.draft is not None
    assert json.loads(asked.draft.body)["max_completion_tokens"] == 5


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/chat/completions"), ("POST", "/v1/embeddings"), ("PUT", "/v1/completions")]
)
def test_anywhere_else_such_a_name_is_only_renamed(method: str, path: str) -> None:
    asked = question(b'{"model":"davinci","prompt":"hi"}', path, method)
    assert (asked.body, asked.draft) == (b'{"model":"gpt-5","prompt":"hi"}', None)
    assert asked.target == Target(path)


def test_a_completion_that_is_a_form_is_refused() -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ndavinci\r\n--b--\r\n'
    with pytest.raises(Refusal, match="400 invalid_request"):
        question(form, "/v1/completions", kind="multipart/form-data; boundary=b")


# --- what is said of them


def listed(body: bytes, *, path: str = "/v1/models") -> Begin:
    """The upstream's list as the caller gets it."""
    asked = question(None, path, "GET")
    assert asked.retelling is not None
    headers = [("Content-Type", JSON), ("Content-Length", str(len(body)))]
    assert asked.retelling.tell(Begin(200, headers)) == ()
    assert asked.retelling.tell(body) == ()
    (begin,) = asked.retelling.tell(End())
    assert isinstance(begin, Begin)
    assert begin.is_whole
    assert begin.headers == [("Content-Type", JSON), ("Content-Length", str(len(begin.data)))]
    return begin


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/"])
def test_the_list_of_models_has_the_upstreams_and_ours(path: str) -> None:
    theirs = [{"id": "gpt-5", "owned_by": "system"}, {"id": "old", "owned_by": "system"}, "odd"]
    models = json.loads(listed(json.dumps({"object": "list", "data": theirs, "more": 1}).encode(), path=path).data)
    ours = [
        {"id": name, "object": "model", "created": 0, "owned_by": "posthouse"}
        for name in ("old", "davinci", "vendor/old")
    ]
    assert models == {"object": "list", "data": [theirs[0], "odd", *ours], "more": 1}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"data": {}}', b"[" * 100_000])
def test_a_list_that_is_none_stays_as_it_came(body: bytes) -> None:
    assert listed(body).data == body


@pytest.mark.parametrize(
    ("path", "is_known"),
    [
        ("/v1/models/old", True),
        ("/v1/models/old/", True),
        ("/v1/models/%6fld", True),
        ("/v1/models/vendor/old", True),
        ("/v1/models/new", False),
        ("/v1/models", False),
        ("/v1/old", False),
    ],
)
def test_one_alias_can_be_asked_for(path: str, is_known: bool) -> None:
    model = ALIASES.model(Target(path))
    assert (model is not None) is is_known
    if model is not None:
        assert json.loads(model)["owned_by"] == "posthouse"


def test_a_completion_that_is_nested_as_deep_as_can_just_be_read_is_refused_and_no_crash() -> None:
    """It was read once on the way in, and once more from a little deeper: between the two it was an internal error."""

    def nested(depth: int) -> bytes:
        return b'{"model": "davinci", "prompt": "x", "logit_bias": ' + b"[" * depth + b"]" * depth + b"}"

    def is_read(depth: int) -> bool:
        try:
            return bool(peek(nested(depth), JSON))
        except Refusal:
            return False

    deepest = bisect_left(range(30_000), True, key=lambda depth: not is_read(depth)) - 1
    assert 0 < deepest < 29_999
    outcomes = set()
    for depth in range(max(1, deepest - 60), deepest + 3):
        try:
            question(nested(depth), "/v1/completions")
            outcomes.add("translated")
        except Refusal:
            outcomes.add("refused")
    assert "refused" in outcomes


@pytest.mark.parametrize(
    "numbers", [b"1" * 4_200, b"2.2250738585072011e-308", b"9007199254740993.0"], ids=["long", "tiny", "between"]
)
def test_a_completion_full_of_numbers_is_not_translated(numbers: bytes) -> None:
    """Finding out how much eight megabytes of the worst are held everybody up for a second."""
    body = b'{"model": "davinci", "prompt": "x", "logit_bias": [' + b",".join([numbers] * (70_000 // len(numbers) + 1))
    with pytest.raises(Refusal) as refused:
        question(body + b"]}", "/v1/completions")
    assert b"too many numbers" in refused.value.body()
    asked = question(b'{"model": "davinci", "prompt": "' + b"[1]" * 1_000_000 + b'"}', "/v1/completions")
    assert asked.body is not None
    assert len(asked.body) > 3_000_000


def test_a_number_that_nobody_can_write_is_passed_on_under_another_name_and_not_translated() -> None:
    body = b'{"model": "%s", "prompt": "x", "n": ' + b"9" * 5_000 + b"}"
    assert question(body % b"old").body == body % b"new"
    with pytest.raises(Refusal) as refusal:
        question(body % b"davinci", "/v1/completions")
    assert (refusal.value.status, refusal.value.code) == (400, "invalid_request")
