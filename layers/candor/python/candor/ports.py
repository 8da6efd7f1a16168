"""What the domain needs from the outside, in the domain's own words.

A row is a plain dict of attributes. Rows carry their key as `pk` and, where the table has a sort
key, `sk`. Values are str, int, bytes, bool, None, lists and dicts of these; never float (numbers a
customer sent live inside sealed payloads). The real implementations are in `candor.stores`, the
in-memory ones in `tests/fakes.py`; one contract suite holds both to the same behaviour.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, NamedTuple, Protocol

Table = Literal["keys", "graph", "events", "requests", "audit", "credentials", "counts"]
Row = dict[str, Any]

SORTED_TABLES: frozenset[Table] = frozenset({"graph", "events", "audit", "counts"})
"""The tables that have a sort key `sk` beside their partition key `pk`; both are strings."""


class Key(NamedTuple):
    """One row's address. `sk` is None exactly for the tables that have no sort key."""

    table: Table
    pk: str
    sk: str | None = None


class Is(Enum):
    """Conditions that are not equality."""

    ABSENT = "absent"
    PRESENT = "present"


ABSENT, PRESENT = Is.ABSENT, Is.PRESENT
When = Mapping[str, Any]
"""Attribute name to the value it must have, or ABSENT or PRESENT. All must hold."""


@dataclass(frozen=True, slots=True)
class Put:
    """Write the whole row. `row` does not repeat the key."""

    key: Key
    row: Row
    when: When = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Update:
    """Change some attributes, creating the row where `when` allows it.

    `set` overwrites, `once` writes only attributes the row lacks (if_not_exists), `add` increments
    integers (an absent one counts as 0), `remove` drops attributes.
    """

    key: Key
    set: Row = field(default_factory=dict)
    once: Row = field(default_factory=dict)
    add: dict[str, int] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    when: When = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delete:
    key: Key
    when: When = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """Only a condition, inside a transaction."""

    key: Key
    when: When


Write = Put | Update | Delete | Check


class Conflict(Exception):
    """A condition did not hold, or another transaction was at the same rows. Nothing was written.

    `failed` are the positions, in the call's writes, of those whose condition did not hold.
    """

    def __init__(self, failed: tuple[int, ...] = ()) -> None:
        super().__init__("a condition did not hold")
        self.failed = failed


class Unavailable(Exception):
    """A store did not answer, or throttled past the client's own retries. Safe to try again."""


class Rows(Protocol):
    """The tables. Reads are strongly consistent, and rows past `due` are absent unless `expired`:
    all that are read, or those of these keys.

    `due` is epoch seconds; a row without it does not end.
    """

    def get(
        self, keys: Collection[Key], *, expired: bool | Collection[Key] = False
    ) -> dict[Key, Row]:
        """The rows that exist, by key; any number of keys, duplicates allowed."""

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
        """One partition's rows whose sort key starts with `prefix`, in sort key order.

        `after` starts behind that sort key; `limit` bounds the rows yielded; pages as needed.
        """

    def scan(
        self, table: Table, *, after: Key | None = None, expired: bool = False
    ) -> Iterator[Row]:
        """Every row of a table, in no order; `after` starts behind that row."""

    def put(self, rows: Iterable[Put]) -> None:
        """Unconditional writes (`when` must be empty) in batches; not atomic; safe to repeat."""

    def delete(self, keys: Iterable[Key]) -> None:
        """Unconditional deletes in batches; a row that is not there is no error."""

    def update(self, update: Update) -> Row:
        """One conditional update; the row as it is afterwards. Raises Conflict."""

    def commit(self, *writes: Write) -> None:
        """All of 1 to 100 writes to distinct rows, or none. Raises Conflict."""


class Queue(Protocol):
    """An SQS queue. Bodies are at most 1 MiB of text."""

    def send(self, body: str, *, group: str | None = None, once: str | None = None) -> None:
        """Returns when the queue has taken it. `group` and `once` (deduplication id): FIFO only."""

    def depth(self) -> int:
        """About how many messages wait or are in flight."""


class Part(NamedTuple):
    """Some bytes of an object, and what is to be known of the whole."""

    body: bytes
    etag: str
    """Names the content: another one has another."""
    modified: float
    """Epoch seconds."""


class Objects(Protocol):
    """An S3 bucket."""

    def put(self, key: str, body: bytes) -> None: ...

    def get(self, key: str) -> bytes | None: ...

    def part(self, key: str, start: int, length: int, etag: str | None = None) -> Part | None:
        """Its bytes from `start` on, none past its end; None where it is gone.

        With an etag also where it is another one meanwhile.
        """

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        """Keys with this prefix that sort behind `after` (ASCII), in the order of their bytes."""

    def folders(self, prefix: str) -> Iterator[str]:
        """The distinct beginnings of keys with this prefix, up to and with the next slash."""

    def delete(self, keys: Iterable[str]) -> None: ...

    def remove(self, key: str, etag: str) -> None:
        """Delete exactly this content; what overwrote it meanwhile stays."""

    def lifecycle(self) -> dict[str, int]:
        """Days after their making that objects end by themselves, by prefix, as it was set."""

    def set_lifecycle(self, days: Mapping[str, int]) -> None:
        """Older versions, should the store keep any, end a day later. Others' rules stay."""


class Signer(Protocol):
    """An asymmetric KMS key, ECC_NIST_P256."""

    key_id: str

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256 of at most 4,096 bytes; a DER signature."""

    def public_key(self) -> bytes:
        """DER SubjectPublicKeyInfo."""


class Workflow(Protocol):
    """The erasure state machine."""

    def start(self, name: str, payload: Mapping[str, Any]) -> None:
        """Starting a name twice is starting it once."""

    def state(self, name: str) -> Literal["running", "succeeded", "failed", "absent"]: ...

    def succeed(self, token: str) -> None:
        """End the task that waits with this token; nothing, where none waits any more."""

    def fail(self, token: str, error: str) -> None:
        """The same, with an error that the machine may try again after."""


class Sweeper(Protocol):
    """The function that sweeps."""

    def wake(self) -> None:
        """Let it run once more, soon."""


class Clock(Protocol):
    def __call__(self) -> float:
        """Now, epoch seconds."""
