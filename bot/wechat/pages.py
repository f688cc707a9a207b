"""
An answer cut into pages that WeChat accepts. Pure.

Rule 1: no page, with all that stands around it, is longer than the limit in bytes of UTF-8.
Rule 2: a page ends at a paragraph, else a line, else a sentence, else a word, else between two characters; never inside an
        emoji or an `<a …>…</a>`, unless that alone is longer than a page.
Rule 3: pages put together again have lost nothing but white space at the seams.
"""

from __future__ import annotations

import re
import unicodedata

# Over 2,048 bytes the subscriber sees an error instead of the reply; undocumented, measured by others
# (github.com/MamaShip/Observer issue 77, CowAgent's MAX_UTF8_LEN). Eight are left for what they did not measure.
LIMIT_BYTES = 2040

# What XML 1.0 has no way to write (www.w3.org/TR/xml/#charsets), lone surrogates among it.
FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

# From the best place to end a page to the worst; white space at the end of a match is the seam.
BREAKS = (
    re.compile(r"\n[ \t]*\n"),
    re.compile(r"\n"),
    re.compile(r"[。！？…；][”’」』）》】\"')\]]*(?![。！？…；”’」』）》】\"')\]])|[.!?;][”’\"')\]]*\s"),
    re.compile(r"\s"),
)
TAG = re.compile(r"<a\s[^<>]*>[^<]*</a>", re.IGNORECASE)
JOINER = "\u200d"
FLAG_LETTERS = range(0x1F1E6, 0x1F200)
SKIN_TONES = range(0x1F3FB, 0x1F400)
FLAG_TAGS = range(0xE0020, 0xE0080)


def clean(text: str) -> str:
    """`text` without what XML forbids, its line ends written as `\\n` (an XML parser reads them so anyway)."""
    return FORBIDDEN.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


def paginate(text: str, *, head: str = "", more: str = "", tail: str = "", limit: int = LIMIT_BYTES) -> tuple[str, ...]:
    """
    The finished pages of `text`: `head` opens the first, `more` closes every page but the last, `tail` closes the last.

    The three bring their own line ends. No page for a text of white space. ValueError where they leave no room.
    """
    head, more, tail = clean(head), clean(more), clean(tail)
    rest, room, bodies = clean(text).strip(), limit - _bytes(head), list[str]()
    while rest:
        if _bytes(rest) + _bytes(tail) <= room:
            bodies.append(rest)
            break
        # Either closing has to fit: should only white space be left over, this page is the last one after all.
        body, rest = cut(rest, room - max(_bytes(more), _bytes(tail)))
        if body:
            bodies.append(body)
            room = limit
    closings = [more] * (len(bodies) - 1) + [tail]
    openings = [head] + [""] * (len(bodies) - 1)
    return tuple(a + body + z for a, body, z in zip(openings, bodies, closings, strict=False))


def cut(text: str, room: int) -> tuple[str, str]:
    """The longest good beginning of a clean `text` within `room` bytes, and what is left; all of it where it fits."""
    if room < 4:  # bytes; the longest character needs so many
        raise ValueError(f"no room for a page: {room} bytes")
    end = len(text[:room].encode()[:room].decode("utf-8", "ignore"))
    if end == len(text):
        return text.rstrip(), ""
    end = _seam(text, end, room)
    rest = text[end:]
    # A page may begin with the indentation of its first line, but not with blank lines or a lost space.
    return text[:end].rstrip(), rest.lstrip("\n") if text[end - 1] == "\n" else rest.lstrip()


def _seam(text: str, end: int, room: int) -> int:
    """The best place at or before `end`. A page is at least half full: few pages matter more than tidy ones."""
    # Links as one long word: no pattern finds a place inside them.
    masked = TAG.sub(lambda tag: "x" * len(tag[0]), text[: end + room])
    for pattern in BREAKS:
        best = 0
        for found in pattern.finditer(masked, end // 2):
            if found.end() > end:
                break
            if not _is_inside_cluster(text, found.end()):
                best = found.end()
        if best:
            return best
    for tag in TAG.finditer(text, 0, end + room):
        if tag.start() < end < tag.end():
            end = tag.start() or end
    return next((place for place in range(end, 0, -1) if not _is_inside_cluster(text, place)), end)


def _is_inside_cluster(text: str, place: int) -> bool:
    """Whether what stands before and after `place` is shown as one sign: emoji sequences, flags, combining marks."""
    before, after = text[place - 1], text[place]
    if JOINER in (before, after) or ord(after) in SKIN_TONES or ord(after) in FLAG_TAGS:
        return True
    if unicodedata.category(after).startswith("M"):  # variation selectors and the keycap are marks too
        return True
    if ord(after) not in FLAG_LETTERS:
        return False
    first = place
    while first and ord(text[first - 1]) in FLAG_LETTERS:
        first -= 1
    return (place - first) % 2 == 1


def _bytes(text: str) -> int:
    return len(text.encode())
