"""Sealing: a personal value is stored only encrypted under its identifier's own key.

The key is HKDF-SHA256 (RFC 5869) of a master secret and the identifier's random salt; the cipher is
AES-256-GCM. Destroying the salt makes every copy unreadable at once. An envelope is

    version (1 byte) | master version (1) | key id (8) | nonce (12) | ciphertext and tag

and is bound to the place it is stored at, so that it cannot be moved to another person or row.
"""

import hashlib
import hmac
import json
import os
import zlib
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = 1
KEY_ID_BYTES = 8
NONCE_BYTES = 12
SALT_BYTES = 32
_HEADER = 2 + KEY_ID_BYTES


class Damaged(Exception):
    """An envelope whose key is here but which does not open: altered, moved or cut."""


def new_salt() -> bytes:
    return os.urandom(SALT_BYTES)


def key_id(salt: bytes) -> bytes:
    """Names a salt without telling it: 8 bytes of a labelled SHA-256."""
    return hashlib.sha256(b"candor/key-id/" + salt).digest()[:KEY_ID_BYTES]


def key_id_of(envelope: bytes) -> bytes:
    """The key id that an envelope was sealed under. Raises Damaged for what is no envelope."""
    if len(envelope) <= _HEADER + NONCE_BYTES or envelope[0] != VERSION:
        raise Damaged
    return envelope[2:_HEADER]


class Vault:
    """Seals and opens with the master secrets, given as version (1 to 255) to secret text."""

    def __init__(self, masters: Mapping[int, str]) -> None:
        self._masters = {version: text.encode() for version, text in masters.items()}
        self._current = max(masters)

    def seal(self, salt: bytes, value: Any, place: str, *, level: int = 1) -> bytes:
        """Seal any JSON value under `salt`, bound to `place`. `level`: of its compression."""
        plain = zlib.compress(json.dumps(value, separators=(",", ":")).encode(), level)
        nonce = os.urandom(NONCE_BYTES)
        header = bytes((VERSION, self._current)) + key_id(salt)
        sealed = self._cipher(self._current, salt).encrypt(nonce, plain, header + place.encode())
        return header + nonce + sealed

    def open(self, salt: bytes | None, envelope: bytes, place: str) -> Any:
        """The value, or None where it was shredded: its key is gone, or was replaced since.

        Raises Damaged where the key is the right one and the envelope still does not open.
        """
        sealed_under = key_id_of(envelope)
        if salt is None or key_id(salt) != sealed_under:
            return None
        if envelope[1] not in self._masters:
            raise Damaged
        header, nonce = envelope[:_HEADER], envelope[_HEADER : _HEADER + NONCE_BYTES]
        cipher = self._cipher(envelope[1], salt)
        try:
            sealed = envelope[_HEADER + NONCE_BYTES :]
            plain = cipher.decrypt(nonce, sealed, header + place.encode())
        except InvalidTag:
            raise Damaged from None
        return json.loads(zlib.decompress(plain))

    def _cipher(self, version: int, salt: bytes) -> AESGCM:
        extracted = hmac.digest(salt, self._masters[version], "sha256")
        return AESGCM(hmac.digest(extracted, b"candor/seal/1\x01", "sha256"))
