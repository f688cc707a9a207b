"""What a subscriber lives through, from the first follow to the last unfollow, with the whole daemon running."""

from __future__ import annotations

import json
import re
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.demo.envelope import Account, Link, Mode
from daemon.demo.refusals import Limited, NoQuota, ServerError
from daemon.demo.steps import Answer, CutStream, Hang, Raw, Step
from daemon.demo.subscriber import What
from tests.flows.daemon_bench import SAFE, Town, town, words

ACCOUNT = Account()
WHO = "o_journey"
# A delivery is answered after this time whatever the model does, so that no test waits for WeChat's real patience.
HURRY: dict[str, Any] = {"hold": "one", "hold_seconds": 0.4}

FORMS = {
    "plain": ACCOUNT,
    "plain, JSON": replace(ACCOUNT, form="json"),
    "compatible": replace(SAFE, mode=Mode.COMPATIBLE),
    "compatible, JSON": replace(SAFE, mode=Mode.COMPATIBLE, form="json"),
    "safe": SAFE,
    "safe, JSON": replace(SAFE, form="json"),
}


def hurried(folder: Path, *steps: Any, **more: Any) -> AbstractAsyncContextManager[Town]:
    return town(folder, {"sk-1": list(steps)}, **{**HURRY, **more})


def asked(place: Town, number: int = -1) -> list[tuple[str, str]]:
    """The (role, content) of every message of a model call."""
    calls = [received for received in place.upstream.requests if received.path == "/v1/chat/completions"]
    return [(message["role"], message["content"]) for message in calls[number].json["messages"]]


@pytest.mark.parametrize("account", FORMS.values(), ids=FORMS.keys())
async def test_a_follower_is_welcomed_asks_and_is_answered_in_every_form(tmp_path: Path, account: Account) -> None:
    async with town(tmp_path, {"sk-1": [Answer("换马的地方。")]}, [account], **HURRY) as place:
        side = place.side
        assert await side.verify()
        assert not await side.verify("guess")
        assert "帮助" in words(await side.follow(WHO))
        outcome = await side.say(WHO, "驿站是什么？")
        assert words(outcome) == "换马的地方。\n\n（内容由AI生成）"
        assert [delivery.what for delivery in outcome.deliveries] == [What.ANSWERED]
        assert asked(place)[-1] == ("user", "驿站是什么？")


async def test_the_eleventh_question_reaches_the_model_behind_the_ten_exchanges_before_it(tmp_path: Path) -> None:
    async with hurried(tmp_path, Answer(lambda asked: f"答{asked.question}"), system_prompt="你是驿丞。") as place:
        for number in range(1, 13):
            assert words(await place.side.say(WHO, f"第{number}问")).startswith(f"答第{number}问")
        assert asked(place, 0) == [("system", "你是驿丞。"), ("user", "第1问")]
        remembered = [message for n in range(1, 11) for message in (("user", f"第{n}问"), ("assistant", f"答第{n}问"))]
        assert asked(place, 10) == [("system", "你是驿丞。"), *remembered, ("user", "第11问")]
        assert asked(place, 11)[1] == ("user", "第2问"), "the oldest of eleven is left out"


async def test_what_one_subscriber_says_is_no_part_of_another_s_conversation(tmp_path: Path) -> None:
    async with hurried(tmp_path, Answer()) as place:
        await place.side.say("o_a", "我的秘密")
        await place.side.say("o_b", "你好")
        assert "我的秘密" not in str(asked(place))


async def test_after_the_word_for_it_the_conversation_begins_afresh(tmp_path: Path) -> None:
    async with hurried(tmp_path, Answer("好"), system_prompt="") as place:
        await place.side.say(WHO, "记住七")
        assert words(await place.side.say(WHO, " 清空 ")) == "好的，前面聊过的都忘了。重新开始吧。"
        await place.side.say(WHO, "我说过几？")
        assert asked(place) == [("user", "我说过几？")]


async def test_a_long_answer_comes_in_pages_by_taps_with_nothing_lost(tmp_path: Path) -> None:
    text = "\n\n".join(f"第{number}段：" + "驿站🐎" * 40 for number in range(8))
    async with hurried(tmp_path, Answer(text)) as place:
        outcome = await place.side.say(WHO, "说长一点")
        pages = [words(outcome)]
        while outcome.links:
            (link,) = outcome.links
            await place.has_told(pages=len(pages))
            outcome = await place.side.tap(WHO, link)
            pages.append(words(outcome))
        assert len(pages) >= 2
        assert all(len(page.encode()) <= 2040 for page in pages)
        told = "".join(page.split("\n\n<a ")[0].replace("\n\n（内容由AI生成）", "") for page in pages)
        assert told.replace("\n", "") == text.replace("\n", "")
        assert place.model_calls == 1


FAILURES = {
    "a server error": (ServerError(), "连不上模型"),
    "a refusal": (Raw(400, {"content-type": "application/json"}, b'{"error":{"message":"no"}}'), "不接受这个问题"),
    "an answer that is cut": (CutStream(2, "close"), "断了"),
    "an empty answer": (Answer(""), "什么也没说"),
    "no quota": (NoQuota(), "没有可用的模型"),
}


@pytest.mark.parametrize(("step", "sentence"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_failure_is_told_in_words_and_a_tap_asks_again(tmp_path: Path, step: Any, sentence: str) -> None:
    async with town(tmp_path, {"sk-1": [step, Answer("这次好了")]}, **HURRY) as place:
        told = await place.side.say(WHO, "问题")
        assert sentence in words(told)
        (link,) = told.links
        await place.has_told()
        if isinstance(step, NoQuota):  # the one key is without: a tap hears the same, and is not left waiting
            assert sentence in words(await place.side.tap(WHO, link))
            return
        assert words(await place.side.tap(WHO, link)).startswith("这次好了")
        assert place.model_calls == 2


async def test_a_model_that_takes_too_long_is_given_up_and_the_subscriber_told(tmp_path: Path) -> None:
    async with hurried(tmp_path, Hang(), Answer("这次好了"), answer_seconds=0.2) as place:
        told = await place.side.say(WHO, "问题")
        assert "想得太久" in words(told)
        await place.until(lambda upstream: upstream.requests[0].disconnected)


async def test_when_all_keys_rest_the_subscriber_hears_when_and_the_question_is_asked_by_itself(tmp_path: Path) -> None:
    async with hurried(tmp_path, Limited(retry_after="2"), Answer("歇够了")) as place:
        told = await place.side.say(WHO, "问题")
        assert "大约 1 分钟后接着回答" in words(told)
        assert place.model_calls == 1
        await place.until(lambda upstream: len(upstream.requests) == 2)
        (link,) = told.links
        answered = words(await place.side.tap(WHO, link))
        assert answered.startswith("问：问题\n歇够了"), "others may have come between, so it says what it answers"


async def test_a_rest_of_more_than_an_hour_is_a_failure_that_says_so(tmp_path: Path) -> None:
    async with hurried(tmp_path, Limited(retry_after="7200")) as place:
        told = await place.side.say(WHO, "问题")
        assert re.search("大约 1[23][0-9] 分钟后才能回答", words(told)), "two hours, and up to a tenth of jitter"
        await place.has_told()
        assert "大约 1" in words(await place.side.tap(WHO, told.links[0]))
        assert place.model_calls == 1


async def test_a_second_question_is_queued_and_its_answer_begins_with_an_echo(tmp_path: Path) -> None:
    first, second = Answer("答一", think_seconds=2.0), Answer("答二")
    async with hurried(tmp_path, first, second) as place:
        told = await place.side.say(WHO, "第一个问题")
        queued = await place.side.say(WHO, "第二个问题")
        assert "还在想" in words(told)
        assert "前面还有 1 个问题" in words(queued)
        await place.until(lambda upstream: len(upstream.requests) == 2)
        answer_two = words(await place.side.tap(WHO, queued.links[0]))
        answer_one = words(await place.side.tap(WHO, told.links[0]))
        assert answer_two.startswith("问：第二个问题\n答二")
        assert answer_one.startswith("答一")
        assert ("assistant", "答一") in asked(place), "the second was asked with the first in mind"
        assert place.model_calls == 2


async def test_typed_more_collects_the_oldest_and_then_repeats_the_last_page(tmp_path: Path) -> None:
    async with hurried(tmp_path, Answer("想好了", think_seconds=0.8)) as place:
        assert words(await place.side.say(WHO, "继续")).startswith("没有等着你看的回答")
        await place.side.say(WHO, "慢问题")
        await place.until(lambda upstream: upstream.requests[-1].status == 200)
        first = words(await place.side.say(WHO, "1"))
        await place.has_told()
        again = words(await place.side.say(WHO, "继续"))
        assert first.startswith("想好了")
        assert again == first
        assert place.model_calls == 1


async def test_the_same_text_again_collects_while_it_waits_and_asks_anew_afterwards(tmp_path: Path) -> None:
    async with hurried(tmp_path, Answer("答", think_seconds=0.8), Answer("又答")) as place:
        await place.side.say(WHO, "笑话")
        await place.until(lambda upstream: upstream.requests[-1].status == 200)
        assert words(await place.side.say(WHO, "笑话")).startswith("答")
        await place.has_told()
        assert words(await place.side.say(WHO, "笑话")).startswith("又答")
        assert place.model_calls == 2


async def test_a_tap_forwarded_to_somebody_else_shows_them_nothing(tmp_path: Path) -> None:
    async with hurried(tmp_path, Answer("只给你看", think_seconds=0.8)) as place:
        told = await place.side.say(WHO, "慢问题")
        await place.until(lambda upstream: upstream.requests[-1].status == 200)
        assert "只给你看" not in words(await place.side.tap("o_other", told.links[0]))
        assert "只给你看" in words(await place.side.tap(WHO, told.links[0]))


async def test_more_questions_than_may_wait_are_refused_in_words_and_not_swallowed(tmp_path: Path) -> None:
    async with hurried(tmp_path, Hang(), queued_questions=2) as place:
        said = [words(await place.side.say(WHO, f"问题{number}")) for number in range(4)]
        assert ["还在想" in said[0], "前面还有 1 个" in said[1], "前面还有 2 个" in said[2]] == [True] * 3
        assert "没有收下" in said[3]


async def test_unfollow_deletes_every_row_and_stops_what_runs(tmp_path: Path) -> None:
    async with hurried(tmp_path, Answer("回答甲"), Hang()) as place:
        await place.side.say("o_leaving", "秘密问题")
        await place.side.say("o_leaving", "另一个秘密")
        await place.side.say("o_leaving", "清空")
        await place.side.say("o_staying", "留下的问题")
        assert await place.daemon.store.count_pending() >= 1
        outcome = await place.side.unfollow("o_leaving")
        assert outcome.deliveries[-1].what is What.DECLINED
        await place.until(lambda upstream: upstream.requests[1].disconnected)
        on_disk = b"".join(path.read_bytes() for path in tmp_path.glob("posthouse.db*"))
        for trace in ("o_leaving", "秘密", "回答甲"):
            assert trace.encode() not in on_disk, trace
        assert b"o_staying" in on_disk


async def test_a_control_character_in_a_push_is_taken_out_and_the_rest_is_asked(tmp_path: Path) -> None:
    async with hurried(tmp_path, Answer("a\x08b\x1d")) as place:
        outcome = await place.side.say(WHO, "你\x1d好\x00\x0b")
        assert asked(place)[-1] == ("user", "你好")
        assert words(outcome).startswith("ab\n")


ODD: dict[str, dict[str, Any]] = {
    "image": {"PicUrl": "http://mmbiz.qpic.cn/x", "MediaId": "m"},
    "voice": {"MediaId": "m", "Format": "amr", "Recognition": ""},
    "video": {"MediaId": "m", "ThumbMediaId": "t"},
    "shortvideo": {"MediaId": "m", "ThumbMediaId": "t"},
    "location": {"Location_X": "1.0", "Location_Y": "2.0", "Scale": 15, "Label": "x"},
    "link": {"Title": "t", "Description": "d", "Url": "http://x"},
    "miniprogrampage": {"AppId": "wx", "Title": "t"},
}


@pytest.mark.parametrize("account", [ACCOUNT, SAFE], ids=lambda account: account.mode)
async def test_every_other_kind_of_message_gets_a_sentence_and_every_other_event_success(
    tmp_path: Path, account: Account
) -> None:
    async with town(tmp_path, {"sk-1": [Answer()]}, [account], **HURRY) as place:
        side = place.side
        for kind, fields in ODD.items():
            assert "文字" in words(await side.push(kind, WHO, **fields)), kind
        declined = [await side.push("event", WHO, Event=name, EventKey="") for name in ("SCAN", "CLICK", "VIEW", "???")]
        declined.append(await side.push("never_heard_of", WHO))
        assert {outcome.deliveries[0].what for outcome in declined} == {What.DECLINED}
        heard = await side.push("voice", WHO, MediaId="m", Format="amr", Recognition="驿站是什么")
        assert "驿站是什么" in words(heard)
        assert place.model_calls == 1


def with_cloud_run(document: dict[str, Any]) -> None:
    document["bot"]["cloudrun"] = {"enabled": True, "secret": "relay-secret", "hold_seconds": 0.5}
    document["bot"]["accounts"][0]["app_id"] = "wx00000000000000aa"


@pytest.mark.parametrize("place_of", ["/message/post", "/message/simple", "/message/relay-secret/post"])
async def test_cloud_run_s_pushes_are_answered_in_json_for_whoever_knows_the_secret(
    tmp_path: Path, place_of: str
) -> None:
    shown = {} if "relay" in place_of else {"X-Posthouse-Secret": "relay-secret"}
    push = {
        "ToUserName": ACCOUNT.id,
        "FromUserName": WHO,
        "CreateTime": 1651049934,
        "MsgType": "text",
        "Content": "驿站？",
        "MsgId": 23637352235060880,
    }
    async with hurried(tmp_path, Answer("换马"), amend=with_cloud_run) as place:
        url = f"{place.daemon.url}{place_of}"
        session = place.session
        async with session.post(url, json={"action": "CheckContainerPath"}, headers=shown) as response:
            assert (response.status, await response.read()) == (200, b"success")
        for _ in range(2):  # the same push again gets the same words, and no second call
            async with session.post(url, json=push, headers=shown) as response:
                reply = json.loads(await response.read())
            assert reply.pop("CreateTime") > 1_700_000_000
            assert reply == {
                "ToUserName": WHO,
                "FromUserName": ACCOUNT.id,
                "MsgType": "text",
                "Content": "换马\n\n（内容由AI生成）",
            }
        forged = {"X-WX-SOURCE": "1", "X-WX-OPENID": WHO, "X-Posthouse-Secret": "guess"}
        async with session.post(f"{place.daemon.url}/message/post", json=push, headers=forged) as response:
            assert (response.status, await response.read()) == (403, b"")
        assert place.model_calls == 1


async def test_without_cloud_run_its_paths_do_not_exist(tmp_path: Path) -> None:
    async with (
        hurried(tmp_path, Answer()) as place,
        place.session.post(f"{place.daemon.url}/message/post", json={}) as response,
    ):
        assert response.status == 404


async def test_a_key_for_the_gateway_alone_is_never_asked_by_the_bot(tmp_path: Path) -> None:
    def for_callers_only(document: dict[str, Any]) -> None:
        document["keys"][0]["uses"] = ["proxy"]

    scripts: dict[str, list[Step]] = {"sk-proxy": [Answer("x")], "sk-both": [Limited(retry_after="7200")]}
    async with town(tmp_path, scripts, amend=for_callers_only, **HURRY) as place:
        said = [words(await place.side.say(f"o_{number}", "问题")) for number in range(3)]
        assert all("分钟后才能回答" in each for each in said)
        assert {received.key for received in place.upstream.requests} == {"sk-both"}


async def test_a_model_that_refuses_max_tokens_is_understood_once_and_remembered(tmp_path: Path) -> None:
    async with hurried(tmp_path, Answer("好"), max_tokens=500, temperature=0.1) as place:
        for number in range(2):
            assert words(await place.side.say(WHO, f"问题{number}")).startswith("好")
        sent = [received.json for received in place.upstream.requests]
        assert [received.status for received in place.upstream.requests] == [400, 400, 200, 200]
        assert (sent[0]["max_tokens"], sent[0]["temperature"]) == (500, 0.1)
        for body in sent[2:]:
            assert body["max_completion_tokens"] == 500
            assert not {"max_tokens", "temperature"} & set(body)
        assert all(body["stream"] is True and body["store"] is False for body in sent)


async def test_two_accounts_in_one_process_have_each_their_own_prompt_and_memory(tmp_path: Path) -> None:
    other = replace(ACCOUNT, id="gh_ffffffffffff", token="othertoken")

    def prompted(document: dict[str, Any]) -> None:
        first, second = document["bot"]["accounts"]
        first["system_prompt"], second["system_prompt"], second["model"] = "甲", "乙", "gpt-5.2-mini"

    async with town(tmp_path, {"sk-1": [Answer("好")]}, [ACCOUNT, other], amend=prompted, **HURRY) as place:
        await place.sides[ACCOUNT.id].say(WHO, "问甲")
        await place.sides[other.id].say(WHO, "问乙")
        assert asked(place) == [("system", "乙"), ("user", "问乙")]
        assert place.upstream.requests[-1].json["model"] == "gpt-5.2-mini"


async def test_the_id_that_a_tap_carries_must_be_one_of_ours(tmp_path: Path) -> None:
    async with hurried(tmp_path, Answer("好")) as place:
        made_up = Link("继续", "继续", "' OR 1=1 --")
        assert words(await place.side.tap(WHO, made_up)).startswith("没有等着你看的回答")
        assert place.model_calls == 0
