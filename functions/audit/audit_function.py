"""The one writer of the audit log, and hourly its signed checkpoint."""

import json
from typing import Any

from candor import audit
from candor.telemetry import Telemetry
from candor.wiring import Wiring

wiring = Wiring()
telemetry = Telemetry()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    now = wiring.clock()
    if event.get("step") == "checkpoint":
        name = audit.checkpoint(wiring.rows, wiring.checkpoints, wiring.signer, now)
        telemetry.done("checkpoint", written=int(name is not None))
        return {"checkpoint": name}
    entries = [json.loads(record["body"]) for record in event["Records"]]
    new = audit.append(wiring.rows, wiring.policy, entries, now)
    telemetry.done("appended", entries=new)
    return {"batchItemFailures": []}
