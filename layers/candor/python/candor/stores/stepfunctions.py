"""The erasure state machine, in Step Functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from candor.stores.clients import code_of, errors_translated

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

OVER = frozenset({"TaskDoesNotExist", "TaskTimedOut", "InvalidToken"})
"""Nobody waits with this token any more. (Emulators have no word for all but the last.)"""


class StepFunctionsWorkflow:
    """`candor.ports.Workflow`, for a Standard state machine: names hold for 90 days."""

    def __init__(self, client: SFNClient, machine_arn: str) -> None:
        self._client = client
        self._machine_arn = machine_arn

    def start(self, name: str, payload: Mapping[str, Any]) -> None:
        with errors_translated():
            try:
                self._client.start_execution(
                    stateMachineArn=self._machine_arn, name=name, input=json.dumps(payload)
                )
            except ClientError as error:
                if code_of(error) != "ExecutionAlreadyExists":
                    raise

    def succeed(self, token: str) -> None:
        self._end(lambda: self._client.send_task_success(taskToken=token, output="{}"))

    def fail(self, token: str, error: str) -> None:
        self._end(lambda: self._client.send_task_failure(taskToken=token, error=error))

    def _end(self, send: Callable[[], object]) -> None:
        with errors_translated():
            try:
                send()
            except ClientError as refused:
                if code_of(refused) not in OVER:
                    raise

    def state(self, name: str) -> Literal["running", "succeeded", "failed", "absent"]:
        machine = self._machine_arn.replace(":stateMachine:", ":execution:", 1)
        with errors_translated():
            try:
                answer = self._client.describe_execution(executionArn=f"{machine}:{name}")
            except ClientError as error:
                if code_of(error) == "ExecutionDoesNotExist":
                    return "absent"
                raise
        match answer["status"]:
            case "SUCCEEDED":
                return "succeeded"
            case "FAILED" | "TIMED_OUT" | "ABORTED":
                return "failed"
        return "running"
