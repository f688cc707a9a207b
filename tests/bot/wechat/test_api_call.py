"""What is WeChat's answer to a call, and what is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.wechat.api_call import Call, Lost, Reply, form, reply_of, written

SEND = Call("/cgi-bin/message/custom/send", b"words")
TOKEN = Call("/cgi-bin/stable_token", b"secret", gives="access_token")
TYPING = Call("/cgi-bin/message/custom/typing", b"", fine=(0, 45081))


@pytest.mark.parametrize(
    ("call", "body", "code"),
    [
        (SEND, b'{"errcode":0,"errmsg":"ok"}', 0),
        (SEND, b"{}", 0),
        (SEND, b'{"errcode":45015,"errmsg":"a\x01b"}', 45015),
        (TOKEN, b'{"access_token":"t","expires_in":7200}', 0),
        (TOKEN, b'{"errcode":-1}', -1),
        (TYPING, b'{"errcode":45081}', 45081),
    ],
)
def test_what_wechat_says_is_a_reply(call: Call, body: bytes, code: int) -> None:
    reply = reply_of(call, body)
    assert isinstance(reply, Reply)
    assert reply.code == code


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (SEND, b""),
        (SEND, b"<html>"),
        (SEND, b"\xff"),
        (SEND, b"[]"),
        (SEND, b"null"),
        (SEND, b'{"errcode":"0"}'),
        (SEND, b'{"errcode":true}'),
        (SEND, b'{"errcode":null}'),
        (SEND, b"[" * 100_000),
        (SEND, b'{"errcode":' + b"1" * 5_000 + b"}"),
        (TOKEN, b'{"errcode":0}'),
        (TOKEN, b'{"access_token":""}'),
        (TOKEN, b'{"access_token":1}'),
    ],
)
def test_anything_else_is_lost_and_may_have_been_carried_out(call: Call, body: bytes) -> None:
    lost = reply_of(call, body)
    assert isinstance(lost, Lost)
    assert lost.was_sent


@given(body=st.binary(max_size=50) | st.recursive(st.none() | st.integers(), st.lists).map(json.dumps).map(str.encode))
def test_no_body_is_too_strange(body: bytes) -> None:
    assert isinstance(reply_of(TOKEN, body), Reply | Lost)


def test_calls_are_named_in_the_log_as_in_wechats_documents() -> None:
    assert [call.name for call in (SEND, TOKEN, TYPING)] == ["custom/send", "stable_token", "custom/typing"]


def test_nothing_that_a_call_or_a_reply_carries_is_in_its_repr() -> None:
    assert "secret" not in repr(TOKEN)
    assert "hidden" not in repr(reply_of(TOKEN, b'{"access_token":"hidden"}'))


def test_every_letter_is_written_as_itself() -> None:
    assert written({"content": "你好\n"}) == '{"content": "你好\\n"}'.encode()


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_form_has_the_bytes_as_they_are_between_its_boundaries(kind: str) -> None:
    content_type, body = form(b"\r\n\x00--", kind, "b0undary")
    assert content_type == "multipart/form-data; boundary=b0undary"
    assert body.decode() == (
        f'--b0undary\r\nContent-Disposition: form-data; name="media"; filename="picture.{kind}"\r\n'
        f"Content-Type: image/{kind}\r\n\r\n\r\n\x00--\r\n--b0undary--\r\n"
    )
