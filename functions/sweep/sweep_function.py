"""Hourly: end what DynamoDB's own expiry does not, take up what stopped halfway. When called for:
take up the many erasures of one file (statemachines/bulk.asl.json), and do again what tables that
were restored do not know (`candor restore replay`)."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from candor import audit, erasure, requests, restore, retention
from candor.errors import Clash
from candor.telemetry import Telemetry
from candor.wiring import Wiring

RESERVE_MS = 20_000
"""Stop this long before the function's time is up."""

wiring = Wiring()
telemetry = Telemetry()


def _take_up(id_: str) -> None:
    """Begin one of many erasures. Where another request is erasing the person it is refused."""
    row = requests.find(wiring.rows, id_)
    audit.tell(
        wiring.audit_queue,
        at=wiring.clock(),
        actor=row["principal"],
        action="privacy.requested",
        request=id_,
        about=[wiring.identifiers.pseudonym(row["subject"])],
    )
    with suppress(Clash):
        erasure.advance(wiring.erasure, wiring.workflow, id_)


def _replay(after: str, more: Callable[[], bool]) -> dict[str, Any]:
    told = restore.replay(wiring.erasure, wiring.world, after, more)
    telemetry.done("replayed", requests=told["requests"], again=told["again"])
    audit.tell(wiring.audit_queue, at=wiring.clock(), actor="erasure", action="erasure.replayed")
    return told


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if "bulk" in event:
        return {"requests": requests.many(wiring.rows, event["bulk"])["requests"]}
    if "request" in event:
        _take_up(event["request"])
        return {}

    def more() -> bool:
        return bool(context.get_remaining_time_in_millis() > RESERVE_MS)

    if "replay" in event:
        return _replay(event["replay"], more)
    swept = retention.sweep(wiring.erasure, wiring.world, wiring.workflow, more)
    telemetry.done("swept", **swept.counts())
    return swept.counts()
