"""From a Debian that has nothing to a service that answers, by the README's one line; and what can stand in its way."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import pytest

from tests.system.conftest import CONFIG, FIGURES, SOURCE, Server, Told, crowd

A_MINUTE = 60.0


@pytest.fixture(scope="module")
def newest(powered: Callable[[str], Server]) -> Server:
    """Debian 13, bare."""
    return powered("trixie")


def assert_a_first_install(server: Server, told: Told) -> None:
    assert told.code == 0, told.words
    assert server.healthz() == ""
    assert re.search(r"serves on \[::\]:80", told.words)
    # It says what is missing, and goes on without.
    assert "no key, so nothing can be answered" in told.words
    assert 'it serves, but is not ready: {"ready": false, "reasons": ["no_key_eligible"]}' in told.words
    # The secrets are told once, and the config is root's.
    assert re.search(r"caller's token, shown this once: +ph-\S+", told.words)
    assert server.machine.run("stat", "-c", "%U %a", CONFIG).stdout == "root 600\n"
    assert 'database = "sqlite:/var/lib/posthouse/posthouse.db"' in server.config()
    FIGURES.append(f"{server.suite}: bare to GET /healthz 200 in {told.seconds:.1f} s ({crowd():.1f} programs a core)")
    # Others at work on this machine are no fault of the install.
    assert told.seconds < A_MINUTE * max(1.0, crowd())


def test_a_bare_debian_12_serves_within_a_minute(first_install: tuple[Server, Told]) -> None:
    server, told = first_install

    assert_a_first_install(server, told)


def test_a_port_that_is_taken_is_said_before_anything_is_downloaded(newest: Server) -> None:
    with newest.machine.network(), socket.create_server(("0.0.0.0", 80)):
        told = newest.install("install")

        assert told.code == 1
        assert "port 80 cannot be listened on; another program has it" in told.words
        assert "Building" not in told.words
    assert newest.machine.run("ls", "/opt/posthouse/releases", check=False).returncode != 0


def test_a_python_that_is_too_old_is_said(newest: Server) -> None:
    newest.machine.write(
        "/usr/bin/python3.10",
        '#!/bin/sh\ncase "$*" in *version_info*) exit 1 ;; -V) echo Python 3.10.9 ;; esac\n',
        0o755,
    )

    told = newest.install("install", environ={"PYTHON": "/usr/bin/python3.10"})

    assert told.code == 1
    assert "Python 3.11 or later is needed, and /usr/bin/python3.10 is Python 3.10.9" in told.words


def test_a_full_disk_is_said_before_anything_is_downloaded(newest: Server) -> None:
    newest.machine.run("mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", "/opt/posthouse")
    try:
        told = newest.install("install")
    finally:
        newest.machine.run("umount", "/opt/posthouse")

    assert told.code == 1
    assert re.search(r"/opt/posthouse has \d+ MB left, and a release needs 400; nothing has changed", told.words)


def test_debian_13_serves_too_and_its_systemd_finds_nothing_to_say(newest: Server) -> None:
    told = newest.install("install")

    assert_a_first_install(newest, told)
    assert_well_kept(newest)


def test_debian_12s_systemd_finds_nothing_to_say(server: Server) -> None:
    assert_well_kept(server)


def assert_well_kept(server: Server) -> None:
    """No warning about a unit, and an exposure of at most 1.2 (Debian's redis 1.2, caddy 9.0, nginx 9.6)."""
    names = ("posthouse.service", "posthouse.socket", "posthouse-backup.service", "posthouse-backup.timer")
    units = [f"/etc/systemd/system/{name}" for name in names]
    verified = server.machine.run("systemd-analyze", "verify", "--man=no", *units)
    assert verified.stdout == ""
    for unit in ("posthouse.service", "posthouse-backup.service"):
        said = server.machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
        exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
        assert exposure is not None
        assert float(exposure[1]) <= 1.2, said
        FIGURES.append(f"{server.suite}: exposure of {unit} is {exposure[1]}")


def test_after_a_power_cut_debian_13_serves_again_by_itself(newest: Server) -> None:
    newest.machine.cut_power()

    newest.machine.boot()

    assert newest.healthz() == ""
    assert newest.machine.show("ActiveState") == "active"


def test_uninstall_leaves_the_config_and_the_database_and_a_new_install_finds_them(newest: Server) -> None:
    """Offline: a power cut took the road away; the packages are gone with the release, so this is the last install."""
    config = newest.config()

    told = newest.install("uninstall")

    assert told.code == 0, told.words
    assert "/etc/posthouse and /var/lib/posthouse stay" in told.words
    assert newest.config() == config
    assert newest.machine.run("test", "-s", "/var/lib/posthouse/posthouse.db", check=False).returncode == 0
    left = newest.machine.run(
        "sh", "-c", "ls /etc/systemd/system /opt /usr/local/bin /run | grep posthouse", check=False
    )
    assert left.stdout == ""

    told = newest.install("uninstall", "--purge")

    assert told.code == 0, told.words
    left = newest.machine.run(
        "sh", "-c", "ls -d /etc/posthouse /var/lib/posthouse /var/lib/private/posthouse", check=False
    )
    assert "No such file" in left.stdout
    assert left.stdout.count("No such file") == 3


@pytest.mark.parametrize(
    ("words", "code"), [((), 2), (("instal",), 2), (("install", "--port", "80"), 2), (("rollback",), 1)]
)
def test_what_cannot_be_done_is_said_in_one_go(newest: Server, words: tuple[str, ...], code: int) -> None:
    told = newest.install(*words, source=SOURCE)

    assert told.code == code
    assert told.words.count("\n") >= 1
    assert "not found" not in told.words


def test_status_without_an_install_is_a_sentence(newest: Server) -> None:
    assert newest.install("status").words == "posthouse: nothing is installed here\n"
