"""Clients of AWS for the command line, and of an emulator that stands in for it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import localstack_client.session  # type: ignore[import-untyped]
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from cli.problem import Problem
from cli.target import REGION

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

AwsError = (ClientError, BotoCoreError)


def environment(endpoint: str | None, base: dict[str, str]) -> dict[str, str]:
    """`base` for a process that talks to `endpoint` alone: fake keys, nobody's configuration.

    Without an endpoint, `base` as it is: the caller's own account.
    """
    if endpoint is None:
        return base
    kept = {name: value for name, value in base.items() if not name.startswith("AWS_")}
    direct = ",".join(filter(None, [base.get("NO_PROXY"), "127.0.0.1,localhost"]))
    return kept | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


class Clients:
    """One place that makes clients; each is made when it is first asked for."""

    def __init__(self, endpoint: str | None) -> None:
        self.endpoint = endpoint
        self._made: dict[str, Any] = {}

    @property
    def cloudformation(self) -> "CloudFormationClient":
        return self._client("cloudformation")  # type: ignore[no-any-return]

    @property
    def dynamodb(self) -> "DynamoDBClient":
        return self._client("dynamodb")  # type: ignore[no-any-return]

    @property
    def kms(self) -> "KMSClient":
        return self._client("kms")  # type: ignore[no-any-return]

    @property
    def functions(self) -> "LambdaClient":
        return self._client("lambda")  # type: ignore[no-any-return]

    @property
    def logs(self) -> "CloudWatchLogsClient":
        return self._client("logs")  # type: ignore[no-any-return]

    @property
    def sqs(self) -> "SQSClient":
        return self._client("sqs")  # type: ignore[no-any-return]

    @property
    def stepfunctions(self) -> "SFNClient":
        return self._client("stepfunctions")  # type: ignore[no-any-return]

    def _client(self, service: str) -> Any:
        if service not in self._made:
            config = Config(connect_timeout=3, read_timeout=60, retries={"total_max_attempts": 3})
            if self.endpoint is None:
                self._made[service] = boto3.client(service, config=config)  # type: ignore[call-overload]
            else:
                with _alone_with(self.endpoint):
                    session = localstack_client.session.Session("test", "test", region_name=REGION)
                    self._made[service] = session.client(service, config=config)
        return self._made[service]


@contextmanager
def _alone_with(endpoint: str) -> Iterator[None]:
    """Botocore reads its files through the environment, whatever else it is given."""
    before = dict(os.environ)
    clean = environment(endpoint, before)
    try:
        for name in before.keys() - clean.keys():
            del os.environ[name]
        os.environ.update(clean)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def explained(error: Exception, doing: str) -> Problem:
    """What a failed call to AWS or an emulator means to the one who asked."""
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        return Problem(f"{doing} failed: {details.get('Code')}: {details.get('Message')}")
    if isinstance(error, HTTPClientError):
        return Problem(f"{doing} failed: {error}", "Does it run? `make up` starts what does not.")
    return Problem(
        f"{doing} failed: {error}".rstrip("."),
        "AWS wants credentials and a region: set AWS_PROFILE and AWS_REGION, or `aws configure`.",
    )
