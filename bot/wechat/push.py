"""
One push from WeChat as a value, whatever form it came in (XML, JSON, encrypted, Cloud Run). Pure.

Rule 1: `push_id` is unique within (account, openid): MsgId for messages; CreateTime, Event and EventKey for events, because
        MsgIds repeat between users and events have none (WxJava issue 333, weixin-java-tools issue 66).
Rule 2: an absent field is the empty string; numbers stay text, since MsgId is beyond what a double can hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from bot.value import value_type


@value_type
class Push:
    """
    `account` is ToUserName (gh_…), `openid` is FromUserName, `kind` is MsgType in lower case ("text", "event", …), `event`
    is Event in lower case, `text` is Content stripped of surrounding white space, `tapped_id` is bizmsgmenuid.
    `fields` has every other field as it came. `form` is the body's form, which the reply takes too: "xml" or "json".
    """

    account: str
    openid: str
    push_id: str
    kind: str
    text: str = ""
    event: str = ""
    event_key: str = ""
    tapped_id: str = ""
    created_at: int = 0
    form: str = "xml"
    fields: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Push {self.kind or '?'} {self.event}>"  # neither the subscriber nor the words
