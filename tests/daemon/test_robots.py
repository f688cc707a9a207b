"""What is posted to a webhook, by its host, and what an answer to it means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daemon.notices import Event, Notice
from daemon.robots import ROBOTS, Alert, alert_of, body_of, outcome_of, robot_at

AT = "2026-11-22T22:00:00+08:00"


def alert(text: str = "密钥 main：已失效。") -> Alert:
    return alert_of(Notice(Event.KEY_DEAD, "main", "auth", "401 invalid_api_key"), text, AT)


def posted(host: str, *alerts: Alert) -> Any:
    return json.loads(body_of(robot_at(host), alerts))


@pytest.mark.parametrize(
    ("notice", "members"),
    [
        (
            Notice(Event.KEY_BLOCKED_IP, "main", "address", "403 ip_not_authorized"),
            {"key": "main", "state": "blocked_ip", "rule": "address", "reason": "403 ip_not_authorized"},
        ),
        (
            Notice(Event.UPSTREAM_DOWN, "openai", "breaker", "it failed server again and again"),
            {"upstream": "openai", "state": "down", "rule": "breaker", "reason": "it failed server again and again"},
        ),
        (Notice(Event.UPSTREAM_UP, "openai"), {"upstream": "openai", "state": "up", "rule": "", "reason": ""}),
        (Notice(Event.POOL_EMPTY), {"state": "empty", "rule": "", "reason": ""}),
        (Notice(Event.POOL_USABLE), {"state": "usable", "rule": "", "reason": ""}),
    ],
)
def test_whoever_is_no_robot_gets_our_own_json(notice: Notice, members: dict[str, str]) -> None:
    of_all = {"source": "posthouse", "event": str(notice.event), "at": AT, "text": "字"}
    assert posted("alerts.example.org", alert_of(notice, "字", AT)) == {**of_all, **members}


TEXT = "【驿站】密钥 main：已失效。"


@pytest.mark.parametrize(
    ("host", "shape"),
    [
        ("qyapi.weixin.qq.com", {"msgtype": "text", "text": {"content": TEXT}}),
        ("oapi.dingtalk.com", {"msgtype": "text", "text": {"content": TEXT}}),
        ("open.feishu.cn", {"msg_type": "text", "content": {"text": TEXT}}),
        ("open.larksuite.com", {"msg_type": "text", "content": {"text": TEXT}}),
        ("hooks.slack.com", {"text": TEXT}),
        ("Discord.com", {"content": TEXT, "allowed_mentions": {"parse": []}}),
        ("discordapp.com", {"content": TEXT, "allowed_mentions": {"parse": []}}),
    ],
)
def test_a_robot_gets_its_own_shape(host: str, shape: dict[str, Any]) -> None:
    assert posted(host, alert()) == shape


def test_a_host_that_only_resembles_a_robots_is_none() -> None:
    assert [robot_at(host) for host in ("hooks.slack.com.example.org", "slack.com", "", None)] == [None] * 4


def test_a_robot_gets_all_that_waits_as_lines_of_one_message_that_fits() -> None:
    assert posted("hooks.slack.com", alert("一"), alert("二")) == {"text": "【驿站】一\n二"}
    for host in ROBOTS:
        assert len(body_of(robot_at(host), [alert("字" * 90)] * 10)) < 2000


def test_nothing_in_a_text_is_a_mention_to_slack() -> None:
    assert posted("hooks.slack.com", alert("<!channel> & <b>"))["text"] == "【驿站】&lt;!channel&gt; &amp; &lt;b&gt;"


TAKEN = ""
ELSEWHERE = "it points elsewhere, and is not followed: alerts.webhook needs the final address"
REFUSED = "it refuses: look at alerts.webhook"
BUSY = "it is busy or broken"
ADVICE = "if it wants a word, that is 驿站; it must not want a signature"
STRANGE = "that is no answer of the robot's: look at alerts.webhook"


@pytest.mark.parametrize(
    ("host", "status", "body", "reason", "is_final"),
    [
        ("x.test", 200, b"", TAKEN, False),
        ("x.test", 204, b"", TAKEN, False),
        ("x.test", 200, b'{"errcode": 1, "code": 500}', TAKEN, False),
        ("x.test", 302, b"", ELSEWHERE, True),
        ("x.test", 404, b"", REFUSED, True),
        ("x.test", 408, b"", BUSY, False),
        ("x.test", 429, b"", BUSY, False),
        ("x.test", 500, b"", BUSY, False),
        ("x.test", 503, b"", BUSY, False),
        ("hooks.slack.com", 200, b"ok", TAKEN, False),
        ("hooks.slack.com", 403, b"invalid_token", REFUSED, True),
        ("discord.com", 204, b"", TAKEN, False),
        ("qyapi.weixin.qq.com", 200, b'{"errcode": 0, "errmsg": "ok"}', TAKEN, False),
        ("qyapi.weixin.qq.com", 200, b'{"errcode": 93000}', f"the robot refuses with code 93000: {ADVICE}", True),
        ("qyapi.weixin.qq.com", 200, b'{"errcode": 45009}', "the robot is busy, with code 45009", False),
        ("oapi.dingtalk.com", 200, b'{"errcode": 310000}', f"the robot refuses with code 310000: {ADVICE}", True),
        ("oapi.dingtalk.com", 200, b'{"errcode": 130101}', "the robot is busy, with code 130101", False),
        ("open.feishu.cn", 200, b'{"code": 0, "msg": "success", "StatusCode": 0}', TAKEN, False),
        ("open.feishu.cn", 200, b'{"StatusCode": 0, "StatusMessage": "success"}', TAKEN, False),
        ("open.feishu.cn", 200, b'{"code": 19024}', f"the robot refuses with code 19024: {ADVICE}", True),
        ("open.larksuite.com", 200, b'{"code": 11232}', "the robot is busy, with code 11232", False),
        ("open.feishu.cn", 200, b"<html>sign in</html>", STRANGE, False),
        ("open.feishu.cn", 200, b'{"code": "0"}', STRANGE, False),
        ("open.feishu.cn", 200, b"[0]", STRANGE, False),
        ("open.feishu.cn", 200, b'\xff{"code": 0}', STRANGE, False),
        ("open.feishu.cn", 200, b"", STRANGE, False),
        ("open.feishu.cn", 200, b"[" * 4096, STRANGE, False),
    ],
)
def test_an_answer_is_judged_by_its_status_and_a_robots_by_its_code(
    host: str, status: int, body: bytes, reason: str, is_final: bool
) -> None:
    outcome = outcome_of(status, robot_at(host), body)
    assert (outcome.status, outcome.reason, outcome.is_final) == (status, reason, is_final)
