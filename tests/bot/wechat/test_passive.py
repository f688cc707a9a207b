"""The words that answer a push."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exchange import Exchange, Kind, Reason, State
from bot.texts import Texts
from bot.wechat.pages import LIMIT_BYTES
from bot.wechat.passive import Page, Style, pushed, words

TEXTS = Texts("zh")
STYLE = Style(TEXTS)
BARE = Style(TEXTS, label="")


def exchange(name: str = "x1", state: State = State.THINKING, **facts) -> Exchange:
    given = {"question": f"question {name}", "asked_at": 100.0, "started_at": 100.0, "answer": "An answer."}
    return Exchange(name, "gh_1", "o1", f"push-{name}", state=state, **{**given, **facts})


THINKING = exchange("thinking")
QUEUED = exchange("queued", State.QUEUED)
ANSWERED = exchange("answered", State.ANSWERED)
COLLECTED = exchange("collected", State.COLLECTED, next_page=1, collected_by="p1")
NEW_FAILURE = exchange("new-failure", State.FAILED, reason=Reason.TIMEOUT)
TOLD_FAILURE = exchange("told-failure", State.FAILED, reason=Reason.TIMEOUT, collected_by="p1")


def page(
    of: Exchange, style: Style = BARE, *, waiting=(), is_up=True, now=120.0, push_id="p9", so_far=""
) -> Page | None:
    return words(of, style, push_id=push_id, waiting=waiting, is_up=is_up, now=now, so_far=so_far)


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


STORY = "从前有一个驿站，骑手到站换马，信件留站待取，这样过了许多年。后来修了铁路，马就没有人骑了。" * 20
NEXT_PART = '<a href="weixin://bizmsgmenu?msgmenucontent=继续&msgmenuid=thinking">还在写，点这里看后面的</a>'


def test_when_time_is_up_what_is_already_written_is_shown_up_to_the_end_of_a_sentence_with_a_tap_for_the_rest():
    shown = page(THINKING, STYLE, so_far=STORY[:40])

    assert shown is not None
    assert shown.words == f"{STORY[:30]}\n\n（内容由AI生成）\n\n{NEXT_PART}"
    assert (shown.claims, shown.index, shown.is_last, shown.part) == (THINKING, 0, False, STORY[:30])


def test_too_little_is_not_shown():
    assert said(THINKING, so_far="从前有一个驿站。后来").startswith("还在想")


def test_a_second_tap_shows_what_was_written_since():
    begun = exchange("thinking", parts=(STORY[:30],), next_page=1, collected_by="p1")

    shown = page(begun, so_far=STORY[:200])

    assert shown is not None
    assert (shown.index, STORY[:30] + shown.part) == (1, STORY[: len(STORY[:30] + shown.part)])
    assert len(shown.part) > 100


def test_the_push_that_got_a_part_gets_it_again_while_the_rest_is_being_written():
    begun = exchange("thinking", parts=(STORY[:30],), next_page=1, collected_by="p9")

    assert page(begun, so_far=STORY[:400], push_id="p9") == Page(f"{STORY[:30]}\n\n{NEXT_PART}")


def test_the_whole_answer_goes_on_where_the_part_ended_and_loses_nothing():
    whole = exchange("thinking", State.ANSWERED, answer=STORY, parts=(STORY[:30],), next_page=1, collected_by="p1")

    pages = []
    while (shown := page(whole, STYLE, push_id=f"p{whole.next_page + 2}")) is not None and shown.claims:
        pages.append(shown.words.split("\n\n")[0])
        whole = exchange(
            "thinking", State.ANSWERED, answer=STORY, parts=whole.parts, next_page=shown.index + 1, collected_by="p1"
        )

    assert "".join([STORY[:30], *pages]) == STORY


def test_a_part_that_was_all_is_followed_by_the_word_that_it_was():
    whole = exchange("thinking", State.ANSWERED, answer=STORY[:30], parts=(STORY[:30],), next_page=1, collected_by="p1")

    assert said(whole, STYLE) == "（以上就是全部回答）\n\n（内容由AI生成）"


def test_the_same_push_gets_its_part_again_when_the_whole_is_there():
    whole = exchange("thinking", State.ANSWERED, answer=STORY, parts=(STORY[:30],), next_page=1, collected_by="p9")

    assert page(whole, push_id="p9") == Page(f"{STORY[:30]}\n\n{NEXT_PART}", index=0, is_last=False)


@given(st.integers(0, len(STORY)), st.booleans())
def test_no_part_is_longer_than_wechat_shows(length, has_waited):
    asked_at = 90.0 if has_waited else 100.0
    shown = page(exchange("x" * 36, asked_at=asked_at), Style(TEXTS, prefix="[GPT]: "), so_far=STORY[:length])

    assert shown is not None
    assert len(shown.words.encode()) <= LIMIT_BYTES


def drawn(**facts) -> Exchange:
    return exchange("x1", State.ANSWERED, answer="", kind=Kind.DRAWING, picture="pic1", **facts)


GALLERY = Style(TEXTS, picture_link=lambda exchange: f"https://bot.example/media/{exchange.picture}?a=1&b=2")


def test_a_picture_that_wechat_has_is_sent_as_one():
    shown = page(drawn(media_id="m1"), GALLERY, waiting=[ANSWERED])

    assert shown is not None
    assert (shown.media_id, shown.index, shown.is_last) == ("m1", 0, True)
    assert shown.claims == drawn(media_id="m1")


def test_a_picture_that_wechat_does_not_take_is_a_link_that_says_how_long_it_works():
    shown = page(drawn(), GALLERY)

    assert shown == Page(
        '画好了，72 小时内有效：<a href="https://bot.example/media/pic1?a=1&b=2">点这里看图</a>\n\n（内容由AI生成）',
        claims=drawn(),
    )


def test_while_a_picture_is_drawn_the_subscriber_hears_that_it_is():
    assert said(exchange("x1", kind=Kind.DRAWING), now=109.0).startswith("正在画，已经 9 秒了。")


def test_what_is_sent_unasked_is_the_next_page_with_a_link_to_the_one_after_it():
    of = answered("一句话。" * 600)

    assert pushed(of, STYLE, now=120.0) == page(of, STYLE)
    assert pushed(NEW_FAILURE, STYLE, now=120.0).claims == NEW_FAILURE


def test_a_picture_that_wechat_has_no_more_is_a_link():
    shown = page(drawn(media_id="m1", answered_at=100.0), GALLERY, now=100.0 + 72 * 3600)

    assert shown is not None
    assert shown.media_id == ""
    assert "点这里看图" in shown.words
