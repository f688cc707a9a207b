"""
Whose address a request has: the peer's, or the one that a trusted proxy tells us. Pure.

Rule 1: a proxy's word counts only while the peer is trusted, and only up to the first hop that is not: everything left of
        it in `X-Forwarded-For` was written by that hop, which may write what it likes.
Rule 2: an IPv4 address inside an IPv6 one (::ffff:192.0.2.1, from a socket for both) is that IPv4 address.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@lru_cache(maxsize=1_024)  # most requests come from an address that was seen a moment ago
def parsed(text: str) -> Address | None:
    """None for what is no address, as the peer of a unix socket."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def household(text: str) -> str:
    """What counts as one caller: an IPv4 address, or an IPv6 /64, since nobody is given less than that."""
    address = parsed(text)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address or text)


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """Whether `peer` may speak for others. Behind a unix socket, which only this machine can open, everyone may."""
    address = parsed(peer)
    return address is None or is_within(address, trusted)


def caller_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """
    The rightmost hop that is not trusted; the leftmost where all are. `peer` is empty for a unix socket.

    `forwarded_for` are the values of all `X-Forwarded-For` headers in their order. An entry that is no address ends the
    search at the hop that passed it on.
    """
    caller = parsed(peer)
    hops = [hop for value in forwarded_for for hop in value.split(",")]
    while hops and (caller is None or is_within(caller, trusted)):
        hop = parsed(hops.pop())
        if hop is None:
            break
        caller = hop
    return str(caller or "")
