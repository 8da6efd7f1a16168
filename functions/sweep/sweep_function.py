"""Hourly: end what DynamoDB's own expiry does not, take up what stopped halfway."""

from typing import Any

from candor import retention
from candor.telemetry import Telemetry
from candor.wiring import Wiring

RESERVE_MS = 20_000
"""Stop this long before the function's time is up."""

wiring = Wiring()
telemetry = Telemetry()


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    def more() -> bool:
        return bool(context.get_remaining_time_in_millis() > RESERVE_MS)

    swept = retention.sweep(wiring.erasure, wiring.world, wiring.workflow, more)
    telemetry.done("swept", **swept.counts())
    return swept.counts()
