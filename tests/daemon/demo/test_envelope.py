"""
WeChat's side against WeChat's own example.

Source of the values: developers.weixin.qq.com/doc/subscription/guide/dev/push/encryption.md
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.demo.envelope import Account, Mode, RedLine, Reply, opened, seal, signature, signed, unseal

OFFICIAL = Account(
    id="gh_97417a04a28d",
    token="AAAAA",
    mode=Mode.SAFE,
    form="json",
    app_id="wxba5fad812f8e6fb9",
    aes_key="A" * 43,
)
SEALED_REPLY = "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ=="


def test_the_official_signatures_come_out() -> None:
    assert signature("AAAAA", "1714037059", "486452656") == "899cf89e464efb63f54ddac96b0a0a235f53aa78"
    assert signature("AAAAA", "1713424427", "415670741", SEALED_REPLY) == "1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1"


def test_the_official_reply_is_sealed_and_unsealed() -> None:
    message = b'{"demo_resp":"good luck"}'
    assert seal(OFFICIAL, message, b"707722b803182950") == SEALED_REPLY
    assert unseal(OFFICIAL, SEALED_REPLY) == message


@given(st.binary(max_size=300), st.binary(min_size=16, max_size=16))
def test_whatever_is_sealed_is_unsealed_again(message: bytes, random: bytes) -> None:
    assert unseal(OFFICIAL, seal(OFFICIAL, message, random)) == message


@pytest.mark.parametrize(
    ("mode", "has_fields", "has_sealed"),
    [(Mode.PLAIN, True, False), (Mode.COMPATIBLE, True, True), (Mode.SAFE, False, True)],
)
def test_a_push_is_open_sealed_or_both(mode: Mode, has_fields: bool, has_sealed: bool) -> None:
    account = Account(mode=mode, app_id="wx1", aes_key="A" * 43)
    fields = {"FromUserName": "o1", "MsgType": "text", "Content": "hello"}
    push = signed(account, fields, timestamp=1_700_000_000, nonce="7", random=bytes(16))
    assert (b"hello" in push.body) is has_fields
    assert (b"<Encrypt>" in push.body) is has_sealed
    assert ("msg_signature" in push.query) is has_sealed


@pytest.mark.parametrize("body", [b"", b"success"])
def test_nothing_and_success_are_no_reply(body: bytes) -> None:
    assert opened(OFFICIAL, body, openid="o1", nonce="7") is None


@pytest.mark.parametrize("image", [{"MediaId": "media-1"}, '{"MediaId": "media-1"}'])
def test_a_picture_in_json_has_its_media_id(image: object) -> None:
    account = Account(form="json")
    fields = {"ToUserName": "o1", "FromUserName": account.id, "CreateTime": 1_700_000_000, "MsgType": "image"}
    body = json.dumps({**fields, "Image": image}).encode()
    assert opened(account, body, openid="o1", nonce="7") == Reply("image", media_id="media-1")


@pytest.mark.parametrize("sealed", ["", "?", "AAAA", SEALED_REPLY[:-4] + "AAA="])
def test_a_broken_seal_is_a_red_line(sealed: str) -> None:
    with pytest.raises(RedLine):
        unseal(OFFICIAL, sealed)
