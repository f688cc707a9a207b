from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.addresses import caller_address, household, is_trusted

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "caller"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # anyone may write the header
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.66, 198.51.100.1"], "198.51.100.1"),  # what the caller claimed stays a claim
        ("10.0.0.1", ["192.0.2.66", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["", ","], "10.0.0.1"),
        ("10.0.0.1", ["2001:DB8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:203.0.113.9", [], "203.0.113.9"),
        ("fd00::1", ["198.51.100.1"], "198.51.100.1"),
        ("", ["192.0.2.66, 198.51.100.1"], "198.51.100.1"),  # the peer is behind a unix socket
        ("", [], ""),
    ],
)
def test_the_caller_is_the_nearest_hop_that_is_not_trusted(peer: str, forwarded_for: list[str], caller: str) -> None:
    assert caller_address(peer, forwarded_for, PROXIES) == caller


@given(st.lists(st.text()))
def test_no_header_moves_a_caller_whom_we_do_not_trust(forwarded_for: list[str]) -> None:
    assert caller_address("203.0.113.9", forwarded_for, PROXIES) == "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "may_speak_for_others"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("", True), ("203.0.113.9", False), ("2001:db8::1", False)],
)
def test_proxies_and_unix_sockets_are_trusted(peer: str, may_speak_for_others: bool) -> None:
    assert is_trusted(peer, PROXIES) is may_speak_for_others


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.10", False),
        ("203.0.113.9", "::ffff:203.0.113.9", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
    ],
)
def test_a_household_is_an_ipv4_address_or_an_ipv6_network(one: str, other: str, are_one: bool) -> None:
    assert (household(one) == household(other)) is are_one
