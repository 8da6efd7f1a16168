"""A run of the vacuum's real machine."""

import json
import time
from typing import Any

from tests.emulator.conftest import await_true
from tests.emulator.installation import Installation

Json = dict[str, Any]


def vacuumed(installation: Installation) -> Json:
    """What a run that succeeded counted."""
    states = installation.client("stepfunctions")
    arn = states.start_execution(
        stateMachineArn=installation.outputs["VacuumMachineArn"],
        name=f"test-{time.time_ns()}",
        input="{}",
    )["executionArn"]

    def ended() -> Json | None:
        found: Json = states.describe_execution(executionArn=arn)
        return None if found["status"] == "RUNNING" else found

    found: Json = await_true("the vacuum has ended", ended, 180)
    assert found["status"] == "SUCCEEDED", found
    counts: Json = json.loads(found["output"])
    return counts
