"""The tables, in DynamoDB. The one read gateway: no other module reads a table.

A test holds to that, so `due` is obeyed in exactly one place.
"""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from candor.ports import (
    ABSENT,
    PRESENT,
    Check,
    Clock,
    Conflict,
    Delete,
    Key,
    Put,
    Row,
    Table,
    Unavailable,
    Update,
    When,
    Write,
)
from candor.stores.clients import THROTTLED, StoreError, code_of, errors_translated
from candor.stores.rules import (
    check_key,
    check_put,
    check_query,
    check_write,
    check_writes,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

READ_CHUNK, WRITE_CHUNK = 100, 25
ATTEMPTS = 6
"""How often a batch is sent in which nothing was processed: about two seconds altogether."""

Meter = Callable[[str, Table, int], None]
"""Told (operation, table, rows in the request) before each call."""

T = TypeVar("T")


class DynamoRows:
    """`candor.ports.Rows`. One key or row is a single-item call, more of them are batches.

    Client retries may apply an `add` twice when an answer is lost, and may report Conflict for
    one's own write; transactions carry a token and do neither.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        names: Mapping[Table, str],
        clock: Clock = time.time,
        *,
        meter: Meter | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        # The stubs' TypedDicts for expressions cost more lines than they catch errors.
        self._client: Any = client
        self._names = names
        self._tables: dict[str, Table] = {name: table for table, name in names.items()}
        self._clock = clock
        self._meter = meter
        self._sleep = sleep

    def get(
        self, keys: Collection[Key], *, expired: bool | Collection[Key] = False
    ) -> dict[Key, Row]:
        distinct = list(dict.fromkeys(keys))
        for key in distinct:
            check_key(key)
        found: dict[Key, Row] = {}
        if len(distinct) == 1:
            (key,) = distinct
            item = self._one("get_item", key, ConsistentRead=True).get("Item")
            if item is not None:
                found[key] = unpack(item)
        else:
            for chunk in _chunks(distinct, READ_CHUNK):
                self._get_batch(chunk, found)
        wanted = found if expired is True else {*expired} if expired else ()
        return {key: row for key, row in found.items() if key in wanted or self._lives(row)}

    def query(
        self,
        table: Table,
        pk: str,
        prefix: str = "",
        *,
        after: str | None = None,
        limit: int | None = None,
        backward: bool = False,
        expired: bool = False,
    ) -> Iterator[Row]:
        check_query(table, pk, prefix, after)
        condition, names, values = "#pk = :pk", {"#pk": "pk"}, {":pk": pack(pk)}
        if prefix:
            condition += " AND begins_with(#sk, :sk)"
            names["#sk"], values[":sk"] = "sk", pack(prefix)
        request: dict[str, Any] = {
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ScanIndexForward": not backward,
        }
        if limit is not None:
            request["Limit"] = max(limit, 1)
        if after is not None:
            request["ExclusiveStartKey"] = _address(Key(table, pk, after))
        return islice(self._pages("query", table, request, expired), limit)

    def scan(
        self, table: Table, *, after: Key | None = None, expired: bool = False
    ) -> Iterator[Row]:
        request: dict[str, Any] = {}
        if after is not None:
            check_key(after, table)
            request["ExclusiveStartKey"] = _address(after)
        return self._pages("scan", table, request, expired)

    def put(self, rows: Iterable[Put]) -> None:
        self._write_batches(_checked_puts(rows))

    def delete(self, keys: Iterable[Key]) -> None:
        self._write_batches((check_key(key), None) for key in keys)

    def update(self, update: Update) -> Row:
        answer = self._write(update, ReturnValues="ALL_NEW")
        return unpack(answer["Attributes"])

    def commit(self, *writes: Write) -> None:
        check_writes(writes)
        if len(writes) == 1 and not isinstance(writes[0], Check):
            self._write(writes[0])
            return
        items = []
        for write in writes:
            items.append({_ACTIONS[type(write)]: self._request(write)})
            self._count("transact_write_items", write.key.table, 1)
        with errors_translated():
            try:
                self._client.transact_write_items(TransactItems=items)
            except ClientError as error:
                if code_of(error) == "TransactionCanceledException":
                    raise _cancelled(error.response.get("CancellationReasons", [])) from None
                raise

    def _lives(self, row: Row) -> bool:
        due = row.get("due")
        return due is None or due > self._clock()

    def _count(self, operation: str, table: Table, rows: int) -> None:
        if self._meter is not None:
            self._meter(operation, table, rows)

    def _call(self, operation: str, table: Table, request: dict[str, Any]) -> dict[str, Any]:
        self._count(operation, table, 1)
        with errors_translated():
            answer: dict[str, Any] = getattr(self._client, operation)(
                TableName=self._names[table], **request
            )
        return answer

    def _one(self, operation: str, key: Key, **request: Any) -> dict[str, Any]:
        return self._call(operation, key.table, {"Key": _address(key), **request})

    def _pages(
        self, operation: str, table: Table, request: dict[str, Any], expired: bool
    ) -> Iterator[Row]:
        start = request
        while True:
            page = self._call(operation, table, {"ConsistentRead": True, **start})
            for item in page["Items"]:
                row = unpack(item)
                if expired or self._lives(row):
                    yield row
            last = page.get("LastEvaluatedKey")
            if not last:
                return
            start = {**request, "ExclusiveStartKey": last}

    def _get_batch(self, keys: list[Key], found: dict[Key, Row]) -> None:
        request: dict[str, Any] = {}
        for key in keys:
            share = request.setdefault(self._names[key.table], {"ConsistentRead": True, "Keys": []})
            share["Keys"].append(_address(key))

        def send(share: dict[str, Any]) -> dict[str, Any]:
            for name, part in share.items():
                self._count("batch_get_item", self._tables[name], len(part["Keys"]))
            answer = self._client.batch_get_item(RequestItems=share)
            for name, items in answer["Responses"].items():
                for row in map(unpack, items):
                    found[Key(self._tables[name], row["pk"], row.get("sk"))] = row
            left: dict[str, Any] = answer.get("UnprocessedKeys", {})
            return left

        self._until_processed("BatchGetItem", send, request, lambda share: len(share["Keys"]))

    def _write_batches(self, rows: Iterable[tuple[Key, Row | None]]) -> None:
        for chunk in _chunks(rows, WRITE_CHUNK):
            # One batch may not name a key twice; what came last counts.
            batch = dict(chunk)
            if len(batch) == 1:
                ((key, row),) = batch.items()
                self._write(Delete(key) if row is None else Put(key, row))
                continue
            request: dict[str, Any] = {}
            for key, row in batch.items():
                entry: dict[str, Any] = (
                    {"DeleteRequest": {"Key": _address(key)}}
                    if row is None
                    else {"PutRequest": {"Item": {**_address(key), **pack_row(row)}}}
                )
                request.setdefault(self._names[key.table], []).append(entry)
            self._until_processed("BatchWriteItem", self._send_writes, request, len)

    def _send_writes(self, request: dict[str, Any]) -> dict[str, Any]:
        for name, entries in request.items():
            self._count("batch_write_item", self._tables[name], len(entries))
        answer = self._client.batch_write_item(RequestItems=request)
        left: dict[str, Any] = answer.get("UnprocessedItems", {})
        return left

    def _until_processed(
        self,
        operation: str,
        send: Callable[[dict[str, Any]], dict[str, Any]],
        request: dict[str, Any],
        size: Callable[[Any], int],
    ) -> None:
        """Send what is left of a batch until nothing is, or until nothing is taken any more."""
        attempt = 0
        while request:
            with errors_translated():
                left = send(request)
            before, after = sum(map(size, request.values())), sum(map(size, left.values()))
            # A part left over because the answer was full is no throttling: no pause for it.
            attempt = 0 if after < before else attempt + 1
            if attempt == ATTEMPTS:
                raise Unavailable(f"{operation}: unprocessed")
            if attempt:
                self._sleep(random.uniform(0.5, 1) * 0.05 * 2**attempt)  # noqa: S311
            request = left

    def _write(self, write: Write, **more: Any) -> dict[str, Any]:
        method, request = _METHODS[type(write)], self._request(write)
        with errors_translated():
            self._count(method, write.key.table, 1)
            try:
                answer: dict[str, Any] = getattr(self._client, method)(**request, **more)
            except ClientError as error:
                code = code_of(error)
                if code == "ConditionalCheckFailedException":
                    raise Conflict((0,)) from None
                if code == "TransactionConflictException":
                    raise Conflict from None
                raise
        return answer

    def _request(self, write: Write) -> dict[str, Any]:
        """One write's arguments, alone or in a transaction."""
        check_write(write)
        expression = _Expression()
        request: dict[str, Any] = {"TableName": self._names[write.key.table]}
        if isinstance(write, Put):
            request["Item"] = {**_address(write.key), **pack_row(write.row)}
        else:
            request["Key"] = _address(write.key)
        if isinstance(write, Update):
            request["UpdateExpression"] = expression.change(write)
        if write.when:
            request["ConditionExpression"] = expression.condition(write.when)
        return {**request, **expression.placeholders()}


_METHODS: dict[type[Write], str] = {
    Put: "put_item",
    Update: "update_item",
    Delete: "delete_item",
}
_ACTIONS: dict[type[Write], str] = {
    Put: "Put",
    Update: "Update",
    Delete: "Delete",
    Check: "ConditionCheck",
}
"""What a transaction calls them."""


class _Expression:
    """Placeholders for the names and values of one request's expressions."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def placeholders(self) -> dict[str, Any]:
        request: dict[str, Any] = {}
        if self._names:
            request["ExpressionAttributeNames"] = {n: name for name, n in self._names.items()}
        if self._values:
            request["ExpressionAttributeValues"] = self._values
        return request

    def condition(self, when: When) -> str:
        terms = []
        for name, value in when.items():
            if value is ABSENT:
                terms.append(f"attribute_not_exists({self._name(name)})")
            elif value is PRESENT:
                terms.append(f"attribute_exists({self._name(name)})")
            else:
                terms.append(f"{self._name(name)} = {self._value(value)}")
        return " AND ".join(terms)

    def change(self, update: Update) -> str:
        assign = [f"{self._name(n)} = {self._value(v)}" for n, v in update.set.items()]
        for name, value in update.once.items():
            placeholder = self._name(name)
            assign.append(f"{placeholder} = if_not_exists({placeholder}, {self._value(value)})")
        add = [f"{self._name(n)} {self._value(v)}" for n, v in update.add.items()]
        remove = [self._name(n) for n in update.remove]
        clauses = {"SET": assign, "ADD": add, "REMOVE": remove}
        return " ".join(f"{verb} {', '.join(terms)}" for verb, terms in clauses.items() if terms)

    def _name(self, name: str) -> str:
        return self._names.setdefault(name, f"#n{len(self._names)}")

    def _value(self, value: Any) -> str:
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = pack(value)
        return placeholder


def _checked_puts(rows: Iterable[Put]) -> Iterator[tuple[Key, Row | None]]:
    for row in rows:
        check_put(row)
        yield row.key, row.row


def _cancelled(reasons: Any) -> Exception:
    codes = [reason.get("Code", "None") for reason in reasons]
    failed = tuple(i for i, code in enumerate(codes) if code == "ConditionalCheckFailed")
    if failed or "TransactionConflict" in codes:
        return Conflict(failed)
    other = next((code for code in codes if code != "None"), "unknown")
    if other in THROTTLED:
        return Unavailable(f"TransactWriteItems: {other}")
    return StoreError("TransactWriteItems", other)


def _chunks(things: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(things)
    while chunk := list(islice(rest, size)):
        yield chunk


def _address(key: Key) -> dict[str, Any]:
    address = {"pk": {"S": key.pk}}
    if key.sk is not None:
        address["sk"] = {"S": key.sk}
    return address


def pack_row(row: Row) -> dict[str, Any]:
    return {name: pack(value) for name, value in row.items()}


def pack(value: Any) -> dict[str, Any]:
    """A value in DynamoDB's own notation; TypeError for what a row may not hold."""
    # boto3's serialiser costs an import of 20 ms, goes through Decimal and takes what rows may not.
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int():
            if abs(value) >= 10**38:
                raise ValueError("a number of more than 38 digits")
            return {"N": str(value)}
        case bytes():
            return {"B": value}
        case None:
            return {"NULL": True}
        case list():
            return {"L": [pack(each) for each in value]}
        case dict() if all(isinstance(name, str) and name for name in value):
            return {"M": pack_row(value)}
    raise TypeError(f"a row cannot hold a {type(value).__name__}")


def unpack_streamed(image: dict[str, Any]) -> Row:
    """A row from a stream's event, which is JSON and holds bytes as base64."""
    return unpack(
        {
            name: {"B": _streamed(value["B"])} if "B" in value else value
            for name, value in image.items()
        }
    )


def _streamed(text: str) -> bytes:
    data = base64.b64decode(text)
    # The streams of moto, which LocalStack may use, encode twice. Ours begin with their version, 1.
    return data if data[:1] == b"\x01" else base64.b64decode(data)


def unpack(item: dict[str, Any]) -> Row:
    return {name: _value(packed) for name, packed in item.items()}


def _value(packed: dict[str, Any]) -> Any:
    ((kind, value),) = packed.items()
    match kind:
        case "N":
            return int(value)
        case "NULL":
            return None
        case "L":
            return [_value(each) for each in value]
        case "M":
            return unpack(value)
        case "S" | "B" | "BOOL":
            return value
    raise TypeError(f"a row cannot hold a {kind}")
