"""What a push asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.exchange import Exchange, Kind, Reason, State
from bot.subscriber import Share, Subscriber
from bot.texts import Texts
from bot.wechat.commands import Command
from bot.wechat.intent import UNREADABLE, Box, Rules, at_once, intent, meant
from bot.wechat.intents import Act, Ask, Choose, Clear, Collect, Forget, Nothing, Report, Retry, Say
from bot.wechat.push import Push

TEXTS = Texts("zh")
RULES = Rules(TEXTS)


def exchange(name: str = "x1", state: State = State.THINKING, **facts) -> Exchange:
    given = {"question": f"question {name}", "asked_at": 100.0, "started_at": 100.0, "answer": "An answer."}
    return Exchange(name, "gh_1", "o1", f"push-{name}", state=state, **{**given, **facts})


def push(kind: str = "text", text: str = "", **facts) -> Push:
    return Push("gh_1", "o1", "p9", kind, text, **facts)


def wants(pushed: Push, box: Box | None = None, **rules):
    given = replace(RULES, **rules)
    return intent(meant(pushed, given), box or Box(), given)


THINKING = exchange("thinking")
QUEUED = exchange("queued", State.QUEUED)
ANSWERED = exchange("answered", State.ANSWERED)
COLLECTED = exchange("collected", State.COLLECTED, next_page=1, collected_by="p1")
NEW_FAILURE = exchange("new-failure", State.FAILED, reason=Reason.TIMEOUT)
TOLD_FAILURE = exchange("told-failure", State.FAILED, reason=Reason.TIMEOUT, collected_by="p1")


@pytest.mark.parametrize("waiting", [THINKING, QUEUED, ANSWERED, NEW_FAILURE], ids=lambda e: e.id)
def test_a_tap_collects_the_exchange_it_names_not_the_oldest(waiting):
    box = Box(tapped=waiting, waiting=[exchange("older"), waiting])
    assert wants(push(text="继续", tapped_id=waiting.id), box) == Collect(waiting)


def test_a_tap_on_a_failure_that_was_told_asks_again():
    assert wants(push(text="继续", tapped_id="x"), Box(tapped=TOLD_FAILURE)) == Retry(TOLD_FAILURE)


def test_a_tap_on_what_was_collected_shows_it_again():
    assert wants(push(text="继续", tapped_id="x"), Box(tapped=COLLECTED)) == Collect(COLLECTED)


def test_a_tap_that_names_nothing_is_as_good_as_the_typed_word():
    assert wants(push(text="继续", tapped_id="gone"), Box(waiting=[ANSWERED])) == Collect(ANSWERED)


@pytest.mark.parametrize("text", ["继续", "1", "?", "？"])
def test_the_collecting_words_collect_the_oldest_one_waiting(text):
    assert wants(push(text=text), Box(waiting=[THINKING, ANSWERED])) == Collect(THINKING)


@pytest.mark.parametrize("text", ["1", "?", "？"])
def test_the_collecting_signs_are_questions_when_nothing_waits(text):
    assert wants(push(text=text), Box(last=COLLECTED)) == Ask(text)


def test_more_repeats_the_last_page_when_nothing_waits():
    assert wants(push(text="继续"), Box(last=COLLECTED)) == Collect(COLLECTED)


def test_more_says_that_nothing_waits_when_there_is_nothing_to_repeat_either():
    assert wants(push(text="继续")) == Say("nothing_waiting")


def test_the_same_text_again_collects_its_own_exchange_and_not_the_oldest():
    assert wants(push(text="question answered"), Box(waiting=[THINKING, ANSWERED])) == Collect(ANSWERED)


def test_the_same_text_in_another_case_is_another_question():
    assert wants(push(text="QUESTION answered"), Box(waiting=[ANSWERED])) == Ask("QUESTION answered")


def test_the_same_text_as_a_collected_exchange_is_asked_anew():
    assert wants(push(text=COLLECTED.question), Box(last=COLLECTED)) == Ask(COLLECTED.question)


@pytest.mark.parametrize("unfinished", [0, 1, 3])
def test_a_new_question_is_taken_while_another_runs_and_few_wait(unfinished):
    running = [exchange(f"x{n}", State.QUEUED if n else State.THINKING) for n in range(unfinished)]
    assert wants(push(text="新的问题"), Box(waiting=[*running, ANSWERED, NEW_FAILURE])) == Ask("新的问题")


def test_one_question_too_many_is_refused_in_words_with_a_tap_for_the_oldest():
    waiting = [exchange("x0"), *(exchange(f"x{n}", State.QUEUED) for n in range(1, 4))]
    said = wants(push(text="新的问题"), Box(waiting=waiting))
    assert said == Say("too_many", {"waiting": 4, "link": "weixin://bizmsgmenu?msgmenucontent=继续&msgmenuid=x0"})


def test_a_push_seen_before_stands_by_its_exchange_though_its_text_reads_otherwise_now():
    box = Box(known=COLLECTED, waiting=[ANSWERED])
    assert wants(push(text="继续"), box) == Collect(COLLECTED)


@pytest.mark.parametrize(
    ("pushed", "expected"),
    [
        (push(text="获取id"), Say("your_id", {"openid": "o1"})),
        (push(text=" 获取ID\n"), Say("your_id", {"openid": "o1"})),
        (push(text="清空 "), Clear()),
        (push(text=UNREADABLE), Say("other")),
        (push(text=""), Say("other")),
        (push("voice"), Say("voice")),
        (push("voice", fields={"Recognition": "  "}), Say("voice")),
        (push("voice", fields={"Recognition": "今天几号"}), Ask("今天几号")),
        (push("image"), Say("image")),
        (push("image", fields={"PicUrl": " "}), Say("image")),
        (push("location"), Say("location")),
        (push("link"), Say("link")),
        (push("video"), Say("video")),
        (push("shortvideo"), Say("video")),
        (push("miniprogrampage"), Say("other")),
        (push("hologram"), Nothing()),
        (push(""), Nothing()),
        (push("event", event="subscribe"), Say("welcome", {"help": "帮助"})),
        (push("event", event="unsubscribe"), Forget()),
        (push("event", event="location"), Nothing()),
        (push("event", event="click", event_key="继续"), Nothing()),
        (push("event", event="never_heard_of"), Nothing()),
    ],
    ids=lambda value: value.kind + value.event if isinstance(value, Push) else "",
)
def test_each_kind_of_push_has_its_answer_whatever_waits(pushed, expected):
    assert wants(pushed) == expected
    assert wants(pushed, Box(waiting=[ANSWERED])) == expected


def test_the_help_names_the_words_that_are_understood():
    texts = Texts("zh", {"word_clear": "Reset"})
    said = wants(push(text="帮助"), texts=texts)
    assert isinstance(said, Say)
    assert "「Reset」" in texts.say(said.name, **said.facts)
    assert wants(push(text="reset"), texts=texts) == Clear()
    assert wants(push(text="清空"), texts=texts) == Ask("清空")


PHOTO = push("image", fields={"PicUrl": "http://mmbiz.qpic.cn/1"})


def test_a_photo_is_a_question_of_its_own():
    assert wants(PHOTO) == Ask(TEXTS.say("photo_question"), Kind.PHOTO, "http://mmbiz.qpic.cn/1")


def test_two_photos_are_two_questions_and_the_same_one_is_one():
    waiting = exchange("p", question=TEXTS.say("photo_question"), kind=Kind.PHOTO, photo="http://mmbiz.qpic.cn/1")
    other = replace(PHOTO, fields={"PicUrl": "http://mmbiz.qpic.cn/2"})

    assert wants(PHOTO, Box(waiting=[waiting])) == Collect(waiting)
    assert isinstance(wants(other, Box(waiting=[waiting])), Ask)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("作画 一只猫", Ask("一只猫", Kind.DRAWING)),
        ("作画：一只猫", Ask("一只猫", Kind.DRAWING)),
        ("作画\n一只猫", Ask("一只猫", Kind.DRAWING)),
        ("作画", Say("draw_what", {"draw": "作画"})),
        ("作画的技巧有哪些", Ask("作画的技巧有哪些")),
        ("我想作画 一只猫", Ask("我想作画 一只猫")),
    ],
)
def test_only_the_word_for_pictures_and_what_to_draw_asks_for_one(text, expected):
    assert wants(push(text=text), draw_word="作画") == expected
    assert wants(push(text=text)) == Ask(text)  # without pictures it is a word like any other


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("角色 老师", Choose("老师")),
        ("角色 默认", Choose("")),
        ("角色 Poet", Choose("poet")),
        ("角色", Say("personas", {"names": "老师、poet", "role": "角色", "default": "默认"})),
        ("角色 厨师", Say("personas", {"names": "老师、poet", "role": "角色", "default": "默认"})),
        ("角色扮演是什么", Ask("角色扮演是什么")),
    ],
)
def test_a_persona_is_chosen_by_its_name_and_an_unknown_one_gets_the_list(text, expected):
    assert wants(push(text=text), personas=("老师", "poet")) == expected


def test_without_personas_the_word_is_a_question():
    assert wants(push(text="角色 老师")) == Ask("角色 老师")


def test_a_tap_on_the_menu_is_the_text_it_stands_for():
    menu = {"news": "今天有什么新闻？", "forget": "清空"}

    def tap(key):
        return push("event", event="click", event_key=key)

    assert wants(tap("news"), menu=menu) == Ask("今天有什么新闻？")
    assert wants(tap("forget"), menu=menu) == Clear()
    assert wants(tap("unknown"), menu=menu) == Nothing()
    assert wants(push("event", event="view", event_key="news"), menu=menu) == Nothing()


CHIEF = {"administrators": frozenset({"o1"})}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("停用 k2", Act(Command.DISABLE, "k2")),
        ("启用 k2", Act(Command.ENABLE, "k2")),
        ("拉黑 o_bad", Act(Command.BLOCK, "o_bad")),
        ("取消拉黑 o_bad", Act(Command.UNBLOCK, "o_bad")),
        ("通知", Act(Command.NOTICES)),
    ],
)
def test_what_administrators_command_is_a_question_of_anybody_else(text, expected):
    assert wants(push(text=text), **CHIEF) == expected
    assert wants(push(text=text)) == Ask(text)


@pytest.mark.parametrize("text", ["停用", "拉黑", "通知 我"])
def test_half_a_command_of_an_administrator_is_a_question(text):
    assert wants(push(text=text), **CHIEF) == Ask(text)


def test_anybody_may_ask_how_things_stand():
    assert wants(push(text="状态")) == Report()


@pytest.mark.parametrize(
    ("subscriber", "expected"),
    [
        (Subscriber(asked_today=2), Say("no_questions_left", {"limit": 2})),
        (Subscriber(asked_today=1), Ask("问")),
        (Subscriber(asked_lately=1), Say("too_fast", {"limit": 1})),
        (Subscriber(drawn_today=1), Ask("问")),
    ],
)
def test_a_share_that_is_used_up_is_said_and_nothing_is_asked(subscriber, expected):
    share = Share(questions_per_day=2, questions_per_minute=1, images_per_day=1)
    box = Box(subscriber=subscriber)
    assert wants(push(text="问"), box, share=share) == expected
    assert wants(push(text="问"), box, share=share, **CHIEF) == Ask("问")


def test_pictures_have_a_share_of_their_own():
    box = Box(subscriber=Subscriber(drawn_today=1))
    share = Share(images_per_day=1)

    assert wants(push(text="作画 猫"), box, draw_word="作画", share=share) == Say("no_drawings_left", {"limit": 1})
    assert wants(push(text="问"), box, draw_word="作画", share=share) == Ask("问")


def test_what_waits_is_collected_though_the_share_is_used_up():
    box = Box(waiting=[ANSWERED], subscriber=Subscriber(asked_today=9))

    assert wants(push(text="继续"), box, share=Share(questions_per_day=1)) == Collect(ANSWERED)


EVERYTHING = [push(text="问"), push(text="帮助"), PHOTO, push("voice"), push("event", event="subscribe")]


@pytest.mark.parametrize("pushed", EVERYTHING, ids=lambda p: p.kind + p.text)
def test_who_is_blocked_gets_nothing_but_may_leave(pushed):
    share = Share(block=frozenset({"o1"}))

    assert wants(pushed, share=share) == Nothing()
    assert wants(push("event", event="unsubscribe"), share=share) == Forget()


def test_who_was_blocked_by_an_administrator_is_asked_for_no_model():
    blocked = Box(subscriber=Subscriber(is_blocked=True), waiting=[ANSWERED])

    assert wants(push(text="问"), blocked) == Nothing()
    assert wants(push(text="继续"), blocked) == Nothing()
    assert wants(PHOTO, blocked) == Nothing()


def test_who_is_not_among_those_allowed_learns_the_id_to_tell_the_operator():
    share = Share(allow=frozenset({"o_friend"}))
    not_admitted = Say("not_admitted", {"openid": "o1"})

    for pushed in (push(text="问"), push(text="帮助"), push(text="状态"), PHOTO, push("voice")):
        assert wants(pushed, share=share) == not_admitted
    assert wants(push(text="获取id"), share=share) == Say("your_id", {"openid": "o1"})
    assert wants(push("event", event="subscribe"), share=share) == Say("welcome", {"help": "帮助"})
    assert wants(push("event", event="location"), share=share) == Nothing()
    assert wants(push(text="问"), share=share, **CHIEF) == Ask("问")


def test_forbidden_words_are_not_asked_and_the_subscriber_hears_why():
    assert wants(push(text="坏话"), forbids=lambda words: "坏" in words) == Say("forbidden_words")
    assert wants(push(text="好话"), forbids=lambda words: "坏" in words) == Ask("好话")
    assert wants(push(text="作画 坏人"), draw_word="作画", forbids=lambda words: "坏" in words) == Say(
        "forbidden_words"
    )


@pytest.mark.parametrize("text", ["帮助", "获取id", "清空", "状态"])
def test_commands_need_no_look_into_the_store(text):
    assert at_once(push(text=text), RULES) is not None


def test_the_help_names_what_the_account_can_do():
    plain = wants(push(text="帮助"))
    rich = wants(push(text="帮助"), draw_word="画", personas=("老师",))

    assert "一只猫" not in TEXTS.say(plain.name, **plain.facts)
    assert TEXTS.say(rich.name, **rich.facts).endswith("「画 一只猫」画一张图\n「角色」换一个角色来回答")
