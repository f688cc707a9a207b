"""A daemon that uses more memory than it may: it takes nothing new on, and answers WeChat and the operator all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from daemon.demo.steps import Answer
from tests.flows.daemon_bench import TOKEN, town, words

ASKED = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
CALLER = {"Authorization": f"Bearer {TOKEN}"}


async def test_new_requests_are_told_to_come_again_and_subscribers_are_answered(tmp_path: Path) -> None:
    def one_byte(document: dict[str, Any]) -> None:
        document["server"]["limits"] = {"memory_bytes": 1}

    async with town(tmp_path, {"sk-1": [Answer("好")]}, amend=one_byte) as place:
        url = f"{place.daemon.url}/v1/chat/completions"
        async with asyncio.timeout(5):
            while True:  # until somebody has looked for the first time
                async with place.session.post(url, json=ASKED, headers=CALLER) as response:
                    if response.status != 200:
                        break
        async with place.session.post(url, json=ASKED, headers=CALLER) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"], response.headers["Retry-After"]) == (503, "overloaded", "2")
        async with place.session.post(url, json=ASKED) as response:
            assert response.status == 401  # strangers learn nothing of it
        assert words(await place.side.say("o_reader", "在吗")).startswith("好")
        async with place.session.get(f"{place.daemon.url}/healthz") as response:
            assert response.status == 200
