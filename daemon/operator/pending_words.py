"""What the page says about answers that wait to be collected, in English and Chinese. Pure."""

from __future__ import annotations

from collections.abc import Callable

from proxy.value import value_type


@value_type
class PendingWords:
    title: str
    nothing: str
    nothing_advice: str
    nothing_here: str  # on a page beyond the last
    unknown: str  # while the database is silent
    age: str
    subscriber: str
    question: str
    state: str
    pages: str
    shown: Callable[[str, str, str], str]  # the first, the last, and how many there are in all
    older: str
    newer: str


ENGLISH_PENDING = PendingWords(
    title="Pending answers",
    nothing="Nothing waits.",
    nothing_advice="Every subscriber has collected what they asked for.",
    nothing_here="Nothing waits on this page any more.",
    unknown="Unknown until the database answers.",
    age="Age",
    subscriber="Subscriber",
    question="Question",
    state="State",
    pages="Pages of pending answers",
    shown=lambda first, last, count: f"{first}–{last} of {count}, the oldest first",
    older="Older",
    newer="Newer",
)

CHINESE_PENDING = PendingWords(
    title="待取的回答",
    nothing="没有等待中的问题。",
    nothing_advice="每位订阅者都已取走回答。",
    nothing_here="这一页已经没有等待中的问题。",
    unknown="数据库响应后才知道。",
    age="已等待",
    subscriber="订阅者",
    question="问题",
    state="状态",
    pages="待取回答的分页",
    shown=lambda first, last, count: f"第 {first}–{last} 条，共 {count} 条，最早的在前",
    older="更早",
    newer="更晚",
)
