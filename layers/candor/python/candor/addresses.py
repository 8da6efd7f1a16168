"""Where other systems may be called: an https address of a public host, and no other one.

A name says nothing about where it leads, so what it resolves to is judged too, each time.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple
from urllib.parse import urlsplit

LONGEST = 1024
LOOPBACK = "127.0.0.1"
# A last label that begins with a letter is no number, so that the whole is no spelling of an IPv4
# address (WHATWG URL, "ends in a number checker").
_HOST = re.compile(
    r"(?!.{254})([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
)
_PLAIN = re.compile(r"[!-~]+")
_UNICAST = IPv6Network("2000::/3")
"""All that IANA gives out as global unicast. What embeds IPv4 addresses is in it or beside it."""
_EMBEDDING = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))
"""Teredo and 6to4."""
_DOCUMENTATION = IPv6Network("3fff::/20")
"""RFC 9637; Python does not know it yet."""
_RELAYS = IPv4Network("192.88.99.0/24")
"""6to4 relays (RFC 7526)."""


class Place(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str
    """With the query, and never empty."""


def place(url: str, *, loopback: bool = False) -> Place:
    """Where a URL leads. Raises ValueError for one that is not https to a host with a public name.

    `loopback` takes http://127.0.0.1 instead, which only an emulator's configuration may ask for.
    """
    if len(url) > LONGEST or not _PLAIN.fullmatch(url) or "\\" in url:
        raise ValueError(f"it should be an address of at most {LONGEST} plain characters")
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("its port is no number up to 65535") from None
    if "@" in parts.netloc or "#" in url:
        raise ValueError("it should have no user, no password and no fragment")
    if loopback:
        if parts.scheme != "http" or host != LOOPBACK:
            raise ValueError(f"it should begin with http://{LOOPBACK}")
    elif parts.scheme != "https":
        raise ValueError("it should begin with https://")
    elif not _HOST.fullmatch(host):
        raise ValueError("it should name a host by its full name, such as api.example.com")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(parts.scheme, host, port or (80 if loopback else 443), path)


def https(url: str) -> str:
    """The URL. Raises ValueError as `place` does."""
    place(url)
    return url


def public(address: str) -> bool:
    """Whether an IP address, as a resolver gives it, is one that anybody on the internet has."""
    try:
        four = IPv4Address(address)
    except AddressValueError:
        pass
    else:
        return four.is_global and not four.is_multicast and four not in _RELAYS
    try:
        six = IPv6Address(address)
    except AddressValueError:
        return False
    return (
        six.scope_id is None
        and six in _UNICAST
        and six.is_global
        and six not in _DOCUMENTATION
        and not any(six in network for network in _EMBEDDING)
    )
