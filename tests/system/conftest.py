"""
One Debian 12 with Posthouse on it for all tests that need one, and the neighbours of its daemon. `make system-test` runs these.

Rule: a test leaves the machine with a release that serves; what it wrote over is written back.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.machine import CERTIFICATES, Machine, bare, missing_tools
from tests.system.road import Road

ROOT = Path(__file__).parents[2]
SOURCE = "/root/posthouse"
CONFIG = "/etc/posthouse/posthouse.toml"
RELEASE = ("daemon", "proxy", "bot", "static", "docs", "systemd", "requirements.txt")
DISK_BYTES = 4 * 1024**3  # of both machines, with some releases on them
FIGURES: list[str] = []  # what was measured, told at the end
INSTALL_SECONDS = 300  # until a test gives up; how long it took is asserted where that is promised


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for figure in FIGURES:
        terminalreporter.write_line(figure)


@dataclass(frozen=True, slots=True)
class Told:
    """What a run of install.sh came to."""

    code: int
    words: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Server:
    """A machine with the project unpacked in SOURCE."""

    machine: Machine

    @property
    def suite(self) -> str:
        return self.machine.base.name

    def install(self, *words: str, source: str = SOURCE, environ: dict[str, str] | None = None) -> Told:
        """The README's line, or another command of the same script."""
        began = time.monotonic()
        script = f"{source}/systemd/install.sh"
        done = self.machine.run("sh", script, *words, check=False, timeout=INSTALL_SECONDS, environ=environ)
        return Told(done.returncode, done.stdout, time.monotonic() - began)

    def release(self) -> str:
        return self.machine.run("readlink", "/opt/posthouse/current").stdout.strip()

    def running(self) -> str:
        """The release whose process serves: the one that its modules were loaded from, whatever it was called by."""
        maps = self.machine.run("cat", f"/proc/{self.machine.show('MainPID')}/maps", check=False).stdout
        found = re.search(r"/opt/posthouse/releases/\w+", maps)
        return found[0] if found else ""

    def healthz(self) -> str:
        """What the release that serves says of itself: "" is well."""
        ask = f"{self.release()}/systemd/healthz.py"
        done = self.machine.run("/usr/bin/python3", ask, "5", "[::]:80", check=False)
        return "" if done.returncode == 0 else done.stdout

    def config(self) -> str:
        return self.machine.run("cat", CONFIG).stdout

    def spoilt(self, name: str, *edits: str) -> str:
        """A copy of the project with `edits` (shell, in its folder) made: where it is."""
        place = f"/root/{name}"
        self.machine.run("sh", "-c", f"rm -rf {place}; cp -R {SOURCE} {place}; cd {place}; {'; '.join(edits)}")
        return place

    def journal(self, since: str, unit: str = "posthouse.service") -> str:
        self.machine.run("journalctl", "--sync")
        return self.machine.run("journalctl", "-u", unit, "--since", since, "-o", "short-precise", "--no-pager").stdout

    def now(self) -> str:
        return "@" + self.machine.run("date", "+%s.%N").stdout.strip()


def crowd() -> float:
    """How many programs want each core of this machine, in the last minute: over 1, everything takes longer."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def unpacked(machine: Machine) -> None:
    """The project lies on the disk of a machine that is switched off, as scp or git would have put it."""
    place = machine.disk / SOURCE.lstrip("/")
    place.mkdir(parents=True)
    for name in RELEASE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(ROOT / name, place / name)


def disk(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """In memory, where there is enough of it."""
    memory = Path("/dev/shm")
    if memory.exists() and shutil.disk_usage(memory).free > DISK_BYTES:
        return Path(tempfile.mkdtemp(prefix=f"posthouse-{name}-", dir=memory))
    return tmp_path_factory.mktemp(name)


@pytest.fixture(scope="session")
def powered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Boots a bare machine of a suite of Debian; all of them end with the session."""
    if os.geteuid() != 0:
        pytest.fail("these tests boot a machine, which only root may: run  sudo make system-test")
    if missing := missing_tools():
        pytest.fail(f"missing: {', '.join(missing)}; on Debian:  apt-get install debootstrap iproute2 shellcheck")
    machines: list[Machine] = []
    roads: list[Road] = []

    def boot(suite: str) -> Server:
        machine = Machine(bare(suite), disk(tmp_path_factory, suite))
        unpacked(machine)
        machine.environ = {"PYTHONDONTWRITEBYTECODE": "1"}
        machine.boot()
        machines.append(machine)
        road = Road(machine)
        road.open()
        roads.append(road)
        machine.environ |= {"http_proxy": road.url, "https_proxy": road.url}
        if CERTIFICATES.exists():
            machine.write("/root/certificates.pem", CERTIFICATES.read_text())
            machine.environ["PIP_CERT"] = "/root/certificates.pem"
        return Server(machine)

    yield boot
    for road in roads:
        road.close()
    for machine in machines:
        machine.cut_power()
        shutil.rmtree(machine.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def first_install(powered: Callable[[str], Server]) -> tuple[Server, Told]:
    server = powered("bookworm")
    return server, server.install("install")


@pytest.fixture
def server(first_install: tuple[Server, Told]) -> Iterator[Server]:
    """Debian 12 with a release that serves. Sockets of the test are the machine's."""
    server, told = first_install
    assert told.code == 0, told.words
    config = server.config()
    with server.machine.network():
        yield server
    if server.config() != config:
        server.machine.write(CONFIG, config, 0o600)
        server.machine.run("systemctl", "restart", "posthouse")
    assert server.healthz() == ""
