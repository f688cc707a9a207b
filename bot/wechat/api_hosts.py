"""
At which host WeChat's server API is asked. Pure.

Rule 1: an address of WeChat's own stands for all of them; any other one (a relay, a test) stands alone.
Rule 2: the host that answered where another one did not is asked first for ten minutes; then the configured one is again.

Source: developers.weixin.qq.com/doc/offiaccount/Basic_Information/Interface_field_description.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

KEPT_SECONDS = 600.0

# Hong Kong is nearest to a server abroad; then the general name, and the one that WeChat keeps for that one's disasters; the
# sites inside China come last, since who runs there will have configured one of them.
WECHAT = tuple(f"https://{name}.weixin.qq.com" for name in ("hk.api", "api", "api2", "sh.api", "sz.api"))


def hosts_of(api_base: str) -> tuple[str, ...]:
    """The addresses to be asked in turn, the configured one first, none with a slash at its end."""
    base = api_base.rstrip("/")
    return (base, *(other for other in WECHAT if other != base)) if base in WECHAT else (base,)


class Hosts:
    """`clock` is in seconds and never goes back."""

    def __init__(self, hosts: Sequence[str], clock: Callable[[], float]) -> None:
        self._hosts = hosts
        self._clock = clock
        self._current = hosts[0]
        self._until = -inf

    def in_order(self) -> tuple[str, ...]:
        first = self._current if self._clock() < self._until else self._hosts[0]
        return (first, *(host for host in self._hosts if host != first))

    def answered(self, host: str) -> bool:
        """Whether `host` is another one than answered last."""
        is_another = host != self._current
        if is_another or self._clock() >= self._until:
            self._until = self._clock() + KEPT_SECONDS
        self._current = host
        return is_another
