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
        good = masters and all(isinstance(text, str) and text for text in masters.values())
    except (ValueError, AttributeError):
        good = False
    if not good:
        # From None, because the parser's error quotes what it read.
        raise StoreError("GetSecretValue", "not a JSON object of version to text") from None
    return dict(masters)


def load_hmac(client: SecretsManagerClient, arn: str) -> str:
    """The permanent secret under which identifiers become idkeys."""
    text = _text(client, arn)
    if not text:
        raise StoreError("GetSecretValue", "empty")
    return text


def _text(client: SecretsManagerClient, arn: str) -> str:
    with errors_translated():
        return client.get_secret_value(SecretId=arn)["SecretString"]
