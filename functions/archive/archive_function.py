"""The events table's stream to sealed, compressed objects; and how many events it stored, and how
many DynamoDB removed in their time."""

from typing import Any

from candor import archive, outcomes
from candor.stores.dynamo import unpack_streamed
from candor.telemetry import Telemetry
from candor.wiring import Wiring

wiring = Wiring()
telemetry = Telemetry()


def handler(event: dict[str, Any], context: object) -> None:
    told, now = event["Records"], wiring.clock()
    records = [unpack_streamed(one["dynamodb"]["NewImage"]) for one in told if not _is_expiry(one)]
    expired = [unpack_streamed(one["dynamodb"]["OldImage"]) for one in told if _is_expiry(one)]
    objects = archive.store(wiring.archive, records)
    # The stream tells of each bundle once, however often its request was sent.
    outcomes.count_stored(wiring.rows, records, now)
    outcomes.count_expired(wiring.rows, expired, now)
    telemetry.done("archived", records=len(records), objects=objects, expired=len(expired))


def _is_expiry(record: dict[str, Any]) -> bool:
    """The mapping's filter lets through what was inserted, and what DynamoDB's expiry removed."""
    return bool(record.get("eventName") == "REMOVE")
