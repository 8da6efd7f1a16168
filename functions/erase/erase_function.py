"""The tasks of the state machines that erase: one step a call, nothing personal in or out."""

from typing import Any

from candor import audit, destinations, erasure, holds, requests, vacuum
from candor.telemetry import Telemetry
from candor.wiring import Wiring

RESERVE_MS = 60_000
"""Stop going through the archive this long before the function's time is up."""

wiring = Wiring()
telemetry = Telemetry()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if "run" in event:
        return vacuum_step(event, context)
    step, request = event["step"], event["request"]
    work = wiring.erasure
    if step == "plan":
        erasure.plan(work, request)
    elif step == "destinations":
        return {"names": destinations.pending(work, requests.find(wiring.rows, request))}
    elif step == "tell":
        row, signer = requests.find(wiring.rows, request), wiring.signer
        name, token = event["destination"], event["token"]
        destinations.tell(work, signer, wiring.send, wiring.workflow, row, name, token)
    elif step == "verify":
        return erasure.verify(work, request)
    elif step == "certify":
        erasure.certify(work, wiring.signer, request)
    elif step == "fail":
        erasure.give_up(work, request, event["execution"], event.get("retries", 0))
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


def vacuum_step(event: dict[str, Any], context: Any) -> dict[str, Any]:
    def more() -> bool:
        return bool(context.get_remaining_time_in_millis() > RESERVE_MS)

    step, run = event["step"], event["run"]
    if step == "vacuum":
        return vacuum.sweep(wiring.archive, run, event["group"], event["after"], more)
    rows, now = wiring.rows, wiring.clock()
    given = (rows, wiring.archive, run, now, holds.held(rows, now))
    if step == "begin":
        return vacuum.begin(*given)
    counts = vacuum.end(*given)
    telemetry.done("vacuumed", **counts)
    audit.tell(wiring.audit_queue, at=now, actor="erasure", action="archive.vacuumed", request=run)
    return {"run": run, **counts}
