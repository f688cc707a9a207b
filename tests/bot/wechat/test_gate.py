"""The gate: who is let in, who is not and why, and how the reply is closed."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bot.wechat.codec import SUCCESS, written
from bot.wechat.crypt import Envelope, signature_is_valid, signature_of
from bot.wechat.gate import SENTENCES, Credentials, Gate, Refused, Why

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))
KEY, APP_ID, TOKEN = VECTORS["encoding_aes_key"], VECTORS["appid"], VECTORS["token"]
PUSH = VECTORS["safe_push"]
OLD_KEY = "B" * 43
NOW = 1714112445
RANDOM = b"0123456789abcdef"

PLAIN = Credentials(token=TOKEN)
SAFE = Credentials(token=TOKEN, app_id=APP_ID, encoding_aes_key=KEY)
BOTH = Credentials(token=TOKEN, app_id=APP_ID, encoding_aes_key=KEY, allow_plaintext=True)
CHANGED = Credentials(token=TOKEN, app_id=APP_ID, encoding_aes_key=KEY, previous_encoding_aes_key=OLD_KEY)

MESSAGE = {
    "ToUserName": "gh_1",
    "FromUserName": "o1",
    "CreateTime": NOW,
    "MsgType": "text",
    "Content": "好",
    "MsgId": 7,
}


def signed(*, timestamp: int | str = NOW, token: str = TOKEN, **more: str) -> list[tuple[str, str]]:
    """The query of a plain push."""
    signature = signature_of(token, str(timestamp), "n1")
    query = {"signature": signature, "timestamp": str(timestamp), "nonce": "n1", "openid": "o1"}
    return [*query.items(), *more.items()]


def sealed(
    form: str = "xml", *, key: str = KEY, app_id: str = APP_ID, timestamp: int = NOW, **beside: str
) -> tuple[list[tuple[str, str]], bytes]:
    """Query and body of an encrypted push; `beside` are the plain fields of the compatible mode."""
    encrypt = Envelope(key, app_id).seal(written(MESSAGE, form), RANDOM)
    msg_signature = signature_of(TOKEN, str(timestamp), "n1", encrypt)
    query = signed(timestamp=timestamp, encrypt_type="aes", msg_signature=msg_signature)
    return query, written({"ToUserName": "gh_1", **beside, "Encrypt": encrypt}, form)


def why(credentials: Credentials, query: list[tuple[str, str]], body: bytes, now: float = NOW) -> Why:
    with pytest.raises(Refused) as caught:
        Gate(credentials).admit(query, body, now)
    return caught.value.reason


@pytest.mark.parametrize("credentials", [PLAIN, SAFE])
def test_the_official_verification_is_echoed_word_for_word(credentials):
    example = VECTORS["url_verify"]
    query = [(name, example[name]) for name in ("signature", "timestamp", "nonce", "echostr")]

    assert Gate(credentials).echo(query, float(example["timestamp"])) == example["echostr"]


@pytest.mark.parametrize(
    ("query", "now", "reason"),
    [
        ([], NOW, Why.MISSING_PARAMETER),
        (signed(), NOW, Why.MISSING_PARAMETER),
        (signed(echostr=""), NOW, Why.MISSING_PARAMETER),
        (signed(token="other", echostr="x"), NOW, Why.SIGNATURE),
        (signed(echostr="x"), NOW + 601, Why.TIMESTAMP),
        ([*signed(echostr="x"), ("echostr", "y")], NOW, Why.DUPLICATE_PARAMETER),
    ],
)  # fmt: skip
def test_a_verification_that_is_not_wechats_is_refused(query, now, reason):
    with pytest.raises(Refused) as caught:
        Gate(PLAIN).echo(query, now)

    assert caught.value.reason is reason


def test_an_empty_token_verifies_nothing():
    with pytest.raises(Refused) as caught:
        Gate(Credentials(token="")).echo(signed(token="", echostr="x"), NOW)

    assert caught.value.reason is Why.SIGNATURE


def test_the_official_safe_push_is_admitted():
    query = [("encrypt_type", "aes"), *((n, PUSH[n]) for n in ("signature", "timestamp", "nonce", "msg_signature"))]
    body = json.dumps({"ToUserName": PUSH["to_user_name"], "Encrypt": PUSH["encrypt"]}).encode()

    push = Gate(SAFE).admit(query, body, NOW).push

    assert (push.account, push.kind, push.event, push.form) == (PUSH["to_user_name"], "event", "debug_demo", "json")
    assert push.fields == {"debug_str": "hello world"}


@pytest.mark.parametrize("form", ["xml", "json"])
@pytest.mark.parametrize("more", [{}, {"encrypt_type": "raw"}, {"encrypt_type": ""}])
@pytest.mark.parametrize("credentials", [PLAIN, BOTH])
def test_a_plain_push_is_admitted_where_it_is_allowed(form, more, credentials):
    admitted = Gate(credentials).admit(signed(**more), written(MESSAGE, form), NOW)

    assert (admitted.push.text, admitted.push.form, admitted.envelope) == ("好", form, None)


@pytest.mark.parametrize("form", ["xml", "json"])
@pytest.mark.parametrize("credentials", [SAFE, BOTH, CHANGED])
def test_an_encrypted_push_is_admitted(form, credentials):
    push = Gate(credentials).admit(*sealed(form), NOW).push

    assert (push.text, push.push_id, push.form) == ("好", "7", form)


def test_of_a_compatible_push_only_the_encrypted_part_counts():
    query, body = sealed(Content="坏", FromUserName="o2", MsgType="event", Event="unsubscribe")

    push = Gate(SAFE).admit(query, body, NOW).push

    assert (push.openid, push.kind, push.text, push.event) == ("o1", "text", "好", "")


def without(query: list[tuple[str, str]], name: str) -> list[tuple[str, str]]:
    return [pair for pair in query if pair[0] != name]


@pytest.mark.parametrize("now", [NOW - 600, NOW + 600.0])
def test_ten_minutes_either_way_are_forgiven(now):
    assert Gate(SAFE).admit(*sealed(), now)


@pytest.mark.parametrize("now", [NOW - 600.5, NOW + 600.5])
@pytest.mark.parametrize("make", [sealed, lambda: (signed(), written(MESSAGE, "xml"))])
def test_an_old_push_and_one_from_the_future_are_refused(make, now):
    assert why(BOTH, *make(), now=now) is Why.TIMESTAMP


@pytest.mark.parametrize("timestamp", ["soon", "-1", "1714112445.0", "１７１４１１２４４５", "9" * 5000])
def test_a_timestamp_that_is_no_number_is_refused_though_it_be_signed(timestamp):
    assert why(PLAIN, signed(timestamp=timestamp), written(MESSAGE, "xml")) is Why.TIMESTAMP


def test_a_downgrade_to_plain_is_refused_though_its_signature_be_right():
    assert why(SAFE, signed(), written(MESSAGE, "xml")) is Why.PLAINTEXT
    assert why(SAFE, without(sealed()[0], "encrypt_type"), sealed()[1]) is Why.PLAINTEXT


def test_the_plain_signature_does_not_admit_an_encrypted_push():
    query, body = sealed()
    forged = [*without(query, "msg_signature"), ("msg_signature", dict(query)["signature"])]

    assert why(SAFE, forged, body) is Why.SIGNATURE
    assert why(SAFE, without(query, "msg_signature"), body) is Why.MISSING_PARAMETER


def test_an_encrypted_push_needs_no_plain_signature():
    query, body = sealed()

    assert Gate(SAFE).admit(without(query, "signature"), body, NOW)


def test_an_encrypted_body_that_was_changed_is_refused():
    query, body = sealed()

    assert why(SAFE, query, sealed(key=OLD_KEY)[1]) is Why.SIGNATURE
    assert why(SAFE, query, body.replace(b"</Encrypt>", b"A</Encrypt>")) is Why.SIGNATURE


def test_an_encrypted_push_without_a_key_says_what_is_missing_and_only_to_wechat():
    query, body = sealed()

    assert why(PLAIN, query, body) is Why.NO_AES_KEY
    assert "encoding_aes_key" in str(Refused(Why.NO_AES_KEY))
    assert why(PLAIN, [*without(query, "nonce"), ("nonce", "n2")], body) is Why.SIGNATURE


def test_a_push_sealed_with_an_unknown_key_or_for_another_app_is_refused():
    assert why(SAFE, *sealed(key=OLD_KEY)) is Why.UNDECIPHERABLE
    assert why(CHANGED, *sealed(key="C" * 43)) is Why.UNDECIPHERABLE
    assert why(CHANGED, *sealed(key=OLD_KEY, app_id="wx0")) is Why.APP_ID


@pytest.mark.parametrize(
    "body", [b"", b"<xml/>", b"<xml><Encrypt/></xml>", b'{"Encrypt":""}', b"\xff", b"<!DOCTYPE a>"]
)
@pytest.mark.parametrize("credentials", [PLAIN, SAFE])
def test_a_body_with_nothing_to_open_is_malformed(body, credentials):
    assert why(credentials, sealed()[0], body) is Why.MALFORMED


@pytest.mark.parametrize("inside", [b"hello", b"<xml><FromUserName>o1</FromUserName></xml>"])
def test_an_envelope_around_no_push_is_malformed(inside):
    encrypt = Envelope(KEY, APP_ID).seal(inside, RANDOM)
    query = signed(encrypt_type="aes", msg_signature=signature_of(TOKEN, str(NOW), "n1", encrypt))

    assert why(SAFE, query, written({"Encrypt": encrypt}, "xml")) is Why.MALFORMED


def test_a_plain_body_is_not_even_read_before_its_signature():
    assert why(PLAIN, signed(token="other"), b"\xff") is Why.SIGNATURE


@pytest.mark.parametrize("name", ["signature", "timestamp", "nonce", "encrypt_type", "msg_signature", "openid"])
def test_a_parameter_that_comes_twice_is_refused(name):
    query, body = sealed()

    assert why(SAFE, [*query, (name, dict(query)[name])], body) is Why.DUPLICATE_PARAMETER


def test_an_unknown_encryption_is_not_taken_for_plain():
    assert why(PLAIN, signed(encrypt_type="des"), written(MESSAGE, "xml")) is Why.MALFORMED


@pytest.mark.parametrize("form", ["xml", "json"])
def test_a_reply_is_sealed_in_the_form_of_the_push_with_its_nonce(form):
    gate = Gate(SAFE)

    body = gate.close(gate.admit(*sealed(form), NOW), b"words", now=NOW + 3, random16=RANDOM)

    fields = json.loads(body) if form == "json" else {f.tag: f.text for f in ElementTree.fromstring(body)}
    assert Envelope(KEY, APP_ID).open(fields["Encrypt"]) == b"words"
    assert fields["Nonce"] == "n1"
    assert fields["TimeStamp"] == (NOW + 3 if form == "json" else str(NOW + 3))
    assert signature_is_valid(fields["MsgSignature"], TOKEN, str(NOW + 3), "n1", fields["Encrypt"])


def test_the_official_reply_is_reproduced():
    example = VECTORS["safe_reply"]
    query, body = sealed("json")
    gate = Gate(SAFE)
    query = [("nonce", example["nonce"]), *without(query, "nonce")]
    encrypt = json.loads(body)["Encrypt"]
    msg_signature = signature_of(TOKEN, str(NOW), example["nonce"], encrypt)
    query = [("msg_signature", msg_signature), *without(query, "msg_signature")]

    reply = gate.close(
        gate.admit(query, body, NOW),
        example["msg"].encode(),
        now=int(example["timestamp"]),
        random16=example["random"].encode(),
    )

    assert json.loads(reply) == {
        "Encrypt": example["encrypt"],
        "MsgSignature": example["msg_signature"],
        "TimeStamp": int(example["timestamp"]),
        "Nonce": example["nonce"],
    }


def test_a_reply_is_sealed_with_the_key_that_opened_the_push():
    gate = Gate(CHANGED)

    body = gate.close(gate.admit(*sealed("json", key=OLD_KEY), NOW), b"words", now=NOW, random16=RANDOM)

    assert Envelope(OLD_KEY, APP_ID).open(json.loads(body)["Encrypt"]) == b"words"


@pytest.mark.parametrize("reply", [b"", SUCCESS])
def test_success_and_silence_are_never_sealed(reply):
    gate = Gate(SAFE)

    assert gate.close(gate.admit(*sealed(), NOW), reply, now=NOW, random16=RANDOM) == reply


def test_a_plain_push_gets_a_plain_reply_even_after_an_encrypted_one():
    gate = Gate(BOTH)
    gate.admit(*sealed(), NOW)

    plain = gate.admit(signed(), written(MESSAGE, "xml"), NOW)

    assert gate.close(plain, b"words", now=NOW, random16=RANDOM) == b"words"


def test_neither_gate_nor_credentials_nor_what_is_admitted_show_a_secret():
    gate = Gate(CHANGED)

    shown = f"{gate!r} {CHANGED!r} {gate.admit(*sealed(), NOW)!r}"

    assert not [secret for secret in (TOKEN, KEY, OLD_KEY, "o1", "好") if secret in shown]


def test_a_wrong_key_is_refused_when_the_gate_is_built():
    with pytest.raises(ValueError):
        Gate(Credentials(token=TOKEN, app_id=APP_ID, encoding_aes_key="short"))


def test_every_reason_has_its_sentence():
    assert set(SENTENCES) == set(Why)
