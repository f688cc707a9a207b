"""
What strangers' bytes go into, each as a function of bytes alone: whether they were taken. It fails where something is not so.

Rule 1: a refusal by its own name is an answer like another; any other exception is a fault.
Rule 2: what was taken is checked: read in other pieces, or written and read again, it is the same.

`test_targets.py` gives them almost good input within seconds; `python -m tests.fuzz` looks for more, for as long as it is let.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha1
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bot.picture import BadPicture, marked, picture_of
from bot.wechat import codec
from bot.wechat.crypt import CannotOpen, Envelope, signature_of
from bot.wechat.early import next_part
from bot.wechat.gate import Credentials, Gate, Refused
from bot.wechat.markdown import plain
from bot.wechat.pages import LIMIT_BYTES, clean, paginate
from daemon import config
from daemon.demo.envelope import Account, seal
from daemon.secret import Sources
from daemon.wrong_config import WrongConfig
from proxy.alias import renamed
from proxy.chat import EmptyAnswer, Reading, TornAnswer
from proxy.door_head import taken
from proxy.key import Upstream
from proxy.made import MadeWatch
from proxy.peek import peek
from proxy.refusal import Refusal
from proxy.sse import Kind, StreamWatch, first_data
from proxy.target import target_of
from proxy.verdict import Answer, judge
from proxy.wire.response import Malformed, Reader
from tests.fuzz.seeds import AES_KEY, SECRET

ACCOUNT = Account("gh_000000000001", "fuzztoken", app_id="wx0000000000000001", aes_key=AES_KEY)
NOW = 1_700_000_000
FORM = "multipart/form-data; boundary=fuzz"
UPSTREAM = Upstream("fuzz", "https://upstream.example/base")


def heads(data: bytes) -> bool:
    """The fast lane's reader of request heads, and what goes upstream of what it takes."""
    found = taken(data, most_bytes=16_384)
    if found is None:
        return False
    assert found.length > 0
    try:
        url = target_of(found.asking.raw, ("/v1/organization/*",)).url(UPSTREAM)
    except Refusal:
        return False
    assert url.startswith("https://upstream.example/base/")
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url
    for name, value in found.asking.up:
        assert name.isascii()
        assert not set("\r\n\0") & set(name + value)
    return True


def bodies(data: bytes) -> bool:
    """What a request says of itself; and by another model's name it says everything else as before."""
    kind = FORM if data.startswith(b"--") else "application/json"
    try:
        seen = peek(data, kind)
    except Refusal as refusal:
        assert refusal.status == 400  # noqa: PT017
        return False
    assert seen.model.isprintable()
    if seen.model:
        again = peek(renamed(data, kind, "other-model"), kind)
        assert again.model == "other-model"
        assert (again.wants_stream, again.is_stored, again.opening) == (seen.wants_stream, seen.is_stored, seen.opening)
        assert again.names - {seen.model, "other-model"} == seen.names - {seen.model, "other-model"}
    return True


def targets(data: bytes) -> bool:
    try:
        url = target_of("/v1/" + data.decode("latin-1"), ("/v1/organization/*",)).url(UPSTREAM)
    except Refusal:
        return False
    path = url.partition("?")[0]
    assert path.startswith("https://upstream.example/base/")
    assert ".." not in path.split("/")
    assert "organization" not in path.split("/")[4:5]
    return True


def pushes(data: bytes) -> bool:
    """A push in XML or JSON, and the reply to it."""
    try:
        fields, form = codec.read(data)
    except codec.BadPush:
        return False
    assert len(fields) <= codec.MAX_FIELDS
    assert all(clean(value) == value for value in fields.values())
    try:
        push = codec.push_of(fields, form)
    except codec.BadPush:
        return False
    assert 0 < len(push.push_id) <= 200
    told, in_form = codec.read(codec.text_reply(push, push.text, now=NOW))
    assert (in_form, told["Content"]) == (form, clean(push.text))
    return True


def envelopes(data: bytes) -> bool:
    """Anything at all inside a seal that is right, and anything at all in place of a seal."""
    is_taken, gate = False, Gate(Credentials(ACCOUNT.token, ACCOUNT.app_id, AES_KEY))
    for encrypt in (_sealed(data), seal(ACCOUNT, data, bytes(16)), data.decode("latin-1")):
        try:
            Envelope(AES_KEY, ACCOUNT.app_id).open(encrypt)
        except CannotOpen as wrong:
            assert str(wrong) in ("not sealed with this key", "sealed for another app id")  # noqa: PT017
        query = {"timestamp": str(NOW), "nonce": "n", "encrypt_type": "aes"}
        query["msg_signature"] = signature_of(ACCOUNT.token, str(NOW), "n", encrypt)
        try:
            admitted = gate.admit(query.items(), json.dumps({"Encrypt": encrypt}).encode(), NOW)
        except Refused:
            continue
        assert admitted.push.account
        is_taken = True
    return is_taken


def _sealed(content: bytes) -> str:
    """As `seal` does it, but for what is inside: no length, no app id."""
    key, missing = b64decode(AES_KEY + "="), 32 - len(content) % 32
    cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return b64encode(cipher.update(content + bytes([missing]) * missing) + cipher.finalize()).decode()


def configs(data: bytes) -> bool:
    try:
        config.parse_text(data.decode("utf-8", "replace"), Sources({}, Path("/nowhere")))
    except WrongConfig as wrong:
        said = str(wrong)
        assert SECRET not in said
        assert all(line.isprintable() for line in said.split("\n"))
        return False
    return True


def streams(data: bytes) -> bool:
    """An event stream is seen the same however it is cut."""
    pieces = [*_cut(data)]
    for kind in Kind:
        whole, cut = StreamWatch(kind), StreamWatch(kind)
        whole.feed(data)
        for piece in pieces:
            cut.feed(piece)
        assert whole.is_complete_at_end() == cut.is_complete_at_end()
    first_data(data)
    made: tuple[list[str], list[str]] = ([], [])
    for told, fed in zip(made, ([data], pieces), strict=True):
        watch = MadeWatch(told.append, is_stream=True)
        for piece in fed:
            watch.feed(piece)
        watch.end()
    assert set(made[0]) == set(made[1])
    words = _words_in([data])
    assert words == _words_in(pieces)
    return isinstance(words, str)


def _words_in(pieces: list[bytes]) -> str | type[Exception]:
    reading, words = Reading(), ""
    try:
        for piece in pieces:
            words += reading.feed(piece)
        return words + reading.rest()
    except (TornAnswer, EmptyAnswer, Refusal) as refusal:
        return type(refusal)


def answers(data: bytes) -> bool:
    """An upstream's bytes are read the same however they are cut, or refused."""
    whole, cut = _read([data]), _read([*_cut(data)])
    assert whole == cut
    return whole != ("malformed",)


def errors(data: bytes) -> bool:
    """An upstream's error, whatever it says and however it says when to come again."""
    for status in (400, 401, 403, 404, 429, 500, 503):
        verdict = judge(Answer(status, {"retry-after": data[:20].decode("latin-1")}, data))
        assert verdict.wait_seconds is None or verdict.wait_seconds >= 0
        assert verdict.reason.isprintable()
    return True


def _read(pieces: list[bytes]) -> tuple[object, ...]:
    reader, body = Reader("POST"), b""
    try:
        for piece in pieces:
            body += reader.feed(piece)
    except Malformed:
        return ("malformed",)
    head = reader.head
    return (
        head and head.status,
        head and tuple(head.headers),
        body,
        reader.is_over,
        reader.is_over and reader.is_reusable,
    )


def texts(data: bytes) -> bool:
    """What a model says, as pages that WeChat takes and nothing of which is lost."""
    said = data.decode("utf-8", "replace")
    shown = clean(plain(said))
    pages = paginate(shown, more="\n…", tail="\n—")
    assert all(len(page.encode()) <= LIMIT_BYTES for page in pages)
    part = next_part(said[: len(said) // 2], "", 600)
    assert len(part.encode()) <= 600
    return bool(pages)


def pictures(data: bytes) -> bool:
    picture = picture_of(data)
    if picture is None:
        return False
    try:
        once = marked(picture, producer="某账号", identity="id")
    except BadPicture:
        return False
    assert picture_of(once.data) == once
    assert marked(once, producer="other", identity="other") == once
    return True


def _cut(data: bytes) -> Iterator[bytes]:
    """At places that the data itself chooses, so that the same data is always cut alike."""
    at = 0
    for size in sha1(data, usedforsecurity=False).digest() * (1 + len(data) // 20):
        if at >= len(data):
            return
        yield data[at : at + 1 + size % 23]
        at += 1 + size % 23


TARGETS: Mapping[str, Callable[[bytes], bool]] = {
    target.__name__: target
    for target in (heads, bodies, targets, pushes, envelopes, configs, streams, answers, errors, texts, pictures)
}
