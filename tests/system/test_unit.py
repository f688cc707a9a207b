"""The unit under a real systemd: what ends the daemon, what it may do, and how a change of its config reaches it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from daemon.demo.steps import Answer
from tests.pem import Authority
from tests.system.conftest import CONFIG, Server
from tests.system.neighbours import FOR_CALLERS, FOR_THE_BOT, URL, town, written

DROP_IN = "/etc/systemd/system/posthouse.service.d/test.conf"
SCRIPTS = {FOR_CALLERS: [Answer()], FOR_THE_BOT: [Answer()]}


def until_it_is_another(server: Server, pid: str) -> None:
    end = time.monotonic() + 20
    while server.machine.show("MainPID") in (pid, "0") or server.machine.show("ActiveState") != "active":
        assert time.monotonic() < end, server.machine.run("systemctl", "status", "posthouse", check=False).stdout
        time.sleep(0.1)


async def test_after_kill_9_the_callers_who_came_meanwhile_are_answered(server: Server) -> None:
    async with town(server, SCRIPTS) as place:
        pid = server.machine.show("MainPID")

        server.machine.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "posthouse")
        heard = await asyncio.gather(*(place.ask() for _ in range(20)))

    assert [answer.status for answer in heard] == [200] * 20
    assert server.machine.show("MainPID") != pid
    assert server.machine.show("NRestarts") == "1"


@pytest.fixture
def watched(server: Server) -> Iterator[None]:
    """A watchdog that a test can wait for."""
    server.machine.write(DROP_IN, "[Service]\nWatchdogSec=1\n")
    server.machine.run("systemctl", "daemon-reload")
    server.machine.run("systemctl", "restart", "posthouse")
    yield
    server.machine.run("rm", "-r", DROP_IN.rpartition("/")[0])
    server.machine.run("systemctl", "daemon-reload")
    server.machine.run("systemctl", "restart", "posthouse")


@pytest.mark.usefixtures("watched")
def test_the_watchdog_leaves_alone_what_is_alive_and_replaces_what_stands_still(server: Server) -> None:
    pid, since, beats = server.machine.show("MainPID"), server.now(), set[str]()
    while len(beats) < 5:
        beats.add(server.machine.show("WatchdogTimestampMonotonic"))
    assert server.machine.show("MainPID") == pid, "two seconds of a watchdog of one"

    server.machine.run("systemctl", "kill", "--signal=STOP", "--kill-whom=main", "posthouse")
    until_it_is_another(server, pid)

    assert "Watchdog timeout" in server.journal(since)


async def test_a_reload_takes_up_another_key_and_refuses_a_config_that_does_not_parse(server: Server) -> None:
    """The copy that the daemon reads is made anew at each reload, from a file that it may not read itself."""
    async with town(server, {**SCRIPTS, "sk-another": [Answer("the other key")]}) as place:
        pid, since = server.machine.show("MainPID"), server.now()
        server.machine.write(CONFIG, written().replace(FOR_CALLERS, "sk-another"), 0o600)

        server.machine.run("systemctl", "reload", "posthouse")

        async with asyncio.timeout(10):
            while "config.reloaded" not in server.journal(since):
                await asyncio.sleep(0.05)
        assert b"the other key" in (await place.ask()).body

        server.machine.write(CONFIG, "[server\nlisten = 1", 0o600)
        server.machine.run("systemctl", "reload", "posthouse")

        async with asyncio.timeout(10):
            while "config.refused" not in server.journal(since):
                await asyncio.sleep(0.05)
        assert b"the other key" in (await place.ask()).body
        assert server.machine.show("MainPID") == pid


async def test_a_secret_may_be_a_credential_of_systemd_or_a_file_beside_the_config(server: Server) -> None:
    server.machine.write("/root/the-key", "sk-credential\n", 0o600)
    server.machine.write("/etc/posthouse/caller.token", "ph-from-a-file\n", 0o600)
    server.machine.write(DROP_IN, "[Service]\nLoadCredential=the-key:/root/the-key\n")
    server.machine.run("systemctl", "daemon-reload")
    config = written(more='[[proxy.callers]]\nname = "beside"\ntoken = { file = "caller.token" }\n').replace(
        f'secret = "{FOR_CALLERS}"', 'secret = { credential = "the-key" }'
    )
    server.machine.write(CONFIG, config, 0o600)
    try:
        server.machine.run("systemctl", "restart", "posthouse")
        async with town(server, {"sk-credential": [Answer("by a credential")]}, config=config) as place:
            assert b"by a credential" in (await place.ask()).body
            assert b"by a credential" in (await place.ask(token="ph-from-a-file")).body
            # An upgrade looks at the config with what the unit is given, so this one is well.
            told = await asyncio.to_thread(server.install, "upgrade")
            assert told.code == 0, told.words
    finally:
        server.machine.run("rm", "-r", DROP_IN.rpartition("/")[0], "/etc/posthouse/caller.token")
        server.machine.run("systemctl", "daemon-reload")


async def test_port_443_speaks_tls_with_a_pair_beside_the_config_and_a_reload_renews_it(
    server: Server, tmp_path: Path
) -> None:
    """The pair is root's, as the config is; another port is one more line of the socket."""
    old, new = Authority(), Authority()
    config = (
        written()
        .replace('["0.0.0.0:80"]', '["0.0.0.0:80", "0.0.0.0:443"]')
        .replace("[upstreams", 'tls_certificate = "fullchain.pem"\ntls_key = "privkey.pem"\n[upstreams', 1)
    )
    hand_in(server, old, tmp_path)
    server.machine.write("/etc/systemd/system/posthouse.socket.d/https.conf", "[Socket]\nListenStream=443\n")
    server.machine.write(CONFIG, config, 0o600)
    server.machine.run("systemctl", "daemon-reload")
    server.machine.run("systemctl", "stop", "posthouse.socket", "posthouse.service")
    server.machine.run("systemctl", "start", "posthouse.socket", "posthouse.service")
    try:
        async with ClientSession() as session:
            for url, trust in ((f"{URL}/healthz", False), ("https://127.0.0.1/healthz", old.trust())):
                async with session.get(url, ssl=trust) as answer:
                    assert answer.status == 200
            since = server.now()
            hand_in(server, new, tmp_path)
            server.machine.run("systemctl", "reload", "posthouse")
            async with asyncio.timeout(10):
                while "certificate.loaded" not in server.journal(since):
                    await asyncio.sleep(0.05)
        async with ClientSession() as session, session.get("https://127.0.0.1/healthz", ssl=new.trust()) as answer:
            assert answer.status == 200
    finally:
        server.machine.run("rm", "-r", "/etc/systemd/system/posthouse.socket.d")
        server.machine.run("systemctl", "daemon-reload")
        server.machine.run("systemctl", "stop", "posthouse.socket", "posthouse.service")
        server.machine.run("rm", "/etc/posthouse/fullchain.pem", "/etc/posthouse/privkey.pem")
        server.machine.write(CONFIG, written(), 0o600)
        server.machine.run("systemctl", "start", "posthouse.socket", "posthouse.service")


def hand_in(server: Server, authority: Authority, folder: Path) -> None:
    for path in authority.write(folder):
        server.machine.write(f"/etc/posthouse/{path.name}", path.read_text(), 0o600)


def test_the_daemon_has_no_privilege_and_port_80_all_the_same(server: Server) -> None:
    pid = server.machine.show("MainPID")
    status = dict(
        line.split(":\t", 1)
        for line in server.machine.run("cat", f"/proc/{pid}/status").stdout.splitlines()
        if ":\t" in line
    )
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert int(status["Uid"].split()[0]) >= 61184, "a user that systemd made for this unit"
    listening = server.machine.run("ss", "-Hltnp", "sport = :80").stdout
    assert '"systemd",pid=1' in listening
    assert f"pid={pid}," in listening


def test_what_the_daemon_sees_of_the_machine_is_what_it_needs(server: Server) -> None:
    """Asked inside its own namespaces, as its own user."""
    pid = server.machine.show("MainPID")
    user = server.machine.run("stat", "-c", "%u", f"/proc/{pid}").stdout.strip()
    inside = ("nsenter", "--target", pid, "--mount", "--setuid", user, "--setgid", user)
    refused = [
        ("sh", "-c", ": >/usr/x"),
        ("sh", "-c", ": >/opt/posthouse/x"),
        ("sh", "-c", ": >/etc/x"),
        ("ls", "/root/posthouse"),
        ("ls", "/proc/1"),
        ("cat", "/proc/meminfo"),
    ]
    for command in refused:
        assert server.machine.run(*inside, *command, check=False).returncode != 0, command
    assert (
        server.machine.run("sh", "-c", "stat -c %a /run/posthouse-config /run/posthouse-config/*").stdout
        == "711\n400\n"
    )


def test_a_backup_is_made_while_the_daemon_runs_and_can_take_its_place(server: Server) -> None:
    server.machine.run("systemctl", "start", "posthouse-backup.service", timeout=60)

    [copy] = server.machine.run("sh", "-c", "ls /var/lib/posthouse/backups/*.db").stdout.split()
    assert server.machine.run("stat", "-c", "%a", copy).stdout == "600\n"
    assert server.machine.show("ActiveState", "posthouse-backup.timer") == "active"

    # As docs/operations.md says it.
    server.machine.run("systemctl", "stop", "posthouse.socket", "posthouse.service")
    database = "/var/lib/posthouse/posthouse.db"
    server.machine.run("sh", "-c", f"rm -f {database} {database}-wal {database}-shm && cp -p {copy} {database}")
    server.machine.run("systemctl", "start", "posthouse.socket", "posthouse.service")
    assert server.healthz() == ""

    server.machine.run(
        "sh", "-c", "for n in 1 2 3 4 5 6 7 8; do : >/var/lib/posthouse/backups/posthouse-2020010$n.db; done"
    )
    server.machine.run("systemctl", "start", "posthouse-backup.service")
    kept = server.machine.run("ls", "/var/lib/posthouse/backups").stdout.split()
    assert len(kept) == 7
    assert "posthouse-20200101.db" not in kept
