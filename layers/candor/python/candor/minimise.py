"""Least data: what is kept of an IP address and of a user agent, as the policy says.

What cannot be made less is not kept at all.
"""

import ipaddress
import re

NETWORK = {4: 24, 6: 48}
"""Bits that are kept of an address by its version: a provider's area, and nobody's home."""
FAMILIES = (
    ("Bot", r"(?i:bot|crawl|spider)()"),
    ("Edge", r"Edg(?:e|A|iOS)?/(\d+)"),
    ("Opera", r"(?:OPR|Opera)/(\d+)"),
    ("Samsung Internet", r"SamsungBrowser/(\d+)"),
    ("Firefox", r"(?:Firefox|FxiOS)/(\d+)"),
    ("Chrome", r"(?:Chrome|CriOS)/(\d+)"),
    ("Safari", r"Version/(\d+)[^ ]* (?:Mobile/\w+ )?Safari"),
    ("Internet Explorer", r"(?:MSIE |Trident/.*rv:)(\d+)"),
)
"""Families and where their major version stands; many browsers also claim to be those below."""
_FAMILIES = [(family, re.compile(text)) for family, text in FAMILIES]
LONGEST_AGENT = 1024


def ip(address: object, how: str) -> str | None:
    """`keep`, `truncate` to a network, or `drop`; None where nothing is left."""
    if how == "drop" or not isinstance(address, str):
        return None
    try:
        parsed = ipaddress.ip_address(address.strip())
    except ValueError:
        return None
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if how == "keep":
        return str(parsed)
    dropped = parsed.max_prefixlen - NETWORK[parsed.version]
    return str(type(parsed)(int(parsed) >> dropped << dropped))


def user_agent(agent: object, how: str) -> str | None:
    """`keep`, the `family` with its major version, or `drop`; None where nothing is left."""
    if how == "drop" or not isinstance(agent, str) or len(agent) > LONGEST_AGENT:
        return None
    if how == "keep":
        return agent
    for family, pattern in _FAMILIES:
        if found := pattern.search(agent):
            return f"{family} {found[1]}".strip()
    return "Other"
