"""
The one place that makes an HTTP client session.

Rule 1: a session adds nothing of its own to a request: no cookie, no header, no credential from the environment.
Rule 2: a body is passed on as it came, so that bytes and `Content-Encoding` agree.
Rule 3: there is no limit for a whole answer, since a stream may take an hour; whoever asks limits the silence between two
        reads (`ClientTimeout(sock_read=…)`), and asks with `allow_redirects=False`: a redirect would take the key along.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

KEEPALIVE_SECONDS = 15  # an idle connection that the upstream closes first would cost the next request
DNS_SECONDS = 60  # an upstream that moves is followed within a minute
LINE_BYTES = 16384  # of an answer's head; twice what we take from callers, since a CDN may write what it likes


@contextlib.asynccontextmanager
async def upstream_session(connect_seconds: float = 10) -> AsyncIterator[ClientSession]:
    """For every upstream and for WeChat's API. How many requests run at once is the pool's decision, so there is no limit."""
    connector = TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=DNS_SECONDS)
    async with ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=ClientTimeout(total=None, sock_connect=connect_seconds),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        max_line_size=LINE_BYTES,
        max_field_size=LINE_BYTES,
    ) as session:
        yield session
