"""Least data: of addresses and user agents only what the policy lets through."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import collection, minimise
from tests.worlds import NOW, policy, sent

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/124.0.6367.91 Safari/537.36"
)
AGENTS = {
    CHROME: "Chrome 124",
    f"{CHROME} Edg/124.0.2478.80": "Edge 124",
    f"{CHROME} OPR/109.0.0.0": "Opera 109",
    "Mozilla/5.0 (Linux; Android 13; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) "
    "SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36": "Samsung Internet 23",
    "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0": "Firefox 125",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/17.4.1 Mobile/15E148 Safari/604.1": "Safari 17",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/16.6 Safari/605.1.15": "Safari 16",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) CriOS/123.0.6312.52 Mobile/15E148 Safari/604.1": "Chrome 123",
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko": "Internet Explorer 11",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)": "Bot",
    "curl/8.5.0": "Other",
    "": "Other",
}


@pytest.mark.parametrize("agent", AGENTS, ids=AGENTS.values())
def test_of_a_user_agent_its_family_and_major_version_stay(agent: str) -> None:
    assert minimise.user_agent(agent, "family") == AGENTS[agent]


@given(st.text())
def test_no_user_agent_leaves_more_than_a_family_and_a_number(agent: str) -> None:
    kept = minimise.user_agent(agent, "family") or "Other"
    family = kept.rstrip("0123456789").strip()

    assert family in {"Other", *(family for family, _ in minimise.FAMILIES)}


@given(st.ip_addresses())
def test_of_an_address_its_network_stays(address: Any) -> None:
    kept = ipaddress.ip_address(minimise.ip(str(address), "truncate") or "")

    address = getattr(address, "ipv4_mapped", None) or address
    bits = {4: 24, 6: 48}[address.version]
    assert address in ipaddress.ip_network(f"{kept}/{bits}")


def test_known_addresses() -> None:
    assert minimise.ip(" 203.0.113.77 ", "truncate") == "203.0.113.0"
    assert minimise.ip("::ffff:203.0.113.77", "truncate") == "203.0.113.0"
    assert minimise.ip("2001:db8:1234:5678::1", "truncate") == "2001:db8:1234::"
    assert minimise.ip("fe80::1%eth0", "truncate") == "fe80::"
    assert minimise.ip("203.0.113.77", "keep") == "203.0.113.77"


@pytest.mark.parametrize("address", ["", "Ann", "203.0.113", "203.0.113.7, 10.0.0.1", None, 7, []])
def test_what_is_no_address_is_not_kept(address: Any) -> None:
    assert minimise.ip(address, "truncate") is None
    assert minimise.ip(address, "keep") is None


@pytest.mark.parametrize(
    ("ip", "agent", "kept"),
    [
        ("truncate", "family", {"ip": "203.0.113.0", "userAgent": "Chrome 124"}),
        ("drop", "drop", {}),
        ("keep", "keep", {"ip": "203.0.113.77", "userAgent": CHROME}),
    ],
)
def test_the_policy_says_how_much_is_kept(ip: str, agent: str, kept: dict[str, str]) -> None:
    rules = policy(lambda it: it["minimise"].update(ip=ip, user_agent=agent))
    event = sent("page", "m", anonymousId="a", context={"ip": "203.0.113.77", "userAgent": CHROME})

    collected = collection.collect(event, "page", rules, NOW, keep_unnamed=False)

    assert collected.events[0]["context"] == kept
    assert collected.stripped == []
