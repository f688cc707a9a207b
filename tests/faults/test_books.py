"""The books by which kills are judged: whatever is lost, crossed or doubled must show in them."""

from __future__ import annotations

from bench.faults.books import Books, answer_to

WAIT = '还在想，已经 1 秒了。<a href="weixin://bizmsgmenu?msgmenucontent=继续&msgmenuid=x">点这里取回答</a>'
REFUSED = "刚才没能记下这条消息，所以没有处理。请过一会儿再发一次。"


def told(words: str | None) -> Books:
    books = Books(asked={"op1#0"})
    books.told("op1#0", words)
    return books


def test_what_was_promised_is_lost_until_its_last_character_was_read() -> None:
    for promise in (WAIT, None, ""):
        books = told(promise)
        books.read("op1", answer_to("op1#0", 3)[:-1])
        assert books.lost == {"op1#0"}

        books.read("op1", answer_to("op1#0", 3))
        assert books.lost == set()


def test_what_was_refused_cannot_be_lost() -> None:
    assert told(REFUSED).lost == set()


def test_an_answer_that_somebody_else_reads_is_crossed() -> None:
    books = told(WAIT)
    books.read("op2", answer_to("op1#0", 3))

    assert books.crossed
    assert set(books.crossed) == {"op1#0"}


def test_a_page_that_was_pushed_twice_is_seen_and_two_pages_are_not() -> None:
    books = told(WAIT)
    books.pushed.update([("ov1", answer_to("ov1#0", 3)), ("ov1", answer_to("ov1#1", 3))])
    assert books.pushed_twice == []

    books.pushed.update([("ov1", answer_to("ov1#1", 3))])
    assert books.pushed_twice == [("ov1", answer_to("ov1#1", 3))]


def test_one_death_and_each_retry_explain_one_call_more() -> None:
    books = told(WAIT)
    books.calls["op1#0"] = 2
    assert books.overcalled == []

    books.calls["op1#0"] = 3
    assert books.overcalled == ["op1#0"]

    books.retries["op1"] = 1
    assert books.overcalled == []
