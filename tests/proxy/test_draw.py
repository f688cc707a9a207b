"""The picture in an answer, or what is said in its place."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from proxy.draw import Drawn, drawn
from proxy.refusal import Refusal
from proxy.sender import EmptyAnswer, TornAnswer

PNG = b"\x89PNG\r\n\x1a\n"
ENCODED = b64encode(PNG).decode()
URL = "https://pictures.test/1.png?sig=secret"


def body(*pictures: Any, **more: Any) -> bytes:
    return json.dumps({"created": 1, "data": list(pictures), **more}).encode()


@pytest.mark.parametrize(
    ("answer", "picture"),
    [
        (body({"b64_json": ENCODED}), Drawn(PNG)),
        (body({"b64_json": ENCODED}, {"b64_json": "AAAA"}), Drawn(PNG)),
        (body({"b64_json": ENCODED, "url": URL, "revised_prompt": "a fox"}), Drawn(PNG, revised_prompt="a fox")),
        (body({"b64_json": None, "url": URL, "revised_prompt": None}), Drawn(url=URL)),
        (body({"url": URL}, error=None), Drawn(url=URL)),
    ],
)
def test_a_picture_is_its_bytes_or_where_they_are(answer: bytes, picture: Drawn) -> None:
    assert drawn(answer) == picture


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", body({"b64_json": ENCODED})[:-9], b"[]", b'"x"', body({"b64_json": "no base64!"}), b"[" * 9**6],
)
def test_an_answer_that_cannot_be_read_is_torn(answer: bytes) -> None:
    with pytest.raises(TornAnswer):
        drawn(answer)


@pytest.mark.parametrize(
    "answer",
    [
        body(),
        b"{}",
        b'{"data": {}}',
        body(None),
        body("x"),
        body({}),
        body({"b64_json": "", "url": ""}),
        body({"url": 7}),
    ],
)
def test_an_answer_without_a_picture_is_empty(answer: bytes) -> None:
    with pytest.raises(EmptyAnswer):
        drawn(answer)


def test_an_error_in_place_of_a_picture_is_told_by_whose_it_is() -> None:
    with pytest.raises(Refusal) as caught:
        drawn(b'{"error": {"code": "moderation_blocked", "message": "your words"}}')
    assert (caught.value.status, caught.value.code) == (400, "upstream_refused")
    assert caught.value.upstream_code == "moderation_blocked"
    assert "your words" not in caught.value.message
    with pytest.raises(TornAnswer):
        drawn(b'{"error": {"type": "server_error"}}')


def test_a_picture_shows_nothing_of_itself() -> None:
    assert repr(Drawn(PNG, URL, "a fox")) == "Drawn()"
