"""A server to deploy to: Debian's sshd on a free port of loopback, with keys, programs and folders of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

SSHD = "/usr/sbin/sshd"  # it insists on being called by its whole path
TOOLS = (SSHD, "ssh", "scp", "ssh-keygen", "tar", "bsdtar")
LIFE_SECONDS = 60  # after which nothing waits for sshd's words any more, because it is ended
PACKAGES = "openssh-server openssh-client libarchive-tools"


class Server:
    """Who signs in is who runs the tests. No folder of that user is read or written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = folder / "我的 钥匙" / "id_ed25519"  # a blank and Chinese, as Windows' users have them
        self.temp = folder / "temp"  # for temporary files there
        self.programs = folder / "programs"  # found before the machine's own
        self.home = folder / "home"
        self.client_config = folder / "ssh_config"
        self.known_hosts = folder / "known_hosts"
        self.target = f"{getpass.getuser()}@127.0.0.1"
        for made in (self.identity.parent, self.temp, self.programs, self.home):
            made.mkdir(parents=True)
        make_key(self.identity)
        make_key(folder / "host_key")
        self.client_config.write_text(
            f"UserKnownHostsFile {self.known_hosts}\n"
            "GlobalKnownHostsFile none\n"
            "StrictHostKeyChecking accept-new\n"
            "BatchMode yes\n"
            "KexAlgorithms curve25519-sha256\n"  # a third of the time that the default takes
        )
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        (folder / "sshd_config").write_text(self._config())

    def _config(self) -> str:
        variables = {
            "HOME": self.home,
            "TMPDIR": self.temp,
            "PATH": f"{self.programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        return "\n".join(
            (
                f"ListenAddress 127.0.0.1:{self.port}",
                f"HostKey {self.folder / 'host_key'}",
                f'AuthorizedKeysFile "{self.identity}.pub"',
                "SetEnv " + " ".join(f"{name}={value}" for name, value in variables.items()),
                "PidFile none",
                "LogLevel VERBOSE",  # says when a connection ends
                "UsePAM no",
                "StrictModes no",  # the tests' folders lie below /tmp
                "PermitRootLogin prohibit-password",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "Subsystem sftp internal-sftp",
                "",
            )
        )

    def put_program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)


@contextmanager
def sshd(folder: Path) -> Iterator[tuple[Server, IO[str]]]:
    """The server, and what its sshd says, line by line."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    assert not missing, f"{missing} not found. On Debian or Ubuntu:  sudo apt-get install {PACKAGES}"
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, as root, shuts in whoever has not signed in yet
    server = Server(folder)
    command = [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        end = threading.Timer(LIFE_SECONDS, process.terminate)
        end.start()
        try:
            wait_for_word(process.stderr, "Server listening")
            yield server, process.stderr
        finally:
            end.cancel()
            process.terminate()


def wait_for_word(said: IO[str], word: str) -> None:
    heard = []
    for line in said:
        heard.append(line)
        if word in line:
            return
    raise AssertionError(f"{word!r} was never said; this was: {heard}")
