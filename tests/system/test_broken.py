"""What is wrong with a release, or happens in the middle of an upgrade: a clear sentence, and the old release serves."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

from tests.system.conftest import CONFIG, SOURCE, Server, Told

PROCESS = "daemon/process.py"
CANNOT_START = (
    f"sed -i 's/^    run(_serve(settings, reread))/    raise OSError(5, \"the engine is missing\")/' {PROCESS}"
)
DIES_SOON = (
    rf"sed -i 's/^\( *\)supervisor.ready()/\1supervisor.ready(); "
    f"asyncio.get_running_loop().call_later(1.0, os._exit, 3)/' {PROCESS} && grep -q call_later {PROCESS}"
)
MIGRATES = "echo 'CREATE TABLE of_the_broken_release (x);' >daemon/sqlite/migrations/9999_broken.sql"


@pytest.fixture
def upgraded(server: Server) -> Callable[..., Told]:
    """Tries the upgrade, and sees that nothing came of it: same release, same process where `stays`, exit 1."""

    def attempt(source: str, *, stays: bool) -> Told:
        before, pid = server.release(), server.machine.show("MainPID")
        told = server.install("upgrade", source=source)
        assert told.code == 1, told.words
        assert server.release() == server.running() == before
        assert server.healthz() == ""
        assert (server.machine.show("MainPID") == pid) is stays
        releases = server.machine.run("sh", "-c", "ls -d /opt/posthouse/releases/*").stdout.split()
        assert all(
            server.machine.run("test", "-e", f"{each}/complete", check=False).returncode == 0 for each in releases
        )
        units = server.machine.run("ls", "/run/systemd/system.control", check=False).stdout
        assert "posthouse" not in units
        return told

    return attempt


def test_a_half_copied_folder_is_said_before_anything_happens(server: Server, upgraded: Callable[..., Told]) -> None:
    told = upgraded(server.spoilt("half", "rm static/status.css"), stays=True)

    assert told.words == (
        "posthouse: this copy of Posthouse is not whole: static/status.css is missing in /root/half; copy it again\n"
    )


def test_a_module_that_did_not_arrive_whole_is_found_before_the_old_release_stops(
    server: Server, upgraded: Callable[..., Told]
) -> None:
    told = upgraded(server.spoilt("torn", "rm daemon/jobs.py"), stays=True)

    assert "No module named 'daemon.jobs'" in told.words
    assert "the old one still serves, and nothing has changed" in told.words


def test_a_config_that_does_not_parse_is_said_before_the_old_release_stops(
    server: Server, upgraded: Callable[..., Told]
) -> None:
    config = server.config()
    server.machine.write(CONFIG, f"{config}\n[bot\n", 0o600)
    try:
        told = upgraded(SOURCE, stays=True)
    finally:
        server.machine.write(CONFIG, config, 0o600)

    assert "/etc/posthouse/posthouse.toml: not TOML: " in told.words
    assert told.words.endswith("mend it and run this again; the old release still serves\n")


def test_a_release_that_does_not_start_is_rolled_back_with_its_reason_on_the_screen(
    server: Server, upgraded: Callable[..., Told]
) -> None:
    told = upgraded(server.spoilt("broken", CANNOT_START), stays=False)

    assert "posthouse: the engine is missing" in told.words
    assert "does not start (its words are above)" in told.words
    assert "rolled back; " in told.words


def test_a_release_that_dies_soon_after_its_start_is_rolled_back(server: Server, upgraded: Callable[..., Told]) -> None:
    told = upgraded(server.spoilt("mortal", DIES_SOON), stays=False)

    assert "status=3" in told.words
    assert "rolled back; " in told.words


def test_a_broken_release_that_changed_the_database_gives_it_back(
    server: Server, upgraded: Callable[..., Told]
) -> None:
    """An older program refuses a newer database, so the old release could not start on it."""
    told = upgraded(server.spoilt("migrating", MIGRATES, DIES_SOON), stays=False)

    assert "the new release had changed the database; it is as it was before the attempt" in told.words
    tables = server.machine.run(
        "/usr/bin/python3",
        "-c",
        "import sqlite3; print(*sqlite3.connect('/var/lib/posthouse/posthouse.db').execute('SELECT name FROM sqlite_master'))",
    ).stdout
    assert "exchange" in tables
    assert "of_the_broken_release" not in tables


def test_a_release_whose_database_an_older_one_refuses_is_left_by_way_of_the_copy(server: Server) -> None:
    before = server.release()
    assert server.install("upgrade", source=server.spoilt("newer", MIGRATES)).code == 0
    newer = server.release()

    told = server.install("rollback")

    assert told.code == 1
    assert "rolled back; " in told.words, "to the newer one, which serves again"
    assert server.release() == server.running() == newer

    # As docs/operations.md says it.
    server.machine.run("systemctl", "stop", "posthouse.socket", "posthouse.service")
    script = "rm -f posthouse.db*; cp /opt/posthouse/current/before.db posthouse.db; chown --reference=. posthouse.db"
    server.machine.run("sh", "-c", f"cd /var/lib/posthouse && {script}")
    told = server.install("rollback")

    assert told.code == 0, told.words
    assert server.release() == server.running() == before


def test_two_at_once_do_not_meet(server: Server) -> None:
    with subprocess.Popen(
        server.machine.command("flock", "/opt/posthouse/.lock", "-c", "echo held; read _"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        told = server.install("upgrade")
        holder.communicate(b"\n", timeout=10)

    assert told.code == 1
    assert told.words == "posthouse: another install.sh is at work on this machine; wait for it to end\n"


@pytest.mark.parametrize("step", ["Building", "Starting"])
def test_after_a_power_cut_in_the_middle_the_old_release_serves(first_install: tuple[Server, Told], step: str) -> None:
    """Cut while the release is built; and when the new one runs already, but was not yet seen to be well."""
    server, _ = first_install
    before = server.release()
    process = subprocess.Popen(
        server.machine.command("sh", f"{SOURCE}/systemd/install.sh", "upgrade"), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while not (line := process.stdout.readline()).startswith(step):
        assert line, "it ended before"
    if step == "Starting":
        end = time.monotonic() + 30
        while server.running() in (before, ""):
            assert time.monotonic() < end
            time.sleep(0.05)

    server.machine.cut_power()
    process.communicate(timeout=20)
    server.machine.boot()

    assert server.release() == server.running() == before
    assert server.healthz() == ""
    assert server.install("upgrade").code == 0, "what the cut left behind is in nobody's way"
    releases = server.machine.run("sh", "-c", "ls -d /opt/posthouse/releases/*").stdout.split()
    assert all(server.machine.run("test", "-e", f"{each}/complete", check=False).returncode == 0 for each in releases)
