"""Pages: never too long, never cut where it hurts, nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.wechat.pages import LIMIT_BYTES, clean, cut, paginate

FAMILY = "👨‍👩‍👧‍👦"
FLAG = "🇨🇳"
SIGNS = ["字", "a", " ", "\n", "。", ". ", FAMILY, "👍🏽", FLAG, "1️⃣", "❤️", "e\u0301", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]


def test_a_short_text_is_one_page_with_its_head_and_its_tail():
    assert paginate("答", head="问：…\n", more="继续", tail="\n（AI）") == ("问：…\n答\n（AI）",)


@pytest.mark.parametrize("text", ["", " \n\t\n", "\x00"])
def test_nothing_has_no_page(text):
    assert paginate(text, head="h", more="m", tail="t") == ()


def test_head_more_and_tail_stand_on_the_pages_they_belong_to():
    pages = paginate("字" * 1500, head="H\n", more="\nM", tail="\nT")

    assert [page.startswith("H\n") for page in pages] == [True, False, False]
    assert [page.endswith("\nM") for page in pages] == [True, True, False]
    assert [page.endswith("\nT") for page in pages] == [False, False, True]
    assert [len(page.encode()) for page in pages[:2]] == [2038, 2039]


def test_a_text_that_just_fits_with_its_label_is_not_split_because_the_footer_would_be_longer():
    text = "字" * 670  # 2,010 bytes

    assert len(paginate(text, more="长" * 40, tail="（AI）")) == 1


def test_white_space_left_over_makes_no_page_of_its_own():
    text = "a" * 12 + " " * 30 + "b"

    assert paginate(text, limit=12) == ("a" * 12, "b")


def test_an_indentation_longer_than_a_page_is_no_page():
    assert paginate("a" * 8 + "\n" + " " * 30 + "b", limit=12) == ("a" * 8, "b")


def test_a_sentence_does_not_end_before_a_mark_that_belongs_to_its_last_character():
    assert cut("一二三四。五六！\ufe0f七八九十", 24) == ("一二三四。", "五六！\ufe0f七八九十")


def test_what_fits_is_not_cut():
    assert cut("一。二 ", 10) == ("一。二", "")


def test_room_for_not_even_one_character_is_an_error():
    with pytest.raises(ValueError, match="no room"):
        paginate("字" * 10, more="x" * 20, limit=22)


@pytest.mark.parametrize(
    ("text", "room", "first", "rest"),
    [
        ("one two\nthree four.\n\nfive\nsix seven", 30, "one two\nthree four.", "five\nsix seven"),
        ("one. two three\nfour five six", 20, "one. two three", "four five six"),
        ("第一句话。第二句话！第三句话", 40, "第一句话。第二句话！", "第三句话"),
        ("他说：“好的。”然后走了出去", 30, "他说：“好的。”", "然后走了出去"),
        ("pi is 3.14159 and it is. So there", 26, "pi is 3.14159 and it is.", "So there"),
        ("alpha beta gamma delta", 20, "alpha beta gamma", "delta"),
        ("一二三四五六七八", 20, "一二三四五六", "七八"),
        ("a. bcdefghijklmnopqrstuvwxyz", 20, "a. bcdefghijklmnopqr", "stuvwxyz"),
        ("if x:\n    return 1\n    return 2", 24, "if x:\n    return 1", "    return 2"),
        ("真的吗？！是的，就是这样", 15, "真的吗？！", "是的，就是这样"),
    ],
    ids=["paragraph", "line", "sentence", "quote", "latin", "word", "character", "half", "indent", "marks"],
)
def test_a_page_ends_at_the_best_place_in_its_second_half(text, room, first, rest):
    assert cut(text, room) == (first, rest)


@pytest.mark.parametrize("sign", [FAMILY, FLAG, "👍🏽", "1️⃣", "❤️", "e\u0301", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "हि"])
def test_one_sign_is_never_cut_in_two(sign):
    for room in range(len(sign.encode()) + 1, 120):
        first, rest = cut("x" + sign * 60, room)
        assert first.removeprefix("x").replace(sign, "") == "", (room, first)
        assert rest.replace(sign, "") == ""


def test_a_link_is_never_cut_in_two_and_no_place_inside_it_is_a_good_one():
    tag = '<a href="https://example.com/?a=1 b">你好。 再见！</a>'

    for room in range(len(tag.encode()) + 3, 200):
        for page in paginate("前" + tag * 4, limit=room):
            assert page.removeprefix("前").replace(tag, "") == ""


def test_a_sign_longer_than_a_page_is_cut_all_the_same():
    pages = paginate("e" + "\u0301" * 3000)

    assert "".join(pages) == "e" + "\u0301" * 3000
    assert all(len(page.encode()) <= LIMIT_BYTES for page in pages)


@given(
    text=st.one_of(st.text(), st.lists(st.sampled_from(SIGNS), max_size=200).map("".join)),
    head=st.text(max_size=4),
    more=st.text(max_size=4),
    tail=st.text(max_size=4),
    limit=st.integers(min_value=40, max_value=200),
)
def test_every_page_is_within_the_limit_and_only_white_space_is_lost(text, head, more, tail, limit):
    pages = paginate(text, head=head, more=more, tail=tail, limit=limit)

    head, more, tail = clean(head), clean(more), clean(tail)
    bodies = [
        page.removeprefix(head if at == 0 else "").removesuffix(more if at < len(pages) - 1 else tail)
        for at, page in enumerate(pages)
    ]
    assert all(len(page.encode()) <= limit for page in pages)
    assert all(body.strip() for body in bodies)
    assert "".join("".join(bodies).split()) == "".join(clean(text).split())


@given(st.text(alphabet=st.characters(categories=["Lo", "Zs", "Po", "Cc", "Cs"])))
def test_a_cleaned_text_can_be_sent_and_cleaning_it_again_changes_nothing(text):
    cleaned = clean(text)

    cleaned.encode()
    assert clean(cleaned) == cleaned
    assert not set(cleaned) & {chr(code) for code in range(32) if chr(code) not in "\t\n"}


def test_cleaning_leaves_what_xml_allows():
    allowed = "\t\n \x7f\x85\u2028🙂\ue000\U0010ffff"

    assert clean(allowed + "\x08\x1d\ufffe\uffff\ud800\r\n\r") == allowed + "\n\n"
