"""SQS to profiles: each message is unified by itself, and one that fails comes again by itself."""

from collections.abc import Callable
from typing import Any

from candor.telemetry import Telemetry
from candor.unification import Outcome, Unfinished, unify, unify_apart
from candor.wiring import Wiring

RESERVE_MS = 10_000
"""Begin nothing with less time left: being cut off makes the neighbours come again too."""

wiring = Wiring()
telemetry = Telemetry(tail=wiring.tail)


def _unify(record: dict[str, Any], more: Callable[[], bool]) -> list[Outcome]:
    message = wiring.transit.open(record["body"])
    if message is None:
        return [Outcome("message", "(sealed)", "-", "dropped", "key_destroyed")]
    again = int(record["attributes"]["ApproximateReceiveCount"]) > 1
    if not again or message.get("apart"):
        return unify(message, wiring.world, more)
    outcomes, failing = unify_apart(message, wiring.world, more)
    for one in failing:
        wiring.events_queue.send(wiring.transit.seal(one))
    return outcomes


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    def more() -> bool:
        return bool(context.get_remaining_time_in_millis() > RESERVE_MS)

    failed = []
    for record in event["Records"]:
        try:
            telemetry.outcomes(_unify(record, more))
        except Unfinished:
            failed.append({"itemIdentifier": record["messageId"]})
        except Exception as error:  # noqa: BLE001  whatever it is, it must not take its neighbours along
            telemetry.fault(error, queued=record["messageId"])  # `candor dlq list` tells why by it
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
