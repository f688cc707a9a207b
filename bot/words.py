"""
Whether a text has a word of the operator's list. Pure.

Rule 1: text and words are brought to one form: Unicode's NFKC, without case, without what nobody sees (zero-width, control).
Rule 2: a word with Chinese characters (or kana, hangul) is found whatever spaces, punctuation and symbols stand between its
        characters. Any other is found as it is written, a run of white space counting as one space. Where either begins or ends
        in a Latin, Greek or Cyrillic letter or a digit, it begins or ends there in the text, too: "class" has no "ass", and
        "OK粉丝" no "K粉".
Rule 3: the first hit ends the search, and nobody learns which word it was.
Rule 4: the time is linear in the text, whatever the text and the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from unicodedata import normalize

# Control, format and other characters without a shape, but for white space. Source: Unicode, Default_Ignorable_Code_Point.
UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
# All that NFKC may change or join with what stands before it. ASCII and ideographs stay as they are, so that the rest can be
# taken in short runs: over a long one, marks in the wrong order take it quadratic time.
CHANGEABLE = re.compile(r"[\x00-\x7f]?[^\x00-\x7f\u3400-\u4dbf\u4e00-\u9fff]{1,64}")
SPELLED = re.compile(r"[^\W_\u0590-\u1dff\u2000-\U0010ffff]+")  # a run of letters and digits that makes a word
LOOSE = re.compile(r"[^\w\0]+|_+")  # all but letters, digits and the mark of a word's beginning and end
CHINESE = re.compile(r"[^\W_\x00-\u2e7f]")
MOST_BYTES = 128 * 1024  # of words in one automaton: to make it takes up to 0.1 s, in which nothing else runs


class WordFilter:
    def __init__(self, words: Iterable[str]) -> None:
        forms = {form for word in words if (form := _plain(word)).strip()}
        self._count = len(forms)
        chinese = {form for form in forms if CHINESE.search(form)}
        self._spelled = list(_automata(_bounded(form) for form in forms - chinese))
        self._chinese = list(_automata({dense for form in chinese for dense in _both(form)}))

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<WordFilter {self._count} words>"

    def finds(self, text: str) -> bool:
        form = _plain(text)
        return _hits(self._spelled, _bounded(form)) or any(_hits(self._chinese, dense) for dense in _both(form))


def _plain(text: str) -> str:
    return CHANGEABLE.sub(_changed, UNSEEN.sub("", text)).casefold()


def _changed(found: re.Match[str]) -> str:
    return normalize("NFKC", normalize("NFKC", found[0]).casefold())


def _both(form: str) -> tuple[str, str]:
    """Without what may stand between: a space ends a Latin word, as in "some K粉", or stands within one, as in "q q号"."""
    return LOOSE.sub("", _bounded(form)), _bounded(LOOSE.sub("", form))


def _bounded(form: str) -> str:
    """With a NUL, which no text has any more, where a word begins and where it ends: so a whole word is a mere substring."""
    return SPELLED.sub("\0\\g<0>\0", " ".join(form.split()))


def _letters(form: str) -> str:
    """UTF-8, a character for each byte: an automaton looks through all that may follow, and of bytes that is few."""
    return form.encode("utf-8", "surrogatepass").decode("latin-1")


def _automata(forms: Iterable[str]) -> Iterator[Any]:
    batch: list[str] = []
    size = 0
    for form in forms:
        batch.append(_letters(form))
        size += len(batch[-1])
        if size >= MOST_BYTES:
            yield _automaton(batch)
            batch, size = [], 0
    if batch:
        yield _automaton(batch)


def _automaton(words: list[str]) -> Any:
    # Here, so that nobody pays for it who has no list.
    import ahocorasick  # type: ignore[import-not-found]  # it has no stubs

    automaton = ahocorasick.Automaton()
    for word in words:
        automaton.add_word(word, True)
    automaton.make_automaton()
    return automaton


def _hits(automata: list[Any], form: str) -> bool:
    letters = _letters(form)
    return any(next(automaton.iter(letters), False) for automaton in automata)
