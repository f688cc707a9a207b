"""The whole daemon between a scripted upstream and a played WeChat, for the journeys of a question."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon import app, config
from daemon.demo.envelope import Account, Mode
from daemon.demo.steps import Step
from daemon.demo.subscriber import WeChatSide
from daemon.demo.upstream import ScriptedUpstream
from daemon.secret import Sources

AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
TOKEN = "ph-journey-token"


def document(base_url: str, accounts: Sequence[Account], keys: Sequence[str], **bot: Any) -> dict[str, Any]:
    return {
        "server": {"listen": ["127.0.0.1:0"], "database": "sqlite:posthouse.db"},
        "operator": {"password": "journey-password"},
        "upstreams": {"openai": {"base_url": base_url}},
        "keys": [{"name": f"k{number}", "secret": secret} for number, secret in enumerate(keys, start=1)],
        "proxy": {"callers": [{"name": "test", "token": TOKEN}]},
        "bot": {
            "model": "gpt-5",
            "accounts": [
                {
                    "id": account.id,
                    "path": path_of(account),
                    "token": account.token,
                    "app_id": account.app_id,
                    **({"encoding_aes_key": account.aes_key, "allow_plaintext": True} if account.aes_key else {}),
                }
                for account in accounts
            ],
            **bot,
        },
    }


def path_of(account: Account) -> str:
    return f"/wechat/{account.id}"


@dataclass(slots=True)
class Town:
    """A running daemon with its two neighbours; `sides` is WeChat towards each account, by the account's id."""

    daemon: app.Running
    upstream: ScriptedUpstream = field(repr=False)
    sides: Mapping[str, WeChatSide] = field(repr=False)

    @property
    def model_calls(self) -> int:
        return sum(received.path == "/v1/chat/completions" for received in self.upstream.requests)


@contextlib.asynccontextmanager
async def town(
    folder: Path,
    scripts: Mapping[str, Sequence[Step]],
    accounts: Sequence[Account] = (Account(),),
    *,
    patience: float = 5.0,
    **bot: Any,
) -> AsyncIterator[Town]:
    async with contextlib.AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(
            ScriptedUpstream({key: list(steps) for key, steps in scripts.items()})
        )
        settings = config.parse(document(upstream.base_url, accounts, list(scripts), **bot), Sources({}, folder))
        daemon = await stack.enter_async_context(app.running(settings, drain_seconds=0.2))
        sides = {
            account.id: await stack.enter_async_context(
                WeChatSide(f"{daemon.url}{path_of(account)}", account, patience=patience)
            )
            for account in accounts
        }
        yield Town(daemon, upstream, sides)


SAFE = Account(id="gh_000000000001", mode=Mode.SAFE, app_id="wx0000000000000001", aes_key=AES_KEY)
