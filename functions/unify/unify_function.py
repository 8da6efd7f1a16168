"""SQS to profiles: each message is unified by itself, and one that fails comes again by itself."""

from collections.abc import Callable
from typing import Any

from candor.telemetry import Telemetry
from candor.unification import Outcome, Unfinished, unify
from candor.wiring import Wiring

RESERVE_MS = 10_000
"""Begin nothing with less time left: being cut off makes the neighbours come again too."""
SLOW = 4
"""Times a message may find no time, of the eight after which it is a dead letter, until it is told
as a fault: slow starts are none."""

wiring = Wiring()
telemetry = Telemetry(tail=wiring.tail)


def _unify(record: dict[str, Any], more: Callable[[], bool], begin: bool) -> list[Outcome]:
    """Unify a message. What there is no time for is sent again: waiting its turn is no failure.

    With `begin` off that is the whole of it, but for a message that did fail.
    """
    failed = _failed(record)
    if not begin and failed:
        raise Unfinished
    if not begin:
        wiring.events_queue.send(record["body"])
        return []
    message = wiring.transit.open(record["body"])
    if message is None:
        return [Outcome("message", "(sealed)", "-", "dropped", "key_destroyed")]
    again = (failed or message.get("again", False)) and not message.get("apart")
    outcomes, left = unify(message, wiring.world, more, apart=again)
    for one in left:
        wiring.events_queue.send(wiring.transit.seal(one, part_of=record["body"]))
    return outcomes


def _failed(record: dict[str, Any]) -> bool:
    """Whether a message was here before."""
    return _received(record) > 1


def _received(record: dict[str, Any]) -> int:
    return int(record["attributes"]["ApproximateReceiveCount"])


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    def more() -> bool:
        return bool(context.get_remaining_time_in_millis() > RESERVE_MS)

    failed = []
    for n, record in enumerate(event["Records"]):
        try:
            telemetry.outcomes(_unify(record, more, begin=n == 0 or more()))
        except Unfinished as error:
            failed.append({"itemIdentifier": record["messageId"]})
            if _received(record) > SLOW:
                telemetry.fault(error, queued=record["messageId"])
            else:
                telemetry.done("unfinished")
        except Exception as error:  # noqa: BLE001  whatever it is, it must not take its neighbours along
            telemetry.fault(error, queued=record["messageId"])  # `candor dlq list` tells why by it
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
