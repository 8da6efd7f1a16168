"""What AWS counts, by its own rules: units of DynamoDB, requests of SQS.

From the Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats", "Capacity unit
consumption" and "Amazon DynamoDB Transactions", and https://aws.amazon.com/sqs/pricing/.
"""

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any

Item = Mapping[str, Mapping[str, Any]]
"""As on DynamoDB's wire: names to typed values."""

WRITE_BYTES, READ_BYTES = 1024, 4096
SQS_BYTES = 65_536


def item_bytes(item: Item | None) -> int:
    """Names and values in UTF-8; nothing for an item that is not there."""
    return sum(len(n.encode()) + _value_bytes(v) for n, v in item.items()) if item else 0


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(str(content).encode())
        case "B":
            return len(bytes(content))
        case "N":
            digits = str(content).lstrip("-").replace(".", "").strip("0")
            return ceil(len(digits) / 2) + 1 + int(str(content)[0] == "-")
        case "BOOL" | "NULL":
            return 1
        case "L":
            return 3 + sum(1 + _value_bytes(each) for each in content)
        case "M":
            return 3 + sum(len(n.encode()) + 1 + _value_bytes(v) for n, v in content.items())
        case "SS" | "BS":
            return sum(len(each.encode() if kind == "SS" else each) for each in content)
        case "NS":
            return sum(_value_bytes({"N": each}) for each in content)
    raise TypeError(f"DynamoDB has no type {kind}")


def write_units(*images: Item | None, transaction: bool = False) -> int:
    """Of one write, by the larger of the item's images before and after it; a condition that
    failed and a check cost what they looked at."""
    units = max(1, *(ceil(item_bytes(image) / WRITE_BYTES) for image in images))
    return units * 2 if transaction else units


def read_units(items: Iterable[Item | None], *, consistent: bool) -> float:
    """Of items that were asked for one by one (GetItem, BatchGetItem): each is rounded up, and
    one that is not there costs as the smallest."""
    units = sum(max(1, ceil(item_bytes(item) / READ_BYTES)) for item in items)
    return units if consistent else units / 2


def page_units(items: Iterable[Item], *, consistent: bool) -> float:
    """Of a page of a Query or Scan: the sum is rounded up."""
    units = max(1, ceil(sum(map(item_bytes, items)) / READ_BYTES))
    return units if consistent else units / 2


def sqs_requests(body_bytes: int) -> int:
    """Of one call with so many bytes of messages."""
    return max(1, ceil(body_bytes / SQS_BYTES))
