"""Who is shown to have asked the demo's model."""

from __future__ import annotations

import aiohttp
import pytest

from daemon.demo import scene
from daemon.demo.upstream import ScriptedUpstream
from daemon.demo.view import seen
from daemon.demo.words import WORDS
from proxy.sender import AGENT


@pytest.mark.parametrize(("agent", "caller"), [(AGENT, "account"), ("curl/8.14.1", "program"), ("", "program")])
async def test_a_program_is_no_account_whatever_it_is_called_by(agent: str, caller: str) -> None:
    headers = {"Authorization": f"Bearer {scene.KEYS['well'][0]}", "User-Agent": agent}
    question = {"model": scene.MODEL, "messages": [{"role": "user", "content": "0 s"}]}
    async with (
        ScriptedUpstream(scene.script(0.0)) as upstream,
        aiohttp.ClientSession(skip_auto_headers=["User-Agent"]) as session,
        session.post(f"{upstream.base_url}/chat/completions", json=question, headers=headers) as answer,
    ):
        assert answer.status == 200

    [row] = seen(upstream.requests, WORDS["en"])
    assert row["caller"] == caller
