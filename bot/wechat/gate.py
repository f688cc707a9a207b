"""
What a request to an account's path must show before it is believed, and how the reply is closed. Pure.

Rule 1: every refusal is a `Refused`. Its reason is for the log and the page; the answer is the same for all of them.
Rule 2: for an encrypted push `msg_signature` decides, which covers the body, and never `signature`, which does not; and
        only the encrypted part of the body counts (the compatible mode sends the plain fields beside it).
Rule 3: with an AES key a plain push is refused though its signature be right: whoever saw one URL could write it.
Rule 4: no push is refused because its nonce was seen before: whether a redelivery repeats it is not known.
Source: developers.weixin.qq.com/doc/subscription/guide/dev/push/encryption.md ("注意：不要使用signature验证").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from bot.value import value_type
from bot.wechat import codec
from bot.wechat.crypt import CannotOpen, Envelope, signature_is_valid, signature_of
from bot.wechat.push import Push

MAX_AGE_SECONDS = 600  # either way: WeChat's clock and ours; an old URL out of some log is worth nothing after it


class Why(StrEnum):
    """The sentences are for operators, in the order in which a request meets them."""

    DUPLICATE_PARAMETER = "duplicate_parameter"
    MISSING_PARAMETER = "missing_parameter"
    MALFORMED = "malformed"
    SIGNATURE = "signature"
    TIMESTAMP = "timestamp"
    PLAINTEXT = "plaintext"
    NO_AES_KEY = "no_aes_key"
    UNDECIPHERABLE = "undecipherable"
    APP_ID = "app_id"


SENTENCES: Mapping[Why, str] = {
    Why.DUPLICATE_PARAMETER: "a query parameter came twice",
    Why.MISSING_PARAMETER: "a query parameter that WeChat always sends is missing; probably not WeChat",
    Why.MALFORMED: "the body is no push",
    Why.SIGNATURE: "the signature is wrong; is `token` the Token of WeChat's console?",
    Why.TIMESTAMP: "the timestamp is more than 10 minutes off; is this server's clock right?",
    Why.PLAINTEXT: "a plain push, and `encoding_aes_key` is set; choose safe mode in WeChat's console or `allow_plaintext`",
    Why.NO_AES_KEY: "an encrypted push, and `encoding_aes_key` is not set",
    Why.UNDECIPHERABLE: "the push does not open; is `encoding_aes_key` the EncodingAESKey of WeChat's console?",
    Why.APP_ID: "the push is for another `app_id`",
}


class Refused(Exception):
    """Answer 403, with the same bytes whatever the reason."""

    def __init__(self, reason: Why) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return SENTENCES[self.reason]


@value_type
class Credentials:
    """As in WeChat's console. Without an `encoding_aes_key` the account is in plain mode."""

    token: str
    app_id: str = ""
    encoding_aes_key: str = ""
    previous_encoding_aes_key: str = ""  # WeChat may use the old key for a while after a change
    allow_plaintext: bool = False

    def __repr__(self) -> str:
        return "<Credentials>"


@value_type
class Admitted:
    """A push that is WeChat's, and what its reply needs: the envelope that opened it (None: plain) and the URL's nonce."""

    push: Push
    envelope: Envelope | None
    nonce: str


class Gate:
    """One account's. A query is its pairs of name and value in order, `request.query.items()`."""

    def __init__(self, credentials: Credentials) -> None:
        """ValueError for an AES key that is none, or one without an app id."""
        self._token = credentials.token
        self._allow_plaintext = credentials.allow_plaintext
        keys = (credentials.encoding_aes_key, credentials.previous_encoding_aes_key)
        self._envelopes = tuple(Envelope(key, credentials.app_id) for key in keys if key)

    def __repr__(self) -> str:
        return "<Gate>"

    def echo(self, query: Iterable[tuple[str, str]], now: float) -> str:
        """The text that answers WeChat's verification, as it came; somebody else's words, so send it as plain text."""
        parameters = _once(query)
        echostr = _value(parameters, "echostr")
        self._verify(parameters, "signature", now)
        return echostr

    def admit(self, query: Iterable[tuple[str, str]], body: bytes, now: float) -> Admitted:
        """The push in a POST, plain or encrypted, XML or JSON. Raises Refused."""
        parameters = _once(query)
        try:
            if parameters.get("encrypt_type", "raw") in ("", "raw"):
                return self._admit_plain(parameters, body, now)
            return self._admit_encrypted(parameters, body, now)
        except codec.BadPush as error:
            raise Refused(Why.MALFORMED) from error

    def close(self, admitted: Admitted, reply: bytes, *, now: int, random16: bytes) -> bytes:
        """The bytes to send: sealed as the push was, except `success` and silence, which WeChat reads as they are."""
        if admitted.envelope is None or reply in (b"", codec.SUCCESS):
            return reply
        encrypt = admitted.envelope.seal(reply, random16)
        fields: dict[str, codec.Value] = {
            "Encrypt": encrypt,
            "MsgSignature": signature_of(self._token, str(now), admitted.nonce, encrypt),
            "TimeStamp": now,
            "Nonce": admitted.nonce,
        }
        return codec.written(fields, admitted.push.form)

    def _admit_plain(self, parameters: Mapping[str, str], body: bytes, now: float) -> Admitted:
        self._verify(parameters, "signature", now)
        if self._envelopes and not self._allow_plaintext:
            raise Refused(Why.PLAINTEXT)
        return Admitted(codec.push_of(*codec.read(body)), None, parameters["nonce"])

    def _admit_encrypted(self, parameters: Mapping[str, str], body: bytes, now: float) -> Admitted:
        encrypt = codec.read(body)[0].get("Encrypt", "")
        if not encrypt:
            raise Refused(Why.MALFORMED)
        self._verify(parameters, "msg_signature", now, encrypt)
        if not self._envelopes:
            raise Refused(Why.NO_AES_KEY)
        opened, envelope = self._open(encrypt)
        return Admitted(codec.push_of(*codec.read(opened)), envelope, parameters["nonce"])

    def _verify(self, parameters: Mapping[str, str], name: str, now: float, *signed: str) -> None:
        claimed = _value(parameters, name)
        timestamp, nonce = _value(parameters, "timestamp"), _value(parameters, "nonce")
        if not signature_is_valid(claimed, self._token, timestamp, nonce, *signed):
            raise Refused(Why.SIGNATURE)
        # After the signature, so that a stranger's guess does not look like a wrong clock.
        sent_at = codec.seconds_of(timestamp)
        if sent_at is None or abs(now - sent_at) > MAX_AGE_SECONDS:
            raise Refused(Why.TIMESTAMP)

    def _open(self, encrypt: str) -> tuple[bytes, Envelope]:
        """With the key that fits, which is the one to answer with."""
        reason = Why.UNDECIPHERABLE
        for envelope in self._envelopes:
            try:
                return envelope.open(encrypt), envelope
            except CannotOpen as error:
                if error.is_for_another_app:
                    reason = Why.APP_ID
        raise Refused(reason)


def _once(query: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A name that comes twice means something else to whoever reads the other one."""
    pairs = list(query)
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise Refused(Why.DUPLICATE_PARAMETER)
    return parameters


def _value(parameters: Mapping[str, str], name: str) -> str:
    if value := parameters.get(name):
        return value
    raise Refused(Why.MISSING_PARAMETER)
