"""A function that another one wakes, in Lambda."""

from __future__ import annotations

from typing import TYPE_CHECKING

from candor.stores.clients import errors_translated

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class LambdaSweeper:
    """`candor.ports.Sweeper`."""

    def __init__(self, client: LambdaClient, name: str) -> None:
        self._client = client
        self._name = name

    def wake(self) -> None:
        with errors_translated():
            self._client.invoke(FunctionName=self._name, InvocationType="Event")
