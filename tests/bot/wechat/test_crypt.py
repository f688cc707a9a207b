"""The AES envelope and the signature, by WeChat's own vectors and by everything that can be wrong."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from bot.wechat.crypt import CannotOpen, Envelope, signature_is_valid, signature_of

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))
KEY, APP_ID, TOKEN = VECTORS["encoding_aes_key"], VECTORS["appid"], VECTORS["token"]
PUSH, REPLY = VECTORS["safe_push"], VECTORS["safe_reply"]
OTHER_KEY = "B" * 43
RANDOM = b"0123456789abcdef"


def encrypted(padded: bytes) -> str:
    """Bytes of the test's own making, sealed with the right key."""
    key = base64.b64decode(KEY + "=")
    cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(cipher.update(padded) + cipher.finalize()).decode()


def padded(content: bytes) -> bytes:
    missing = 32 - len(content) % 32
    return content + bytes([missing]) * missing


@pytest.mark.parametrize("name", ["url_verify", "plain_push", "safe_push"])
def test_the_signature_is_that_of_the_official_example(name):
    example = VECTORS[name]

    assert signature_of(TOKEN, example["timestamp"], example["nonce"]) == example["signature"]


@pytest.mark.parametrize("example", [PUSH, REPLY], ids=["push", "reply"])
def test_the_message_signature_is_that_of_the_official_example(example):
    parts = (example["timestamp"], example["nonce"], example["encrypt"])

    assert signature_of(TOKEN, *parts) == example["msg_signature"]
    assert signature_is_valid(example["msg_signature"], TOKEN, *parts)


@pytest.mark.parametrize("claimed", ["", "0" * 40, "签名", "\ud800"])
def test_another_signature_is_not_valid(claimed):
    assert not signature_is_valid(claimed, TOKEN, "1", "2")


def test_an_empty_token_can_never_verify():
    assert not signature_is_valid(signature_of("", "1", "2"), "", "1", "2")


def test_the_official_push_opens():
    assert Envelope(KEY, APP_ID).open(PUSH["encrypt"]) == PUSH["msg"].encode()


def test_the_official_reply_is_sealed_to_the_same_text():
    assert Envelope(KEY, APP_ID).seal(REPLY["msg"].encode(), REPLY["random"].encode()) == REPLY["encrypt"]


@given(message=st.binary(max_size=300), random16=st.binary(min_size=16, max_size=16))
def test_what_is_sealed_opens(message, random16):
    envelope = Envelope(KEY, APP_ID)

    assert envelope.open(envelope.seal(message, random16)) == message


def test_the_two_spare_bits_of_a_key_are_ignored_as_in_the_official_samples():
    sealed = Envelope("A" * 42 + "B", APP_ID).seal(b"hello", RANDOM)

    assert Envelope("A" * 43, APP_ID).open(sealed) == b"hello"


RIGHT = RANDOM + (5).to_bytes(4, "big") + b"hello" + APP_ID.encode()


@pytest.mark.parametrize(
    "encrypt",
    [
        "",
        "!!!!",
        "密文",
        "AAA",
        base64.b64encode(b"x" * 31).decode(),
        base64.b64encode(b"x" * 48).decode(),
        encrypted(b"\x00" * 32),
        encrypted(padded(RIGHT)[:-1] + b"\x00"),
        encrypted(padded(RIGHT)[:-1] + b"\x21"),
        encrypted(padded(RIGHT)[:-2] + b"\xff" + padded(RIGHT)[-1:]),
        encrypted(b"\x20" * 32),
        encrypted(padded(RANDOM)),
        encrypted(padded(RANDOM + b"\x00\x00")),
        encrypted(padded(RANDOM + b"\xff\xff\xff\xff" + b"hello" + APP_ID.encode())),
        encrypted(padded(RANDOM + (500).to_bytes(4, "big") + b"hello" + APP_ID.encode())),
        Envelope(OTHER_KEY, APP_ID).seal(b"hello", RANDOM),
        PUSH["encrypt"][:-4],
    ],
)
def test_whatever_is_wrong_with_an_envelope_it_cannot_be_opened(encrypt):
    with pytest.raises(CannotOpen) as caught:
        Envelope(KEY, APP_ID).open(encrypt)

    assert not caught.value.is_for_another_app
    assert str(caught.value) == "not sealed with this key"


@pytest.mark.parametrize("length", [4, 6])
def test_a_wrong_length_moves_the_app_id_and_is_refused(length):
    wrong = RANDOM + length.to_bytes(4, "big") + b"hello" + APP_ID.encode()

    with pytest.raises(CannotOpen):
        Envelope(KEY, APP_ID).open(encrypted(padded(wrong)))


@pytest.mark.parametrize("app_id", ["wx0", APP_ID + "0", "微信"])
def test_a_message_for_another_app_says_so(app_id):
    with pytest.raises(CannotOpen) as caught:
        Envelope(KEY, APP_ID).open(Envelope(KEY, app_id).seal(b"hello", RANDOM))

    assert caught.value.is_for_another_app


@given(st.text())
def test_any_text_opens_or_cannot_be_opened(encrypt):
    with pytest.raises(CannotOpen):
        Envelope(KEY, APP_ID).open(encrypt)


@given(st.integers(min_value=0, max_value=223), st.integers(min_value=1, max_value=255))
def test_any_changed_byte_outside_the_random_ones_is_seen_by_the_signature(place, change):
    sealed = bytearray(base64.b64decode(PUSH["encrypt"]))
    sealed[place] ^= change

    forged = base64.b64encode(bytes(sealed)).decode()

    assert not signature_is_valid(PUSH["msg_signature"], TOKEN, PUSH["timestamp"], PUSH["nonce"], forged)


@pytest.mark.parametrize("key", ["", "A" * 42, "A" * 44, "A" * 42 + "*", "密" * 43])
def test_a_key_that_is_none_is_refused_at_once(key):
    with pytest.raises(ValueError):
        Envelope(key, APP_ID)


def test_an_envelope_needs_an_app_id():
    with pytest.raises(ValueError, match="app id"):
        Envelope(KEY, "")


@pytest.mark.parametrize("random16", [b"", b"x" * 15, b"x" * 17])
def test_sealing_needs_sixteen_random_bytes(random16):
    with pytest.raises(ValueError, match="16 random bytes"):
        Envelope(KEY, APP_ID).seal(b"hello", random16)


def test_an_envelope_shows_nothing_of_its_key():
    assert repr(Envelope(KEY, APP_ID)) == "<Envelope>"
