"""
How numbers, times and strangers' words read on the page. Pure.

Rule 1: a figure never looks better than it is: a countdown is rounded up, and one failure in ten thousand is not 100 %.
Rule 2: what a stranger wrote is one line of printable characters, cut; direction marks could rearrange the page around them.
"""

from __future__ import annotations

from proxy.value import value_type

WORDS_SHOWN = 20  # characters of a question: enough to recognise it, too few to read along
IN_FULL = 1_000_000
NAME_SHOWN = 64  # characters of a model's name or a request's id, which a caller or an upstream makes


@value_type
class Countdown:
    """Whole seconds until something ends, as "0:34", and how many there were when it began (0: not known)."""

    seconds: int
    of_seconds: int
    text: str


def countdown(seconds_left: float | None, since_seconds: float | None = None) -> Countdown | None:
    """None where nothing is to be waited for, or nobody can tell. Rounded up: "0:00" would promise too much."""
    if seconds_left is None or seconds_left <= 0:
        return None
    seconds = -int(-seconds_left // 1)
    of_seconds = 0 if since_seconds is None else round(since_seconds + seconds_left)
    hours, rest = divmod(seconds, 3_600)
    clock = f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
    return Countdown(seconds, of_seconds, clock)


def duration(seconds: float, units: tuple[str, str, str, str]) -> str:
    """In days, hours, minutes or seconds, the largest unit alone: nobody needs the seconds of an hour."""
    whole = max(0, int(seconds))
    for size, unit in zip((86_400, 3_600, 60), units[:3], strict=True):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}{units[3]}"


def amount(count: int, *units: tuple[int, str]) -> str:
    """In full below a million, else in tenths of the largest of `units`, which come in ascending order."""
    for size, unit in reversed(units if count >= IN_FULL else ()):
        if count >= size:
            return f"{count * 10 // size / 10:,} {unit}"
    return f"{count:,}"


def masked(openid: str) -> str:
    """First four and last two characters; nothing of an openid so short that those would tell most of it."""
    return f"{openid[:4]}…{openid[-2:]}" if len(openid) > 12 else "…"


def printable(text: str) -> str:
    """Nothing of it moves a cursor, rearranges what stands around it, or cannot be written."""
    return text if text.isprintable() else "".join([each if each.isprintable() else " " for each in text])


def excerpt(text: str, most: int = WORDS_SHOWN) -> str:
    """The first characters, in one line."""
    line = " ".join(printable(text[: 10 * most]).split())
    return line if len(line) <= most else line[:most] + "…"


def share(part: int, whole: int) -> str:
    """As "98.2 %"; "" of nothing."""
    if not whole:
        return ""
    tenths = 1_000 * part // whole
    return f"{tenths // 10} %" if tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10} %"


def latency(seconds: float | None) -> str:
    """As "0.8 ms", "420 ms" or "1.4 s"; "–" where nothing was measured."""
    if seconds is None:
        return "–"
    thousandths = 1_000 * seconds
    if thousandths >= 999.5:
        return f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds:,.0f} s"
    return f"{thousandths:.0f} ms" if thousandths >= 9.95 else f"{thousandths:.1f} ms"
