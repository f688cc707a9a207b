"""
What the demo's page shows at one moment, as values ready for JSON: the browser only lays them out. Pure.

Rule 1: every sentence is made here, in the visitor's language; words of a visitor stay text, never markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from daemon.demo.envelope import Reply
from daemon.demo.phone import PHOTO, Bubble, Did
from daemon.demo.program import Made
from daemon.demo.received import Received
from daemon.demo.scene import NAMES
from daemon.demo.subscriber import DELIVERIES, Delivery, What
from daemon.demo.words import WORDS, Words
from daemon.operator.cards import TONES
from daemon.operator.figures import countdown
from daemon.operator.words import WORDS as OPERATOR_WORDS
from daemon.operator.words import Language
from proxy.health import KeyView
from proxy.sender import AGENT

SEEN = 8
ID_HEADER = "X-Client-Request-Id"

MEDIA_PATH, PHOTOS_PATH = "/demo/media/", "/demo/photos/"
# A link that sends something, or one that opens something. Between matches, `split` gives content, id, address and words.
LINK = re.compile(
    r'<a href="(?:weixin://bizmsgmenu\?msgmenucontent=([^&"]+)&msgmenuid=([^"]*)|(https?://[^"]+))">(.+?)</a>',
    re.DOTALL,
)

_TONE = {What.OPEN: "resting", What.ANSWERED: "well", What.DECLINED: "well", What.CLOSED: "off"}


def chat(bubbles: Sequence[Bubble], words: Words, now: float) -> list[dict[str, Any]]:
    """`now` is on the monotonic clock, as `Bubble.since` is."""
    return [
        {
            "number": bubble.number,
            "said": bubble.said,
            "photo": PHOTOS_PATH + PHOTO if bubble.did is Did.PHOTO else "",
            "note": _note(bubble, words),
            "deliveries": [
                {"tone": _TONE.get(each.what, "ill"), "text": _delivery(number, each, now - bubble.since, words)}
                for number, each in enumerate(bubble.outcome.deliveries, 1)
            ],
            "reply": _parts(bubble.outcome.reply) if bubble.outcome.reply else [],
            "picture": _picture(bubble.outcome.reply),
            "served": words.served if bubble.did is Did.SERVED else "",
            "red_line": words.red_line if bubble.outcome.red_line else "",
        }
        for bubble in bubbles
    ]


def follows(bubbles: Sequence[Bubble]) -> bool:
    did = [bubble.did for bubble in bubbles if bubble.did in (Did.FOLLOW, Did.UNFOLLOW)]
    return did[-1:] == [Did.FOLLOW]


def keys(views: Sequence[KeyView], language: Language) -> list[dict[str, Any]]:
    words = OPERATOR_WORDS[language]
    shown = []
    for view in views:
        left = None if view.state in ("ready", "dead") else countdown(view.seconds_left, view.since_seconds)
        shown.append(
            {
                "name": view.name,
                "plays": WORDS[language].cast.get(view.name, ""),
                "tone": TONES.get(view.state, "off"),
                "state": words.key_states.get(view.state, view.state),
                "reason": "" if view.state == "ready" else words.rules.get(view.rule, ""),
                "left": f"{WORDS[language].back_in} {left.text}" if left else "",
            }
        )
    return shown


def calls(made: Sequence[Made], received: Sequence[Received], words: Words) -> list[dict[str, Any]]:
    """The program's calls, and the keys that were tried for each."""
    return [
        {
            "name": call.id,
            "tone": "resting" if call.status is None else "well" if call.status == 200 else "ill",
            "tried": [_tried(r, words) for r in received if r.headers.get(ID_HEADER) == call.id],
            "result": words.thinking if call.status is None else _result(call, words),
            "words": call.words,
        }
        for call in made
    ]


def seen(received: Sequence[Received], words: Words) -> list[dict[str, Any]]:
    """The upstream's record, newest first."""
    return [
        {
            "number": each.number,
            "time": datetime.fromtimestamp(each.received_at).astimezone().strftime("%H:%M:%S"),
            "caller": _caller(each, words),
            **_tried(each, words),
        }
        for each in received[: -SEEN - 1 : -1]
    ]


def _delivery(number: int, delivery: Delivery, open_for: float, words: Words) -> str:
    is_open = delivery.what is What.OPEN
    given_up = delivery.what is What.CLOSED and number == DELIVERIES
    sentence = words.waiting if is_open else words.gave_up if given_up else words.delivery[delivery.what]
    seconds = open_for if is_open else delivery.seconds
    return sentence.format(number=number, seconds=f"{seconds:.1f}", detail=delivery.detail)


def _note(bubble: Bubble, words: Words) -> str:
    """Everything is deleted before the daemon says `success` to an unfollow."""
    is_done = any(delivery.what is What.DECLINED for delivery in bubble.outcome.deliveries)
    return words.deleted if bubble.did is Did.UNFOLLOW and is_done else words.notes.get(bubble.did, "")


def _picture(reply: Reply | None) -> str:
    return MEDIA_PATH + reply.media_id if reply and reply.media_id else ""


def _parts(reply: Reply) -> list[dict[str, str]]:
    """Text between links, and links."""
    first, *rest = LINK.split(reply.words)
    parts = [{"text": first}]
    for content, identity, address, shown, text in zip(*(rest[place::5] for place in range(5)), strict=True):
        goes = {"href": address} if address else {"content": content, "id": identity}
        parts += [{"text": shown, **goes}, {"text": text}]
    return [part for part in parts if part["text"]]


def _tried(received: Received, words: Words) -> dict[str, str]:
    status = received.status
    if received.disconnected:
        tone, said = "off", words.left
    elif status is None:
        tone, said = "resting", words.thinking
    else:
        tone, said = "well" if status == 200 else "ill", f"{status} {words.answers.get(status, '')}".strip()
    return {"key": NAMES.get(received.key, "?"), "tone": tone, "said": said}


def _result(call: Made, words: Words) -> str:
    return f"{call.status or words.unreachable} · {call.seconds:.1f} s"


def _caller(received: Received, words: Words) -> str:
    if received.method == "GET":
        return words.from_check
    return words.from_phone if received.headers.get("User-Agent") == AGENT else words.from_program
