"""How every client is made, and how every AWS error becomes one of ours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from candor.ports import Unavailable

THROTTLED = frozenset(
    {
        "InternalServerError",
        "KMSInternalException",
        "LimitExceededException",
        "OverLimit",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)


class StoreError(Unavailable):
    """A store refused a call: a missing permission, a missing table, a malformed request.

    A defect of the deployment or of the code; for who sent the request it is the same as a store
    that does not answer. It names the operation and AWS's code; AWS's message is left out because
    some quote the values that were sent.
    """

    def __init__(self, operation: str, code: str) -> None:
        super().__init__(f"{operation}: {code}")
        self.code = code


def client(service: str) -> Any:
    """A low-level client with the project's time limits and retries."""
    config = Config(
        connect_timeout=2,
        read_timeout=5,
        retries={"mode": "standard", "total_max_attempts": 4},
        tcp_keepalive=True,
        # Requests are made by code and not by hand; to check each costs a sixth of unify's CPU.
        parameter_validation=False,
        # An emulator has no wildcard DNS for buckets as host names.
        s3={"addressing_style": "path"} if os.environ.get("AWS_ENDPOINT_URL") else None,
    )
    return boto3.client(service, config=config)  # type: ignore[call-overload]


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


@contextmanager
def errors_translated() -> Iterator[None]:
    """What a store raises that is not one of its own cases: Unavailable or StoreError."""
    try:
        yield
    except ClientError as error:
        code, operation = code_of(error), error.operation_name
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in THROTTLED or status >= 500:
            raise Unavailable(f"{operation}: {code}") from None
        raise StoreError(operation, code) from None
    except (ConnectionError, HTTPClientError) as error:
        raise Unavailable(type(error).__name__) from None
