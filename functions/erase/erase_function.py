"""The tasks of the erasure state machine: one step a call, nothing personal in or out."""

from typing import Any

from candor import audit, destinations, erasure
from candor.telemetry import Telemetry
from candor.wiring import Wiring

wiring = Wiring()
telemetry = Telemetry()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    step, request = event["step"], event["request"]
    work = wiring.erasure
    if step == "plan":
        erasure.fence(work, request)
    elif step == "destinations":
        return {"names": destinations.pending(work, erasure.request(work, request))}
    elif step == "tell":
        row, signer = erasure.request(work, request), wiring.signer
        name, token = event["destination"], event["token"]
        destinations.tell(work, signer, wiring.send, wiring.workflow, row, name, token)
    elif step == "verify":
        return erasure.verify(work, request)
    elif step == "certify":
        erasure.certify(work, wiring.signer, request)
    elif step == "fail":
        erasure.give_up(work, request, event["execution"])
    else:
        erasure.erase(work, step, request)
        return {}
    audit.tell(
        wiring.audit_queue,
        at=wiring.clock(),
        actor="erasure",
        action=f"erasure.{step}",
        request=request,
    )
    return {}
