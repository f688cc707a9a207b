"""Which host is asked first."""

from __future__ import annotations

import pytest

from bot.wechat.api_hosts import Hosts, hosts_of


@pytest.mark.parametrize("name", ["hk.api", "api", "api2", "sh.api", "sz.api"])
def test_an_address_of_wechats_own_stands_for_all_and_comes_first(name: str) -> None:
    hosts = hosts_of(f"https://{name}.weixin.qq.com/")
    assert hosts[0] == f"https://{name}.weixin.qq.com"
    assert len(set(hosts)) == len(hosts) == 5


def test_the_nearest_to_a_server_abroad_follow_first() -> None:
    names = [
        host.removeprefix("https://").removesuffix(".weixin.qq.com") for host in hosts_of("https://api.weixin.qq.com")
    ]
    assert names == ["api", "hk.api", "api2", "sh.api", "sz.api"]


@pytest.mark.parametrize(
    "address",
    [
        "https://relay.example.org/wechat",
        "http://127.0.0.1:1",
        "http://api.weixin.qq.com",
        "https://api.weixin.qq.com/x",
    ],
)
def test_any_other_address_stands_alone(address: str) -> None:
    assert hosts_of(f"{address}/") == (address,)


def test_the_host_that_answered_is_first_for_ten_minutes_and_then_the_configured_one_again() -> None:
    now = [0.0]
    hosts = Hosts(("a", "b", "c"), lambda: now[0])
    assert not hosts.answered("a")
    assert hosts.answered("c")
    now[0] = 599.0
    assert hosts.in_order() == ("c", "a", "b")
    assert not hosts.answered("c"), "an answer does not make it stay longer"
    now[0] = 600.0
    assert hosts.in_order() == ("a", "b", "c")
    assert hosts.answered("a")
    assert hosts.in_order() == ("a", "b", "c")


def test_after_ten_minutes_a_host_that_still_has_to_stand_in_stays_ten_more() -> None:
    now = [0.0]
    hosts = Hosts(("a", "b"), lambda: now[0])
    hosts.answered("b")
    now[0] = 601.0
    assert hosts.in_order() == ("a", "b")
    assert not hosts.answered("b")
    assert hosts.in_order() == ("b", "a")
