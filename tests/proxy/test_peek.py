"""What a body says about itself: the model that is judged is the model that is sent."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.peek import MOST_MARKS, Peek, peek
from proxy.refusal import Refusal

JSON = "application/json"
BOUNDARY = "----form7"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def seen(body: bytes, content_type: str = JSON) -> tuple[str, bool]:
    found = peek(body, content_type)
    return found.model, found.wants_stream


def refused(body: bytes, content_type: str = JSON) -> str:
    with pytest.raises(Refusal) as refusal:
        peek(body, content_type)
    assert (refusal.value.status, refusal.value.code) == (400, "invalid_request")
    return refusal.value.message


@pytest.mark.parametrize(
    ("body", "model", "stream"),
    [
        (b'{"model": "gpt-5"}', "gpt-5", False),
        (b'{"model": "gpt-5", "stream": true}', "gpt-5", True),
        (b'{"stream":true,"model":"gpt-5"}', "gpt-5", True),
        (b'{"model": "gpt-5", "stream": false}', "gpt-5", False),
        (b'{"model": "gpt-5", "stream": null}', "gpt-5", False),
        (b'{"model": "gpt-5", "stream": "true"}', "gpt-5", False),
        (b'{"model": "gpt-5", "stream": 1}', "gpt-5", False),
        (b'{"mod\\u0065l": "gpt-5"}', "gpt-5", False),
        (b'{"model": "gpt\\u002d5"}', "gpt-5", False),
        (b'{"\\u006d\\u006f\\u0064\\u0065\\u006c": "a", "str\\u0065am": true}', "a", True),
        (b'{"messages": [{"model": "x", "stream": true}], "model": "gpt-5"}', "gpt-5", False),
        (b'{"model": "gpt-5", "messages": [{"model": "x", "model": "y"}]}', "gpt-5", False),
        (b'{"messages": [{"content": "\\"model\\": \\"x\\""}], "model": "gpt-5"}', "gpt-5", False),
        (b'{"messages": [{"model": "x"}]}', "", False),
        (b'{"model": null}', "", False),
        (b'{"model": ""}', "", False),
        (b" \r\n\t{ } ", "", False),
        ('{"model": "通义千问"}'.encode(), "通义千问", False),
        (b"[]", "", False),
        (b'[{"model": "x", "model": "y"}]', "", False),
        (b'"model"', "", False),
        (b"7", "", False),
        (b"", "", False),
        (b"  \n ", "", False),
        (b'{"a":' * 50 + b'{"model": "x"}' + b"}" * 50, "", False),
        (b'{"model": "gpt-5", "a": ' + b"[" * 50 + b"]" * 50 + b"}", "gpt-5", False),
    ],
)
def test_model_and_stream_are_those_of_the_body_itself(body: bytes, model: str, stream: bool) -> None:
    assert seen(body) == (model, stream)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "a", "model": "b"}',
        b'{"model": "a", "model": "a"}',
        b'{"model": "a", "messages": [], "mod\\u0065l": "b"}',
        b'{"stream": true, "stream": false}',
        b'{"model": "a", "x": {"model": "c"}, "model": "b"}',
    ],
)
def test_a_body_that_names_a_thing_twice_is_refused(body: bytes) -> None:
    assert "twice" in refused(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"model": "a"',
        b'{"model": "a"} {"model": "b"}',
        b'{"model": "a",}',
        b"{'model': 'a'}",
        b'{"model": "a"}\x00',
        b"\xef\xbb\xbf" + b'{"model": "a"}',
        '{"model": "a"}'.encode("utf-16"),
        '{"model": "a"}'.encode("utf-16-le"),
        '{"model": "a"}'.encode("utf-32"),
        b'{"model": "\xff"}',
        b"[" * 100_000,
        b"model=gpt-5",
    ],
)
def test_what_is_no_json_and_says_that_it_is_is_refused(body: bytes) -> None:
    refused(body)


@pytest.mark.parametrize(
    "model", ["7", "true", '["gpt-5"]', '{"a": "gpt-5"}', '"a\\nb"', '"a\\u0000"', '"\\ud800"', f'"{"x" * 257}"']
)
def test_a_model_that_is_no_short_plain_name_is_refused(model: str) -> None:
    refused(f'{{"model": {model}}}'.encode())


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/JSON; charset=utf-8", "application/x+json", "", "text/plain"]
)
def test_a_json_object_is_read_whatever_it_calls_itself(content_type: str) -> None:
    assert seen(b' {"model": "gpt-5"}', content_type) == ("gpt-5", False)


@pytest.mark.parametrize("content_type", ["application/octet-stream", "audio/mpeg", ""])
def test_what_is_neither_json_nor_a_form_says_nothing(content_type: str) -> None:
    assert peek(b"\x00\x01model=gpt-5", content_type) == Peek()


@pytest.mark.parametrize("body", [b"model=gpt-5", b'{"model": "gpt-5", "user": "&model=o3&"}'])
def test_a_form_of_the_old_kind_is_refused_since_some_upstreams_read_its_model(body: bytes) -> None:
    """It was passed on unread, and with it any model."""
    with pytest.raises(Refusal) as refused:
        peek(body, "application/x-www-form-urlencoded")
    assert "application/json" in refused.value.message


# --- forms


def part(head: str, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return f"--{BOUNDARY}\r\n".encode() + head.encode() + b"\r\n\r\n" + value + b"\r\n"


def field(name: str, value: bytes | str) -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"', value)


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


FILE = part('Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav', b"RIFF\x00\xff")
FAKE = field("model", "fake").replace(BOUNDARY.encode(), b"--another")


@pytest.mark.parametrize(
    ("body", "model", "stream"),
    [
        (form(field("model", "whisper-1"), FILE), "whisper-1", False),
        (form(FILE, field("model", "whisper-1"), field("stream", "true")), "whisper-1", True),
        (form(FILE), "", False),
        (form(field("stream", "false"), field("model", "m")), "m", False),
        (form(part("content-disposition: form-data; NAME=model", "m")), "m", False),
        (form(part('Content-Type: text/plain\r\nContent-Disposition:form-data;name="model"', "m")), "m", False),
        (form(part('Content-Disposition: form-data; name="file"; filename="model"', "x")), "", False),
        (form(part('Content-Disposition: form-data; name="file"; filename="; name=model"', "x")), "", False),
        (
            form(part('Content-Disposition: form-data; name="file"; filename="图.png"', "x"), field("model", "m")),
            "m",
            False,
        ),
        (
            form(part('Content-Disposition: form-data; name="file"; filename="a"', FAKE), field("model", "m")),
            "m",
            False,
        ),
        (
            form(field("prompt", 'Content-Disposition: form-data; name="model"\r\n\r\nfake'), field("model", "m")),
            "m",
            False,
        ),
        (form(field("models", "x")), "", False),
        (form(field("Model", "x")), "", False),
    ],
)
def test_a_form_says_its_model_where_a_part_of_that_name_does(body: bytes, model: str, stream: bool) -> None:
    assert seen(body, FORM) == (model, stream)


def test_a_form_may_have_a_quoted_boundary() -> None:
    assert seen(form(field("model", "m")), f'Multipart/Form-Data; charset=utf-8; boundary="{BOUNDARY}"') == ("m", False)


MODEL = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\nforbidden\r\n'.encode()


@pytest.mark.parametrize(
    "body",
    [
        form(field("model", "a"), field("model", "b")),
        form(field("model", "a"), FILE, field("model", "a")),
        form(part('Content-Disposition: form-data; name="x"; name="model"', "b")),
        form(part('Content-Disposition: form-data; x-name="file"; y=1', "b")),
        form(part("Content-Disposition: form-data; name*=utf-8''model", "b")),
        form(part('Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="model"', "b")),
        form(part("Content-Type: text/plain", "b")),
        form(part("", "b")),
        form(MODEL.replace(b"\r\n", b"\n")),
        form(field("a", f'--{BOUNDARY}\nContent-Disposition: form-data; name="model"\n\nforbidden')),
        form(part(f'Content-Disposition: form-data; x="--{BOUNDARY}"; name="model"', "forbidden")),
        form(field("model", "a" * 300)),
        form(field("model", "a\r\nb")),
        b"".join([field("model", "a")]),
        b'{"model": "forbidden"}',
        b"",
    ],
)
def test_a_form_that_another_parser_could_read_differently_is_refused(body: bytes) -> None:
    refused(body, FORM)


def test_a_name_behind_a_long_header_is_seen() -> None:
    assert seen(form(part(f'Content-Disposition: form-data; x="{"y" * 5_000}"; name="model"', "m")), FORM)[0] == "m"


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; x-boundary=a; boundary=b",
        'multipart/form-data; x="; boundary=a"; boundary=b',
        'multipart/form-data; boundary="a b"',
        "multipart/form-data; boundary=\u4f60",
        f"multipart/form-data; boundary={'x' * 71}",
    ],
)
def test_a_form_whose_boundary_is_not_plain_is_refused(content_type: str) -> None:
    refused(form(field("model", "m")), content_type)


# --- both


@given(st.binary(max_size=200), st.sampled_from([JSON, FORM, "", "text/plain"]))
def test_whatever_comes_is_read_or_refused(body: bytes, content_type: str) -> None:
    try:
        peek(body, content_type)
    except Refusal as refusal:
        assert refusal.status == 400  # noqa: PT017


@given(st.dictionaries(st.sampled_from(["model", "stream", "a"]), st.text(max_size=5) | st.booleans()), st.booleans())
def test_what_a_plain_parser_reads_is_what_is_seen(payload: dict[str, str | bool], escaped: bool) -> None:
    body = json.dumps(payload, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    try:
        model, stream = seen(body)
    except Refusal:
        return
    assert model == (payload.get("model") or "")
    assert stream is (payload.get("stream") is True)


@pytest.mark.parametrize("content_type", [JSON, FORM])
def test_eight_megabytes_are_looked_through_in_less_than_a_second(content_type: str) -> None:
    filler = "x" * (8 << 20)
    text = json.dumps({"messages": [{"content": filler}], "model": "m"}).encode()
    body = (
        text
        if content_type == JSON
        else form(part('Content-Disposition: form-data; name="file"', filler), field("model", "m"))
    )
    began = time.process_time()
    assert seen(body, content_type) == ("m", False)
    assert time.process_time() - began < 1.0


SIZE = 8 << 20
HOSTILE = {
    "lists": b"[],",
    "lists in lists": b"[" * 900 + b"]" * 900 + b",",
    "objects": b"{},",
    "objects in objects": b'{"a":' * 300 + b"0" + b"}" * 300 + b",",
    "objects with a name": b'{"a":0},',
    "numbers": b"0,",
    "strings": b'"",',
    "strings that may be ids": b'"A01234",',
    "strings that may be ids, spelled": b'"\\u00410123456789abcdef012345678",',
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_body_of_millions_of_pieces_is_refused_before_it_is_read(piece: bytes) -> None:
    """Eight megabytes of `[` and `]` took two seconds, in which nobody was served, and 400 MB."""
    body = b'{"model": "m", "\\u0078": [' + piece * (SIZE // len(piece)) + b"0]}"
    began = time.process_time()
    assert "too many" in refused(body)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("end", [b'"}', b"", b"\\"], ids=["whole", "cut", "cut in an escape"])
@pytest.mark.parametrize("piece", [b'[{\\"a\\": 1}, ', b'\\"', b"[{,:"])
def test_what_stands_within_a_string_is_words_however_much_of_it_looks_like_json(piece: bytes, end: bytes) -> None:
    body = b'{"model": "m", "input": "' + piece * (SIZE // len(piece)) + end
    began = time.process_time()
    if end == b'"}':
        assert seen(body) == ("m", False)
    else:
        refused(body)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_what_calls_itself_no_json_and_is_no_text_either_is_looked_through_at_once(encoding: str) -> None:
    """It was decoded to see how it begins, each of four million wrong characters by itself: a second for all to wait."""
    body = ("{" + "\ud800" * (SIZE // 2)).encode(encoding, "surrogatepass")
    began = time.process_time()
    refused(body, "application/octet-stream")
    assert time.process_time() - began < 0.4


def test_three_hundred_thousand_tokens_are_a_question_like_another() -> None:
    body = json.dumps({"model": "m", "input": [[number % 100_000 for number in range(8_000)]] * 38}).encode()
    assert seen(body) == ("m", False)


def test_as_many_marks_as_may_be_are_taken_and_one_more_is_not() -> None:
    def of(marks: int) -> bytes:
        return b'{"model":"m","x":[0' + b",0" * (marks - 11) + b"]" + b" " * 64 + b"}"

    assert seen(of(MOST_MARKS)) == ("m", False)
    assert "too many" in refused(of(MOST_MARKS + 1))


def test_nobody_waits_for_how_much_a_number_is() -> None:
    """Two thousand integers of 4,000 digits, or 350,000 awkward fractions: a quarter of a second in which nobody was served."""
    for number in (b"9" * 5_000, b"0." + b"9" * 5_000, b"2.2250738585072011e-308"):
        body = b'{"model": "m", "n": [' + b",".join([number] * (SIZE // (len(number) + 1))) + b"]}"
        plain = b'{"model": "m", "n": "' + b"x" * SIZE + b'"}'
        assert cpu_seconds(body) < 8 * cpu_seconds(plain)
    assert seen(b'{"model": "m", "n": ' + b"9" * 5_000 + b"}") == ("m", False)  # the upstream's to judge


def test_a_body_with_an_escape_takes_hardly_longer_than_one_without() -> None:
    """Each object was looked through for the names of the outermost one: 750 kB were a quarter of a second."""
    objects = b",".join([b"{}"] * 240_000)
    plain, escaped = (b'{"model": "m", "x": ["' + word + b'",' + objects + b"]}" for word in (b"A", b"\\u0041"))
    assert cpu_seconds(escaped) < 5 * cpu_seconds(plain)


def cpu_seconds(body: bytes) -> float:
    """The best of three."""

    def once() -> float:
        began = time.process_time()
        assert seen(body) == ("m", False)
        return time.process_time() - began

    return min(once() for _ in range(3))


def test_a_form_s_heads_are_short_all_together_too() -> None:
    """Nine hundred heads of 8,000 quotes each were half a second, though each was within its bounds."""
    awkward = part('Content-Disposition: form-data; name="x"; filename=' + '"' * 8_000, "v")
    assert seen(form(*[awkward] * 30, field("model", "m")), FORM) == ("m", False)
    assert "too long" in refused(form(*[awkward] * 40, field("model", "m")), FORM)
    usual = part('Content-Disposition: form-data; name="files[]"; filename="report-of-the-year-2026-final.pdf"', "v")
    assert seen(form(*[usual] * 900, field("model", "m")), FORM) == ("m", False)


@pytest.mark.parametrize("line", [b"a:\r\n", b"X: y\r", b"X: y\n", b"X: y\r\n z\r\n"])
def test_a_form_whose_parts_have_heads_of_many_lines_is_refused(line: bytes) -> None:
    """A thousand such heads, each within its bytes, were seven seconds in which nobody was served."""
    head = line * (8_000 // len(line)) + b'Content-Disposition: form-data; name="x"'
    body = form(*[part(head.decode(), "v")] * 900)
    began = time.process_time()
    refused(body, FORM)
    assert time.process_time() - began < 1.0
