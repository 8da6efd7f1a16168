"""Checks a signed document with the public key alone: no network, no AWS, none of its stores.

The one place that does, for whatever Candor signs. docs/decisions/3 says what is signed.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Finding = Literal["valid", "altered", "other_key", "malformed", "unchecked"]
GOOD: Mapping[Finding, bool | None] = {"valid": True, "unchecked": None}
FILE = "it is not a file that Candor signed: "


@dataclass(frozen=True, slots=True)
class Verdict:
    finding: Finding
    words: str

    @property
    def good(self) -> bool | None:
        """None where nothing could be checked."""
        return GOOD.get(self.finding, False)


class Malformed(Exception):
    """It cannot be read as what it should be; says why."""


def read(data: bytes) -> dict[str, Any]:
    """A signed document's file. Raises Malformed.

    A name that stands twice is refused: one reader takes the first, another the last.
    """
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, _Twice) else "no JSON"
        raise Malformed(FILE + why) from None
    if not isinstance(found, dict):
        raise Malformed(FILE + "no object")
    return found


def public_key(data: bytes) -> bytes:
    """A P-256 public key from PEM, as DER SubjectPublicKeyInfo. Raises Malformed."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise Malformed("it holds no public key in PEM") from None
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if _curve(der) is None:
        raise Malformed("it holds a key of another kind than Candor signs with (P-256)")
    return der


def verify(signed: Mapping[str, Any], key: bytes) -> Verdict:
    """Whether `signature` is over `document`, by that key (DER SubjectPublicKeyInfo).

    `key_id` proves nothing and is not looked at; `key_sha256`, where it is told, says which key the
    signer used.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    curve = _curve(key)
    if curve is None:
        return Verdict("unchecked", "not checked: the signing key is of another kind")
    try:
        document, signature = _parts(signed)
    except Malformed as malformed:
        return Verdict("malformed", str(malformed))
    told = signed.get("key_sha256")
    if told is not None and told != hashlib.sha256(key).hexdigest():
        return Verdict("other_key", "it says that it was signed by another key than this one")
    try:
        # KMS signs at most 4,096 bytes, so what it signed is the document's SHA-256.
        curve.verify(signature, hashlib.sha256(document).digest(), ec.ECDSA(SHA256()))
    except InvalidSignature:
        other = "" if told else ", OR IT WAS SIGNED BY ANOTHER KEY"
        return Verdict("altered", f"THE SIGNATURE DOES NOT FIT THE DOCUMENT: ONE IS ALTERED{other}")
    return Verdict("valid", "the signature is that of the key, over this document as it stands")


def _parts(signed: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The bytes that were hashed and the signature over that. Raises Malformed."""
    document, signature = signed.get("document"), signed.get("signature")
    if not isinstance(document, str) or not isinstance(signature, str):
        raise Malformed(FILE + "no `document` and `signature`")
    try:
        decoded = b64decode(signature, validate=True)
        # Of the last character some bits count for nothing, and there is one right way to write it.
        if b64encode(decoded).decode() != signature:
            raise ValueError
        return document.encode(), decoded
    except ValueError:
        raise Malformed(FILE + "its `signature` is no base64") from None


def _curve(der: bytes) -> Any:
    """The key where it is one on P-256, else None."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    key = load_der_public_key(der)
    known = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    return key if known else None


class _Twice(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice("a name stands in it twice")
    return found
