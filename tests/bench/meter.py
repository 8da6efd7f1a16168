"""Counts what code asks of AWS, in the units that AWS bills, at the one place all clients share."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, local
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from tests.bench import units

Json = dict[str, Any]
_Targets = list[tuple[str, Json, bool]]
"""Table and key of each write, and whether it is part of a transaction."""
_call = BaseClient._make_api_call  # type: ignore[attr-defined]


@dataclass
class Counts:
    """What was asked for, summed up."""

    calls: Counter[str] = field(default_factory=Counter)
    """By service and operation: `dynamodb BatchGetItem`."""
    reads: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Read units by operation and table; so are `writes`."""
    writes: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    written: float = 0
    """Write units as the emulator returned them."""
    sqs: Counter[str] = field(default_factory=Counter)
    """Requests, as SQS bills them, by operation."""
    objects: int = 0
    """Requests to put an object."""
    object_bytes: int = 0
    event_bytes: int = 0
    """Of the items put into the events table."""
    waits: list[tuple[float, float, str]] = field(default_factory=list)
    """When each call began and ended, and its service."""

    @property
    def read_units(self) -> float:
        return float(sum(self.reads.values()))

    @property
    def write_units(self) -> float:
        return float(sum(self.writes.values()))

    @property
    def steps(self) -> dict[str, int]:
        """By service, the calls that had to wait for another one: of those that ran at the same
        time the first counts."""
        steps: Counter[str] = Counter()
        until = 0.0
        for began, ended, service in sorted(self.waits):
            if began >= until:
                steps[service] += 1
            until = max(until, ended)
        return dict(steps)


class Meter:
    """Counts while `counting`. Items before and after each write are looked up beside it, so what
    is measured in time is not measured with this."""

    def __init__(self, look: Any) -> None:
        self._look = look
        self._busy = local()
        self._lock = Lock()
        self.counts = Counts()
        self.sent: list[tuple[str, Json]] = []
        """What was put into queues and written, to be replayed."""

    @contextmanager
    def counting(self, counts: Counts) -> Iterator[None]:
        """Adds what happens inside to `counts`."""
        self.counts, meter = counts, self

        def call(client: BaseClient, operation: str, params: Json) -> Any:
            if getattr(meter._busy, "yes", False):
                return _call(client, operation, params)
            return meter._counted(client, operation, params)

        BaseClient._make_api_call = call  # type: ignore[attr-defined]
        try:
            yield
        finally:
            BaseClient._make_api_call = _call  # type: ignore[attr-defined]

    def _counted(self, client: BaseClient, operation: str, params: Json) -> Any:
        service = client.meta.service_model.service_name
        dynamodb = service == "dynamodb"
        if dynamodb:
            params = {**params, "ReturnConsumedCapacity": "TOTAL"}
        targets = _targets(operation, params) if dynamodb else []
        # The call makes a file of it.
        body = len(params["Body"]) if operation == "PutObject" else 0
        before = self._images(targets)
        began = time.monotonic()
        answer: Any = {}
        try:
            answer = _call(client, operation, params)
        except ClientError as error:
            if not dynamodb:
                raise
            answer = error.response
            raise
        finally:
            ended = time.monotonic()
            with self._lock:
                counts = self.counts
                counts.calls[f"{service} {operation}"] += 1
                counts.waits.append((began, ended, service))
                if dynamodb:
                    self._dynamodb(operation, params, answer, targets, before)
                elif service == "sqs":
                    self._sqs(operation, params)
                elif operation == "PutObject":
                    counts.objects += 1
                    counts.object_bytes += body
        return answer

    def _dynamodb(
        self,
        operation: str,
        params: Json,
        answer: Json,
        targets: _Targets,
        before: list[Any],
    ) -> None:
        counts = self.counts
        if targets:
            pairs = zip(targets, before, self._images(targets), strict=True)
            for (table, _, transaction), old, new in pairs:
                written = units.write_units(old, new, transaction=transaction)
                counts.writes[f"{operation} {_short(table)}"] += written
                if table.endswith("-events") and new:
                    counts.event_bytes += units.item_bytes(new)
            consumed = answer.get("ConsumedCapacity", [])
            for one in consumed if isinstance(consumed, list) else [consumed]:
                counts.written += one["CapacityUnits"]
            self.sent.append((operation, params))
        elif operation == "GetItem":
            strong = params.get("ConsistentRead", False)
            cost = units.read_units([answer.get("Item")], consistent=strong)
            counts.reads[f"{operation} {_short(params['TableName'])}"] += cost
        elif operation == "BatchGetItem":
            for table, share in params["RequestItems"].items():
                found = answer["Responses"].get(table, [])
                missing = len(share["Keys"]) - len(found)
                strong = share.get("ConsistentRead", False)
                cost = units.read_units([*found, *[None] * missing], consistent=strong)
                counts.reads[f"{operation} {_short(table)}"] += cost
        elif operation in ("Query", "Scan"):
            strong = params.get("ConsistentRead", False)
            cost = units.page_units(answer["Items"], consistent=strong)
            counts.reads[f"{operation} {_short(params['TableName'])}"] += cost
        else:
            raise NotImplementedError(f"the bench cannot price {operation}")

    def _sqs(self, operation: str, params: Json) -> None:
        bodies = [params, *params.get("Entries", [])]
        size = sum(len(one.get("MessageBody", "").encode()) for one in bodies)
        self.counts.sqs[operation] += units.sqs_requests(size)
        if operation.startswith("SendMessage"):
            self.sent.append((operation, params))

    def _images(self, targets: _Targets) -> list[Any]:
        self._busy.yes = True
        try:
            return [
                self._look.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
                for table, key, _ in targets
            ]
        finally:
            self._busy.yes = False


def _targets(operation: str, params: Json) -> _Targets:
    if operation in ("UpdateItem", "DeleteItem", "PutItem"):
        return [(params["TableName"], _key(params), False)]
    if operation == "TransactWriteItems":
        writes = [next(iter(one.values())) for one in params["TransactItems"]]
        return [(write["TableName"], _key(write), True) for write in writes]
    if operation == "BatchWriteItem":
        return [
            (table, _key(next(iter(entry.values()))), False)
            for table, entries in params["RequestItems"].items()
            for entry in entries
        ]
    return []


def _key(write: Json) -> Json:
    key: Json = write.get("Key") or {
        n: write["Item"][n] for n in ("pk", "sk") if n in write["Item"]
    }
    return key


def _short(table: str) -> str:
    return table.rpartition("-")[2]
