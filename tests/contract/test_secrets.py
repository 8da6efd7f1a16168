"""How the two secrets are read. The domain takes them as text, so there is no fake."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from candor.stores.clients import StoreError
from candor.stores.secrets import load_hmac, load_masters
from tests.contract.conftest import Backend

Make = Callable[[str], str]
pytestmark = pytest.mark.no_fake


@pytest.fixture
def client(backend: Backend) -> Any:
    assert backend.clients is not None
    return backend.clients("secretsmanager")


@pytest.fixture
def secret(client: Any) -> Iterator[Make]:
    """Makes a secret that holds a text; answers its ARN."""
    with ExitStack() as made:

        def make(text: str) -> str:
            name = f"contract-{uuid.uuid4().hex}"
            arn: str = client.create_secret(Name=name, SecretString=text)["ARN"]
            made.callback(client.delete_secret, SecretId=arn, ForceDeleteWithoutRecovery=True)
            return arn

        yield make


def test_the_masters_come_by_version(client: Any, secret: Make) -> None:
    masters = {"1": "a" * 64, "2": "é{}[]"}

    assert load_masters(client, secret(json.dumps(masters))) == masters


@pytest.mark.parametrize(
    "text", ["sesame", "{sesame", "{}", "[]", '["sesame"]', '{"1": 7}', '{"1": ""}', "null"]
)
def test_masters_that_are_none_are_refused_without_being_quoted(
    client: Any, secret: Make, text: str
) -> None:
    with pytest.raises(StoreError) as error:
        load_masters(client, secret(text))

    assert "sesame" not in str(error.value)
    assert error.value.__context__ is None


def test_the_hmac_secret_is_its_text(client: Any, secret: Make) -> None:
    assert load_hmac(client, secret("b" * 64)) == "b" * 64


def test_a_secret_that_is_not_there_is_a_defect(client: Any) -> None:
    with pytest.raises(StoreError) as error:
        load_hmac(client, "contract-none")

    assert error.value.code == "ResourceNotFoundException"
