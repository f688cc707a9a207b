"""What a push asks for, and the words that answer it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exchange import Exchange, Reason, State
from bot.texts import Texts
from bot.wechat.pages import LIMIT_BYTES
from bot.wechat.passive import (
    UNREADABLE,
    Ask,
    Box,
    Clear,
    Collect,
    Forget,
    Nothing,
    Page,
    Retry,
    Say,
    Style,
    intent,
    words,
)
from bot.wechat.push import Push

TEXTS = Texts("zh")
STYLE = Style(TEXTS)
BARE = Style(TEXTS, label="")


def exchange(name: str = "x1", state: State = State.THINKING, **facts) -> Exchange:
    given = {"question": f"question {name}", "asked_at": 100.0, "started_at": 100.0, "answer": "An answer."}
    return Exchange(name, "gh_1", "o1", f"push-{name}", state=state, **{**given, **facts})


def push(kind: str = "text", text: str = "", **facts) -> Push:
    return Push("gh_1", "o1", "p9", kind, text, **facts)


def wants(pushed: Push, box: Box | None = None):
    return intent(pushed, box or Box(), TEXTS, queued_questions=3)


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
    said = intent(push(text="帮助"), Box(), texts, queued_questions=3)
    assert isinstance(said, Say)
    assert "「Reset」" in texts.say(said.name, **said.facts)
    assert intent(push(text="reset"), Box(), texts, queued_questions=3) == Clear()
    assert intent(push(text="清空"), Box(), texts, queued_questions=3) == Ask("清空")


def page(of: Exchange, style: Style = BARE, *, waiting=(), is_up=True, now=120.0, push_id="p9") -> Page | None:
    return words(of, style, push_id=push_id, waiting=waiting, is_up=is_up, now=now)


def said(of: Exchange, style: Style = BARE, **facts) -> str:
    finished = page(of, style, **facts)
    assert finished is not None
    return finished.words


def answered(answer: str, **facts) -> Exchange:
    return exchange("x1", State.ANSWERED, answer=answer, **facts)


@pytest.mark.parametrize("unfinished", [THINKING, QUEUED], ids=lambda e: e.id)
def test_there_is_silence_while_the_answer_may_still_come_in_time(unfinished):
    assert page(unfinished, is_up=False) is None


def test_when_time_is_up_the_subscriber_hears_how_long_it_took_so_far_and_gets_a_tap():
    assert page(THINKING, now=108.4) == Page(
        '还在想，已经 8 秒了。<a href="weixin://bizmsgmenu?msgmenucontent=继续&msgmenuid=thinking">点这里取回答</a>'
    )


def test_a_clock_that_went_back_gives_no_negative_seconds():
    assert said(THINKING, now=3.0).startswith("还在想，已经 0 秒了。")


def test_a_question_behind_others_says_how_many():
    first, second = exchange("x0", asked_at=90.0), exchange("x1", State.QUEUED, asked_at=95.0)
    later = exchange("x3", State.QUEUED, asked_at=110.0)
    assert said(QUEUED, waiting=[first, second, QUEUED, later, ANSWERED]).startswith("收到，前面还有 2 个问题")


def test_a_question_that_waits_for_a_key_says_in_how_many_minutes():
    assert "大约 12 分钟后" in said(exchange("x1", State.QUEUED, not_before=120.0 + 11.2 * 60))


@pytest.mark.parametrize("reason", Reason)
def test_a_failure_says_why_and_how_to_ask_again_and_is_told_once(reason):
    failed = exchange("x1", State.FAILED, reason=reason)
    told = page(failed, is_up=False)
    assert told is not None
    assert "msgmenuid=x1" in told.words
    assert (told.claims, told.index, told.is_last) == (failed, 0, True)


def test_a_failure_that_was_told_is_told_again_without_a_claim():
    assert page(TOLD_FAILURE) == Page(said(NEW_FAILURE).replace("new-failure", "told-failure"))


def test_an_answer_is_plain_text_between_prefix_and_label():
    of = answered("**Bold** words")
    assert page(of, Style(TEXTS, prefix="[GPT]: "), is_up=False) == Page(
        "[GPT]: Bold words\n\n（内容由AI生成）", claims=of, index=0, is_last=True
    )


def test_an_answer_that_did_not_wait_carries_no_echo():
    assert said(answered("Yes.", started_at=100.9)) == "Yes."


def test_an_answer_that_waited_says_what_it_answers():
    of = answered("Yes.", question="一二三四五六七八九十\n一二三四五六七八九十", started_at=104.0)
    assert said(of) == "问：一二三四五六七八九十 一二三四五六七八九…\nYes."


def test_half_a_tag_in_an_echo_cannot_swallow_the_page():
    assert said(answered("Yes.", question='<a href="', started_at=104.0)).startswith('问：＜a href="\n')


def test_a_long_answer_comes_in_pages_with_a_tap_to_the_next_and_the_label_on_the_last():
    of = answered("一句话。" * 300)
    first, second = page(of, STYLE), page(answered(of.answer, next_page=1, collected_by="p1"), STYLE)
    assert first is not None
    assert second is not None
    assert first.words.endswith(
        '<a href="weixin://bizmsgmenu?msgmenucontent=继续&msgmenuid=x1">未完，点这里看下一页</a>'
    )
    assert second.words.endswith("一句话。\n\n（内容由AI生成）")
    assert "内容由AI生成" not in first.words
    assert (first.index, first.is_last, second.index, second.is_last) == (0, False, 1, True)


def test_the_same_push_gets_the_same_page_again_without_a_claim():
    of = answered("一句话。" * 300)
    before = said(of, STYLE)
    again = page(answered(of.answer, next_page=1, collected_by="p9"), STYLE, push_id="p9")
    assert again == Page(before, claims=None, index=0, is_last=False)


@pytest.mark.parametrize("next_page", [1, 2])
def test_a_collected_answer_shows_its_last_page_again_without_a_claim(next_page):
    of = answered("一句话。" * (1 if next_page == 1 else 300))
    last = said(answered(of.answer, next_page=next_page - 1), STYLE)
    done = exchange("x1", State.COLLECTED, answer=of.answer, next_page=next_page, collected_by="p1")
    assert page(done, STYLE) == Page(last, claims=None, index=next_page - 1, is_last=True)


def test_the_last_page_says_how_many_other_answers_are_ready_with_a_tap_to_the_oldest():
    of = answered("Yes.")
    others = [THINKING, ANSWERED, of, NEW_FAILURE]
    assert said(of, waiting=others) == (
        'Yes.\n\n<a href="weixin://bizmsgmenu?msgmenucontent=继续&msgmenuid=answered">还有 2 条回答，点这里看</a>'
    )


def test_an_answer_of_nothing_but_markup_is_no_blank_page():
    assert said(answered("``` ```\n\n```")).strip()


@given(answer=st.text(min_size=1, max_size=3000), question=st.text(max_size=60))
def test_no_page_is_longer_than_wechat_shows_and_none_moves_when_others_wait(answer, question):
    index, is_last = 0, False
    while not is_last:
        of = answered(answer, question=question, started_at=105.0, next_page=index)
        alone, beside = (
            page(of, STYLE),
            page(of, STYLE, waiting=[exchange(f"y{n}", State.ANSWERED) for n in range(900)]),
        )
        assert alone is not None
        assert beside is not None
        assert len(beside.words.encode()) <= LIMIT_BYTES
        assert beside.words.startswith(alone.words)
        assert (alone.index, beside.is_last) == (index, alone.is_last)
        index, is_last = index + 1, alone.is_last


@pytest.mark.parametrize("length", range(1700, 2041, 10))
def test_a_page_as_full_as_it_may_be_has_room_for_the_line_about_others(length):
    others = [exchange(f"y{n}", State.ANSWERED) for n in range(900)]
    assert len(said(answered("a" * length), STYLE, waiting=others).encode()) <= LIMIT_BYTES


def test_a_style_that_leaves_the_answer_less_than_half_a_page_is_refused():
    with pytest.raises(ValueError, match="of a page's 2040"):
        Style(TEXTS, label="标" * 400)
