"""A release takes the place of another while callers call, a stream runs and a subscriber waits."""

from __future__ import annotations

import asyncio
import itertools

from daemon.demo.steps import FOREVER, Answer, Hang
from tests.system.conftest import FIGURES, SOURCE, Server, crowd
from tests.system.neighbours import FOR_CALLERS, FOR_THE_BOT, Heard, town

REQUESTS = 150
EVERY_SECONDS = 0.05
SLOWEST_SECONDS = 4.5
GRACE_SECONDS = 2.0  # of the old process; the rest is work, which takes longer where others work too
STREAM_SECONDS = 1.2  # shorter than the grace, so it ends whole


def pace(asked: object) -> float:
    """Of a stream's pieces: by what it was asked for."""
    return FOREVER if "endless" in str(asked) else STREAM_SECONDS / 3


async def test_a_redeploy_under_load_fails_no_request_and_loses_no_question(server: Server) -> None:
    before = server.release()
    scripts = {
        FOR_CALLERS: [Answer(chunk_seconds=pace, pieces=4)],
        FOR_THE_BOT: [Hang(), Answer("信没有丢")],
    }
    async with town(server, scripts) as place:
        question = asyncio.create_task(place.side.say("o_1", "信会丢吗？"))
        endless = asyncio.create_task(place.ask("an endless one", stream=True))
        async with asyncio.timeout(10):
            await place.upstream.until(lambda seen: len(seen.requests) == 2)

        command = server.machine.command("sh", f"{SOURCE}/systemd/install.sh", "upgrade")
        upgrade = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-2)
        calls: list[asyncio.Task[Heard]] = []
        streams: list[asyncio.Task[Heard]] = []
        ending = asyncio.create_task(upgrade.communicate())
        for number in itertools.count():
            calls.append(asyncio.create_task(place.ask()))
            if number % 6 == 0:
                streams.append(asyncio.create_task(place.ask("a short one", stream=True)))
            await asyncio.wait([ending], timeout=EVERY_SECONDS)
            if ending.done() and len(calls) >= REQUESTS:
                break
        said = ending.result()[0].decode()
        heard, streamed = await asyncio.gather(*calls), await asyncio.gather(*streams)
        broken = await endless
        await question
        collected = await place.side.say("o_1", "继续")
        asked = [request for request in place.upstream.requests if request.key == FOR_THE_BOT]

    assert upgrade.returncode == 0, said
    assert server.release() != before
    assert server.running() == server.release()
    assert {answer.status for answer in heard} == {200}
    assert all(answer.is_whole for answer in heard)
    slowest = max(answer.seconds for answer in heard)
    FIGURES.append(
        f"redeploy: {len(heard)} requests, all answered, the slowest in {slowest:.2f} s ({crowd():.1f} programs a core); "
        f"{len(streamed)} streams of {STREAM_SECONDS} s, all whole"
    )
    assert slowest < GRACE_SECONDS + (SLOWEST_SECONDS - GRACE_SECONDS) * max(1.0, crowd()), server.journal("-1min")
    # What had time to end ended whole; what had not was told so, and never as if it were whole.
    assert all(answer.is_whole and b"[DONE]" in answer.body for answer in streamed)
    assert (broken.status, broken.is_whole) == (200, False)
    assert b"upstream_stream_truncated" in broken.body
    assert b"[DONE]" not in broken.body
    # The new process asked again what the old one could not bring to its end, and nobody asked a third time.
    assert "信没有丢" in (collected.words or "")
    assert len(asked) == 2


async def test_stopping_while_everything_hangs_takes_less_than_the_unit_allows(server: Server) -> None:
    """Else systemd would kill it, and the streams would end without a word."""
    async with town(server, {FOR_CALLERS: [Hang()], FOR_THE_BOT: [Hang()]}) as place:
        question = asyncio.create_task(place.side.say("o_2", "在吗"))
        call = asyncio.create_task(place.ask(stream=True))
        async with asyncio.timeout(10):
            await place.upstream.until(lambda seen: len(seen.requests) == 2)
        since = server.now()

        await asyncio.to_thread(server.machine.run, "systemctl", "restart", "posthouse")

        said = server.journal(since)
        await asyncio.gather(call, question)
    assert "daemon.stopped" in said
    assert "timed out" not in said
    assert "SIGKILL" not in said


def test_a_release_is_left_for_the_one_before_and_three_are_kept(server: Server) -> None:
    first = server.release()
    for year in (2020, 2021, 2022):
        server.machine.write(f"/opt/posthouse/releases/{year}0101T000000Z/complete", "")
    told = server.install("upgrade")
    assert told.code == 0, told.words
    assert len(server.machine.run("ls", "/opt/posthouse/releases").stdout.split()) == 3

    told = server.install("rollback")

    assert told.code == 0, told.words
    assert server.release() == server.running() == first
    # From here the way leads on: what was left behind is not what a later release goes back to.
    told = server.install("upgrade")
    assert told.code == 0, told.words
    assert server.machine.run("cat", "/opt/posthouse/current/replaced").stdout == f"{first}\n"
    status = server.install("status").words
    assert status.count("on disk") == 2
    assert "unit      active since" in status
