"""
What the demo's page says, in Chinese and English. Pure.

Rule 1: both languages are one type, so a sentence that one of them lacks is a type error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from daemon.demo.phone import Did, Kind
from daemon.demo.scene import RETRY_AFTER
from daemon.demo.subscriber import What
from daemon.operator.words import Language


@dataclass(frozen=True, slots=True)
class Words:
    other_language: str
    title: str
    lead: str
    steps: tuple[str, str, str, str]
    status_page: str
    phone: str
    accounts: Mapping[Kind, str]  # what each tab is called
    account: str
    typing: str
    placeholder: str
    send: str
    quick: tuple[tuple[str, str], ...]  # what a button is called, what it sends
    more: str
    sayings: tuple[tuple[str, str], ...]  # the same, behind `more`
    gestures: tuple[tuple[str, str], ...]  # what a button is called, what it does
    follow: str
    following: str
    notes: Mapping[Did, str]
    deleted: str
    served: str
    photo: str
    picture: str
    empty_chat: Mapping[Kind, str]
    gateway: str
    gateway_lead: str
    keys: str
    cast: Mapping[str, str]  # what each key plays, by its name
    call: str
    question: str
    calls: str
    no_calls: str
    seen: str
    seen_lead: str
    no_seen: str
    needs_script: str
    lost: str
    red_line: str
    waiting: str  # {seconds}
    delivery: Mapping[What, str]  # {number} {seconds} {detail}
    gave_up: str
    answers: Mapping[int, str]  # by status
    unreachable: str
    from_phone: str
    from_program: str
    from_check: str
    thinking: str
    left: str
    back_in: str


ZH = Words(
    other_language="English",
    title="驿站演示",
    lead="一个进程，两件事：多把密钥轮换的 OpenAI 网关，和用同一批密钥答话的微信公众号。"
    "这里跑的是真的程序，只有微信和模型是演的；不联网，不要密钥。",
    steps=(
        "在手机里点「慢 · 8 秒」。微信只等 5 秒就断开重发，看回答怎样赶上第二次。",
        "再点「更慢 · 20 秒」和「长回答」。三次都赶不上会来一个链接，点它取回答；长的先给一段。",
        "换到「认证号」再问一遍：写好了自己发来。「＋」里还有作画、照片、角色。",
        "在「网关」里点几下「发一个 API 请求」。遇到 429 的密钥去歇着，另一把马上接上，程序只看到 200。",
    ),
    status_page="管理员的状态页",
    phone="订阅者的手机",
    accounts={Kind.PERSONAL: "个人号", Kind.VERIFIED: "认证号"},
    account="驿站公众号",
    typing="对方正在输入…",
    placeholder="问点什么，写上“5 秒”就想 5 秒",
    send="发送",
    quick=(
        ("快 · 2 秒", "用 2 秒想想：驿站是什么？"),
        ("慢 · 8 秒", "用 8 秒想想：为什么要换马？"),
        ("更慢 · 20 秒", "用 20 秒想想：信怎么会不丢？"),
        ("长回答 · 边写边看", "写 30 秒：一封信怎样从长安走到敦煌？"),
    ),
    more="更多",
    sayings=(
        ("画一张图", "作画 一只在雨里骑车的猫"),
        ("角色", "角色 诗人"),
        ("状态", "状态"),
        ("清空", "清空"),
    ),
    gestures=(("发一张照片", "photo"), ("点菜单", "menu"), ("取消关注", "unfollow")),
    follow="关注",
    following="已关注",
    notes={
        Did.MENU: "你点了菜单「今天的信」",
        Did.FOLLOW: "你关注了这个公众号",
        Did.UNFOLLOW: "你取消了关注",
    },
    deleted="你取消了关注。问过的、答过的、选过的角色，驿站都删掉了。",
    served="客服消息",
    photo="你发的照片",
    picture="照剧本画的色块，每句话各不相同",
    empty_chat={
        Kind.PERSONAL: "没认证的号只能在微信的 5 秒里回话。\n从下面的按钮开始，或者自己打字。",
        Kind.VERIFIED: "认证过的号能主动发客服消息，来晚的回答自己送到。\n点一个慢问题试试。",
    },
    gateway="网关",
    gateway_lead="程序拿驿站发的令牌来调 /v1，背后是这三把密钥：",
    keys="密钥",
    cast={"limited": "时常超限", "well": "一切正常", "old": "已被吊销"},
    call="发一个 API 请求",
    question="用 1 秒想想：一加一等于几？",
    calls="程序收到的",
    no_calls="还没有请求。",
    seen="上游看到的",
    seen_lead="公众号和程序的请求都到这里，最新的在上。",
    no_seen="还没有请求到过上游。",
    needs_script="这一页要打开 JavaScript 才能演。状态页不用。",
    lost="和驿站断开了，正在重连……",
    red_line="该公众号提供的服务出现故障，请稍后再试",
    waiting="第 {number} 次推送：微信等了 {seconds} 秒，还开着……",
    delivery={
        What.ANSWERED: "第 {number} 次推送：{seconds} 秒后答上",
        What.DECLINED: "第 {number} 次推送：{seconds} 秒后收到 success，不用回话",
        What.CLOSED: "第 {number} 次推送：等满 {seconds} 秒，微信断开，重发",
        What.REFUSED: "第 {number} 次推送：被拒绝（{detail}）",
        What.BROKEN: "第 {number} 次推送：连接断了（{detail}）",
        What.MALFORMED: "第 {number} 次推送：回话格式不对（{detail}）",
    },
    gave_up="第 {number} 次推送：等满 {seconds} 秒，微信断开，不再重发",
    answers={200: "答了", 401: "密钥无效", 429: f"限流，{RETRY_AFTER} 秒后再来"},
    unreachable="连不上",
    from_phone="公众号",
    from_program="程序",
    from_check="免费检查",
    thinking="在想……",
    left="对方先走了",
    back_in="还要",
)

EN = Words(
    other_language="中文",
    title="Posthouse demo",
    lead="One process, two jobs: an OpenAI gateway that rotates keys, and a WeChat account that answers from the same keys. "
    "The program is real; only WeChat and the model are played. No network, no key.",
    steps=(
        "On the phone, press “Slow · 8 s”. WeChat hangs up after 5 s and delivers again: watch the answer make the second.",
        "Then “Slower · 20 s” and “Long answer”: a link comes instead, with what is written so far. Tap it for the rest.",
        "Switch to “Verified” and ask again: nothing to tap, answers come by themselves. “+” draws, sends photos and so on.",
        "Under “The gateway”, press “Send an API request” a few times. A key that meets a 429 rests, and another takes over.",
    ),
    status_page="Status page",
    phone="A subscriber's phone",
    accounts={Kind.PERSONAL: "Personal", Kind.VERIFIED: "Verified"},
    account="Posthouse account",
    typing="typing …",
    placeholder="Ask; “5 s” makes it think 5 s",
    send="Send",
    quick=(
        ("Quick · 2 s", "Take 2 s: what is a posthouse?"),
        ("Slow · 8 s", "Take 8 s: why change horses?"),
        ("Slower · 20 s", "Take 20 s: why is no letter lost?"),
        ("Long answer, read as written", "Write for 30 s: how does a letter get from Chang'an to Dunhuang?"),
    ),
    more="More",
    sayings=(
        ("Draw a picture", "作画 a cat cycling in the rain"),
        ("Persona", "角色 诗人"),
        ("Status", "状态"),
        ("Clear", "清空"),
    ),
    gestures=(("Send a photo", "photo"), ("Tap the menu", "menu"), ("Unfollow", "unfollow")),
    follow="Follow",
    following="Followed",
    notes={
        Did.MENU: "You tapped “Today's letters” in the menu",
        Did.FOLLOW: "You follow this account",
        Did.UNFOLLOW: "You left this account",
    },
    deleted="You left this account. Questions, answers, the persona you chose: all deleted.",
    served="customer service message",
    photo="The photo you sent",
    picture="Drawn by script: just blocks, different for every wish",
    empty_chat={
        Kind.PERSONAL: "An account that is not verified can speak only within WeChat's 5 seconds.\n"
        "Start with a button below, or type.",
        Kind.VERIFIED: "A verified account may send customer service messages: late answers come by themselves.\n"
        "Try a slow question.",
    },
    gateway="The gateway",
    gateway_lead="A program calls /v1 with a token of the posthouse's; behind it are these three keys:",
    keys="Keys",
    cast={"limited": "often over its limit", "well": "in good health", "old": "no longer valid"},
    call="Send an API request",
    question="Take 1 s: one and one?",
    calls="What the program got",
    no_calls="No request yet.",
    seen="What the upstream saw",
    seen_lead="Requests of the account and of the program alike, newest first.",
    no_seen="No request has reached the upstream yet.",
    needs_script="This page needs JavaScript to play. The status page does not.",
    lost="Lost the posthouse; trying again …",
    red_line="该公众号提供的服务出现故障，请稍后再试 (service failed, try again later)",
    waiting="delivery {number}: open for {seconds} s …",
    delivery={
        What.ANSWERED: "delivery {number}: answered after {seconds} s",
        What.DECLINED: "delivery {number}: “success” after {seconds} s, nothing to say",
        What.CLOSED: "delivery {number}: open {seconds} s, closed by WeChat, sent again",
        What.REFUSED: "delivery {number}: refused ({detail})",
        What.BROKEN: "delivery {number}: connection broken ({detail})",
        What.MALFORMED: "delivery {number}: malformed reply ({detail})",
    },
    gave_up="delivery {number}: open {seconds} s, closed by WeChat, given up",
    answers={200: "answered", 401: "invalid key", 429: f"rate limit, retry in {RETRY_AFTER} s"},
    unreachable="unreachable",
    from_phone="account",
    from_program="program",
    from_check="free check",
    thinking="thinking …",
    left="caller left",
    back_in="back in",
)

WORDS: Mapping[Language, Words] = {"zh": ZH, "en": EN}
