"""The very lines of deploy.ps1, filled in as it fills them in, against a real sshd: what it packs, sends and runs there."""

from __future__ import annotations

import hashlib
import os
import re
import select
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from tests.deploy.loopback import Server, make_key, sshd, wait_for_word
from tests.deploy.script import (
    COMPLAINTS_OF_SSH,
    FOLDER_LINE,
    HERE_STRINGS,
    LISTS,
    OWN_EXIT_CODES,
    ROOT,
    expand_line,
    expand_text,
)

pytestmark = pytest.mark.deploy

NOT_ROOT, NO_ROOM, DAMAGED = sorted(OWN_EXIT_CODES)
STAND_IN = r"""
echo "asked for: $*"
echo "umask $(umask), language $LC_ALL, a file is $(stat -c '%a of %u' "$0")"
echo 'to stderr' >&2
"""


class Outcome(NamedTuple):
    exit_code: int
    said: str
    complained: str


class Deployment:
    """What the script does between its question and its end, step by step, in a temporary folder of its own."""

    def __init__(self, server: Server, folder: Path, *, tar: str = "bsdtar", scp: str = "scp") -> None:
        self.folder = folder
        config = ["-F", str(server.client_config)]  # instead of that of whoever runs the tests
        self.programs = {"tar": [tar], "scp": [*scp.split(), *config], "ssh": ["ssh", *config]}
        self.values: dict[str, str | list[str]] = {
            "target": server.target,
            "port": expand_line("port", {"number": str(server.port)}),
            "identity": expand_line("identity", {"file": str(server.identity)}),
            "as_root": HERE_STRINGS["AsRoot"],
            "action": "install",
        }
        (folder / "bundle").mkdir(parents=True)

    def put(self, installer: str) -> None:
        """A tree as it may be on Windows: CRLF everywhere, writable for everyone, somebody's, with a Python's caches."""
        files = {
            "systemd/install.sh": installer,
            "systemd/posthouse.service": "[Service]\nType=notify\n",
            "daemon/__main__.py": "print()\n",
            "daemon/__pycache__/__main__.cpython-311.pyc": "bytes",
        }
        for name, text in files.items():
            path = self.folder / "bundle" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.replace("\n", "\r\n").encode())
            path.chmod(0o666)
            if os.getuid() == 0:
                os.chown(path, 12345, 12345)

    def put_parts(self, of: str) -> None:
        for part in LISTS[of]:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile
            copy(ROOT / part, self.folder / "bundle" / part)

    def begin(self, step: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.words(step),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def do(self, step: str) -> Outcome:
        with self.begin(step) as process:
            said, complained = process.communicate()
        return Outcome(process.returncode, said, complained)

    def words(self, step: str) -> list[str]:
        self.values["connection"] = expand_line("connection", self.values)
        self.values["prepare"] = expand_text(HERE_STRINGS["Prepare"], self.values)
        self.values["run"] = expand_text(HERE_STRINGS["Run"], self.values)
        program, *rest = expand_line(step, self.values)
        return [*self.programs[program], *rest]

    def pack(self) -> None:
        self.done("pack")
        bundle = (self.folder / "bundle.tar.gz").read_bytes()
        self.values |= {"sha256": hashlib.sha256(bundle).hexdigest(), "kilobytes": str(10 * (len(bundle) // 1024 + 1))}

    def copy(self) -> None:
        folders = [name for name in map(FOLDER_LINE.fullmatch, self.done("prepare").said.splitlines()) if name]
        assert len(folders) == 1, folders
        self.values["folder"] = folders[0][0].split(" ")[1]
        self.done("copy")

    def whole(self) -> Outcome:
        self.pack()
        self.copy()
        return self.do("run")

    def done(self, step: str) -> Outcome:
        outcome = self.do(step)
        assert outcome.exit_code == 0, outcome
        return outcome

    @property
    def there(self) -> Path:
        return Path(str(self.values["folder"]))

    def why_no_connection(self) -> str:
        """What the script looks for in ssh's log, and finds first. All that ssh says must be there."""
        self.pack()
        outcome = self.do("prepare")
        assert (outcome.exit_code, outcome.complained) == (255, "")
        log = (self.folder / "ssh.log").read_text()
        return next((words for words in COMPLAINTS_OF_SSH if re.search(words, log, re.IGNORECASE)), log)


@contextmanager
def fifo(path: Path) -> Iterator[int]:
    """Open for both sides, so that neither side ever waits for the other to open it."""
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.fixture
def server_and_words(tmp_path: Path) -> Iterator[tuple[Server, IO[str]]]:
    with sshd(tmp_path / "server") as running:
        yield running


@pytest.fixture
def server(server_and_words: tuple[Server, IO[str]]) -> Server:
    return server_and_words[0]


@pytest.fixture
def deployment(server: Server, tmp_path: Path) -> Deployment:
    made = Deployment(server, tmp_path / "here")
    made.put(STAND_IN)
    return made


# Windows 11; Windows 10, whose scp speaks the protocol of rcp; and a Git that brings programs of its own.
@pytest.mark.parametrize(("tar", "scp"), [("bsdtar", "scp"), ("bsdtar", "scp -O"), ("tar", "scp")])
def test_install_sh_runs_there_and_nothing_is_left(server: Server, tmp_path: Path, tar: str, scp: str) -> None:
    deployment = Deployment(server, tmp_path / "here", tar=tar, scp=scp)
    deployment.put(STAND_IN + "ls ${0%/*}/../daemon\n")
    answer = deployment.whole()
    assert answer.said.splitlines() == [
        "asked for: install",
        f"umask 0022, language C, a file is 644 of {os.getuid()}",
        "to stderr",
        "__main__.py",
    ]
    assert (answer.exit_code, answer.complained) == (0, "")
    assert list(server.temp.iterdir()) == []


def test_the_exit_code_of_install_sh_comes_back(deployment: Deployment, server: Server) -> None:
    deployment.put("echo 'posthouse: the reason' >&2\nexit 7\n")
    answer = deployment.whole()
    assert (answer.exit_code, answer.said) == (7, "posthouse: the reason\n")
    assert list(server.temp.iterdir()) == []


def test_what_is_asked_for_arrives_word_by_word(deployment: Deployment) -> None:
    deployment.values["action"] = "install --listen [::1]:8080"
    assert deployment.whole().said.startswith("asked for: install --listen [::1]:8080\n")


def test_a_bundle_that_came_in_part_is_not_unpacked(deployment: Deployment, server: Server) -> None:
    deployment.pack()
    deployment.copy()
    os.truncate(deployment.there / "bundle.tar.gz", 100)
    answer = deployment.do("run")
    assert (answer.exit_code, answer.said) == (DAMAGED, "")
    assert list(server.temp.iterdir()) == []


def test_no_room_for_the_bundle_is_said_before_it_is_sent(deployment: Deployment, server: Server) -> None:
    deployment.pack()
    deployment.values["kilobytes"] = str(10**15)
    assert deployment.do("prepare").exit_code == NO_ROOM
    assert list(server.temp.iterdir()) == []


def test_a_server_without_a_folder_for_temporary_files_is_said(deployment: Deployment, server: Server) -> None:
    deployment.pack()
    server.temp.rmdir()
    assert deployment.do("prepare").exit_code == NO_ROOM


def test_a_disk_that_fills_while_the_bundle_is_unpacked_is_said(deployment: Deployment, server: Server) -> None:
    server.put_program("tar", "echo 'tar: No space left on device' >&2; exit 2")
    answer = deployment.whole()
    assert (answer.exit_code, answer.said) == (NO_ROOM, "tar: No space left on device\n")
    assert list(server.temp.iterdir()) == []


def test_who_is_not_root_and_may_not_sudo_is_told_before_anything_is_sent(
    deployment: Deployment, server: Server
) -> None:
    server.put_program("id", "echo 1000")
    server.put_program("sudo", "echo 'sudo: a password is required' >&2; exit 1")
    deployment.pack()
    answer = deployment.do("prepare")
    assert (answer.exit_code, answer.complained) == (NOT_ROOT, "sudo: a password is required\n")
    assert list(server.temp.iterdir()) == []


def test_who_is_not_root_goes_by_sudo_and_is_never_asked_a_password(deployment: Deployment, server: Server) -> None:
    server.put_program("id", "echo 1000")
    server.put_program("sudo", f'echo "$1 $2" >>{server.folder}/sudo.log; shift; exec "$@"')
    assert deployment.whole().exit_code == 0
    assert list(server.temp.iterdir()) == []
    asked = (server.folder / "sudo.log").read_text().splitlines()
    assert {"-n true", "-n mkdir", "-n tar", "-n find", "-n sh", "-n rm"} == set(asked)


def test_what_a_login_shell_says_by_itself_does_no_harm(deployment: Deployment, server: Server) -> None:
    (server.home / ".bashrc").write_text("echo 'Welcome! folder /'\n")
    assert "asked for: install\n" in deployment.whole().said


@pytest.mark.parametrize(("days", "is_left"), [(1, False), (0, True)])
def test_what_a_cut_connection_left_goes_after_a_day(
    deployment: Deployment, server: Server, days: int, is_left: bool
) -> None:
    left = server.temp / "posthouse-deploy.0123456789"
    (left / "tree").mkdir(parents=True)
    somebodys = server.temp / "posthouse-deploy.toml"
    somebodys.touch()
    for path in (left, somebodys):
        os.utime(path, (0, time.time() - days * 86_400 - 60))
    deployment.pack()
    deployment.do("prepare")
    assert left.exists() is is_left
    assert somebodys.exists()


def test_what_could_not_be_copied_whole_is_removed(deployment: Deployment, server: Server) -> None:
    deployment.pack()
    deployment.copy()
    deployment.done("clean")
    assert list(server.temp.iterdir()) == []


def test_a_connection_that_breaks_does_not_break_the_installation(
    server_and_words: tuple[Server, IO[str]], deployment: Deployment, tmp_path: Path
) -> None:
    server, words = server_and_words
    deployment.put(
        f"echo begun\nread -r word <{tmp_path}/go-on\nyes | head -n 100000\necho more || exit\necho whole >{tmp_path}/end\n"
    )
    server.put_program("rm", f'/bin/rm "$@"\necho removed >{tmp_path}/removed')
    deployment.pack()
    deployment.copy()
    with fifo(tmp_path / "go-on") as go_on, fifo(tmp_path / "removed") as removed:
        with deployment.begin("run") as ssh:
            assert ssh.stdout is not None
            assert ssh.stdout.readline() == "begun\n"
            ssh.kill()
        wait_for_word(words, "Connection closed by")
        os.write(go_on, b"\n")
        assert select.select([removed], [], [], 20)[0] == [removed]
    assert (tmp_path / "end").read_text() == "whole\n"
    assert list(server.temp.iterdir()) == []


def test_a_key_that_the_server_does_not_know_is_named(deployment: Deployment, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    deployment.values["identity"] = expand_line("identity", {"file": str(tmp_path / "other")})
    assert deployment.why_no_connection() == "Permission denied"


def test_another_host_key_than_before_is_named(deployment: Deployment, server: Server, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {(tmp_path / 'other.pub').read_text()}")
    assert deployment.why_no_connection() == "IDENTIFICATION HAS CHANGED"


def test_a_host_key_that_nobody_confirms_is_named(deployment: Deployment, server: Server) -> None:
    asking = server.client_config.read_text().replace("accept-new", "ask")
    server.client_config.write_text(asking)
    assert deployment.why_no_connection() == "Host key verification failed"


def test_a_private_key_that_others_may_read_is_named(deployment: Deployment, server: Server) -> None:
    server.identity.chmod(0o644)
    assert deployment.why_no_connection() == "UNPROTECTED PRIVATE KEY FILE"


def test_a_port_at_which_nothing_answers_is_named(deployment: Deployment) -> None:
    deployment.values["port"] = expand_line("port", {"number": "1"})
    assert deployment.why_no_connection() == "Connection refused"


def test_a_name_that_is_no_servers_is_named(deployment: Deployment) -> None:
    deployment.values["target"] = f"root@{'x' * 64}"  # longer than a name can be, so that no server is asked
    assert deployment.why_no_connection() == "Could not resolve hostname"


def test_the_bundle_has_all_that_install_sh_asks_for_and_no_more(server: Server, tmp_path: Path) -> None:
    deployment = Deployment(server, tmp_path / "here")
    deployment.put_parts("WholeProgram")
    deployment.pack()
    with tarfile.open(deployment.folder / "bundle.tar.gz") as bundle:
        names = {name.removeprefix("./") for name in bundle.getnames()}
    needed = re.search(r'^NEEDED="(.*?)"$', (ROOT / "systemd" / "install.sh").read_text(), re.MULTILINE | re.DOTALL)
    assert needed is not None
    assert set(needed[1].split()) - names == set()
    assert [name for name in names if "__pycache__" in name or name.endswith((".png", ".db"))] == []


def test_the_real_install_sh_runs_there_with_nothing_beside_it(server: Server, tmp_path: Path) -> None:
    """Asked only for its status: it would install into the machine of whoever runs the tests."""
    deployment = Deployment(server, tmp_path / "here")
    deployment.put_parts("InstallerAlone")
    deployment.values["action"] = "status"
    answer = deployment.whole()
    assert answer.exit_code in (0, 1)
    assert re.match(r"posthouse: nothing is installed here$|release  ", answer.said)
    assert list(server.temp.iterdir()) == []
