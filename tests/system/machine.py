"""
A bare Debian with a real systemd as its first process, in namespaces of its own: nothing of it is left when it ends.

Rule 1: what it writes lies in a folder over the bare system (overlayfs), so a power cut is a kill, and the next boot finds what
        was on the disk.
Rule 2: it has a network of its own with nothing but a loopback; apt and pip reach outside through `road.Road` alone.
Rule 3: /sys and /proc/sys are read-only and its control groups are a branch of this machine's, so it changes nothing here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BASES = Path("/var/cache/posthouse-system-test")
BOOT = Path(__file__).with_name("boot.sh")
CLONE_NEWNET = 0x40000000
BOOT_SECONDS = 60.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # of this machine, whose network it is
NAMESPACES = ("-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w")  # all of them, its root and its folder
TOOLS = ("debootstrap", "unshare", "nsenter", "ip")
WHAT_A_SERVER_HAS = ("systemd", "systemd-sysv", "iproute2")  # beside what every Debian has; no Python, no certificates

_libc = ctypes.CDLL(None, use_errno=True)


def missing_tools() -> list[str]:
    return [name for name in TOOLS if shutil.which(name) is None]


def bare(suite: str) -> Path:
    """A Debian that was never booted; made once, it takes a minute."""
    base = BASES / suite
    if not base.exists():
        BASES.mkdir(parents=True, exist_ok=True)
        begun = BASES / f".{suite}.{os.getpid()}"
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(WHAT_A_SERVER_HAS)}", suite, str(begun)]
        made = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
        assert made.returncode == 0, made.stdout[-2000:]
        begun.rename(base)
    return base


@dataclass(slots=True)
class Machine:
    """`folder` is its disk. Boot it, run commands in it, cut its power, boot it again."""

    base: Path
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    _unshared: subprocess.Popen[bytes] | None = None
    _init: int = 0

    @property
    def disk(self) -> Path:
        """What was written since the bare system. To be changed from outside only while the power is off."""
        return self.folder / "upper"

    def boot(self) -> None:
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        branch = self._branch()
        branch.mkdir(exist_ok=True)
        spaces = "unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup"
        script = f'echo $$ >{branch}/cgroup.procs && exec {spaces} sh "$0" "$@"'
        with (self.folder / "boot.log").open("ab") as log:
            command = ["sh", "-c", script, str(BOOT), str(self.base), str(self.folder)]
            self._unshared = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + BOOT_SECONDS
        while not self._is_up():
            assert self._unshared.poll() is None, (self.folder / "boot.log").read_text()
            assert time.monotonic() < end, "systemd did not come up"
            time.sleep(0.05)

    def _is_up(self) -> bool:
        children = Path(f"/proc/{self._unshared.pid}/task/{self._unshared.pid}/children") if self._unshared else None
        first = children.read_text().split() if children and children.exists() else []
        if not first:
            return False
        self._init = int(first[0])
        if Path(f"/proc/{self._init}/comm").read_text() != "systemd\n":
            return False
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def cut_power(self) -> None:
        """Every process of it is gone at once, as are /run and its network."""
        if self._unshared is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init or self._unshared.pid, signal.SIGKILL)
        self._unshared.wait(timeout=20)
        self._unshared, self._init = None, 0
        for folder, _, _ in os.walk(self._branch(), topdown=False):
            Path(folder).rmdir()

    def run(
        self,
        *command: str,
        check: bool = True,
        timeout: float = 60,
        environ: dict[str, str] | None = None,
        given: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """As root inside, with `given` as its input. `check` shows what it said where it fails."""
        outcome = subprocess.run(
            self.command(*command, environ=environ),
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or outcome.returncode == 0, f"{command}: {outcome.returncode}\n{outcome.stdout}"
        return outcome

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A whole file, in the running machine."""
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1.written" && chmod "$2" "$1.written" && mv "$1.written" "$1"'
        self.run("sh", "-c", script, "sh", path, f"{mode:o}", given=text)

    def show(self, name: str, unit: str = "posthouse.service") -> str:
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).stdout.strip()

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Sockets that this thread makes in the block are the machine's."""
        with open("/proc/thread-self/ns/net") as ours, open(f"/proc/{self._init}/ns/net") as theirs:
            _set_namespace(theirs.fileno())
            try:
                yield
            finally:
                _set_namespace(ours.fileno())

    def command(self, *command: str, environ: dict[str, str] | None = None) -> list[str]:
        """What to start on this machine so that it runs in that one."""
        assert self._init, "it is not up"
        names = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **self.environ, **(environ or {})}
        pairs = [f"{name}={value}" for name, value in names.items()]
        return ["nsenter", "--target", str(self._init), *NAMESPACES, "env", "-i", *pairs, *command]

    def _branch(self) -> Path:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        root = next(mount[1] for mount in mounts if mount[2] == "cgroup2")
        return Path(root) / f"posthouse-{os.getpid()}-{self.folder.name}"


def _set_namespace(file: int) -> None:
    if _libc.setns(file, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
