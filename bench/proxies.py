"""What nginx and haproxy are told, so that they do for a request what Posthouse does: replace its key, and keep connections."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# What replaces the key is one line; everything else is what nginx needs to keep connections and to let streams through.
_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx-{port}.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections 24000; }}  # of the last sixteenth it keeps clear
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  client_body_buffer_size 64k;
  keepalive_requests 1000000000;
  upstream stub {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass {scheme}://stub;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer sk-bench-1";
      proxy_buffering off;
      proxy_read_timeout 600s;
      {tls}
    }}
  }}
}}
"""
_NGINX_TLS = """
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {certificate};
      proxy_ssl_name localhost;
      proxy_ssl_session_reuse on;
      proxy_ssl_protocols TLSv1.3;"""

_HAPROXY = """
global
  nbthread 1
  maxconn {streams}
defaults
  mode http
  timeout connect 10s
  timeout client 600s
  timeout server 600s
  option http-no-delay
  http-reuse always
frontend door
  bind 127.0.0.1:{port} backlog 4096
  default_backend stub
backend stub
  http-request set-header Authorization "Bearer sk-bench-1"
  server stub 127.0.0.1:{upstream} {tls}
"""
_HAPROXY_TLS = "ssl verify required ca-file {certificate} verifyhost localhost ssl-min-ver TLSv1.3"


@dataclass(frozen=True, slots=True)
class Proxy:
    """`version` is the line of `-v` that names one."""

    name: str
    path: str
    version: str


def installed(name: str) -> Proxy | None:
    """Debian has them where a user's PATH does not look."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        return None
    done = subprocess.run([path, "-v"], capture_output=True, text=True, check=True)
    words = (done.stdout + done.stderr).splitlines()[0].replace("/", " ").split()
    return Proxy(name, path, next(word for word in words if word[0].isdigit()))


def arguments(
    proxy: Proxy, folder: Path, *, port: int, upstream: int, certificate: Path | None, streams: int
) -> list[str]:
    """To start it on `port`, before the upstream on the other; with a certificate over TLS. It holds `streams` at most."""
    config = folder / f"{proxy.name}-{port}.conf"
    scheme = "https" if certificate else "http"
    facts = {"folder": folder, "port": port, "upstream": upstream, "scheme": scheme, "streams": streams}
    if proxy.name == "nginx":
        tls = _NGINX_TLS.format(certificate=certificate) if certificate else ""
        config.write_text(_NGINX.format(**facts, tls=tls))
        return [proxy.path, "-p", str(folder), "-c", str(config), "-e", str(folder / "nginx-error.log")]
    tls = _HAPROXY_TLS.format(certificate=certificate) if certificate else ""
    config.write_text(_HAPROXY.format(**facts, tls=tls))
    return [proxy.path, "-db", "-f", str(config)]
