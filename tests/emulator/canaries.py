"""Values that nothing else in the world contains, and a search for them in any disguise."""

import base64
import binascii
import hashlib
import re
import secrets
import string
import zlib
from collections.abc import Iterable, Iterator

LAYERS = 4
"""How many encodings inside each other are undone."""
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{22,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){16,}")


class Canaries:
    """Makes values with a word or, for phone numbers, digits that were drawn for this run."""

    def __init__(self) -> None:
        letters = (secrets.choice(string.ascii_lowercase) for _ in range(11))
        self.word = "zq" + "".join(letters)
        self.digits = "9" + "".join(secrets.choice(string.digits) for _ in range(10))
        self._in_any_case: list[bytes] = []
        self._exact: dict[bytes, str] = {}
        for needle in (self.word.encode(), self.digits.encode()):
            wide = needle.decode().encode("utf-16-le")
            self._in_any_case += [needle, needle.hex().encode(), wide]
            # In the middle of something, base64 has three forms, by where in a group of three
            # bytes the value starts; the characters at its ends also hold bits of its neighbours.
            for before in range(3):
                own = slice(-(-before * 8 // 6), (before + len(needle)) * 8 // 6)
                text = base64.b64encode(b"\0" * before + needle)
                self._exact[text[own]] = "in base64"

    def text(self, person: int, field: str) -> str:
        return f"{self.word}-{person:04d}-{field}"

    def phone(self, person: int) -> str:
        return f"+49{self.digits}{person:04d}"

    def add_digests(self, identifiers: Iterable[tuple[str, str]]) -> None:
        """Also look for plain digests of these pairs of type and value, which can be guessed."""
        for kind, value in identifiers:
            for text in (value, f"{kind}:{value}", f"{kind}\0{value}", f"{kind}{value}"):
                for name in ("md5", "sha1", "sha256"):
                    digest = hashlib.new(name, text.encode(), usedforsecurity=False).digest()[:12]
                    forms = (digest, digest.hex().encode(), base64.urlsafe_b64encode(digest))
                    self._exact |= dict.fromkeys(forms, f"{name} of a {kind}")

    def found(self, places: Iterable[tuple[str, bytes]]) -> list[str]:
        """Where they are readable, each with what stands there."""
        return sorted({f"{where}: {what}" for where, data in places for what in self._in(data)})

    def _in(self, data: bytes) -> Iterator[str]:
        for plain in layers(data):
            lower = plain.lower()
            for needle in self._in_any_case:
                if (start := lower.find(needle)) >= 0:
                    yield plain[max(0, start - 30) : start + 60].decode(errors="replace")
            yield from (what for needle, what in self._exact.items() if needle in plain)


def layers(data: bytes, depth: int = LAYERS) -> Iterator[bytes]:
    """The bytes, and whatever compression, base64 and hex in them hide."""
    yield data
    if not depth:
        return
    inflated = _inflated(data)
    if inflated:
        yield from layers(inflated, depth - 1)
    for run in _BASE64.findall(data):
        text = run.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        try:
            inner = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
        except binascii.Error:
            continue
        if inner != data:
            yield from layers(inner, depth - 1)
    for run in _HEX.findall(data):
        yield from layers(binascii.unhexlify(run), depth - 1)


def _inflated(data: bytes) -> bytes | None:
    """Of gzip or zlib, even cut short; None of anything else."""
    if data[:2] != b"\x1f\x8b" and not (data[:1] == b"\x78" and data[1:2] in b"\x01\x5e\x9c\xda"):
        return None
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(data)
    except zlib.error:
        return None
