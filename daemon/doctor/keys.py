"""
Each key by one free call: `GET /models`, which costs nothing and touches no limit that anybody pays for.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import replace
from urllib.parse import urlsplit

from aiohttp import ClientSession, ClientTimeout
from multidict import CIMultiDict
from yarl import URL

from daemon.doctor.facts import Failure, KeyFact, Step
from daemon.doctor.network import body_of
from daemon.doctor.patience import USUAL
from daemon.doctor.troubles import FAILED, in_words
from proxy.command import ERROR_BYTES
from proxy.headers import authorization
from proxy.key import Key
from proxy.target import Target
from proxy.verdict import Answer, judge

LIST_BYTES = 8 << 20  # the longest list of models that is read; a market of models has about two megabytes
MODELS = Target("/v1/models")


def unasked(key: Key) -> KeyFact:
    return KeyFact(
        name=key.name,
        last4=key.last4,
        upstream=key.upstream.name,
        host=urlsplit(key.upstream.base_url).hostname or "",
        is_azure=key.upstream.auth == "api-key",
        bot_models=key.models if "bot" in key.uses else (),
    )


async def ask(key: Key, session: ClientSession, *, context: ssl.SSLContext, seconds: float = USUAL.key) -> KeyFact:
    """Never raises for what the network does."""
    fact = unasked(key)
    headers = CIMultiDict([*authorization(key), ("Accept-Encoding", "identity")])
    url, timeout = URL(MODELS.url(key.upstream), encoded=True), ClientTimeout(total=seconds)
    try:
        async with session.get(url, headers=headers, ssl=context, allow_redirects=False, timeout=timeout) as response:
            body = await body_of(response, LIST_BYTES if response.ok else ERROR_BYTES)
            names = {name.lower(): value for name, value in response.headers.items()}
            verdict = judge(Answer(response.status, names, b"" if response.ok else body))
            return replace(fact, verdict=verdict, models=_models(body) if response.ok else None)
    except FAILED as failure:
        return replace(fact, failure=Failure(Step.ANSWER, in_words(failure)))


def _models(body: bytes) -> frozenset[str] | None:
    """Of a list as OpenAI writes it; None of anything else."""
    try:
        listed = json.loads(body)["data"]
        return frozenset(str(model["id"]) for model in listed)
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
