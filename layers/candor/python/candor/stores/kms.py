"""A signing key, in KMS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from candor.stores.clients import errors_translated
from candor.stores.rules import check_signable

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient


class KmsSigner:
    """`candor.ports.Signer`."""

    def __init__(self, client: KMSClient, key_id: str) -> None:
        self._client = client
        self.key_id = key_id
        self._public: bytes | None = None

    def sign(self, message: bytes) -> bytes:
        check_signable(message)
        with errors_translated():
            # RAW: KMS hashes. moto's signatures over a DIGEST do not verify offline.
            answer = self._client.sign(
                KeyId=self.key_id,
                Message=message,
                MessageType="RAW",
                SigningAlgorithm="ECDSA_SHA_256",
            )
        return answer["Signature"]

    def public_key(self) -> bytes:
        if self._public is None:  # it never changes: such a key is not rotated
            with errors_translated():
                self._public = self._client.get_public_key(KeyId=self.key_id)["PublicKey"]
        return self._public
