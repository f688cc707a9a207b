import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.sdnotify import Supervisor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    address = f"{tmp_path}/notify" if request.param == "path" else f"@posthouse-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(5)
        listener.bind(address.replace("@", "\0", 1))
        yield listener, address


async def test_systemd_hears_each_state(systemd: tuple[socket.socket, str]) -> None:
    listener, address = systemd
    supervisor = Supervisor.from_environment({"NOTIFY_SOCKET": address})
    supervisor.ready()
    await supervisor.beat()
    supervisor.stopping()
    assert [listener.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_a_listening_systemd_nothing_happens(environ: dict[str, str]) -> None:
    Supervisor.from_environment(environ).ready()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_only_when_it_names_us(environ: dict[str, str], seconds: float | None) -> None:
    assert Supervisor.from_environment(environ).watchdog_seconds == seconds


def test_a_child_process_does_not_inherit_the_right_to_speak_for_us() -> None:
    environ = {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    Supervisor.from_environment(environ)
    assert environ == {"HOME": "/"}
