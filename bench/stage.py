"""Who takes part in a measurement: the daemon as it is deployed, its neighbours doing the same, and the upstream behind all."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from bench import authority, machine, peers, proxies
from bench.machine import Cores
from bench.program import Program, free_port, python, running
from bench.wire import TOKEN
from daemon.demo.envelope import Account, Mode

ACCOUNT = Account(
    id="gh_0000000000be",
    token="benchtoken",
    mode=Mode.SAFE,
    app_id="wx00000000000000be",
    aes_key="abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
)
PLAIN_ACCOUNT = Account(id="gh_0000000000bf", token="benchtoken")
PATH = "/wechat"
PERSONA = "老师"
PASSWORD = "bench-password"

CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
database = "sqlite:{database}"
limits = {{ connections = {streams} }}
[operator]
password = "{password}"
[upstreams.openai]
base_url = "{upstream}/v1"
[[keys]]
name = "k1"
secret = "sk-bench-1"
[[keys]]
name = "k2"
secret = "sk-bench-2"
[[proxy.callers]]
name = "bench"
token = "{token}"
[bot]
model = "gpt-5-mini"
personas = {{ "{persona}" = "Teach." }}
[[bot.accounts]]
id = "{account.id}"
path = "{path}"
token = "{account.token}"
{sealed}
"""
SEALED = """
app_id = "{account.app_id}"
encoding_aes_key = "{account.aes_key}"
"""

NEIGHBOURS = ("nginx", "haproxy")
COMPILED = Path(sys.prefix) / "compiled"  # where `make compiled` puts it
QUICK_SECONDS = 1.0

Started = AbstractAsyncContextManager[Program]


@dataclass(frozen=True, slots=True)
class Stage:
    """`folder` is the benchmark's own and goes away with it. `is_quick`: one short round of everything, to see that it runs."""

    folder: Path
    cores: Cores
    is_quick: bool = False

    def rounds(self, count: int) -> range:
        return range(1 if self.is_quick else count)

    def seconds(self, seconds: float) -> float:
        return min(seconds, QUICK_SECONDS) if self.is_quick else seconds

    def upstream(self, *options: str, is_tls: bool = False) -> Started:
        """`options` are the stub's."""
        port = free_port()
        arguments = python("-m", "bench.stub", "--port", str(port), *options)
        certificate = authority.certificate(self.folder) if is_tls else None
        if certificate:
            arguments += ["--certificate", str(certificate)]
        core = self.cores.others
        return running("upstream", arguments, port=port, core=core, folder=self.folder, certificate=certificate)

    def posthouse(self, upstream: Program, account: Account = ACCOUNT, *, home: Path | None = None) -> Started:
        """Two keys, one caller, one account, an empty database, as many connections as fit; all else has its default."""
        port = free_port()
        config = self.folder / f"posthouse-{port}.toml"
        config.touch(mode=0o600)
        config.write_text(
            CONFIG.format(
                port=port,
                streams=_streams(),
                upstream=f"{'https' if upstream.certificate else 'http'}://127.0.0.1:{upstream.port}",
                database=self.folder / f"posthouse-{port}.db",
                token=TOKEN,
                password=PASSWORD,
                account=account,
                sealed=SEALED.format(account=account) if account.mode is Mode.SAFE else "",
                path=PATH,
                persona=PERSONA,
            )
        )
        # An installed package is compiled; a source tree must not be, so its bytecode stands beside the config.
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environ["PYTHONPYCACHEPREFIX"] = str(self.folder / "bytecode")
        if upstream.certificate:
            environ["SSL_CERT_FILE"] = str(upstream.certificate)
        arguments = python("-m", "daemon", "serve", "--config", str(config))
        name = "posthouse, compiled" if home else "posthouse"
        return self._measured(name, arguments, port, environ, home=home)

    def neighbours(self, upstream: Program) -> list[Started]:
        """Those of nginx and haproxy that are installed, and the compiled Posthouse where there is one."""
        started = [self.posthouse(upstream, home=COMPILED)] if (COMPILED / "ready.stamp").exists() else list[Started]()
        for proxy in filter(None, map(proxies.installed, NEIGHBOURS)):
            port = free_port()
            ports = {"port": port, "upstream": upstream.port}
            arguments = proxies.arguments(
                proxy, self.folder, **ports, certificate=upstream.certificate, streams=_streams()
            )
            started.append(self._measured(proxy.name, arguments, port))
        return started

    def peer(self, name: str, upstream: Program) -> Started:
        """One from the package index. Raises Absent."""
        port = free_port()
        made = {
            "openai-forward": lambda: peers.openai_forward(port, upstream.port),
            "LiteLLM": lambda: peers.litellm(port, upstream.port, self.folder),
            "wechatpy": lambda: peers.wechatpy(port, PLAIN_ACCOUNT.token, self.folder),
        }
        peer = made[name]()
        return self._measured(name, peer.arguments, port, peer.environ)

    def _measured(
        self,
        name: str,
        arguments: Sequence[str],
        port: int,
        environ: Mapping[str, str] = os.environ,
        *,
        home: Path | None = None,
    ) -> Started:
        core = self.cores.measured
        return running(name, arguments, port=port, core=core, folder=self.folder, environ=environ, home=home)


def _streams() -> int:
    """So many can be open at once: each is two of a program's open files, and it has others."""
    return machine.open_files() // 2 - 50


def absent() -> list[str]:
    return [name for name in NEIGHBOURS if not proxies.installed(name)]
