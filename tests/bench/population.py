"""People who are known already, many and fast: the functions write their rows into memory, and
those rows go into tables as they are."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Any

from candor import credentials
from candor.ports import Table
from candor.stores.dynamo import pack_row
from tests.bench.costs import Json
from tests.bench.stack import Stack
from tests.bench.traffic import Kind, Shape, Traffic, queue_event
from tests.fakes import FakeQueue, FakeRows
from tests.functions import Function

TABLES: tuple[Table, ...] = ("keys", "graph", "events")
PART = 1_000
"""People made at once."""
WRITERS = 4
ROWS_A_CALL = 25
SOURCE = {"kind": "source", "name": "bench", "source": "server", "trust": "server"}
Rows = list[tuple[str, Json]]
"""With the variable that names their table."""


def tables(stack: Stack, name: str, of: tuple[Table, ...] = TABLES) -> dict[str, str]:
    """Empty tables like the deployed ones, as variables of the functions."""
    dynamodb = stack.client("dynamodb")
    variables = {}
    for table in of:
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
    began = time.monotonic()
    written = sum(write(stack, into, rows) for rows in _rows(stack, people))
    seconds = time.monotonic() - began
    tick(f"{len(people):,} people: {written:,} rows, {written / seconds:,.0f} a second")


def histories(stack: Stack, people: dict[str, int], shape: Shape) -> dict[str, Rows]:
    """All rows of people with so many events each, who signed in on a device of theirs."""
    memory = _Memory(stack)
    found = {}
    for name, events in people.items():
        size = min(shape.events, events)
        found[name] = memory.rows("signed in", [name], [Shape(size, 1)] * (events // size))
    return found


def write(stack: Stack, into: dict[str, str], rows: Rows) -> int:
    """Put rows into these tables. Answers how many."""
    dynamodb = stack.client("dynamodb")

    def put(part: Rows) -> int:
        request: dict[str, list[Json]] = {}
        for variable, row in part:
            item = {"PutRequest": {"Item": pack_row(row)}}
            request.setdefault(into[variable], []).append(item)
        left = dynamodb.batch_write_item(RequestItems=request)["UnprocessedItems"]
        if left:
            raise RuntimeError("the emulator does not take so many rows")
        return len(part)

    parts = [rows[n : n + ROWS_A_CALL] for n in range(0, len(rows), ROWS_A_CALL)]
    with ThreadPoolExecutor(WRITERS) as pool:
        return sum(pool.map(put, parts))


def _rows(stack: Stack, people: list[str]) -> Iterator[Rows]:
    memory = _Memory(stack)
    for n in range(0, len(people), PART):
        part = people[n : n + PART]
        size = min(100, len(part))
        shapes = [Shape(size, size)] * ceil(len(part) / size)
        yield [one for one in memory.rows("server", part, shapes) if one[0] != "EVENTS_TABLE"]


class _Memory:
    """The functions, with stores in memory that are new for each call of `rows`."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._collect, self._unify = stack.function("collect"), stack.function("unify")
        self._secrets = {"vault": self._collect.module.wiring.vault}
        self._identifiers = {"identifiers": self._unify.module.wiring.identifiers}

    def rows(self, kind: Kind, people: list[str], shapes: list[Shape]) -> Rows:
        """What requests of a server with consent leave of people."""
        clock = self._stack.clock
        rows, queue = FakeRows(clock), FakeQueue()
        _in_memory(self._collect, rows=rows, events_queue=queue, **self._secrets)
        _in_memory(self._unify, rows=rows, **self._secrets, **self._identifiers)
        _, key = credentials.issue(rows, SOURCE, clock())
        traffic = Traffic(kind, key, people)
        for shape in shapes:
            self._collect(json.loads(traffic.request(shape, clock(), analytics=True)))
            waiting, queue.bodies = queue.bodies, []
            told = dict.fromkeys(("MessageId", "ReceiptHandle", "MD5OfBody"), "-")
            event = queue_event([told | {"Body": body} for body in waiting])
            if self._unify(json.loads(event)) != {"batchItemFailures": []}:
                raise ValueError("people could not be made known")
        return [
            (f"{table.upper()}_TABLE", row)
            for table in TABLES
            for row in rows.held(table)
            if not row["pk"].startswith("T#")  # the queue's, not a person's
        ]


def _in_memory(function: Function, **parts: Any) -> None:
    """A fresh environment whose stores are these."""
    function.restart()
    # Each part is a cached property, which gives way to what is there already.
    function.module.wiring.__dict__.update(parts)
