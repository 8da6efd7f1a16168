"""Signed documents: a text as it stands, and a signature that anybody can check with a public key.

The text is kept and handed on verbatim, so checking it takes no canonical form. What KMS signs is
the SHA-256 of its UTF-8 bytes, because it takes at most 4,096 bytes (docs/decisions/3).
"""

import base64
import hashlib

from candor.ports import Signer


def signed(document: str, signer: Signer) -> dict[str, str]:
    """The document with its signature (base64 of DER) and the id of the key."""
    digest = hashlib.sha256(document.encode()).digest()
    signature = base64.b64encode(signer.sign(digest)).decode()
    return {"document": document, "signature": signature, "key_id": signer.key_id}


def fingerprint(public_key: bytes) -> str:
    """Names a public key (DER SubjectPublicKeyInfo): its SHA-256 in hex."""
    return hashlib.sha256(public_key).hexdigest()


def pem(public_key: bytes) -> str:
    """A public key (DER SubjectPublicKeyInfo) as text (RFC 7468, section 13)."""
    body = base64.b64encode(public_key).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])
