"""People who are known already, many and fast: the functions write their rows into memory, and
those rows go into tables as they are."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from candor import credentials
from candor.stores.dynamo import pack_row
from tests.bench.costs import Json
from tests.bench.stack import Stack
from tests.bench.traffic import Shape, Traffic, queue_event
from tests.fakes import FakeQueue, FakeRows
from tests.functions import Function

TABLES = ("keys", "graph", "events")
PART = 1_000
"""People made at once."""
WRITERS = 4
ROWS_A_CALL = 25
SOURCE = {"kind": "source", "name": "bench", "source": "server", "trust": "server"}
Rows = list[tuple[str, Json]]
"""With the variable that names their table."""


def tables(stack: Stack, name: str) -> dict[str, str]:
    """Empty tables like the deployed ones, as variables of the functions."""
    dynamodb = stack.client("dynamodb")
    variables = {}
    for table in TABLES:
        like = dynamodb.describe_table(TableName=stack.outputs[f"{table.capitalize()}Table"])
        schema = {part: like["Table"][part] for part in ("KeySchema", "AttributeDefinitions")}
        made = variables[f"{table.upper()}_TABLE"] = f"bench-{name}-{table}"
        dynamodb.create_table(TableName=made, BillingMode="PAY_PER_REQUEST", **schema)
        dynamodb.get_waiter("table_exists").wait(TableName=made)
    return variables


def known(
    stack: Stack, into: dict[str, str], people: list[str], tick: Callable[[str], None]
) -> None:
    """Make people known, seen today and with consent on record, in these tables."""
    began, written = time.monotonic(), 0
    dynamodb = stack.client("dynamodb")

    def write(part: Rows) -> int:
        request: dict[str, list[Json]] = {}
        for variable, row in part:
            put = {"PutRequest": {"Item": pack_row(row)}}
            request.setdefault(into[variable], []).append(put)
        left = dynamodb.batch_write_item(RequestItems=request)["UnprocessedItems"]
        if left:
            raise RuntimeError("the emulator does not take so many rows")
        return len(part)

    with ThreadPoolExecutor(WRITERS) as pool:
        for rows in _rows(stack, people):
            parts = [rows[n : n + ROWS_A_CALL] for n in range(0, len(rows), ROWS_A_CALL)]
            written += sum(pool.map(write, parts))
    seconds = time.monotonic() - began
    tick(f"{len(people):,} people: {written:,} rows, {written / seconds:,.0f} a second")


def _rows(stack: Stack, people: list[str]) -> Iterator[Rows]:
    collect, unify = stack.function("collect"), stack.function("unify")
    secrets = {"vault": collect.module.wiring.vault}
    identifiers = {"identifiers": unify.module.wiring.identifiers}
    for n in range(0, len(people), PART):
        part = people[n : n + PART]
        rows, queue = FakeRows(stack.clock), FakeQueue()
        _in_memory(collect, rows=rows, events_queue=queue, **secrets)
        _in_memory(unify, rows=rows, **secrets, **identifiers)
        _, key = credentials.issue(rows, SOURCE, stack.clock())
        traffic = Traffic("server", key, part)
        size = min(100, len(part))
        for _ in range(0, len(part), size):
            text = traffic.request(Shape(size, size), stack.clock(), analytics=True)
            collect(json.loads(text))
            waiting, queue.bodies = queue.bodies, []
            told = dict.fromkeys(("MessageId", "ReceiptHandle", "MD5OfBody"), "-")
            answer = unify(json.loads(queue_event([told | {"Body": body} for body in waiting])))
            if answer != {"batchItemFailures": []}:
                raise ValueError("people could not be made known")
        yield [
            (f"{table}_TABLE", row)
            for table, name in (("KEYS", "keys"), ("GRAPH", "graph"))
            for row in rows.held(name)  # type: ignore[arg-type]
            if not row["pk"].startswith("T#")  # the queue's, not a person's
        ]


def _in_memory(function: Function, **parts: Any) -> None:
    """A fresh environment whose stores are these."""
    function.restart()
    # Each part is a cached property, which gives way to what is there already.
    function.module.wiring.__dict__.update(parts)
