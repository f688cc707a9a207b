import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.listeners import CannotListen, can_speak_tls, inherited_sockets, let_go_of_the_silent, name_of, open_sockets

ROOT = Path(__file__).parents[2]

HANDED_IN = """
import json, os, sys
from daemon.listeners import inherited_sockets, name_of, open_sockets
os.dup2(int(sys.argv[1]), 3)
environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http", "HOME": "/"}
handed = inherited_sockets(environ)
print(json.dumps([[name_of(one) for one in handed], handed[0].get_inheritable(), environ]))
"""


AS_NOBODY = """
import asyncio, os
from daemon.listeners import CannotListen, open_sockets
async def main():
    await open_sockets(["127.0.0.1:0"])  # imports what nobody may not read
    os.geteuid() or os.setuid(65534)
    await open_sockets(["127.0.0.1:80"])
try:
    asyncio.run(main())
except CannotListen as refused:
    print(refused)
"""
FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


async def test_an_address_of_each_kind_is_opened_in_the_order_of_the_configuration(tmp_path: Path) -> None:
    listeners = await open_sockets([f"unix:{tmp_path}/http.sock", "127.0.0.1:0", "[::1]:0"])
    names = [name_of(listener) for listener in listeners]
    for listener in listeners:
        listener.close()
    assert names[0] == f"unix:{tmp_path}/http.sock"
    assert [name.rpartition(":")[0] for name in names[1:]] == ["127.0.0.1", "[::1]"]


async def test_both_wildcards_can_be_named_side_by_side() -> None:
    (first,) = await open_sockets(["0.0.0.0:0"])
    port = first.getsockname()[1]
    (second,) = await open_sockets([f"[::]:{port}"])
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("8080", 'expected "HOST:PORT", "[IPV6]:PORT" or "unix:/PATH"'),
        ("127.0.0.1:http", 'expected "HOST:PORT", "[IPV6]:PORT" or "unix:/PATH"'),
        ("::1:8080", 'expected "HOST:PORT", "[IPV6]:PORT" or "unix:/PATH"'),
        (":8080", 'expected "HOST:PORT", "[IPV6]:PORT" or "unix:/PATH"'),
        ("127.0.0.1:70000", "a port is at most 65535"),
        ("203.0.113.1:8080", "this machine does not have that address; 0.0.0.0 and [::] stand for all it has"),
        ("unix:", 'expected a path from the root, as in "unix:/run/posthouse/http.sock"'),
        ("unix:/nowhere/http.sock", "its folder does not exist; create it or change server.listen"),
    ],
)
async def test_an_address_that_cannot_be_had_is_one_sentence_that_says_what_to_do(address: str, reason: str) -> None:
    with pytest.raises(CannotListen) as refused:
        await open_sockets([address])
    assert str(refused.value) == f"cannot listen on {address}: {reason}"


@pytest.mark.skipif(
    not FIRST_FREE_PORT.exists() or int(FIRST_FREE_PORT.read_text()) <= 80, reason="anybody may take port 80 here"
)
def test_a_port_that_only_root_may_take_is_refused_with_the_ways_there_are() -> None:
    said = subprocess.run(
        [sys.executable, "-c", AS_NOBODY], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("cannot listen on 127.0.0.1:80: only root may take a port below 1024; ")
    assert all(way in said for way in ("as root", "posthouse.socket", "nginx or Caddy"))


async def test_a_port_in_use_is_refused_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as handed_in:
        with pytest.raises(CannotListen, match="another program listens there"):
            await open_sockets([name_of(taken)], [handed_in])
        assert handed_in.fileno() == -1


async def test_the_file_of_a_killed_process_is_taken_over_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/http.sock"
    (killed,) = await open_sockets([address])
    killed.close()
    (living,) = await open_sockets([address])
    with pytest.raises(CannotListen, match="another program listens there"):
        await open_sockets([address])
    living.close()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "http.sock"
    precious.write_text("letters")
    with pytest.raises(CannotListen, match="the file is no socket"):
        await open_sockets([f"unix:{precious}"])
    assert precious.read_text() == "letters"


@pytest.mark.parametrize(
    ("name", "can"),
    [
        ("0.0.0.0:443", True),
        ("[::]:443", True),
        ("127.0.0.1:8080", True),
        ("0.0.0.0:8080", True),
        ("0.0.0.0:80", False),
        ("[::]:80", False),
        ("[::80]:443", True),
        ("unix:/run/posthouse/http.sock", False),
        ("unix:/run/posthouse:443", False),
    ],
)
def test_port_80_and_unix_sockets_never_speak_tls(name: str, can: bool) -> None:
    assert can_speak_tls(name) == can


async def test_sockets_from_systemd_go_first_and_their_addresses_are_not_opened_again() -> None:
    with socket.create_server(("0.0.0.0", 0)) as handed_in:
        port = handed_in.getsockname()[1]
        first, second = await open_sockets([f"127.0.0.1:{port}", "127.0.0.1:0"], [handed_in])
        second.close()
    assert first is handed_in
    assert second is not handed_in


def test_sockets_from_systemd_are_found_once_and_not_passed_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as handed_in:
        child = subprocess.run(
            [sys.executable, "-c", HANDED_IN, str(handed_in.fileno())],
            pass_fds=[handed_in.fileno()],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(child.stdout) == [[name_of(handed_in)], False, {"HOME": "/"}]


@pytest.mark.parametrize("environ", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_FDS": "1"}])
def test_sockets_for_another_process_are_not_ours(environ: dict[str, str]) -> None:
    assert os.getpid() != 1
    assert inherited_sockets(environ) == []


async def test_patience_for_longer_than_the_kernel_counts_is_as_long_as_it_can() -> None:
    """A `body_idle_seconds` of a month ended the start with a TypeError."""
    [listener] = await open_sockets(["127.0.0.1:0"])
    with listener:
        let_go_of_the_silent(listener, 1e300)
        let_go_of_the_silent(listener, 3_000_000)
