"""What the stores refuse, the same in every implementation, as ValueError or TypeError.

Apart from `dynamo` so that the in-memory stores of the tests need no boto3.
"""

from collections.abc import Collection, Iterable

from candor.ports import SORTED_TABLES, Check, Key, Put, Table, Update, Write

LARGEST_TRANSACTION = 100
LARGEST_MESSAGE = 1024 * 1024
LARGEST_SIGNED = 4096


def check_key(key: Key, table: Table | None = None) -> Key:
    """The key itself; ValueError where it cannot be one of its table (or of `table`)."""
    if table is not None and key.table != table:
        raise ValueError(f"a key of {key.table} where one of {table} is needed")
    if (key.sk is not None) != (key.table in SORTED_TABLES):
        raise ValueError(f"a key of {key.table} with the wrong parts")
    if not key.pk or key.sk == "":
        raise ValueError("a key may not be empty")
    return key


def check_query(table: Table, pk: str, prefix: str, after: str | None) -> None:
    if table not in SORTED_TABLES:
        raise ValueError(f"{table} has no sort key")
    if not pk:
        raise ValueError("a key may not be empty")
    if after is not None and (not after or not after.startswith(prefix)):
        raise ValueError("`after` is not among the rows asked for")


def check_attributes(names: Iterable[str]) -> None:
    for name in names:
        if name in ("pk", "sk"):
            raise ValueError("a row does not repeat its key")
        if not name:
            raise ValueError("an attribute has a name")


def check_put(put: Put) -> None:
    """What `Rows.put` takes."""
    if put.when:
        raise ValueError("put is unconditional; a condition goes to commit")
    check_write(put)


def check_write(write: Write) -> None:
    check_key(write.key)
    if isinstance(write, Put):
        check_attributes(write.row)
    elif isinstance(write, Update):
        check_update(write)
    elif isinstance(write, Check) and not write.when:
        raise ValueError("a check needs a condition")


def check_update(update: Update) -> None:
    """Something changes, and each attribute at most once."""
    touched = [*update.set, *update.once, *update.add, *update.remove]
    check_attributes(touched)
    if not touched:
        raise ValueError("an update changes something")
    if len(set(touched)) != len(touched):
        raise ValueError("an update changes an attribute once")
    if any(type(value) is not int for value in update.add.values()):
        raise TypeError("only integers are added")


def check_writes(writes: Collection[Write]) -> None:
    """They can be one transaction."""
    if not 1 <= len(writes) <= LARGEST_TRANSACTION:
        raise ValueError(f"a transaction holds 1 to {LARGEST_TRANSACTION} writes")
    if len({write.key for write in writes}) != len(writes):
        raise ValueError("a transaction writes a row once")
    for write in writes:
        check_write(write)


def check_message(body: str, group: str | None, once: str | None, *, fifo: bool) -> None:
    """A queue can take it: 1 byte to 1 MiB, and both FIFO ids exactly for a FIFO queue."""
    if not 1 <= len(body.encode()) <= LARGEST_MESSAGE:
        raise ValueError("a message has 1 byte to 1 MiB")
    if (group is None) == fifo or (once is None) == fifo:
        raise ValueError("`group` and `once` are for FIFO queues, which need both")


def check_signable(message: bytes) -> None:
    """KMS signs a raw message of 1 to 4,096 bytes."""
    if not 1 <= len(message) <= LARGEST_SIGNED:
        raise ValueError("a message to sign has 1 to 4,096 bytes")
