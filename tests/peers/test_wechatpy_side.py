"""wechatpy plays WeChat's side over HTTP against the whole daemon, in each of the console's three modes."""

from __future__ import annotations

import asyncio
import itertools
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout

from daemon.demo.envelope import Account, Mode
from daemon.demo.steps import Answer, Step
from tests.flows.daemon_bench import AES_KEY, Town, path_of, town

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # wechatpy 1.8.18 is of 2021 and warns of its own age on import
    from wechatpy.crypto import WeChatCrypto
    from wechatpy.exceptions import InvalidSignatureException
    from wechatpy.replies import TextReply, deserialize_reply
    from wechatpy.utils import WeChatSigner, check_signature

PLAIN = Account(id="gh_00000000000a", token="plaintoken")
COMPATIBLE = Account(
    id="gh_00000000000b", token="compattoken", mode=Mode.COMPATIBLE, app_id="wx000000000000000b", aes_key=AES_KEY
)
SAFE = replace(COMPATIBLE, id="gh_00000000000c", token="safetoken", mode=Mode.SAFE, app_id="wx000000000000000c")
ACCOUNTS = (PLAIN, COMPATIBLE, SAFE)
MODES = pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.mode)
MSG_IDS = itertools.count(25033203329280739)


def signature(*parts: str) -> str:
    signer = WeChatSigner()
    signer.add_data(*parts)
    return str(signer.signature)


def message(account: Account, text: str) -> str:
    """As WeChat writes it; wechatpy only reads messages."""
    return f"""<xml><ToUserName><![CDATA[{account.id}]]></ToUserName>
<FromUserName><![CDATA[o_wechatpy]]></FromUserName><CreateTime>{int(time.time())}</CreateTime>
<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{text}]]></Content><MsgId>{next(MSG_IDS)}</MsgId></xml>"""


@dataclass(frozen=True, slots=True)
class Pushed:
    """One push, ready to be delivered as often as WeChat likes."""

    query: dict[str, str]
    body: str


def pushed(account: Account, text: str, *, sealed: bool = True) -> Pushed:
    """`account` is what the sender believes of the account; not `sealed`: as the plain mode would send it."""
    stamp, nonce, plain = str(int(time.time())), "415670741", message(account, text)
    query = {"signature": signature(account.token, stamp, nonce), "timestamp": stamp, "nonce": nonce}
    query["openid"] = "o_wechatpy"
    if account.mode is Mode.PLAIN or not sealed:
        return Pushed(query, plain)
    envelope = WeChatCrypto(account.token, account.aes_key, account.app_id).encrypt_message(plain, nonce, stamp)
    encrypt = element(envelope, "Encrypt")
    query |= {"encrypt_type": "aes", "msg_signature": element(envelope, "MsgSignature")}
    beside = plain.removeprefix("<xml>").removesuffix("</xml>") if account.mode is Mode.COMPATIBLE else ""
    name = "" if beside else f"<ToUserName><![CDATA[{account.id}]]></ToUserName>"
    return Pushed(query, f"<xml>{name}{beside}<Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>")


def element(xml: str, name: str) -> str:
    return xml.split(f"<{name}>")[1].split(f"</{name}>")[0].removeprefix("<![CDATA[").removesuffix("]]>")


@dataclass(slots=True)
class WeChat:
    """WeChat's servers, made of wechatpy and an HTTP client."""

    town: Town = field(repr=False)

    @property
    def session(self) -> ClientSession:
        return self.town.session

    def url(self, account: Account) -> str:
        return self.town.daemon.url + path_of(account)

    async def deliver(self, account: Account, push: Pushed, *, patience: float = 5.0) -> tuple[int, str]:
        """Raises TimeoutError when WeChat runs out of patience."""
        post = self.session.post(
            self.url(account), params=push.query, data=push.body.encode(), timeout=ClientTimeout(total=patience)
        )
        async with post as response:
            return response.status, await response.text()

    def read(self, account: Account, push: Pushed, body: str) -> TextReply:
        """The reply as wechatpy understands it; raises what wechatpy raises when its envelope is wrong."""
        if account.mode is not Mode.PLAIN:
            stamp, nonce = element(body, "TimeStamp"), element(body, "Nonce")
            assert nonce == push.query["nonce"]
            crypto = WeChatCrypto(account.token, account.aes_key, account.app_id)
            body = crypto.decrypt_message(body, element(body, "MsgSignature"), stamp, nonce)
        reply = deserialize_reply(body)
        assert isinstance(reply, TextReply)
        return reply


Start = Callable[..., Awaitable[WeChat]]


@pytest.fixture
async def wechat(tmp_path: Path) -> AsyncIterator[Start]:
    """`await wechat(step, …)`: a daemon with the three accounts and one key of that script."""
    async with AsyncExitStack() as stack:

        async def start(*steps: Step) -> WeChat:
            return WeChat(await stack.enter_async_context(town(tmp_path, {"sk-1": steps}, ACCOUNTS)))

        yield start


@MODES
async def test_the_console_s_verification_is_echoed_and_a_wrong_token_s_is_not(wechat: Start, account: Account) -> None:
    peer = await wechat()
    stamp, nonce, echo = str(int(time.time())), "415670741", "4375120948345356249"

    def query(token: str) -> dict[str, str]:
        proof = signature(token, stamp, nonce)
        check_signature(token, proof, stamp, nonce)
        return {"signature": proof, "timestamp": stamp, "nonce": nonce, "echostr": echo}

    async with peer.session.get(peer.url(account), params=query(account.token)) as response:
        assert (response.status, await response.read()) == (200, echo.encode())
    async with peer.session.get(peer.url(account), params=query("guess")) as response:
        assert (response.status, await response.read()) == (403, b"")


@MODES
async def test_a_push_is_opened_and_its_reply_is_one_that_wechatpy_accepts(wechat: Start, account: Account) -> None:
    answer = "好的 ]]> 🙂 <b>& ü"
    peer = await wechat(Answer(answer))
    push = pushed(account, "驿站 🐎 ]] 是什么？")

    status, body = await peer.deliver(account, push)

    reply = peer.read(account, push, body)
    assert status == 200
    assert (reply.target, reply.source) == ("o_wechatpy", account.id)
    assert reply.content.startswith(answer)
    assert abs(reply.time - time.time()) < 60, "seconds, and not milliseconds"
    assert peer.town.upstream.requests[-1].json["messages"][-1]["content"] == "驿站 🐎 ]] 是什么？"
    assert ("<Encrypt>" in body) == (account.mode is not Mode.PLAIN)


@pytest.mark.parametrize("account", [COMPATIBLE, SAFE], ids=lambda account: account.mode)
async def test_a_reply_whose_signature_is_spoilt_would_not_pass_wechatpy(wechat: Start, account: Account) -> None:
    """So that the test above is known to be one that can fail."""
    peer = await wechat()
    push = pushed(account, "你好")
    _, body = await peer.deliver(account, push)
    proof = element(body, "MsgSignature")
    with pytest.raises(InvalidSignatureException):
        peer.read(account, push, body.replace(proof, proof[::-1]))


async def test_every_forged_push_is_refused_with_the_same_answer_and_reaches_no_model(wechat: Start) -> None:
    peer = await wechat()
    turned = pushed(SAFE, "你好")
    cipher = element(turned.body, "Encrypt")
    other = cipher[:40] + ("A" if cipher[40] != "A" else "B") + cipher[41:]
    resigned = {**turned.query, "msg_signature": signature(SAFE.token, turned.query["timestamp"], "415670741", other)}
    without = {name: value for name, value in turned.query.items() if name != "msg_signature"}
    old = dict(pushed(PLAIN, "你好").query, timestamp="1500000000")
    old["signature"] = signature(PLAIN.token, old["timestamp"], old["nonce"])
    forged = {
        "plain, wrong token": (PLAIN, pushed(replace(PLAIN, token="guess"), "你好")),
        "plain, signed long ago": (PLAIN, Pushed(old, message(PLAIN, "你好"))),
        "plain, no XML": (PLAIN, replace(pushed(PLAIN, "你好"), body="<xml><a>")),
        "compatible, wrong token": (COMPATIBLE, pushed(replace(COMPATIBLE, token="guess"), "你好")),
        "compatible, in the clear": (COMPATIBLE, pushed(COMPATIBLE, "你好", sealed=False)),
        "safe, wrong token": (SAFE, pushed(replace(SAFE, token="guess"), "你好")),
        "safe, in the clear": (SAFE, pushed(SAFE, "你好", sealed=False)),
        "safe, without msg_signature": (SAFE, Pushed(without, turned.body)),
        "safe, another ciphertext": (SAFE, Pushed(turned.query, turned.body.replace(cipher, other))),
        "safe, another ciphertext, well signed": (SAFE, Pushed(resigned, turned.body.replace(cipher, other))),
        "safe, another app id": (SAFE, pushed(replace(SAFE, app_id="wx00000000000000ff"), "你好")),
        "safe, another AES key": (SAFE, pushed(replace(SAFE, aes_key=AES_KEY[::-1]), "你好")),
        "safe, no base64": (SAFE, Pushed(turned.query, turned.body.replace(cipher, "%%%"))),
    }
    answers = {}
    for name, (account, push) in forged.items():
        url = peer.url(account)
        async with peer.session.post(url, params=push.query, data=push.body.encode()) as response:
            headers = {name: value for name, value in response.headers.items() if name != "Date"}
            answers[name] = (response.status, await response.read(), tuple(sorted(headers.items())))
    assert set(answers.values()) == {next(iter(answers.values()))}, answers
    assert answers["safe, in the clear"][:2] == (403, b"")
    assert peer.town.upstream.requests == []


@MODES
async def test_what_is_delivered_again_while_the_model_thinks_is_asked_once_and_answered(
    wechat: Start, account: Account
) -> None:
    peer = await wechat(Answer("想好了", think_seconds=0.6))
    push = pushed(account, "慢问题")
    for _ in range(2):
        with pytest.raises(asyncio.TimeoutError):
            await peer.deliver(account, push, patience=0.15)

    _, third = await peer.deliver(account, push)
    _, fourth = await peer.deliver(account, push)  # WeChat lost our answer on its way

    assert [peer.read(account, push, body).content.split("\n")[0] for body in (third, fourth)] == ["想好了"] * 2
    assert peer.town.model_calls == 1
