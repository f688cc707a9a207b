"""What the page says about callers and upstreams, in English and Chinese. Pure."""

from __future__ import annotations

from collections.abc import Callable

from proxy.value import value_type


@value_type
class TrafficWords:
    callers: str
    no_callers: str
    no_callers_advice: str
    caller: str
    requests: str
    tokens: str
    limits: str
    tokens_of: Callable[[str, str], str]  # used, limit
    a_minute: Callable[[str], str]
    at_once: Callable[[str, str], str]  # in flight, limit
    in_flight: Callable[[str], str]
    expires: Callable[[str], str]  # a duration
    expired: str
    no_limits: str
    upstreams: str
    no_answers: str
    half_within: str
    most_within: str
    our_share: str
    last_failure: str
    no_failure: str


ENGLISH_TRAFFIC = TrafficWords(
    callers="Callers today",
    no_callers="Nobody may use the gateway.",
    no_callers_advice="`posthouse token NAME` makes a token and prints what to add to posthouse.toml.",
    caller="Caller",
    requests="Requests",
    tokens="Tokens",
    limits="Limits",
    tokens_of=lambda used, limit: f"{used} of {limit} tokens",
    a_minute=lambda limit: f"{limit} requests a minute",
    at_once=lambda used, limit: f"{used} of {limit} in flight",
    in_flight=lambda used: f"{used} in flight",
    expires=lambda duration: f"expires in {duration}",
    expired="expired",
    no_limits="none",
    upstreams="Upstreams",
    no_answers="No answer yet.",
    half_within="first byte, p50",
    most_within="first byte, p95",
    our_share="of it our own, p50",
    last_failure="Last failure",
    no_failure="No failure since the start.",
)

CHINESE_TRAFFIC = TrafficWords(
    callers="今日调用者",
    no_callers="还没有人可以使用网关。",
    no_callers_advice="运行 `posthouse token NAME` 生成令牌，并把它打印的几行加入 posthouse.toml。",
    caller="调用者",
    requests="请求",
    tokens="token",
    limits="限额",
    tokens_of=lambda used, limit: f"token {used} / {limit}",
    a_minute=lambda limit: f"每分钟 {limit} 个请求",
    at_once=lambda used, limit: f"进行中 {used} / {limit}",
    in_flight=lambda used: f"进行中 {used}",
    expires=lambda duration: f"{duration}后过期",
    expired="已过期",
    no_limits="不限",
    upstreams="上游",
    no_answers="还没有回答。",
    half_within="首字节 p50",
    most_within="首字节 p95",
    our_share="其中本机 p50",
    last_failure="上次出错",
    no_failure="启动以来没有出错。",
)
