"""
What WeChat's servers send and accept: pushes signed and sealed, replies opened and judged. Pure: random bytes are handed in.

Written from WeChat's documents alone, and with none of the bot's own code, so that the two check each other.

Rule 1: a reply that WeChat would not show raises RedLine with the reason: the subscriber then sees the red line
        「该公众号提供的服务出现故障，请稍后再试」.
Sources: developers.weixin.qq.com/doc/subscription/guide/dev/push/encryption.md; …/Passive_user_reply_message; the 2,048 bytes
are measured (MamaShip/Observer issue 77).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MAX_TEXT_BYTES = 2048
BLOCK = 32  # bytes; PKCS#7 with blocks of 32, not of AES's 16
REPLY_KINDS = frozenset({"text", "image", "voice", "video", "music", "news", "transfer_customer_service"})
LINK = re.compile(r'<a href="weixin://bizmsgmenu\?msgmenucontent=([^&"]+)&msgmenuid=([^"]*)">(.+?)</a>', re.DOTALL)


class Mode(StrEnum):
    PLAIN = "plain"
    COMPATIBLE = "compatible"  # both: the fields, and the same again sealed
    SAFE = "safe"


@dataclass(frozen=True, slots=True)
class Account:
    """The settings of WeChat's console."""

    id: str = "gh_0123456789ab"
    token: str = "demotoken"  # noqa: S105 (of an account that does not exist)
    mode: Mode = Mode.PLAIN
    form: Literal["xml", "json"] = "xml"
    app_id: str = ""
    aes_key: str = ""  # 43 characters

    def __repr__(self) -> str:
        return f"<Account {self.id} {self.mode} {self.form}>"


@dataclass(frozen=True, slots=True)
class Signed:
    """A push as it goes over the wire; every delivery of it is the same."""

    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """A tappable link in a reply: tapped, it sends `content` with `id` as bizmsgmenuid."""

    shown: str
    content: str
    id: str


@dataclass(frozen=True, slots=True)
class Reply:
    kind: str
    words: str = ""  # of a text reply
    media_id: str = ""  # of an image reply

    @property
    def links(self) -> tuple[Link, ...]:
        return tuple(Link(shown, content, to) for content, to, shown in LINK.findall(self.words))


class RedLine(Exception):
    """A reply that WeChat would not show."""


def signature(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def signed(account: Account, fields: Mapping[str, str | int], *, timestamp: int, nonce: str, random: bytes) -> Signed:
    """A push of `fields` (ToUserName and CreateTime are filled in), signed for `timestamp`. `random` is 16 bytes."""
    fields = {"ToUserName": account.id, "CreateTime": timestamp, **fields}
    stamp = str(timestamp)
    query = {"signature": signature(account.token, stamp, nonce), "timestamp": stamp, "nonce": nonce}
    query["openid"] = str(fields["FromUserName"])
    plain = _written(account, fields)
    if account.mode is Mode.PLAIN:
        return Signed(query, plain)
    sealed = seal(account, plain, random)
    query |= {"encrypt_type": "aes", "msg_signature": signature(account.token, stamp, nonce, sealed)}
    beside = fields if account.mode is Mode.COMPATIBLE else {"ToUserName": account.id}
    return Signed(query, _written(account, {**beside, "Encrypt": sealed}))


def seal(account: Account, message: bytes, random: bytes) -> str:
    full = random + len(message).to_bytes(4, "big") + message + account.app_id.encode()
    pad = BLOCK - len(full) % BLOCK
    encryptor = _cipher(account).encryptor()
    return base64.b64encode(encryptor.update(full + bytes([pad]) * pad) + encryptor.finalize()).decode()


def unseal(account: Account, sealed: str) -> bytes:
    try:
        decryptor = _cipher(account).decryptor()
        full = decryptor.update(base64.b64decode(sealed, validate=True)) + decryptor.finalize()
    except ValueError:
        raise RedLine("Encrypt is not base64 of whole blocks") from None
    pad = full[-1] if full else 0
    if not 1 <= pad <= BLOCK or full[-pad:] != bytes([pad]) * pad:
        raise RedLine("wrong padding")
    full = full[:-pad]
    end = 20 + int.from_bytes(full[16:20], "big")
    if full[end:] != account.app_id.encode():
        raise RedLine("sealed for another app id")
    return full[20:end]


def opened(account: Account, body: bytes, *, openid: str, nonce: str) -> Reply | None:
    """The reply to a push from `openid`; None where there is none to show. Raises RedLine."""
    if body in (b"", b"success"):
        return None
    fields = _read(account, body)
    if "Encrypt" in fields:
        if account.mode is Mode.PLAIN:
            raise RedLine("sealed, but the account is in plain mode")
        _judge_envelope(account, fields, nonce)
        fields = _read(account, unseal(account, fields["Encrypt"]))
    elif account.mode is Mode.SAFE:
        raise RedLine("not sealed, but the account is in safe mode")
    return _judged(account, fields, openid)


def _cipher(account: Account) -> Cipher[modes.CBC]:
    key = base64.b64decode(account.aes_key + "=")
    return Cipher(algorithms.AES256(key), modes.CBC(key[:16]))


def _written(account: Account, fields: Mapping[str, str | int]) -> bytes:
    if account.form == "json":
        return json.dumps(fields, ensure_ascii=False).encode()
    inner = "".join(
        f"<{name}>{value}</{name}>" if isinstance(value, int) else f"<{name}><![CDATA[{_in_cdata(value)}]]></{name}>"
        for name, value in fields.items()
    )
    return f"<xml>{inner}</xml>".encode()


def _in_cdata(text: str) -> str:
    return text.replace("]]>", "]]]]><![CDATA[>")


def _read(account: Account, body: bytes) -> dict[str, str]:
    """The fields of a reply; strict, as nobody knows how lenient WeChat is."""
    if account.form == "json":
        try:
            said = json.loads(body)
        except ValueError:
            raise RedLine("not JSON") from None
        if not isinstance(said, dict):
            raise RedLine("not a JSON object")
        if "CreateTime" in said and not isinstance(said["CreateTime"], int):
            raise RedLine("CreateTime is not a number")
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in said.items()}
    if b"<!DOCTYPE" in body:
        raise RedLine("a DOCTYPE")
    try:
        root = ET.fromstring(body)  # noqa: S314 (from our own daemon, and without a DOCTYPE nothing expands)
    except ET.ParseError as fault:
        raise RedLine(f"not well-formed XML: {fault}") from None
    names = [child.tag for child in root]
    if root.tag != "xml" or len(set(names)) != len(names):
        raise RedLine("not one <xml> with each field once")
    return {child.tag: _inner(child) for child in root}


def _inner(field: ET.Element) -> str:
    """A field's text; of one that has fields of its own, those as JSON, as the other form has them."""
    return json.dumps({child.tag: child.text or "" for child in field}) if len(field) else field.text or ""


def _judge_envelope(account: Account, fields: Mapping[str, str], nonce: str) -> None:
    missing = {"MsgSignature", "TimeStamp", "Nonce"} - set(fields)
    if missing:
        raise RedLine(f"the envelope lacks {', '.join(sorted(missing))}")
    expected = signature(account.token, fields["TimeStamp"], fields["Nonce"], fields["Encrypt"])
    if fields["MsgSignature"] != expected:
        raise RedLine("MsgSignature is wrong")
    if not fields["TimeStamp"].isdecimal() or fields["Nonce"] != nonce:
        raise RedLine("TimeStamp is no number, or Nonce is not the push's")


def _judged(account: Account, fields: Mapping[str, str], openid: str) -> Reply:
    if (fields.get("ToUserName"), fields.get("FromUserName")) != (openid, account.id):
        raise RedLine("ToUserName and FromUserName are not the push's, swapped")
    created_at = fields.get("CreateTime", "")
    if not re.fullmatch(r"[0-9]{10}", created_at):  # milliseconds have 13
        raise RedLine("CreateTime is not in whole seconds")
    kind = fields.get("MsgType", "")
    if kind not in REPLY_KINDS:
        raise RedLine(f"unknown MsgType {kind!r}")
    words = fields.get("Content", "")
    if kind == "text" and not words.strip():
        raise RedLine("an empty text")
    size = len(words.encode())
    if size > MAX_TEXT_BYTES:
        raise RedLine(f"{size} bytes of text, more than {MAX_TEXT_BYTES}")
    media_id = _media_id(fields) if kind == "image" else ""
    return Reply(kind, words, media_id)


def _media_id(fields: Mapping[str, str]) -> str:
    try:
        image = json.loads(fields.get("Image", ""))
    except ValueError:
        image = None
    match image:
        case {"MediaId": str(media_id)} if media_id:
            return media_id
    raise RedLine("an image without a MediaId")
