"""
Who asked what, what was promised, and what arrived: the books in which a lost, doubled or crossed answer shows. Pure.

Rule 1: a question bears its asker and a number (`o7#12`); its answer begins with it and ends with it, so that a part of an
        answer, and an answer to somebody else, can be told from a whole one of one's own.
Rule 2: a question counts as acknowledged as soon as its subscriber was told anything but that it was not kept.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

NAME = re.compile(r"o[a-z]*\d+#\d+")
END = re.compile(r"(o[a-z]*\d+#\d+)⟧")
REFUSALS = ("没能记下", "没有收下")  # what a subscriber reads whose question was not taken


def answer_to(name: str, sentences: int) -> str:
    return f"⟦{name} 开头。{'信会送到，马会换好，人只要等一等。' * sentences}结尾 {name}⟧"


def named_in(text: str) -> str:
    """The last question's name in what a model is asked; "" where there is none."""
    found = NAME.findall(text)
    return found[-1] if found else ""


def is_callers(name: str) -> bool:
    """Whether a caller of the gateway asked, whose questions nobody keeps."""
    return name.startswith("oc")


def is_refusal(words: str | None) -> bool:
    return any(refusal in (words or "") for refusal in REFUSALS)


@dataclass(slots=True)
class Books:
    asked: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    crossed: list[str] = field(default_factory=list)  # names that somebody else read
    pushed: Counter[tuple[str, str]] = field(default_factory=Counter)  # by customer service: subscriber and words
    calls: Counter[str] = field(default_factory=Counter)  # of the model, by name
    retries: Counter[str] = field(default_factory=Counter)  # by subscriber: taps that ask a failed question again

    def read(self, openid: str, words: str) -> None:
        """Whatever a subscriber was shown, by whatever way."""
        self.seen.update(END.findall(words))
        self.crossed += [name for name in NAME.findall(words) if name.partition("#")[0] != openid]

    def told(self, name: str, words: str | None) -> None:
        """The outcome of the push that asked: None is `success` without words, which promises a message."""
        if not is_refusal(words):
            self.acknowledged.add(name)

    @property
    def lost(self) -> set[str]:
        return self.acknowledged - self.seen

    @property
    def pushed_twice(self) -> list[tuple[str, str]]:
        return [page for page, times in self.pushed.items() if times > 1 and END.search(page[1])]

    @property
    def overcalled(self) -> list[str]:
        """Asked of the model more often than a question, one death of ours and the subscriber's own taps explain."""
        return [
            name
            for name, calls in self.calls.items()
            if name in self.asked and calls > 2 * (1 + self.retries[name.partition("#")[0]])
        ]
