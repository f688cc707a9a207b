"""Who takes part in a measurement: the daemon as it is deployed, nginx doing the same, and the upstream behind both."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import Cores
from bench.program import Program, free_port, python, running
from bench.stub import EVENT_SECONDS
from bench.wire import TOKEN
from daemon.demo.envelope import Account, Mode

ACCOUNT = Account(
    id="gh_0000000000be",
    token="benchtoken",
    mode=Mode.SAFE,
    app_id="wx00000000000000be",
    aes_key="abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
)
PATH = "/wechat"
PASSWORD = "bench-password"

CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
database = "sqlite:{database}"
[operator]
password = "{password}"
[upstreams.openai]
base_url = "http://127.0.0.1:{upstream}/v1"
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
[[bot.accounts]]
id = "{account.id}"
path = "{path}"
token = "{account.token}"
app_id = "{account.app_id}"
encoding_aes_key = "{account.aes_key}"
"""

# What replaces the key is one line; everything else is what nginx needs to keep connections and to let streams through.
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  client_body_buffer_size 64k;
  keepalive_requests 1000000;
  upstream stub {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://stub;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer sk-bench-1";
      proxy_buffering off;
    }}
  }}
}}
"""

Started = AbstractAsyncContextManager[Program]


@dataclass(frozen=True, slots=True)
class Stage:
    """`folder` is the benchmark's own and goes away with it."""

    folder: Path
    cores: Cores

    def upstream(self, *, think_seconds: float = 0.0, event_seconds: float = EVENT_SECONDS) -> Started:
        port = free_port()
        arguments = python("-m", "bench.stub", "--port", str(port), "--think-seconds", str(think_seconds))
        arguments += ["--event-seconds", str(event_seconds)]
        return running("upstream", arguments, port=port, core=self.cores.others, folder=self.folder)

    def posthouse(self, upstream: Program) -> Started:
        """Two keys, one caller, one account in safe mode, an empty database; every other setting has its default."""
        port = free_port()
        config = self.folder / f"posthouse-{port}.toml"
        config.touch(mode=0o600)
        config.write_text(
            CONFIG.format(
                port=port,
                upstream=upstream.port,
                database=self.folder / f"posthouse-{port}.db",
                token=TOKEN,
                password=PASSWORD,
                account=ACCOUNT,
                path=PATH,
            )
        )
        # An installed package is compiled; a source tree must not be, so its bytecode stands beside the config.
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environ["PYTHONPYCACHEPREFIX"] = str(self.folder / "bytecode")
        arguments = python("-m", "daemon", "serve", "--config", str(config))
        return running("posthouse", arguments, port=port, core=self.cores.measured, folder=self.folder, environ=environ)

    def nginx(self, upstream: Program) -> Started | None:
        """None where it is not installed."""
        program = nginx_program()
        if program is None:
            return None
        port = free_port()
        config = self.folder / f"nginx-{port}.conf"
        config.write_text(NGINX.format(folder=self.folder, port=port, upstream=upstream.port))
        arguments = [program, "-p", str(self.folder), "-c", str(config), "-e", str(self.folder / "nginx-error.log")]
        return running("nginx", arguments, port=port, core=self.cores.measured, folder=self.folder)


def nginx_program() -> str | None:
    """Debian has it where a user's PATH does not look."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
