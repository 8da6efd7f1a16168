"""Checks a certificate's signature with the public key, as an auditor would."""

import json
from collections.abc import Mapping
from typing import Any

from cli.aws import AwsError, Clients
from cli.signature import Verdict, verify


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
        words = "not checked: the signing key's public half could not be fetched"
        return Verdict("unchecked", words)
    return verify(certificate, answer["PublicKey"])
