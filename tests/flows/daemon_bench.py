"""The whole daemon between a scripted upstream and a played WeChat, for the journeys of a question."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from bot.fetch import wechat_hosts
from daemon import app, config
from daemon.accounts import Allows
from daemon.demo.envelope import Account, Mode, Signed
from daemon.demo.steps import Step
from daemon.demo.subscriber import Outcome, Watch, WeChatSide
from daemon.demo.upstream import ScriptedUpstream
from daemon.secret import Sources, secrets_in
from tests import canaries

AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
TOKEN = "ph-journey-token"
FAST_LANE = True  # the fixture `both_lanes` has it False in its turn


def document(base_url: str, accounts: Sequence[Account], keys: Sequence[str], **bot: Any) -> dict[str, Any]:
    return {
        "server": {"listen": ["127.0.0.1:0"], "database": "sqlite:posthouse.db", "fast_lane": FAST_LANE},
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
                    **({"encoding_aes_key": account.aes_key} if account.aes_key else {}),
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
    session: ClientSession = field(repr=False)

    @property
    def side(self) -> WeChatSide:
        """Of the only account."""
        (side,) = self.sides.values()
        return side

    async def has_told(self, *, pages: int = 0) -> None:
        """
        Until the store knows that what was said has reached the subscriber: so many `pages`, or all of it.

        The write follows the reply, within milliseconds: no thumb is that fast, but a test is.
        """
        async with asyncio.timeout(5):
            while any(not pages or row.next_page < pages for row in await self.daemon.store.pending(50)):
                await asyncio.sleep(0.005)

    async def until(self, claim: Callable[[ScriptedUpstream], bool]) -> None:
        """Wait for something that the upstream sees."""
        async with asyncio.timeout(10):
            await self.upstream.until(claim)

    @property
    def model_calls(self) -> int:
        return sum(received.path == "/v1/chat/completions" for received in self.upstream.requests)


class _Overheard(WeChatSide):
    """Who writes is nobody's business."""

    async def deliver(self, push: Signed, openid: str, *, watch: Watch = lambda outcome: None) -> Outcome:
        canaries.plant_words(openid)
        return await super().deliver(push, openid, watch=watch)


@contextlib.asynccontextmanager
async def town(
    folder: Path,
    scripts: Mapping[str, Sequence[Step]],
    accounts: Sequence[Account] = (Account(),),
    *,
    patience: float = 5.0,
    amend: Callable[[dict[str, Any]], object] = lambda document: None,
    photo_hosts: Allows = wechat_hosts,
    **bot: Any,
) -> AsyncIterator[Town]:
    """`scripts` has one key for each script, by its secret; `amend` may change the config's document before it is parsed."""
    async with contextlib.AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(
            ScriptedUpstream({key: list(steps) for key, steps in scripts.items()})
        )
        written = document(upstream.base_url, accounts, list(scripts), **bot)
        amend(written)
        settings = config.parse(written, Sources({}, folder))
        canaries.plant(*(secret.reveal() for secret in secrets_in(settings)))
        callers = written.get("proxy", {}).get("callers", ())  # the settings have their digests alone
        canaries.plant(*(caller["token"] for caller in callers if "token" in caller))
        stack.callback(canaries.hear_files, folder, "posthouse.db*")
        stack.callback(lambda: canaries.plant_words(*canaries.words_asked(one.body for one in upstream.requests)))
        daemon = await stack.enter_async_context(app.running(settings, drain_seconds=0.2, photo_hosts=photo_hosts))
        sides = {
            account.id: await stack.enter_async_context(
                _Overheard(f"{daemon.url}{path_of(account)}", account, patience=patience)
            )
            for account in accounts
        }
        session = await stack.enter_async_context(ClientSession(trace_configs=[canaries.listening()]))
        yield Town(daemon, upstream, sides, session)


def words(outcome: Outcome) -> str:
    """What the subscriber reads."""
    assert not outcome.red_line, outcome.red_line
    return outcome.words or ""


SAFE = Account(id="gh_000000000001", mode=Mode.SAFE, app_id="wx0000000000000001", aes_key=AES_KEY)
