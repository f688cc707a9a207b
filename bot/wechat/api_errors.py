"""
What an error code of WeChat's server API means, and the ways in which a call of it can fail. Pure.

Rule 1: a code is of one kind, by KIND_OF; one that is not there is OTHER.
Rule 2: WeChat's own words (errmsg) go no further than this module: they may repeat what was sent. Only an address is taken out.
Rule 3: which error it is says whether the call may have been carried out: refused and unreachable, it certainly was not.

Sources: developers.weixin.qq.com/doc/service/api/ (base/api_getstableaccesstoken, customer/message/api_sendcustommessage,
customer/message/api_typing) and the general list of return codes there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv6Address, ip_address

READ_CHARACTERS = 500  # of an errmsg; an address stands at its beginning
ADDRESSES = re.compile(r"[0-9A-Fa-f:.]{3,45}")


class ApiKind(StrEnum):
    BUSY = "busy"  # the same call may succeed a moment later
    TOKEN = "token"  # noqa: S105 (the access token is not, or no longer, accepted)
    NOT_ALLOWED = "not_allowed"  # the account has no right to this call
    WINDOW = "window"  # the subscriber's last message is too long ago, or they have left
    QUOTA = "quota"  # what one message of theirs allows is used up
    TOO_LONG = "too_long"
    SUBSCRIBER = "subscriber"  # who cannot be reached at all
    OPERATOR = "operator"  # who must act before anything works
    CONTENT = "content"
    OTHER = "other"


KIND_OF: Mapping[int, ApiKind] = {
    -1: ApiKind.BUSY,
    45011: ApiKind.BUSY,  # too many calls in this minute
    40001: ApiKind.TOKEN,
    40014: ApiKind.TOKEN,
    41001: ApiKind.TOKEN,
    42001: ApiKind.TOKEN,
    48001: ApiKind.NOT_ALLOWED,
    50001: ApiKind.NOT_ALLOWED,
    45015: ApiKind.WINDOW,
    45080: ApiKind.WINDOW,  # the typing state's window, of 30 s
    45047: ApiKind.QUOTA,
    45002: ApiKind.TOO_LONG,
    40003: ApiKind.SUBSCRIBER,  # no openid of this account's
    43004: ApiKind.SUBSCRIBER,  # does not follow
    43019: ApiKind.SUBSCRIBER,  # is blocked by the account
    46004: ApiKind.SUBSCRIBER,  # does not exist
    48002: ApiKind.SUBSCRIBER,  # takes no messages
    40002: ApiKind.OPERATOR,
    40013: ApiKind.OPERATOR,
    40125: ApiKind.OPERATOR,
    40164: ApiKind.OPERATOR,
    40243: ApiKind.OPERATOR,
    41002: ApiKind.OPERATOR,
    41004: ApiKind.OPERATOR,
    45009: ApiKind.OPERATOR,
    48004: ApiKind.OPERATOR,
    50002: ApiKind.OPERATOR,
    50004: ApiKind.OPERATOR,
    50007: ApiKind.OPERATOR,
    89501: ApiKind.OPERATOR,
    89503: ApiKind.OPERATOR,
    89506: ApiKind.OPERATOR,
    89507: ApiKind.OPERATOR,
    40004: ApiKind.CONTENT,
    40005: ApiKind.CONTENT,
    40006: ApiKind.CONTENT,
    40007: ApiKind.CONTENT,  # a media id that is unknown, or of more than three days ago
    40008: ApiKind.CONTENT,
    40009: ApiKind.CONTENT,
    40033: ApiKind.CONTENT,
    41005: ApiKind.CONTENT,
    44001: ApiKind.CONTENT,
    44002: ApiKind.CONTENT,
    44004: ApiKind.CONTENT,
    45001: ApiKind.CONTENT,
    47001: ApiKind.CONTENT,
    87014: ApiKind.CONTENT,  # against WeChat's rules
}


class ApiError(Exception):
    """A call of WeChat's server API that did not succeed."""


class ApiRefused(ApiError):
    """WeChat answered, and said no. `detail` is, of a 40164, the address that WeChat saw the call come from."""

    def __init__(self, code: int, kind: ApiKind, detail: str = "") -> None:
        super().__init__(code, kind, detail)
        self.code = code
        self.kind = kind
        self.detail = detail

    def __str__(self) -> str:
        return f"WeChat refused with {self.code} ({self.kind})" + (f": {self.detail}" if self.detail else "")


class ApiUnreachable(ApiError):
    """Nothing of the call was sent to any host. `reason` is a few words of ours."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return "WeChat's server could not be reached" + (f": {self.reason}" if self.reason else "")


class ApiOutcomeUnknown(ApiError):
    """The call was sent and no readable answer came: it may have been carried out. `reason` is a few words of ours."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return "WeChat's server took the call and did not say what became of it" + (
            f": {self.reason}" if self.reason else ""
        )


def kind_of(code: int) -> ApiKind:
    return KIND_OF.get(code, ApiKind.OTHER)


def refused(code: int, errmsg: object) -> ApiRefused:
    """The error that WeChat's answer is; `errmsg` as it came."""
    is_told = code == 40164 and isinstance(errmsg, str)
    return ApiRefused(code, kind_of(code), _address_in(str(errmsg)) if is_told else "")


def _address_in(message: str) -> str:
    """The first address of "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist"; "" where there is none."""
    for word in ADDRESSES.findall(message[:READ_CHARACTERS]):
        try:
            address = ip_address(word)
        except ValueError:
            continue
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if not address.is_unspecified:
            return str(address)
    return ""


def advice(error: ApiError) -> str:
    """What the operator can do about it, in one sentence."""
    match error:
        case ApiRefused(code=40164, detail=address):
            whose = f"the address {address}" if address else "this server's public address"
            return f"Add {whose} to the IP allow-list (IP白名单) in WeChat's console."
        case ApiRefused(code=code, kind=kind):
            return ADVICE_OF_CODE.get(code) or ADVICE_OF_KIND[kind].format(code=code)
        case ApiOutcomeUnknown():
            return f"{error}. Nothing to do, unless it goes on: then set another api_base."
    return f"{error}. Check name resolution, the firewall and api_base."


ADVICE_OF_CODE: Mapping[int, str] = {
    40001: "WeChat accepts no access token of this app_id and app_secret: check that both are this account's, and current.",
    40013: "app_id is wrong: copy the AppID from WeChat's console.",
    40125: "app_secret is wrong: copy the AppSecret from WeChat's console; a reset there makes the old one void.",
    40243: "The AppSecret is frozen: unfreeze it in WeChat's console.",
    41002: "app_id is missing: copy the AppID from WeChat's console.",
    41004: "app_secret is missing: copy the AppSecret from WeChat's console.",
    45009: "The day's quota of calls is used up: wait for midnight in China, or clear it in WeChat's console.",
    48004: "WeChat has blocked this call for the account: the notices in WeChat's console say why.",
    50002: "WeChat has restricted the account: the notices in WeChat's console say why.",
    50004: "WeChat gives this account no access tokens: the notices in WeChat's console say why.",
    50007: "WeChat has frozen the account: the notices in WeChat's console say why.",
    89501: "An administrator of the account has to confirm this server's address; WeChat has sent the request.",
    89503: "An administrator of the account has to confirm this server's address; WeChat has sent the request.",
    89506: "An administrator of the account refused this server's address: settle it with them, and wait 24 hours.",
    89507: "An administrator of the account refused this server's address: settle it with them, and wait an hour.",
}
ADVICE_OF_KIND: Mapping[ApiKind, str] = {
    ApiKind.BUSY: "WeChat is busy ({code}): nothing to do, it is tried again later.",
    ApiKind.TOKEN: "WeChat accepts no access token ({code}): check that app_id and app_secret are this account's.",
    ApiKind.NOT_ALLOWED: "The account may not do this ({code}): WeChat allows it to verified accounts (已认证) alone.",
    ApiKind.WINDOW: "The subscriber wrote too long ago, or has left ({code}): nothing to do, the answer waits for them.",
    ApiKind.QUOTA: "WeChat takes no more messages for the subscriber's last one ({code}): nothing to do, the rest waits.",
    ApiKind.TOO_LONG: "WeChat found the message too long ({code}): please report this as a fault.",
    ApiKind.SUBSCRIBER: "The subscriber cannot be reached ({code}): nothing to do.",
    ApiKind.OPERATOR: "WeChat refuses this account's calls ({code}): look the code up in WeChat's list of return codes.",
    ApiKind.CONTENT: "WeChat did not take the content ({code}): nothing to do, unless it goes on.",
    ApiKind.OTHER: "WeChat refused with {code}: look the code up in WeChat's list of return codes.",
}
