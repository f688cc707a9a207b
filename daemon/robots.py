"""
What is posted to `alerts.webhook`, and what an answer to it means: our own JSON, or what the robot of a chat tool takes. Pure.

Rule 1: a robot is known by the webhook's host; whoever else it is gets our own JSON, one post for each notice.
Rule 2: a robot gets all that waits as one message: people read lines, and chat tools take about twenty messages a minute.
Rule 3: what some robots refuse is answered with status 200; the code in its body counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bot.wechat.pages import cut
from daemon.notices import Event, Notice
from proxy.value import value_type

HEAD = "【驿站】"  # robots of DingTalk and Feishu can be told to take only what has a certain word in it
MOST_BYTES = 1900  # of a message; WeCom takes 2,048 bytes, Discord 2,000 characters
TRY_AGAIN = frozenset({408, 425, 429})  # statuses below 500 that pass


@value_type
class Alert:
    """One notice; `members` are our own JSON, whose "text" is the sentence for people. `name` is for the log."""

    name: str
    members: Mapping[str, str]


@value_type
class Robot:
    """`shape` makes a message of a text. `codes` are the names of the member of an answer that is 0 when it was taken."""

    shape: Callable[[str], Mapping[str, Any]]
    codes: tuple[str, ...] = ()
    busy: frozenset[int] = frozenset()  # codes that pass


@value_type
class Outcome:
    """Of one post. `status` is None where no answer came, `reason` "" where it was taken; `is_final`: again is of no use."""

    status: int | None
    reason: str = ""
    is_final: bool = False


def alert_of(notice: Notice, text: str, at: str) -> Alert:
    """`at` is ISO 8601 with its zone."""
    subject, _, state = notice.event.partition(".")
    named = {} if notice.event in (Event.POOL_EMPTY, Event.POOL_USABLE) else {subject: notice.name}
    return Alert(
        str(notice),
        {
            "source": "posthouse",
            "event": notice.event,
            **named,
            "state": state,
            "rule": notice.rule,
            "reason": notice.reason,
            "at": at,
            "text": text,
        },
    )


def robot_at(host: str | None) -> Robot | None:
    return ROBOTS.get((host or "").lower())


def body_of(robot: Robot | None, alerts: Sequence[Alert]) -> bytes:
    """What to post of `alerts`; without a robot they are one."""
    if robot is None:
        (alert,) = alerts
        return _json(alert.members)
    text, _ = cut(HEAD + "\n".join(alert.members["text"] for alert in alerts), MOST_BYTES)
    return _json(robot.shape(text))


def outcome_of(status: int, robot: Robot | None, body: bytes) -> Outcome:
    """`body` is the beginning of an answer."""
    if 300 <= status < 400:
        return Outcome(status, "it points elsewhere, and is not followed: alerts.webhook needs the final address", True)
    if not 200 <= status < 300:
        passes = status >= 500 or status in TRY_AGAIN
        return Outcome(status, "it is busy or broken" if passes else "it refuses: look at alerts.webhook", not passes)
    if robot is None or not robot.codes:
        return Outcome(status)
    code = _code(robot, body)
    if code is None:
        return Outcome(status, "that is no answer of the robot's: look at alerts.webhook")
    if code in robot.busy:
        return Outcome(status, f"the robot is busy, with code {code}")
    advice = "if it wants a word, that is 驿站; it must not want a signature"
    return Outcome(status, f"the robot refuses with code {code}: {advice}", True) if code else Outcome(status)


def _code(robot: Robot, body: bytes) -> int | None:
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        return None
    found = [members[name] for name in robot.codes if name in members] if isinstance(members, dict) else []
    return found[0] if found and isinstance(found[0], int) else None


def _json(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=False).encode()


def _slack(text: str) -> Mapping[str, Any]:
    for character, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):  # they would begin links and mentions
        text = text.replace(character, written)
    return {"text": text}


# Sources: developer.work.weixin.qq.com/document/path/91770 · open.dingtalk.com/document/orgapp/custom-robot-access, and
# ccfos/nightingale 369 for its code · open.larkoffice.com/document/ukTMukTMukTM/ucTM5YjL3ETO24yNxkjN (custom bots) ·
# docs.slack.dev/messaging/sending-messages-using-incoming-webhooks · discord.com/developers/docs/resources/webhook
WECOM = Robot(lambda text: {"msgtype": "text", "text": {"content": text}}, ("errcode",), frozenset({-1, 45009}))
DINGTALK = Robot(WECOM.shape, ("errcode",), frozenset({-1, 130101}))
FEISHU = Robot(lambda text: {"msg_type": "text", "content": {"text": text}}, ("code", "StatusCode"), frozenset({11232}))
SLACK = Robot(_slack)
DISCORD = Robot(lambda text: {"content": text, "allowed_mentions": {"parse": []}})

ROBOTS: Mapping[str, Robot] = {
    "qyapi.weixin.qq.com": WECOM,
    "oapi.dingtalk.com": DINGTALK,
    "open.feishu.cn": FEISHU,
    "open.larksuite.com": FEISHU,
    "hooks.slack.com": SLACK,
    "discord.com": DISCORD,
    "discordapp.com": DISCORD,
}
