"""A request meets a key that cannot serve it, and another key does."""

from openai import AsyncOpenAI

from daemon.demo.refusals import Limited
from daemon.demo.steps import Answer
from tests.flows.conftest import TOKEN, Start


async def test_a_429_with_retry_after_sends_twelve_requests_to_the_key_that_is_well(start: Start) -> None:
    bench = await start([Limited(retry_after="20")], [Answer("hello")])
    async with AsyncOpenAI(api_key=TOKEN, base_url=f"{bench.url}/v1", max_retries=0) as client:
        for turn in range(12):
            if turn % 2:
                answer = await client.chat.completions.create(
                    model="gpt-5", messages=[{"role": "user", "content": "hi"}]
                )
                assert answer.choices[0].message.content == "hello"
            else:
                stream = await client.chat.completions.create(
                    model="gpt-5", stream=True, messages=[{"role": "user", "content": "hi"}]
                )
                assert "".join([c.choices[0].delta.content or "" async for c in stream if c.choices]) == "hello"
    assert bench.asked("k1") == 1
    assert bench.state("k1") == "cooling"
    assert bench.asked("k2") == 12
