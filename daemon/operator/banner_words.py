"""What the page says above everything else: what is wrong, and what to do, in English and Chinese. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from daemon.operator.verification_words import Saying
from proxy.value import value_type


@value_type
class BannerWords:
    """The fields of `sayings`, by a banner's code, are the facts that `banners` gives with it."""

    title: str
    first_back: str
    again: str
    sayings: Mapping[str, Saying]
    verification: Callable[[str, str], str]  # the account, and what is the matter
    refused: Callable[[str, str], str]
    others: Callable[[int], str]


ENGLISH_BANNERS = BannerWords(
    title="What needs a look",
    first_back="first back in",
    again="tried again in",
    sayings={
        "database": Saying(
            "The database does not answer.",
            "Callers are served all the same; the bot waits. Look at free space and permissions of its folder.",
        ),
        "none_left": Saying(
            "No key can serve, and each needs a hand.",
            "Each key below says what it needs. Without one, callers and subscribers are told that nothing can be asked.",
        ),
        "none_enabled": Saying("Every key is disabled.", "Enable one below."),
        "none_ready": Saying(
            "No key is ready.",
            "Nothing to do: callers are told when to come again, and questions wait. If it happens often, ask for higher "
            "limits, or add a key of another organization of yours.",
        ),
        "incident": Saying(
            "{upstream} rejected its keys all at once, so no key is blamed, and the upstream rests.",
            "Something in between is likely: look at this server's outgoing address and at proxies on the way. Then see "
            "whether the vendor has closed the account. `posthouse doctor` looks at each key.",
        ),
        "region": Saying(
            "{upstream} does not serve the country that this server's requests come from.",
            "No other key helps. Move to a server in a country it serves, or set `source_address` of that upstream to an "
            "address there.",
        ),
        "breaker": Saying(
            "{upstream} keeps failing, so it rests.",
            "Nothing to do here: it is tried again by itself. Look at the vendor's status page, and at this server's network.",
        ),
        "verification": Saying("{what}", "{to_do}"),
        "front_buffers": Saying(
            "A proxy in front holds streams back: answers come late, and in one piece.",
            "In nginx: `proxy_buffering off` and `gzip off` for /v1 and /status/events. In Caddy: `flush_interval -1`. "
            "At a CDN: neither cache nor compress these paths.",
        ),
        "forged": Saying(
            "Somebody sends pushes to {path} that are not WeChat's: {count} in the last 10 minutes.",
            "None was let in. If it goes on, give the account a `path` that nobody guesses, here and in WeChat's console.",
        ),
        "organization": Saying(
            "Keys of one organization share its limits: {groups}.",
            "They cool and run out together. More room comes from higher limits or another organization of yours.",
        ),
    },
    verification=lambda account, what: f"“Token 验证失败” ({account}): {what}",
    refused=lambda account, what: f"{account}: {what}",
    others=lambda count: f"and {count} more",
)

CHINESE_BANNERS = BannerWords(
    title="需要看一眼",
    first_back="最早恢复",
    again="距重试",
    sayings={
        "database": Saying(
            "数据库没有响应。",
            "网关照常服务，公众号暂停作答。请检查数据库所在目录的剩余空间与权限。",
        ),
        "none_left": Saying(
            "没有可用的密钥，每一把都需要处理。",
            "下面写着每把密钥需要什么。在此之前，调用者和订阅者都会得知暂时无法提问。",
        ),
        "none_enabled": Saying("所有密钥都已停用。", "请在下面启用一把。"),
        "none_ready": Saying(
            "暂时没有可用的密钥。",
            "不用处理：调用者会得知何时再来，订阅者的问题会等着。若经常如此，请申请更高的限额，或加一把您另一个组织的密钥。",
        ),
        "incident": Saying(
            "{upstream} 同时拒绝了它的密钥，所以不怪任何一把，上游先歇一会。",
            "多半是中间出了问题：请检查本服务器的出口地址和途中的代理，再看服务商是否关闭了账户。"
            "`posthouse doctor` 会逐把检查。",
        ),
        "region": Saying(
            "{upstream} 不为本服务器请求所来自的地区提供服务。",
            "换密钥没有用。请迁到它支持的地区，或把该上游的 `source_address` 设为那里的地址。",
        ),
        "breaker": Saying(
            "{upstream} 接连出错，先歇一会。",
            "这里不用处理，会自动重试。请看服务商的状态页和本服务器的网络。",
        ),
        "verification": Saying("{what}", "{to_do}"),
        "front_buffers": Saying(
            "前面的代理把流攒了起来：回答来得晚，而且是一整块。",
            "nginx：对 /v1 和 /status/events 设 `proxy_buffering off` 和 `gzip off`；Caddy：`flush_interval -1`；"
            "CDN：这些路径不缓存、不压缩。",
        ),
        "forged": Saying(
            "有人向 {path} 发送不是微信的推送：最近 10 分钟 {count} 次。",
            "一次也没有放进来。若持续如此，请为这个号换一个别人猜不到的 `path`，配置和公众平台两边一起改。",
        ),
        "organization": Saying(
            "同一组织的密钥共用限额：{groups}。",
            "它们会一起冷却、一起用尽。想要更多余量，请提高限额，或用您的另一个组织。",
        ),
    },
    verification=lambda account, what: f"“Token 验证失败”（{account}）：{what}",
    refused=lambda account, what: f"{account}：{what}",
    others=lambda count: f"等 {count} 组",
)
