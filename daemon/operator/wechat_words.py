"""What the page says about WeChat, in English and Chinese. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bot.wechat.view import Standing
from proxy.value import value_type


@value_type
class WeChatWords:
    """`outcomes` are named as in the log: "accepted", and the reasons of `push.refused`."""

    title: str
    no_accounts: str
    no_accounts_advice: str
    no_attempts: str
    no_attempts_advice: Callable[[str], str]  # the account's URL
    your_server: str  # where the config has no public_url
    causes: str
    misdirected: str
    deliveries: str
    in_time: Callable[[str], str]  # a share
    in_time_of_none: str
    budget_left: str
    budget_hint: str
    kinds: Mapping[str, str]
    outcomes: Mapping[str, str]
    service: Mapping[Standing, str]
    brought: str
    kept: str


ENGLISH_WECHAT = WeChatWords(
    title="WeChat",
    no_accounts="No account is configured.",
    no_accounts_advice="Add a [[bot.accounts]] table with its id and token to posthouse.toml, and start again.",
    no_attempts="No verification yet.",
    no_attempts_advice=lambda url: (
        f"Enter {url} and the token in WeChat's console and submit; what comes, and why it is refused, is shown here."
    ),
    your_server="http://YOUR-SERVER",
    causes="Why the console says “Token 验证失败”, or nothing is answered",
    misdirected="Signed requests to paths that are no account's",
    deliveries="deliveries",
    in_time=lambda share: f"answered within 5 s ({share})",
    in_time_of_none="answered within 5 s",
    budget_left="unanswered deliveries left in the next 5 minutes",
    budget_hint=(
        "While the model thinks, deliveries are left unanswered on purpose: WeChat sends them again, up to twice. When none "
        "is left, each is answered, if need be with a link to tap, because WeChat stops pushing after too many silences."
    ),
    kinds={"verification": "Verification", "push": "Push"},
    outcomes={
        "accepted": "Accepted.",
        "duplicate_parameter": "Refused: a parameter came twice in the URL.",
        "missing_parameter": "Refused: a parameter is missing that WeChat always sends; probably not WeChat.",
        "malformed": "Refused: the body is no push.",
        "signature": "Refused: wrong signature. The token differs from the Token in WeChat's console.",
        "timestamp": "Refused: the time is more than 10 minutes off. Look at this server's clock.",
        "plaintext": "Refused: it came in plain. Choose safe mode in WeChat's console.",
        "no_aes_key": "Refused: it came encrypted, and encoding_aes_key is not set.",
        "undecipherable": "Refused: it does not open. encoding_aes_key differs from WeChat's console.",
        "app_id": "Refused: it is for another AppID.",
        "too_large": "Refused: larger than any push; probably not WeChat.",
    },
    service={
        Standing.UNKNOWN: "Customer-service messages: the next question will tell whether this account may send them.",
        Standing.ALLOWED: "Customer-service messages: late answers are sent by themselves.",
        Standing.REFUSED: "Customer-service messages: this account may not send them (48001); late answers wait for a tap.",
    },
    brought="pages sent",
    kept="answers kept in the mailbox",
)

CHINESE_WECHAT = WeChatWords(
    title="微信公众号",
    no_accounts="还没有配置公众号。",
    no_accounts_advice="请在 posthouse.toml 中加入 [[bot.accounts]] 及其 id 和 token，然后重新启动。",
    no_attempts="还没有收到验证。",
    no_attempts_advice=lambda url: f"请在公众平台填写 {url} 和 Token 并提交；收到的请求和拒绝的原因会显示在这里。",
    your_server="http://你的域名",
    causes="公众平台提示“Token 验证失败”或公众号不回答的原因",
    misdirected="有签名、但路径不属于任何公众号的请求",
    deliveries="收到推送",
    in_time=lambda share: f"5 秒内答复（{share}）",
    in_time_of_none="5 秒内答复",
    budget_left="接下来 5 分钟还可以不答的推送",
    budget_hint=(
        "模型还在想时，会有意先不答，等微信重发（最多两次）。次数用完后每次都答，没想好就先回一个可点的链接，因为不答太多，微信会停止推送。"
    ),
    kinds={"verification": "验证", "push": "推送"},
    outcomes={
        "accepted": "通过。",
        "duplicate_parameter": "拒绝：URL 中有重复的参数。",
        "missing_parameter": "拒绝：缺少微信必带的参数，多半不是微信发来的。",
        "malformed": "拒绝：内容不是微信推送。",
        "signature": "拒绝：签名不对，token 与公众平台的 Token 不一致。",
        "timestamp": "拒绝：时间相差超过 10 分钟，请检查服务器时钟。",
        "plaintext": "拒绝：收到明文，请在公众平台选择安全模式。",
        "no_aes_key": "拒绝：收到密文，但没有配置 encoding_aes_key。",
        "undecipherable": "拒绝：解不开，encoding_aes_key 与公众平台不一致。",
        "app_id": "拒绝：是发给另一个 AppID 的。",
        "too_large": "拒绝：比任何推送都大，多半不是微信发来的。",
    },
    service={
        Standing.UNKNOWN: "客服消息：还不知道这个号能不能发，下一个问题来时就知道了。",
        Standing.ALLOWED: "客服消息：可以发，想得久的回答会自己送到。",
        Standing.REFUSED: "客服消息：这个号不能发（48001），想得久的回答等人来点。",
    },
    brought="已送出的页数",
    kept="没送完、留在信箱的回答",
)
