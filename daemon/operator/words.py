"""
What the operator's page says, in English and Chinese. Pure.

Rule 1: both languages are one type, so a sentence that one of them lacks is a type error.
Rule 2: a state and a rule are looked up by the names they have in the log, in `/status.json` and in metrics; one that is
        missing here shows its own name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from daemon.operator.banner_words import CHINESE_BANNERS, ENGLISH_BANNERS, BannerWords
from daemon.operator.figures import amount, duration
from daemon.operator.key_words import CHINESE_KEY, ENGLISH_KEY, KeyWords
from daemon.operator.pending_words import CHINESE_PENDING, ENGLISH_PENDING, PendingWords
from daemon.operator.traffic_words import CHINESE_TRAFFIC, ENGLISH_TRAFFIC, TrafficWords
from daemon.operator.wechat_words import CHINESE_WECHAT, ENGLISH_WECHAT, WeChatWords
from proxy.value import value_type

Language = Literal["en", "zh"]


@value_type
class Words:
    """Sentences the templates take as they are, tables by name, and a few that need a number."""

    headline: Callable[[int, int, int | None], str]  # usable keys, all keys, pending (None: the database is silent)
    duration: Callable[[float], str]
    number: Callable[[int], str]
    more: Callable[[int], str]
    colon: str
    try_later: Callable[[int], str]  # seconds
    key_states: Mapping[str, str]
    key_advice: Mapping[str, str]
    key_until: Mapping[str, str]  # what the countdown of a state counts down to
    rules: Mapping[str, str]
    scopes: Mapping[str, str]
    question_states: Mapping[str, str]
    other_language: str
    keys: str
    no_keys: str
    no_keys_advice: str
    in_flight: str
    last_request: str
    models_resting: str
    questions: str
    no_questions: str
    no_questions_advice: str
    key: KeyWords
    pending: PendingWords
    banners: BannerWords
    traffic: TrafficWords
    wechat: WeChatWords
    lost: str
    sign_in: str
    sign_in_lead: str
    sign_out: str
    password: str
    wrong_password: str
    stale_form: str
    stale_ticket: str


def _headline_en(usable: int, keys: int, pending: int | None) -> str:
    first = f"{usable} of {keys} keys usable" if keys else "No key configured"
    if pending is None:
        return f"{first}, the database does not answer"
    return f"{first}, {f'{pending:,}' if pending else 'no'} {'answer' if pending == 1 else 'answers'} waiting"


def _headline_zh(usable: int, keys: int, pending: int | None) -> str:
    first = f"{keys} 把密钥中 {usable} 把可用" if keys else "还没有密钥"
    if pending is None:
        return f"{first}，数据库没有响应"
    return f"{first}，{pending:,} 条回答待取" if pending else f"{first}，没有待取的回答"


ENGLISH = Words(
    headline=_headline_en,
    duration=lambda seconds: duration(seconds, (" d", " h", " min", " s")),
    number=lambda count: amount(count, (1_000_000, "M"), (1_000_000_000, "G")),
    more=lambda count: f"and {count} more",
    colon=": ",
    try_later=lambda seconds: f"Too many wrong passwords from this address. Try again in {seconds} s.",
    key_states={
        "ready": "Ready",
        "cooling": "Cooling",
        "suspect": "Suspect",
        "exhausted": "Exhausted",
        "dead": "Dead",
        "blocked_ip": "Address blocked",
        "disabled": "Disabled",
    },
    key_advice={
        "suspect": "A free request decides soon whether it still lives.",
        "exhausted": "Top up the account, or let it rest.",
        "dead": "Put a new secret into posthouse.toml. It is looked at again every 24 hours.",
        "blocked_ip": "Allow this server's address in the vendor's console.",
        "disabled": "Switched off by you. No request uses it.",
    },
    key_until={
        "cooling": "back in",
        "suspect": "checked in",
        "exhausted": "tried again in",
        "dead": "checked in",
        "blocked_ip": "tried again in",
    },
    rules={
        "rate": "The upstream limits how often it may ask.",
        "slow_down": "The upstream asks us to slow down.",
        "overload": "The upstream is overloaded.",
        "quota": "Its quota or credit is used up.",
        "auth": "The upstream does not accept this key.",
        "dead": "The upstream has closed the account behind it.",
        "region": "The upstream does not serve the country this server is in.",
        "address": "The upstream does not accept this server's address for it.",
        "model": "The upstream does not let it use this model.",
        "connect": "The upstream cannot be reached.",
        "server": "The upstream answers with an error of its own.",
        "unknown": "The upstream broke off; whether it did what was asked is not known.",
        "breaker": "The upstream keeps failing, so it rests.",
        "incident": "Many keys were rejected at once, so the upstream rests. Look at this server's outgoing address.",
    },
    scopes={
        "key": "this key",
        "key-model": "this key",
        "organization": "its organization",
        "organization-model": "its organization",
        "upstream": "the upstream",
        "upstream-model": "the upstream",
    },
    question_states={
        "queued": "Queued",
        "thinking": "Thinking",
        "answered": "Answered",
        "collected": "Collected",
        "failed": "Failed",
    },
    other_language="中文",
    keys="Keys",
    no_keys="No key is configured.",
    no_keys_advice="Add a [[keys]] table with its secret to posthouse.toml, or set OPENAI_API_KEY, and start again.",
    in_flight="in flight",
    last_request="last request",
    models_resting="Models resting",
    questions="Questions kept",
    no_questions="No question has come yet.",
    no_questions_advice="In WeChat's console, under developer settings, set the server's URL and token as in posthouse.toml.",
    key=ENGLISH_KEY,
    pending=ENGLISH_PENDING,
    banners=ENGLISH_BANNERS,
    traffic=ENGLISH_TRAFFIC,
    wechat=ENGLISH_WECHAT,
    lost="The daemon does not answer. What you see is old; trying again …",
    sign_in="Sign in",
    sign_in_lead="The operator's page",
    sign_out="Sign out",
    password="Password",  # noqa: S106 - the label of the field
    wrong_password="That is not the password.",  # noqa: S106
    stale_form="This form had gone stale. Please try once more.",
    stale_ticket="This link has been used already or is too old. Sign in with the password.",
)

CHINESE = Words(
    headline=_headline_zh,
    duration=lambda seconds: duration(seconds, (" 天", " 小时", " 分钟", " 秒")),
    number=lambda count: amount(count, (10_000, "万"), (100_000_000, "亿")),
    more=lambda count: f"还有 {count} 项",
    colon="：",
    try_later=lambda seconds: f"此地址输错密码的次数过多，请在 {seconds} 秒后再试。",
    key_states={
        "ready": "可用",
        "cooling": "冷却中",
        "suspect": "待核实",
        "exhausted": "额度用尽",
        "dead": "已失效",
        "blocked_ip": "地址被拒",
        "disabled": "已停用",
    },
    key_advice={
        "suspect": "稍后用一次免费请求核实它是否仍然有效。",
        "exhausted": "请为账户充值，或等待额度恢复。",
        "dead": "请在 posthouse.toml 中换上新密钥。每 24 小时会再检查一次。",
        "blocked_ip": "请在服务商的控制台放行本服务器的地址。",
        "disabled": "由您停用，不会有请求使用它。",
    },
    key_until={
        "cooling": "距恢复",
        "suspect": "距核实",
        "exhausted": "距重试",
        "dead": "距复查",
        "blocked_ip": "距重试",
    },
    rules={
        "rate": "上游限制了它的请求频率。",
        "slow_down": "上游要求放慢请求。",
        "overload": "上游过载。",
        "quota": "它的额度或余额已用尽。",
        "auth": "上游不接受这把密钥。",
        "dead": "上游已关闭它所属的账户。",
        "region": "上游不为本服务器所在的地区提供服务。",
        "address": "上游不接受本服务器的地址使用它。",
        "model": "上游不允许它使用这个模型。",
        "connect": "连不上上游。",
        "server": "上游自身出错。",
        "unknown": "上游中途断开，不知道是否已经照办。",
        "breaker": "上游接连出错，先歇一会。",
        "incident": "许多密钥同时被拒，上游先歇一会。请检查本服务器的出口地址。",
    },
    scopes={
        "key": "此密钥",
        "key-model": "此密钥",
        "organization": "同一组织",
        "organization-model": "同一组织",
        "upstream": "整个上游",
        "upstream-model": "整个上游",
    },
    question_states={
        "queued": "排队中",
        "thinking": "思考中",
        "answered": "已回答",
        "collected": "已取走",
        "failed": "失败",
    },
    other_language="English",
    keys="密钥",
    no_keys="还没有配置密钥。",
    no_keys_advice="请在 posthouse.toml 中加入 [[keys]] 及其 secret，或设置 OPENAI_API_KEY，然后重新启动。",
    in_flight="进行中",
    last_request="最近请求",
    models_resting="休息中的模型",
    questions="保存的问题",
    no_questions="还没有收到任何问题。",
    no_questions_advice="请在微信公众平台的开发设置中，按 posthouse.toml 填写服务器地址（URL）与令牌（Token）。",
    key=CHINESE_KEY,
    pending=CHINESE_PENDING,
    banners=CHINESE_BANNERS,
    traffic=CHINESE_TRAFFIC,
    wechat=CHINESE_WECHAT,
    lost="服务没有响应，以下内容已过时；正在重试……",
    sign_in="登录",
    sign_in_lead="运维页面",
    sign_out="退出",
    password="密码",  # noqa: S106
    wrong_password="密码不正确。",  # noqa: S106
    stale_form="表单已过期，请再试一次。",
    stale_ticket="此链接已使用过或已过期，请用密码登录。",
)

WORDS: Mapping[Language, Words] = {"en": ENGLISH, "zh": CHINESE}


def language(asked: str, accepted: str) -> Language:
    """`asked` is `?lang=`, which wins; `accepted` is Accept-Language. English where neither names a language we have."""
    if asked in ("en", "zh"):
        return "en" if asked == "en" else "zh"
    best: tuple[float, Language] = (0.0, "en")
    for part in accepted[:200].split(","):
        tag, _, weight = part.strip().lower().partition(";q=")
        try:
            quality = float(weight or 1)
        except ValueError:
            continue
        primary = tag.split("-")[0]
        if primary in ("en", "zh") and quality > best[0]:
            best = (quality, "en" if primary == "en" else "zh")
    return best[1]
