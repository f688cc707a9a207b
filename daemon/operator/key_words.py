"""What the page says about a key's traffic, its past, and the buttons on it, in English and Chinese. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy.value import value_type


@value_type
class Operation:
    """`label` is on the button, `does` says what pressing it does."""

    label: str
    does: str


@value_type
class KeyWords:
    """`operations` are named as in the URLs, `events` as in the log."""

    key: str
    why: str
    succeeded: str
    no_day: str  # beside `succeeded`, where nothing was asked
    tokens: str
    last_hour: str
    counts: Callable[[str, str], str]  # answered, failed
    quiet_hour: str
    quiet_day: str
    shared: Callable[[int], str]  # keys of one organization
    history: str
    more: str
    no_history: str
    transitions: str
    ago: Callable[[str], str]  # a duration
    operations: Mapping[str, Operation]
    events: Mapping[str, str]


ENGLISH_KEY = KeyWords(
    key="Key",
    why="Why, and until when",
    succeeded="answered in 24 h",
    no_day="–",
    tokens="tokens today",
    last_hour="Last hour",
    counts=lambda answered, failed: f"{answered} answered, {failed} failed",
    quiet_hour="No request in the last hour",
    quiet_day="No request in 24 hours",
    shared=lambda count: f"{count} keys share its limits",
    history="History",
    more="More",
    no_history="Nothing has happened to any key yet.",
    transitions="What happened to keys",
    ago=lambda duration: f"{duration} ago",
    operations={
        "check": Operation("Check", "asks the upstream whether the key lives, which costs nothing"),
        "clear": Operation("Clear", "forgets what stands in its way, so that the next request may use it"),
        "disable": Operation("Disable", "keeps requests away from it; those on their way end as they began"),
        "enable": Operation("Enable", "lets requests use it again"),
    },
    events={
        "key.cooled": "Cooled",
        "key.recovered": "Recovered",
        "key.suspected": "Suspected",
        "key.exhausted": "Exhausted",
        "key.rejected": "Rejected",
        "key.blocked": "Address blocked",
        "key.disabled": "Disabled by you",
        "key.enabled": "Enabled by you",
        "key.cleared": "Cleared by you",
        "key.checked": "Checked by you",
        "limit.narrowed": "The limit is its own",
        "upstream.rested": "The upstream rests",
        "upstream.recovered": "The upstream is back",
    },
)

CHINESE_KEY = KeyWords(
    key="密钥",
    why="原因与剩余时间",
    succeeded="24 小时成功率",
    no_day="—",
    tokens="今日 token",
    last_hour="最近一小时",
    counts=lambda answered, failed: f"成功 {answered}，失败 {failed}",
    quiet_hour="最近一小时没有请求",
    quiet_day="24 小时内没有请求",
    shared=lambda count: f"{count} 把密钥共用限额",
    history="经过",
    more="更多",
    no_history="还没有发生过什么。",
    transitions="密钥动态",
    ago=lambda duration: f"{duration}前",
    operations={
        "check": Operation("检查", "问上游这把密钥是否有效，不花钱"),
        "clear": Operation("清除", "忘掉妨碍它的一切，下一个请求就可以用它"),
        "disable": Operation("停用", "不再让请求用它，进行中的照常结束"),
        "enable": Operation("启用", "让请求重新用它"),
    },
    events={
        "key.cooled": "开始冷却",
        "key.recovered": "恢复",
        "key.suspected": "待核实",
        "key.exhausted": "额度用尽",
        "key.rejected": "被拒",
        "key.blocked": "地址被拒",
        "key.disabled": "由您停用",
        "key.enabled": "由您启用",
        "key.cleared": "由您清除",
        "key.checked": "由您检查",
        "limit.narrowed": "限额只属于它",
        "upstream.rested": "上游歇一会",
        "upstream.recovered": "上游恢复",
    },
)
