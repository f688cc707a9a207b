"""
What the page and `doctor` say about each cause of “Token 验证失败”, in English and Chinese. Pure.

Rule: a sentence's fields are the facts of `verification.Cause`, which every cause has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from daemon.verification import Cause
from proxy.value import value_type


@value_type
class Saying:
    """What is the matter, and what to do about it, in one or two sentences each."""

    what: str
    to_do: str


ENGLISH: Mapping[str, Saying] = {
    "no_account": Saying(
        "No account is configured, so whatever WeChat sends is answered with 404.",
        "Add [[bot.accounts]] with its id and token to posthouse.toml, and restart.",
    ),
    "path": Saying(
        "A signed request came to {other}, which is no account's path.",
        "Make them the same: in WeChat's console the URL {url}, or in posthouse.toml the account's `path`. A slash at "
        "the end, or a capital letter, makes another path.",
    ),
    "token": Saying(
        "A request came to {path} whose signature is wrong: the Token in WeChat's console is not the account's `token`.",
        "Paste the Token again on both sides, without spaces; after a change of posthouse.toml restart, then submit.",
    ),
    "clock": Saying(
        "A request came to {path} that is rightly signed and more than 10 minutes off: this server's clock is wrong.",
        "Look with `timedatectl`; `timedatectl set-ntp true` keeps it right. Then submit again.",
    ),
    "plaintext": Saying(
        "A push came in plain, though `encoding_aes_key` is set.",
        "Choose safe mode (安全模式) in WeChat's console, or set allow_plaintext = true.",
    ),
    "no_aes_key": Saying(
        "A push came encrypted, and `encoding_aes_key` is not set.",
        "Copy the EncodingAESKey from WeChat's console and the AppID to the config, and restart; or choose plain mode.",
    ),
    "aes_key": Saying(
        "A push came that does not open: `encoding_aes_key` is not the EncodingAESKey of WeChat's console.",
        "Copy the EncodingAESKey again, and restart.",
    ),
    "app_id": Saying(
        "A push opened and names another AppID than `app_id`.",
        "Copy the AppID of this account from WeChat's console to `app_id`, and restart.",
    ),
    "port": Saying(
        "The port is {other}, and WeChat connects to 80 (http) and 443 (https) only.",
        "Listen on 80, or let nginx or Caddy on 80 or 443 pass to {other}; the URL in WeChat's console names no port.",
    ),
    "loopback": Saying(
        "The daemon listens on {other}, where only this machine can connect.",
        'Set server.listen = ["0.0.0.0:80"], or let nginx or Caddy on 80 or 443 pass to it.',
    ),
    "query": Saying(
        "Requests came to {path} without what WeChat always sends: a browser or a scanner, or a proxy that drops the query.",
        "Where a proxy is in front, it must pass the URL on whole, with everything after the question mark.",
    ),
    "unreachable": Saying(
        "Nothing of WeChat's has arrived: nobody has submitted yet, or it does not come through to this server.",
        "Open port 80 (or 443) in the provider's security group and the firewall; see that the name has an A record and leads "
        "to this server, and, for https, that the certificate is valid and whole. In WeChat's console the URL is {url}",
    ),
}

CHINESE: Mapping[str, Saying] = {
    "no_account": Saying(
        "还没有配置公众号，微信发来的一切都会得到 404。",
        "请在 posthouse.toml 中加入 [[bot.accounts]] 及其 id 和 token，然后重启。",
    ),
    "path": Saying(
        "有签名的请求发到了 {other}，这不是任何公众号的路径。",
        "请改成一致：公众平台的 URL 填 {url}，或修改 posthouse.toml 中的 path。末尾多一个 / 或大小写不同也算不一致。",
    ),
    "token": Saying(
        "{path} 收到的请求签名不对：公众平台的 Token 与配置的 token 不一致。",
        "两边重新粘贴 Token，前后不要带空格；改了 posthouse.toml 要先重启，再点“提交”。",
    ),
    "clock": Saying(
        "{path} 收到的请求签名正确，但时间相差超过 10 分钟：本机时钟不准。",
        "用 `timedatectl` 查看，用 `timedatectl set-ntp true` 自动校时，然后再点“提交”。",
    ),
    "plaintext": Saying(
        "收到明文推送，但配置了 encoding_aes_key。",
        "请在公众平台选择安全模式，或设置 allow_plaintext = true。",
    ),
    "no_aes_key": Saying(
        "收到加密推送，但没有配置 encoding_aes_key。",
        "把公众平台的 EncodingAESKey 和 AppID 填入配置并重启，或在公众平台选择明文模式。",
    ),
    "aes_key": Saying(
        "收到的推送解不开：encoding_aes_key 与公众平台的 EncodingAESKey 不一致。",
        "请重新复制 EncodingAESKey 并重启。",
    ),
    "app_id": Saying(
        "推送解开后，里面的 AppID 不是配置的 app_id。",
        "请把公众平台上这个号的 AppID 填入 app_id 并重启。",
    ),
    "port": Saying(
        "端口是 {other}，而微信只连 80（http）和 443（https）。",
        "请监听 80，或用 nginx、Caddy 在 80 或 443 上转到 {other}；公众平台的 URL 里不写端口。",
    ),
    "loopback": Saying(
        "服务监听在 {other}，只有本机能连。",
        '请设置 server.listen = ["0.0.0.0:80"]，或用 nginx、Caddy 在 80 或 443 上转过来。',
    ),
    "query": Saying(
        "{path} 收到的请求缺少微信必带的参数：可能是浏览器或扫描器，也可能是前面的代理丢掉了参数。",
        "如果前面有代理，要把问号后面的参数原样转过来。",
    ),
    "unreachable": Saying(
        "还没有收到微信的任何请求：要么还没有点过“提交”，要么请求到不了这台服务器。",
        "请在云服务商的安全组和防火墙放行 80（或 443）；检查域名是否解析到本机、有没有 A 记录；"
        "用 https 时检查证书是否有效、完整。公众平台的 URL 填 {url}",
    ),
}

VERIFICATION_WORDS: Mapping[Literal["en", "zh"], Mapping[str, Saying]] = {"en": ENGLISH, "zh": CHINESE}


def said(cause: Cause, language: Literal["en", "zh"]) -> Saying:
    """With the facts filled in, as plain text: a fact may be a stranger's words."""
    saying = VERIFICATION_WORDS[language][cause.code]
    return Saying(saying.what.format(**cause.facts), saying.to_do.format(**cause.facts))
