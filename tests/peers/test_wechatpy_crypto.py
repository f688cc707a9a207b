"""wechatpy as WeChat's side of safe mode: it opens what we seal, and we open what it seals."""

import warnings

import pytest

from bot.wechat.codec import text_reply
from bot.wechat.gate import Credentials, Gate, Refused, Why

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # wechatpy 1.8.18 is of 2021 and warns of its own age on import
    from wechatpy import parse_message
    from wechatpy.crypto import WeChatCrypto
    from wechatpy.exceptions import InvalidSignatureException
    from wechatpy.utils import WeChatSigner

TOKEN, APP_ID, KEY = "demo", "wx0123456789abcdef", "A" * 43
NOW, NONCE = 1714112445, "415670741"
MESSAGE = """<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[o1]]></FromUserName>
<CreateTime>1714112445</CreateTime><MsgType><![CDATA[text]]></MsgType>
<Content><![CDATA[你好 🙂]]></Content><MsgId>25033203329280739</MsgId></xml>"""


def signature(*parts: str) -> str:
    signer = WeChatSigner()
    signer.add_data(*parts)
    return signer.signature


@pytest.fixture
def peer() -> WeChatCrypto:
    return WeChatCrypto(TOKEN, KEY, APP_ID)


@pytest.fixture
def gate() -> Gate:
    return Gate(Credentials(token=TOKEN, app_id=APP_ID, encoding_aes_key=KEY))


def pushed(peer: WeChatCrypto, token: str = TOKEN) -> tuple[list[tuple[str, str]], bytes]:
    body = peer.encrypt_message(MESSAGE, NONCE, str(NOW))
    encrypt = body.split("<Encrypt><![CDATA[")[1].split("]]>")[0]
    query = {
        "signature": signature(token, str(NOW), NONCE),
        "timestamp": str(NOW),
        "nonce": NONCE,
        "encrypt_type": "aes",
        "msg_signature": signature(token, str(NOW), NONCE, encrypt),
    }
    return list(query.items()), body.encode()


def test_wechatpys_verification_is_echoed(gate):
    query = [("signature", signature(TOKEN, str(NOW), NONCE)), ("timestamp", str(NOW)), ("nonce", NONCE)]

    assert gate.echo([*query, ("echostr", "4375120948345356249")], NOW) == "4375120948345356249"


def test_we_open_what_wechatpy_seals_and_it_opens_our_reply(gate, peer):
    admitted = gate.admit(*pushed(peer), NOW)
    words = "好的 ]]> 🙂"

    body = gate.close(admitted, text_reply(admitted.push, words, now=NOW), now=NOW, random16=bytes(16))

    assert admitted.push.text == "你好 🙂"
    msg_signature = body.decode().split("<MsgSignature><![CDATA[")[1].split("]]>")[0]
    reply = parse_message(peer.decrypt_message(body, msg_signature, str(NOW), NONCE))
    assert (reply.source, reply.target, reply.content) == ("gh_1", "o1", words)
    with pytest.raises(InvalidSignatureException):
        peer.decrypt_message(body, msg_signature, str(NOW + 1), NONCE)


def test_a_push_signed_with_another_token_is_refused(gate, peer):
    with pytest.raises(Refused) as caught:
        gate.admit(*pushed(peer, token="guess"), NOW)

    assert caught.value.reason is Why.SIGNATURE
