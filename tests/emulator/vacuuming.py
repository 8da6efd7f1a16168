"""A run of the vacuum's real machine."""

import json
import time
from typing import Any

from tests.emulator.conftest import await_true
from tests.emulator.installation import Installation

Json = dict[str, Any]


def begin(installation: Installation, name: str = "") -> str:
    """Starts a run; its execution."""
    begun = installation.client("stepfunctions").start_execution(
        stateMachineArn=installation.outputs["VacuumMachineArn"],
        name=name or f"test-{time.time_ns()}",
        input="{}",
    )
    return str(begun["executionArn"])


def ended(installation: Installation, arn: str) -> Json:
    """What became of an execution."""
    states = installation.client("stepfunctions")

    def over() -> Json | None:
        found: Json = states.describe_execution(executionArn=arn)
        return None if found["status"] == "RUNNING" else found

    found: Json = await_true("the execution has ended", over, 180)
    return found


def vacuumed(installation: Installation) -> Json:
    """What a run that succeeded counted."""
    return counted(ended(installation, begin(installation)))


def counted(found: Json) -> Json:
    assert found["status"] == "SUCCEEDED", found
    counts: Json = json.loads(found["output"])
    return counts
