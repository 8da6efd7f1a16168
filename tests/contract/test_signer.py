"""What every implementation of `Signer` does."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from candor.ports import Signer


def verify(signer: Signer, signature: bytes, message: bytes) -> None:
    key = load_der_public_key(signer.public_key())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    key.verify(signature, message, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("size", [1, 32, 4096])
def test_a_signature_verifies_offline_with_the_public_key(signer: Signer, size: int) -> None:
    message = bytes(n % 251 for n in range(size))

    signature = signer.sign(message)

    verify(signer, signature, message)
    with pytest.raises(InvalidSignature):
        verify(signer, signature, message + b"!")


def test_only_1_to_4096_bytes_are_signed(signer: Signer) -> None:
    for message in (b"", b"x" * 4097):
        with pytest.raises(ValueError):
            signer.sign(message)


def test_the_key_has_an_id(signer: Signer) -> None:
    assert signer.key_id
