"""The two secrets, in Secrets Manager. Nothing here may reach a log or an error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from candor.stores.clients import StoreError, errors_translated

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def load_masters(client: SecretsManagerClient, arn: str) -> dict[str, str]:
    """The master secret's versions, by version. Versions are only ever added."""
    try:
        masters = json.loads(_text(client, arn))
    except ValueError:
        masters = None
    if (
        not isinstance(masters, dict)
        or not masters
        or not all(isinstance(text, str) and text for text in masters.values())
    ):
        # Not while the parser's error is being handled, because that quotes what it read.
        raise StoreError("GetSecretValue", "not a JSON object of version to text")
    return masters


def load_hmac(client: SecretsManagerClient, arn: str) -> str:
    """The permanent secret under which identifiers become idkeys."""
    text = _text(client, arn)
    if not text:
        raise StoreError("GetSecretValue", "empty")
    return text


def _text(client: SecretsManagerClient, arn: str) -> str:
    with errors_translated():
        return client.get_secret_value(SecretId=arn)["SecretString"]
