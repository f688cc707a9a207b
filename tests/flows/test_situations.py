"""Every way in which an upstream answers, as a caller of the gateway meets it: one test a situation."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from aiohttp import ClientError

from daemon.demo.refusals import (
    AddressBlocked,
    Deactivated,
    Limited,
    ModelMissing,
    NoQuota,
    Overloaded,
    RegionBlocked,
    Revoked,
    ServerError,
    SlowDown,
    TooLarge,
)
from daemon.demo.steps import (
    Answer,
    Comments,
    EncodedGzip,
    ErrorInStream,
    Hang,
    LyingLength,
    Raw,
    Reset,
    Step,
)
from proxy.checks import check_due
from tests.flows.conftest import Bench, Start

WELL = Answer("well")
NUMBERS = itertools.count(1)


async def ask(bench: Bench, **more: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, JSON body and headers of one chat completion; each is a conversation of its own, bound to no key."""
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": f"question {next(NUMBERS)}"}], **more}
    async with bench.session.post(f"{bench.url}/v1/chat/completions", json=body, headers=bench.headers) as response:
        return response.status, await response.json(), {name.lower(): value for name, value in response.headers.items()}


async def test_a_429_with_retry_after_cools_the_key_for_that_long_and_the_next_one_answers(start: Start) -> None:
    bench = await start([Limited(retry_after="20")], [WELL])
    status, body, _ = await ask(bench)
    assert (status, body["choices"][0]["message"]["content"]) == (200, "well")
    (limited, _) = bench.pool.snapshot()
    assert limited.state == "cooling"
    assert 19 < limited.seconds_left <= 20
    assert limited.reason == "429 rate_limit_exceeded, try again in 20 s"


@pytest.mark.parametrize(
    ("limited", "seconds"),
    [
        (Limited(retry_after=None, retry_after_ms="3500"), 3.5),
        (Limited(retry_after="0.5"), 0.5),
        (Limited(retry_after=None, message="Rate limit reached. Please try again in 6m0s."), 360),
        (Limited(retry_after=None, message="Rate limit reached. Please try again in 1.5s."), 1.5),
        (Limited(retry_after=None, message="Slowly, please.", requests=(3, "59.9s")), 59.9 / 3),
        (Limited(retry_after=None, message="Slowly, please."), 1.0),
        (Limited(retry_after="-5", message="Slowly, please."), 1.0),
        (Limited(retry_after="nan", message="Slowly, please."), 1.0),
    ],
)
async def test_a_429_cools_by_whichever_hint_it_gives(start: Start, limited: Limited, seconds: float) -> None:
    bench = await start([limited], [WELL])
    assert (await ask(bench))[0] == 200
    assert bench.pool.snapshot()[0].seconds_left == pytest.approx(seconds, abs=0.4)


async def test_a_key_without_quota_is_exhausted_with_its_whole_organization(start: Start) -> None:
    bench = await start(
        [NoQuota()], [WELL], [WELL], keys={"k2": {"organization": "org-a"}, "k1": {"organization": "org-a"}}
    )
    assert (await ask(bench))[0] == 200
    assert [view.state for view in bench.pool.snapshot()] == ["exhausted", "exhausted", "ready"]
    assert bench.asked("k2") == 0


async def test_a_revoked_key_is_suspect_until_its_free_check_and_dead_after_it(start: Start) -> None:
    bench = await start([Revoked()], [WELL])
    assert (await ask(bench))[0] == 200
    assert bench.state("k1") == "suspect"
    await check_due(bench.pool, bench.sessions.towards)
    assert bench.state("k1") == "suspect"
    bench.let_pass(5)
    await check_due(bench.pool, bench.sessions.towards)
    assert bench.state("k1") == "dead"
    assert bench.upstream.requests[-1].path == "/v1/models"
    assert bench.upstream.requests[-1].key == "sk-1"


async def test_a_deactivated_account_is_dead_at_once(start: Start) -> None:
    bench = await start([Deactivated()], [WELL])
    assert (await ask(bench))[0] == 200
    assert bench.state("k1") == "dead"


async def test_a_blocked_region_stops_with_403_and_blames_no_key(start: Start) -> None:
    bench = await start([RegionBlocked()], [RegionBlocked()])
    status, body, _ = await ask(bench)
    assert (status, body["error"]["code"]) == (403, "unsupported_country_region_territory")
    assert len(bench.upstream.requests) == 1
    assert {view.state for view in bench.pool.snapshot()} == {"cooling"}
    assert all(cell.scope == "upstream" for view in bench.pool.snapshot() for cell in view.cells)


async def test_an_address_that_is_not_allowed_blocks_that_key_only(start: Start) -> None:
    bench = await start([AddressBlocked()], [WELL])
    assert (await ask(bench))[0] == 200
    assert bench.state("k1") == "blocked_ip"
    assert bench.state("k2") == "ready"


async def test_a_request_too_large_is_not_rotated_and_tells_the_client_not_to_retry(start: Start) -> None:
    bench = await start([TooLarge()], [TooLarge()], [TooLarge()])
    status, _, headers = await ask(bench)
    assert (status, headers["x-should-retry"]) == (429, "false")
    assert len(bench.upstream.requests) == 1
    assert {view.state for view in bench.pool.snapshot()} == {"ready"}


async def test_a_request_too_large_gets_one_try_on_a_key_whose_learned_limit_is_larger(start: Start) -> None:
    large = Raw(200, {"content-type": "application/json", "x-ratelimit-limit-tokens": "90000"}, b"{}")
    bench = await start([Answer(), TooLarge()], [large, WELL])
    await ask(bench)  # k1
    await ask(bench)  # k2 tells its limit
    status, body, _ = await ask(bench)
    assert (status, body["choices"][0]["message"]["content"]) == (200, "well")


async def test_slow_down_cools_the_key_and_allows_one_more_attempt(start: Start) -> None:
    bench = await start([SlowDown()], [SlowDown()], [WELL])
    status, body, _ = await ask(bench)
    assert (status, body["error"]["code"]) == (429, "slow_down")
    assert [bench.asked(key) for key in ("k1", "k2", "k3")] == [1, 1, 0]


async def test_an_overload_rests_key_and_model_and_one_more_key_is_tried(start: Start) -> None:
    bench = await start([Overloaded()], [WELL])
    assert (await ask(bench))[0] == 200
    (cell,) = bench.pool.snapshot()[0].cells
    assert (cell.scope, cell.model, cell.rule) == ("key-model", "gpt-5", "overload")


async def test_two_keys_that_meet_an_overload_rest_the_model_of_the_upstream(start: Start) -> None:
    bench = await start([Overloaded()], [Overloaded()], [WELL])
    assert (await ask(bench))[0] == 503
    assert "upstream-model" in {cell.scope for cell in bench.pool.snapshot()[2].cells}
    assert bench.asked("k3") == 0


async def test_a_missing_model_is_tried_on_two_more_keys_and_then_passed_on(start: Start) -> None:
    bench = await start(*[[ModelMissing()] for _ in range(5)])
    status, body, _ = await ask(bench)
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert len(bench.upstream.requests) == 3


async def test_a_model_that_no_key_has_is_404_at_once_the_next_time(start: Start) -> None:
    bench = await start([ModelMissing()])
    await ask(bench)
    status, body, headers = await ask(bench)
    assert (status, body["error"]["code"], headers["x-should-retry"]) == (404, "model_not_found", "false")
    assert len(bench.upstream.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 422])
async def test_a_mistake_of_the_client_is_passed_on_and_no_key_suffers(start: Start, status: int) -> None:
    body = b'{"error": {"message": "no", "type": "invalid_request_error", "param": "n", "code": null}}'
    bench = await start([Raw(status, {"content-type": "application/json"}, body)], [WELL])
    got, error, headers = await ask(bench)
    assert (got, error["error"]["param"]) == (status, "n")
    assert headers["content-length"] == str(len(body))
    assert {view.state for view in bench.pool.snapshot()} == {"ready"}
    assert bench.asked("k2") == 0


async def test_a_500_is_tried_on_one_other_key_and_then_passed_on(start: Start) -> None:
    bench = await start([ServerError()], [ServerError()], [WELL])
    status, body, _ = await ask(bench)
    assert (status, body["error"]["type"]) == (500, "server_error")
    assert bench.asked("k3") == 0


@pytest.mark.parametrize("lost", [Reset("request"), Raw(502, {}, b"<html>"), Raw(504, {}, b""), Raw(524, {}, b"")])
async def test_a_post_whose_outcome_is_unknown_is_never_sent_twice(start: Start, lost: Step) -> None:
    bench = await start([lost], [WELL])
    status, body, headers = await ask(bench)
    assert (status, body["error"]["code"]) == (502, "upstream_outcome_unknown")
    assert headers["x-should-retry"] == "false"
    assert len(bench.upstream.requests) == 1


@pytest.mark.parametrize("lost", [Reset("head"), LyingLength()])
async def test_an_answer_that_breaks_after_its_head_is_never_asked_for_again(start: Start, lost: Step) -> None:
    bench = await start([lost], [WELL])
    with pytest.raises(ClientError):
        await ask(bench)
    assert len(bench.upstream.requests) == 1


async def test_a_get_whose_outcome_is_unknown_is_asked_again(start: Start) -> None:
    bench = await start([Reset("request"), WELL])
    async with bench.session.get(f"{bench.url}/v1/files", headers=bench.headers) as response:
        assert response.status == 200


async def test_an_upstream_that_nobody_listens_on_is_502_and_no_key_suffers(start: Start) -> None:
    bench = await start([WELL])
    await bench.upstream.__aexit__(None, None, None)
    status, body, _ = await ask(bench)
    assert (status, body["error"]["code"]) == (502, "upstream_unreachable")
    assert bench.state("k1") == "ready"


async def test_an_upstream_that_never_answers_is_given_up_after_first_byte_seconds(start: Start) -> None:
    bench = await start([Hang()], upstream_settings={"first_byte_seconds": 0.2, "connect_seconds": 0.1})
    status, body, _ = await ask(bench)
    assert (status, body["error"]["code"]) == (502, "upstream_outcome_unknown")


async def test_when_every_key_cools_the_caller_hears_when_the_first_is_back(start: Start) -> None:
    bench = await start([Limited(retry_after="40")], [Limited(retry_after="20")])
    status, body, headers = await ask(bench)
    assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
    assert headers["retry-after"] == "20"
    assert 19_000 < int(headers["retry-after-ms"]) <= 20_000


async def test_when_every_key_is_without_quota_nobody_should_retry(start: Start) -> None:
    bench = await start([NoQuota()], [NoQuota()])
    status, body, headers = await ask(bench)
    assert (status, body["error"]["code"], headers["x-should-retry"]) == (503, "pool_exhausted", "false")


@pytest.mark.parametrize("rejection", [Revoked(), Deactivated()])
async def test_when_all_keys_are_rejected_at_once_the_upstream_rests_and_the_keys_are_suspects(
    start: Start, rejection: Step
) -> None:
    bench = await start([rejection], [rejection])
    status, body, headers = await ask(bench)
    assert (status, body["error"]["code"], headers["retry-after"]) == (503, "overloaded", "30")
    assert "Incorrect API key" not in body["error"]["message"]
    assert {view.state for view in bench.pool.snapshot()} == {"suspect"}
    assert "egress address" in bench.pool.snapshot()[0].reason


async def test_when_keys_were_pardoned_three_times_their_rejections_stand(start: Start) -> None:
    bench = await start([Deactivated()], [Deactivated()])
    await ask(bench)
    for _ in range(3):
        bench.let_pass(31)
        await check_due(bench.pool, bench.sessions.towards)
    assert {view.state for view in bench.pool.snapshot()} == {"dead"}
    status, body, headers = await ask(bench)
    assert (status, body["error"]["code"], headers["x-should-retry"]) == (503, "pool_exhausted", "false")


async def test_five_failures_in_half_a_minute_open_the_breaker_and_one_trial_closes_it(start: Start) -> None:
    bench = await start([*[ServerError()] * 6, WELL], [*[ServerError()] * 6, WELL])
    for _ in range(3):
        assert (await ask(bench))[0] in (500, 503)
    status, body, headers = await ask(bench)
    assert (status, body["error"]["code"], headers["retry-after"]) == (503, "overloaded", "5")
    asked = len(bench.upstream.requests)
    bench.let_pass(5)
    assert (await ask(bench))[0] == 500, "the trial fails, so it rests for twice as long"
    assert len(bench.upstream.requests) == asked + 1
    assert (await ask(bench))[2]["retry-after"] == "10"
    bench.upstream.script = {"sk-1": [WELL], "sk-2": [WELL]}
    bench.let_pass(10)
    assert (await ask(bench))[0] == 200
    assert {view.state for view in bench.pool.snapshot()} == {"ready"}


async def test_a_gateway_without_keys_says_so(start: Start) -> None:
    status, body, _ = await ask(await start())
    assert (status, body["error"]["code"]) == (503, "pool_exhausted")


async def test_a_caller_who_leaves_before_the_first_byte_frees_the_upstream_within_a_second(start: Start) -> None:
    bench = await start([Hang()])
    asking = asyncio.create_task(ask(bench))
    await bench.upstream.until(lambda upstream: len(upstream.requests) == 1)
    asking.cancel()
    async with asyncio.timeout(1):
        await bench.upstream.until(lambda upstream: upstream.requests[0].disconnected)
    assert bench.state("k1") == "ready"
    assert bench.pool.snapshot()[0].in_flight == 0


async def test_a_caller_who_leaves_in_mid_stream_frees_the_upstream_within_a_second(start: Start) -> None:
    bench = await start([Answer("one two three four", pieces=4, chunk_seconds=30)])
    body = {"model": "gpt-5", "stream": True, "messages": []}
    async with bench.session.post(f"{bench.url}/v1/chat/completions", json=body, headers=bench.headers) as response:
        await response.content.readany()
        response.close()
    async with asyncio.timeout(1):
        await bench.upstream.until(lambda upstream: upstream.requests[0].disconnected)
    assert bench.pool.snapshot()[0].in_flight == 0


async def test_an_error_as_the_first_event_of_a_stream_still_rotates(start: Start) -> None:
    bench = await start([ErrorInStream(refusal=Limited())], [WELL])
    body = {"model": "gpt-5", "stream": True, "messages": []}
    async with bench.session.post(f"{bench.url}/v1/chat/completions", json=body, headers=bench.headers) as response:
        text = await response.text()
    assert "[DONE]" in text
    assert "error" not in text
    assert bench.state("k1") == "cooling"


async def test_comments_before_the_first_event_do_not_end_the_hold_too_early(start: Start) -> None:
    limited = Comments(3, 0.01, then=ErrorInStream(refusal=Limited()))
    bench = await start([limited], [WELL])
    body = {"model": "gpt-5", "stream": True, "messages": []}
    async with bench.session.post(f"{bench.url}/v1/chat/completions", json=body, headers=bench.headers) as response:
        assert "[DONE]" in await response.text()
    assert bench.asked("k2") == 1


async def test_an_error_that_comes_compressed_is_understood_all_the_same(start: Start) -> None:
    bench = await start([EncodedGzip(Limited(retry_after="30"))], [WELL])
    assert (await ask(bench))[0] == 200
    assert bench.state("k1") == "cooling"


async def test_at_most_four_keys_are_tried_and_two_when_the_client_is_already_retrying(start: Start) -> None:
    bench = await start(*[[Limited()] for _ in range(6)], [WELL])
    status, _, headers = await ask(bench)
    assert (status, len(bench.upstream.requests)) == (429, 4)
    assert headers["retry-after"] == "1"
    body = {"model": "gpt-5", "messages": []}
    again = {**bench.headers, "x-stainless-retry-count": "1"}
    async with bench.session.post(f"{bench.url}/v1/chat/completions", json=body, headers=again) as response:
        assert response.status == 429
    assert len(bench.upstream.requests) == 6
