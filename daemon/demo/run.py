"""
`posthouse demo`: the daemon as it is, between a scripted upstream and a played WeChat, on this machine alone.

Rule 1: every secret is made for this one run; nothing is read from a config or the environment, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import signal
import socket
import tempfile
import webbrowser
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from daemon import app, config
from daemon.demo import photo, scene
from daemon.demo.envelope import Account, Mode
from daemon.demo.page import DemoPage, Stage
from daemon.demo.phone import PHOTO, Kind, Phones
from daemon.demo.program import Program
from daemon.demo.subscriber import WeChatSide
from daemon.demo.upstream import ScriptedUpstream
from daemon.demo.wechat_server import WeChatServer
from daemon.listeners import CannotListen
from daemon.secret import Sources

PATHS = {Kind.PERSONAL: "/wechat", Kind.VERIFIED: "/wechat-verified"}
THINK_SECONDS = 2.0


def run(*, port: int, log_level: str, open_browser: bool = False, think_seconds: float = THINK_SECONDS) -> int:
    """Serves until it is interrupted. The exit code. Raises what the daemon raises when it cannot start."""
    try:
        with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="posthouse-demo-") as folder:
            asyncio.run(_play(port, Path(folder), open_browser, think_seconds))
    except CannotListen as refused:  # there is no config to change
        raise CannotListen(refused.address, refused.reason, "choose another port with --port") from None
    return 0


async def _play(port: int, folder: Path, open_browser: bool, think_seconds: float) -> None:
    port = port or _free_port()  # known before the daemon runs: links to pictures begin with it
    accounts = {kind: _account() for kind in Kind}
    server = WeChatServer(app_id=accounts[Kind.VERIFIED].app_id, app_secret=secrets.token_hex(16))
    server.pictures[PHOTO] = ("image/png", photo.png())
    token = f"ph-{secrets.token_hex(8)}"
    page = DemoPage()
    async with (
        ScriptedUpstream(scene.script(think_seconds), organization=scene.organizations()) as upstream,
        server,
    ):
        document = _document(port, upstream.base_url, accounts, server, token)
        settings = config.parse(document, Sources({}, folder))

        def is_wechat(host: str, port: int) -> bool:
            return (host, port) == ("127.0.0.1", server.port)

        async with (
            app.running(settings, extra_routes=page.routes, photo_hosts=is_wechat) as application,
            WeChatSide(application.url + PATHS[Kind.PERSONAL], accounts[Kind.PERSONAL]) as personal,
            WeChatSide(application.url + PATHS[Kind.VERIFIED], accounts[Kind.VERIFIED]) as verified,
            Phones({Kind.PERSONAL: personal, Kind.VERIFIED: verified}, server, menu_key=scene.MENU_KEY) as phones,
            Program(application.url, token) as program,
        ):
            for side in (personal, verified):
                await side.verify()  # or the page would advise about a console and ports that are not there
            ticket = application.operator.one_time_ticket
            page.raise_curtain(Stage(phones, server, program, upstream, application.pool.snapshot, ticket))
            _explain(application.url, ticket(), document["operator"]["password"], token)
            if open_browser:
                webbrowser.open(f"{application.url}/demo")
            await _interrupted()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _account() -> Account:
    return Account(
        id=f"gh_{secrets.token_hex(6)}",
        token=secrets.token_hex(16),
        mode=Mode.SAFE,
        app_id=f"wx{secrets.token_hex(8)}",
        aes_key=_aes_key(),
    )


def _document(
    port: int, base_url: str, accounts: Mapping[Kind, Account], server: WeChatServer, token: str
) -> dict[str, Any]:
    tables: dict[Kind, dict[str, Any]] = {
        kind: {
            "id": account.id,
            "path": PATHS[kind],
            "token": account.token,
            "app_id": account.app_id,
            "encoding_aes_key": account.aes_key,
        }
        for kind, account in accounts.items()
    }
    tables[Kind.VERIFIED] |= {"app_secret": server.app_secret, "api_base": server.base_url}
    address = f"127.0.0.1:{port}"
    return {
        "server": {"listen": [address], "public_url": f"http://{address}", "database": "sqlite:demo.db"},
        "operator": {"password": secrets.token_hex(16)},
        "upstreams": {"openai": {"base_url": base_url}},
        "keys": [{"name": name, "secret": secret} for name, (secret, _) in scene.KEYS.items()],
        "proxy": {"callers": [{"name": "demo", "token": token}]},
        "bot": {
            "model": scene.MODEL,
            "images": {"model": scene.PAINTER},
            "personas": scene.PERSONAS,
            "menu": scene.MENU,
            "accounts": list(tables.values()),
        },
    }


def _aes_key() -> str:
    """43 letters and digits, as the console makes them."""
    while not (key := base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")).isalnum():
        pass
    return key


def _explain(url: str, ticket: str, password: str, token: str) -> None:
    say = Console(highlight=False, soft_wrap=True).print
    say(
        "\n[bold]Posthouse · 驿站[/]: the real daemon, with a played WeChat and a scripted upstream. Nothing leaves here.\n"
    )
    say(f"  [bold]1.[/] Open this, and play a subscriber:   [bold cyan]{url}/demo[/]")
    say(f"  [bold]2.[/] See how the keys are (works once):  {url}{ticket}")
    say(f"     Again, at {url}/status, with the password:  {password}")
    say("  [bold]3.[/] Call the API as a program would:\n")
    say(
        f"     curl {url}/v1/chat/completions -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \\\n"
        f'       -d \'{{"model": "{scene.MODEL}", "messages": [{{"role": "user", "content": "Hello"}}]}}\'\n',
        markup=False,
    )
    say("Ctrl-C ends it; nothing is left behind.\n")


async def _interrupted() -> None:
    """Until Ctrl-C or SIGTERM. Where a loop takes no signals (Windows), Ctrl-C cancels us instead."""
    asked_to_stop = asyncio.Event()
    with suppress(NotImplementedError):
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, asked_to_stop.set)
    await asked_to_stop.wait()
