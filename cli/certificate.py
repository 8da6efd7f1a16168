"""Checks a certificate's signature with the public key, as an auditor would."""

import hashlib
import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cli.aws import AwsError, Clients


@dataclass(frozen=True, slots=True)
class Verdict:
    """`good` is None when the public key could not be had."""

    good: bool | None
    words: str


def document_of(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """What was signed, as an object."""
    text = str(certificate.get("document", ""))
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"document": text}


def check(certificate: Mapping[str, Any], stack: Mapping[str, Any]) -> Verdict:
    """Fetches the public key of the stack's signing key and checks against that alone."""
    arn = stack.get("outputs", {}).get("SigningKeyArn")
    try:
        answer = Clients(stack.get("endpoint_url")).kms.get_public_key(KeyId=str(arn))
    except AwsError:
        return Verdict(None, "not checked: the signing key's public half could not be fetched")
    return verify(certificate, answer["PublicKey"])


def verify(certificate: Mapping[str, Any], public_key: bytes) -> Verdict:
    """Whether the signature is over the document, by that key (DER SubjectPublicKeyInfo)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    key = load_der_public_key(public_key)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return Verdict(None, "not checked: the signing key is of another kind")
    try:
        signature = b64decode(str(certificate.get("signature")), validate=True)
        # KMS signs at most 4,096 bytes, so what it signed is the document's SHA-256.
        signed = hashlib.sha256(str(certificate.get("document")).encode()).digest()
        key.verify(signature, signed, ec.ECDSA(SHA256()))
    except (ValueError, InvalidSignature):
        return Verdict(False, "THE SIGNATURE DOES NOT FIT THE DOCUMENT")
    return Verdict(True, "the signature is that of the stack's signing key")
