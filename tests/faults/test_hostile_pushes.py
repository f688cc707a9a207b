"""Pushes that are not WeChat's, pushes that are and should not be, and more of them than anybody sends."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest

from daemon.demo.envelope import Account, Link, Mode, Signed, signature, signed
from daemon.demo.steps import Answer
from tests.flows.daemon_bench import SAFE, Town, path_of, town, words

PLAIN = Account(id="gh_000000000002", token="plaintoken", app_id="wx0000000000000002")
ANNA, BERT = "oAnna0000000000000000000001", "oBert0000000000000000000002"


async def posted(place: Town, push: Signed, account: Account, body: bytes | None = None) -> tuple[int, bytes]:
    url = f"{place.daemon.url}{path_of(account)}"
    async with place.session.post(url, params=push.query, data=push.body if body is None else body) as answer:
        return answer.status, await answer.read()


def at(seconds: float, account: Account = SAFE) -> Signed:
    fields: dict[str, str | int] = {"FromUserName": ANNA, "MsgType": "text", "Content": "x", "MsgId": 1}
    return signed(account, fields, timestamp=int(time.time() + seconds), nonce="1", random=bytes(16))


def plainly(body: bytes) -> Signed:
    """`body` with a signature that is right."""
    stamp = str(int(time.time()))
    return Signed({"timestamp": stamp, "nonce": "5", "signature": signature(PLAIN.token, stamp, "5")}, body)


def spoilt(push: Signed, **query: str) -> Signed:
    return replace(push, query={**push.query, **query})


async def test_every_forgery_gets_the_same_403_and_asks_nothing(tmp_path: Path) -> None:
    bare = replace(SAFE, mode=Mode.PLAIN)
    other_app = replace(SAFE, app_id="wx9999999999999999")
    good = at(0)
    forgeries = {
        "another account's": good,
        "eleven minutes old": at(-660),
        "eleven minutes early": at(660),
        "plain, with a right plain signature": at(0, bare),
        "sealed for another app": at(0, other_app),
        "another signature": spoilt(good, msg_signature="0" * 40),
        "the plain signature for the sealed one": spoilt(good, msg_signature=good.query["signature"]),
        "a signature of no text": spoilt(good, msg_signature="\ud800"),
        "another nonce": spoilt(good, nonce="2"),
        "no time": spoilt(good, timestamp="soon"),
        "another body": replace(good, body=good.body.replace(b"<Encrypt><![CDATA[", b"<Encrypt><![CDATA[AAAA")),
        "said to be plain": spoilt(good, encrypt_type="raw"),
        "an unknown sealing": spoilt(good, encrypt_type="rot13", msg_signature="x"),
        "no body": replace(good, body=b""),
    }
    async with town(tmp_path, {"sk-1": [Answer()]}, (SAFE, PLAIN)) as place:
        for name, push in forgeries.items():
            account = PLAIN if name == "another account's" else SAFE
            assert await posted(place, push, account) == (403, b""), name
        assert await place.daemon.store.pending(10) == []
        assert place.model_calls == 0


def text(inner: str) -> bytes:
    fields = f"<ToUserName>{PLAIN.id}</ToUserName><FromUserName>{ANNA}</FromUserName><MsgType>text</MsgType>"
    return f"<xml>{fields}<MsgId>77</MsgId>{inner}</xml>".encode()


BOMBS = {
    "entities": b'<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>' + text("<Content>&c;</Content>"),
    "an outer entity": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + text("<Content>&a;</Content>"),
    "depth": text("<a>" * 8_000 + "</a>" * 8_000),
    "fields": text("".join(f"<a{number}/>" for number in range(5_000))),
    "attributes": text('<a b="c"/>'),
    "an instruction": text("<?php x?>"),
    "UTF-16": text("").decode().encode("utf-16"),
    "deep JSON": b'{"a":' + b"[" * 60_000,
    "no number": b'{"a":NaN}',
    "an open end": b"<xml><a>",
    "zeros": bytes(1_000),
    "nothing": b"",
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS.keys())
async def test_a_body_that_is_a_bomb_is_refused_like_a_forgery_and_at_once(tmp_path: Path, body: bytes) -> None:
    async with town(tmp_path, {"sk-1": [Answer()]}, (PLAIN,)) as place:
        began = time.process_time()
        assert await posted(place, plainly(body), PLAIN) == (403, b"")
        assert time.process_time() - began < 0.5
        assert (await posted(place, plainly(b"x" * 70_000), PLAIN))[0] == 413


async def test_words_that_no_database_and_no_xml_can_hold_are_answered_all_the_same(tmp_path: Path) -> None:
    fields = f'"ToUserName": "{PLAIN.id}", "FromUserName": "o\\ud800nna", "MsgType": "text", "MsgId": "\\udfff8"'
    body = f'{{{fields}, "Content": "a\\u0000\\ud83d b"}}'.encode()
    async with town(tmp_path, {"sk-1": [Answer("well")]}, (PLAIN,)) as place:
        status, reply = await posted(place, plainly(body), PLAIN)
    assert status == 200
    assert b"well" in reply


async def test_an_answer_is_nobody_else_s_whatever_id_is_tapped(tmp_path: Path) -> None:
    """The id in a tap link can be forwarded, or made up."""
    async with town(tmp_path, {"sk-1": [Answer("for anna alone " * 400)]}, (SAFE,)) as place:
        told = await place.side.say(ANNA, "something private")
        (more,) = told.links
        stolen = words(await place.side.tap(BERT, more))
        made_up = words(await place.side.tap(BERT, replace(more, id="' or 1=1 --")))
        typed = words(await place.side.say(BERT, "继续"))
        own = words(await place.side.tap(ANNA, Link(more.shown, more.content, more.id)))
    assert "anna" in own
    assert not any("anna" in said or "private" in said for said in (stolen, made_up, typed))


async def test_the_same_push_ten_times_at_once_is_one_question_and_one_answer(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Answer("once", think_seconds=0.2)]}, (SAFE,)) as place:
        push = place.side.signed("text", ANNA, Content="hello")
        outcomes = await asyncio.gather(*(place.side.deliver(push, ANNA) for _ in range(10)))
        assert {words(outcome) for outcome in outcomes} == {words(outcomes[0])}
        assert "once" in words(outcomes[0])
        assert place.model_calls == 1
        await place.has_told()


async def test_the_same_id_from_two_subscribers_is_two_questions(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Answer(lambda asked: f"to {asked.question}")]}, (SAFE,)) as place:
        side = place.side
        pushes = [(who, side.signed("text", who, Content=who[:5], MsgId=42)) for who in (ANNA, BERT)]
        said = [words(outcome) for outcome in await asyncio.gather(*(side.deliver(push, who) for who, push in pushes))]
    assert ["to oAnna" in said[0], "to oBert" in said[1]] == [True, True]
    assert place.model_calls == 2


async def test_hundreds_of_pushes_cut_off_at_every_moment_cross_no_answers_and_leave_nothing_held(
    tmp_path: Path,
) -> None:
    """Every subscriber asks one question; some deliveries break off in the head, in the body, or in the answer."""
    chance = random.Random(11)
    answer = Answer(lambda asked: f"to {asked.question}.", think_seconds=0.01)

    async def one(place: Town, number: int) -> str:
        who = f"oUser{number:022d}"
        push = place.side.signed("text", who, Content=f"question-{number}-")
        data = (
            f"POST {path_of(SAFE)}?{urlencode(push.query)} HTTP/1.1\r\nHost: x\r\n"
            f"Content-Length: {len(push.body)}\r\n\r\n"
        ).encode() + push.body
        reader, writer = await asyncio.open_connection("127.0.0.1", int(place.daemon.url.rpartition(":")[2]))
        writer.write(data[: chance.choice([40, len(data) - 40, len(data), len(data)])])
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(chance.choice([0, 0.02, 0.1])):
                await reader.read(100)
        if chance.random() < 0.5:
            writer.transport.abort()
        writer.close()
        outcome = await place.side.deliver(push, who)  # WeChat delivers again
        return words(outcome)

    async with town(tmp_path, {"sk-1": [answer], "sk-2": [answer]}, (SAFE,)) as place:
        said: list[str] = []
        for start in range(0, 400, 100):
            said += await asyncio.gather(*(one(place, number) for number in range(start, start + 100)))
        # An answer that came late begins with its question.
        assert [set(re.findall(r"question-(\d+)-", words)) for words in said] == [
            {str(number)} for number in range(400)
        ]
        assert place.model_calls == 400
        assert not any(view.in_flight for view in place.daemon.pool.snapshot())
        assert {view.state for view in place.daemon.pool.snapshot()} == {"ready"}
        await place.has_told()
