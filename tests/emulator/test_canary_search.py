"""The search for canaries finds them in every disguise; else finding none would mean nothing."""

import base64
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable

import pytest

from tests.emulator.canaries import Canaries

DISGUISES: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda text: b"before" + text + b"after",
    "in capitals": bytes.upper,
    "in JSON in JSON": lambda text: json.dumps(json.dumps({"a": text.decode()})).encode(),
    "as a number": lambda text: b"[1," + text + b"]",
    "in hex": lambda text: text.hex().encode(),
    "as UTF-16": lambda text: text.decode().encode("utf-16-le"),
    "in gzip": gzip.compress,
    "in gzip cut short": lambda text: gzip.compress(text * 9 + bytes(range(256)))[:-20],
    "in zlib": lambda text: zlib.compress(text, 1),
    "in base64, first": base64.b64encode,
    "in base64, second": lambda text: base64.b64encode(b"x" + text + b"yz"),
    "in base64, third": lambda text: base64.b64encode(b"xy" + text + b"z"),
    "in gzip in base64 in JSON": lambda text: json.dumps(
        {"data": base64.b64encode(gzip.compress(text)).decode()}
    ).encode(),
    "in base64 of URLs in zlib": lambda text: zlib.compress(
        base64.urlsafe_b64encode(b"\xff" + text)
    ),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_canary_is_found_in_every_disguise(disguise: str) -> None:
    canaries = Canaries()
    for planted in (canaries.text(7, "email"), canaries.phone(7)):
        hidden = DISGUISES[disguise](planted.encode())
        assert canaries.found([("here", hidden)]), planted


def test_a_digest_of_an_identifier_is_found() -> None:
    canaries = Canaries()
    canaries.add_digests([("email", "ann@example.com")])
    for text in ("ann@example.com", "email:ann@example.com"):
        digest = hashlib.sha256(text.encode())
        assert canaries.found([("here", digest.hexdigest().encode())])
        assert canaries.found([("here", b"I#" + base64.urlsafe_b64encode(digest.digest()))])
        assert canaries.found([("here", digest.digest()[:16])])


def test_nothing_is_found_where_nothing_is() -> None:
    canaries, other = Canaries(), Canaries()
    planted = "".join(other.text(n, "email") + other.phone(n) for n in range(99)).encode()
    assert not canaries.found([("here", planted), ("there", gzip.compress(planted))])
