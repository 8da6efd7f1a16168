"""The events table's stream to sealed, compressed objects; and how many events it stored."""

from typing import Any

from candor import archive, outcomes
from candor.stores.dynamo import unpack_streamed
from candor.telemetry import Telemetry
from candor.wiring import Wiring

wiring = Wiring()
telemetry = Telemetry()


def handler(event: dict[str, Any], context: object) -> None:
    records = [unpack_streamed(record["dynamodb"]["NewImage"]) for record in event["Records"]]
    objects = archive.store(wiring.archive, records)
    # The stream tells of each bundle once, however often its request was sent.
    outcomes.count_stored(wiring.rows, records, wiring.clock())
    telemetry.done("archived", records=len(records), objects=objects)
