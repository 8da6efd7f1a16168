"""The ports in memory, held to the real stores' behaviour by tests/contract.

Each calls its `tap`, where it has one, around every store call, so that a test can record calls,
run another worker in between, or crash there by raising: `tap("rows.commit:before", writes)`, then
`tap("rows.commit:after", …)`. What is not atomic in the real store taps between its steps too
(`:row` after each row of get, put and delete; before and after for every page of query and scan).
A tap runs outside the lock and may call the store.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from threading import RLock
from typing import Any, Literal

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from candor.ports import (
    PRESENT,
    Clock,
    Conflict,
    Delete,
    Is,
    Key,
    Part,
    Put,
    Row,
    Table,
    Update,
    When,
    Write,
)
from candor.stores.rules import (
    check_key,
    check_message,
    check_put,
    check_query,
    check_signable,
    check_write,
    check_writes,
)

Tap = Callable[[str, Any], None]
State = Literal["running", "succeeded", "failed", "absent"]


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class _Tapped:
    port = ""

    def __init__(self, tap: Tap | None = None) -> None:
        self.tap = tap
        self._lock = RLock()

    def _tap(self, call: str, detail: Any) -> None:
        if self.tap is not None:
            self.tap(f"{self.port}.{call}", detail)


class FakeRows(_Tapped):
    """`candor.ports.Rows`. Conditions see rows past `due`, as DynamoDB's do; reads do not."""

    port = "rows"

    def __init__(self, clock: Clock, tap: Tap | None = None, *, page: int = 100) -> None:
        super().__init__(tap)
        self._clock = clock
        self._page = page
        self._rows: dict[Key, Row] = {}

    def held(self, table: Table | None = None) -> list[Row]:
        """Copies of all rows of a table or of all tables, past `due` too; no tap."""
        with self._lock:
            rows = [row for key, row in self._rows.items() if table in (None, key.table)]
            return [_copy(row) for row in rows]

    def get(
        self, keys: Collection[Key], *, expired: bool | Collection[Key] = False
    ) -> dict[Key, Row]:
        distinct = list(dict.fromkeys(keys))
        wanted = distinct if expired is True else expired or ()
        for key in distinct:
            check_key(key)
        self._tap("get:before", distinct)
        found = {}
        for key in distinct:
            with self._lock:
                row = self._rows.get(key)
                if row is not None and (key in wanted or self._lives(row)):
                    found[key] = _copy(row)
            self._tap("get:row", key)
        self._tap("get:after", found)
        return found

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

        def keys() -> Iterable[Key]:
            return (key for key in self._keys(table, pk) if (key.sk or "").startswith(prefix))

        start = None if after is None else Key(table, pk, after)
        rows = self._pages("query", table, keys, start, _sort_key, backward, expired)
        return islice(rows, limit)

    def scan(
        self, table: Table, *, after: Key | None = None, expired: bool = False
    ) -> Iterator[Row]:
        if after is not None:
            check_key(after, table)

        def keys() -> Iterable[Key]:
            return self._keys(table)

        return self._pages("scan", table, keys, after, _scattered, False, expired)

    def _keys(self, table: Table, pk: str | None = None) -> Iterable[Key]:
        return (key for key in self._rows if key.table == table and pk in (None, key.pk))

    def put(self, rows: Iterable[Put]) -> None:
        writes = list(rows)
        for write in writes:
            check_put(write)
        self._each("put", writes)

    def delete(self, keys: Iterable[Key]) -> None:
        self._each("delete", [Delete(check_key(key)) for key in keys])

    def update(self, update: Update) -> Row:
        check_write(update)
        self._tap("update:before", update)
        with self._lock:
            self._write_all((update,))
            row: Row = _copy(self._rows[update.key])
        self._tap("update:after", update)
        return row

    def commit(self, *writes: Write) -> None:
        check_writes(writes)
        self._tap("commit:before", writes)
        with self._lock:
            self._write_all(writes)
        self._tap("commit:after", writes)

    def _lives(self, row: Row) -> bool:
        due = row.get("due")
        return due is None or due > self._clock()

    def _pages(
        self,
        call: str,
        table: Table,
        keys_of: Callable[[], Iterable[Key]],
        after: Key | None,
        order: Callable[[Key], Any],
        backward: bool,
        expired: bool,
    ) -> Iterator[Row]:
        while True:
            self._tap(f"{call}:before", (table, after))
            with self._lock:
                keys = sorted(keys_of(), key=order, reverse=backward)
                if after is not None:
                    edge = order(after)
                    keys = [k for k in keys if (order(k) < edge if backward else order(k) > edge)]
                keys = keys[: self._page]
                page = [_copy(self._rows[key]) for key in keys]
            self._tap(f"{call}:after", page)
            yield from (row for row in page if expired or self._lives(row))
            if len(page) < self._page:
                return
            after = keys[-1]

    def _each(self, call: str, writes: Iterable[Write]) -> None:
        writes = list(writes)
        self._tap(f"{call}:before", writes)
        for write in writes:
            with self._lock:
                self._write_all((write,))
            self._tap(f"{call}:row", write)
        self._tap(f"{call}:after", writes)

    def _write_all(self, writes: Collection[Write]) -> None:
        failed = tuple(
            position
            for position, write in enumerate(writes)
            if not _holds(write.when, self._rows.get(write.key, {}))
        )
        results = [(write.key, _result(write, self._rows.get(write.key))) for write in writes]
        if failed:
            raise Conflict(failed)
        for key, row in results:
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row


def _sort_key(key: Key) -> bytes:
    return (key.sk or "").encode()


def _scattered(key: Key) -> tuple[bytes, bytes]:
    """DynamoDB scans in the order of a hash of the partition key."""
    return hashlib.sha256(key.pk.encode()).digest(), _sort_key(key)


def _holds(when: When, row: Row) -> bool:
    typed = {n: wanted if isinstance(wanted, Is) else _typed(wanted) for n, wanted in when.items()}
    for name, wanted in typed.items():
        if isinstance(wanted, Is):
            if (name in row) != (wanted is PRESENT):
                return False
        elif name not in row or _typed(row[name]) != wanted:
            return False
    return True


def _result(write: Write, row: Row | None) -> Row | None:
    """The row after the write; None for no row."""
    address: Row = {"pk": write.key.pk}
    if write.key.sk is not None:
        address["sk"] = write.key.sk
    match write:
        case Put():
            row = _copy({**write.row, **address})
        case Update():
            before = row or {}
            after = {**before, **write.set, **address}
            after.update({n: v for n, v in write.once.items() if n not in before})
            after.update({n: before.get(n, 0) + v for n, v in write.add.items()})
            for name in write.remove:
                after.pop(name, None)
            row = _copy(after)
        case Delete():
            row = None
    return row


def _copy(value: Any) -> Any:
    """A deep copy, of exactly the types that a row may hold."""
    match value:
        case str():
            return str(value)
        case bool() | bytes() | None:
            return value
        case int():
            if abs(value) >= 10**38:
                raise ValueError("a number of more than 38 digits")
            return int(value)
        case list():
            return [_copy(each) for each in value]
        case dict() if all(isinstance(name, str) and name for name in value):
            return {str(name): _copy(each) for name, each in value.items()}
    raise TypeError(f"a row cannot hold a {type(value).__name__}")


def _typed(value: Any) -> Any:
    """What compares as DynamoDB does: True is not 1."""
    match _copy(value):
        case list() as each:
            return [_typed(one) for one in each]
        case dict() as named:
            return {name: _typed(one) for name, one in named.items()}
        case plain:
            return type(plain), plain


class FakeQueue(_Tapped):
    """`candor.ports.Queue`. `bodies` are what waits, in order; a test takes them out itself."""

    port = "queue"

    def __init__(self, tap: Tap | None = None, *, fifo: bool = False) -> None:
        super().__init__(tap)
        self.bodies: list[str] = []
        self._fifo = fifo
        self._taken: set[str] = set()

    def send(self, body: str, *, group: str | None = None, once: str | None = None) -> None:
        check_message(body, group, once, fifo=self._fifo)
        self._tap("send:before", body)
        with self._lock:
            if once is None or once not in self._taken:
                self.bodies.append(body)
            if once is not None:
                self._taken.add(once)
        self._tap("send:after", body)

    def depth(self) -> int:
        self._tap("depth:before", None)
        depth = len(self.bodies)
        self._tap("depth:after", depth)
        return depth


class FakeObjects(_Tapped):
    """`candor.ports.Objects`."""

    port = "objects"

    def __init__(self, tap: Tap | None = None) -> None:
        super().__init__(tap)
        self.objects: dict[str, bytes] = {}
        self.modified = FakeClock().now
        """When all of them were."""
        self.rules: dict[str, int] = {}

    def put(self, key: str, body: bytes) -> None:
        self._tap("put:before", key)
        with self._lock:
            self.objects[key] = bytes(body)
        self._tap("put:after", key)

    def get(self, key: str) -> bytes | None:
        self._tap("get:before", key)
        body = self.objects.get(key)
        self._tap("get:after", key)
        return body

    def part(self, key: str, start: int, length: int, etag: str | None = None) -> Part | None:
        self._tap("part:before", key)
        body = self.objects.get(key)
        self._tap("part:after", key)
        if body is None:
            return None
        own = hashlib.md5(body).hexdigest()  # noqa: S324  as S3 does
        if etag not in (None, own):
            return None
        return Part(body[start : start + length], own, self.modified)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        self._tap("list:before", prefix)
        with self._lock:
            found = sorted((k for k in self.objects if k.startswith(prefix)), key=str.encode)
        keys = [key for key in found if key.encode() > after.encode()]
        self._tap("list:after", keys)
        yield from keys

    def folders(self, prefix: str) -> Iterator[str]:
        self._tap("folders:before", prefix)
        with self._lock:
            rests = [k.removeprefix(prefix) for k in self.objects if k.startswith(prefix)]
        found = sorted({f"{prefix}{rest.partition('/')[0]}/" for rest in rests if "/" in rest})
        self._tap("folders:after", found)
        yield from found

    def delete(self, keys: Iterable[str]) -> None:
        keys = tuple(keys)
        self._tap("delete:before", keys)
        for key in keys:
            with self._lock:
                self.objects.pop(key, None)
            self._tap("delete:row", key)
        self._tap("delete:after", keys)

    def remove(self, key: str, etag: str) -> None:
        self._tap("remove:before", key)
        part = self.objects.get(key)
        if part is not None and hashlib.md5(part).hexdigest() == etag:  # noqa: S324
            del self.objects[key]
        self._tap("remove:after", key)

    def lifecycle(self) -> dict[str, int]:
        self._tap("lifecycle:before", None)
        rules = dict(self.rules)
        self._tap("lifecycle:after", rules)
        return rules

    def set_lifecycle(self, days: Mapping[str, int]) -> None:
        self._tap("set_lifecycle:before", days)
        self.rules = dict(days)
        self._tap("set_lifecycle:after", days)


class FakeSweeper(_Tapped):
    """`candor.ports.Sweeper`. Runs nothing: `woken` counts."""

    port = "sweeper"

    def __init__(self, tap: Tap | None = None) -> None:
        super().__init__(tap)
        self.woken = 0

    def wake(self) -> None:
        self._tap("wake:before", None)
        self.woken += 1
        self._tap("wake:after", None)


class FakeSigner(_Tapped):
    """`candor.ports.Signer`, with a P-256 key of its own."""

    port = "signer"

    def __init__(self, tap: Tap | None = None, key_id: str = "fake-signing-key") -> None:
        super().__init__(tap)
        self.key_id = key_id
        self._key = ec.generate_private_key(ec.SECP256R1())

    def sign(self, message: bytes) -> bytes:
        check_signable(message)
        self._tap("sign:before", message)
        signature = self._key.sign(message, ec.ECDSA(hashes.SHA256()))
        self._tap("sign:after", signature)
        return signature

    def public_key(self) -> bytes:
        self._tap("public_key:before", None)
        key = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._tap("public_key:after", None)
        return key


class FakeWorkflow(_Tapped):
    """`candor.ports.Workflow`. Runs nothing: `started` has the payloads, `end` ends one."""

    port = "workflow"

    def __init__(self, tap: Tap | None = None) -> None:
        super().__init__(tap)
        self.started: dict[str, Any] = {}
        self._states: dict[str, State] = {}
        self.ended: dict[str, str] = {}
        """How tasks ended, by their tokens: the error, or nothing."""

    def succeed(self, token: str) -> None:
        self._tap("succeed:before", token)
        self.ended.setdefault(token, "")
        self._tap("succeed:after", token)

    def fail(self, token: str, error: str) -> None:
        self._tap("fail:before", token)
        self.ended.setdefault(token, error)
        self._tap("fail:after", token)

    def start(self, name: str, payload: Mapping[str, Any]) -> None:
        sent = json.loads(json.dumps(payload))
        self._tap("start:before", (name, sent))
        with self._lock:
            if name not in self.started:
                self.started[name] = sent
                self._states[name] = "running"
        self._tap("start:after", (name, sent))

    def state(self, name: str) -> State:
        self._tap("state:before", name)
        state: State = self._states.get(name, "absent")
        self._tap("state:after", state)
        return state

    def end(self, name: str, state: Literal["succeeded", "failed"]) -> None:
        self._states[name] = state
