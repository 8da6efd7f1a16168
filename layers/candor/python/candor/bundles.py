"""Bundles: the events of one identifier, retention class and UTC day in one sealed row.

Where a bundle is stored depends only on what was sent by whom, so a retried request overwrites
itself and nobody else's. Readers drop what one source sent twice, by messageId.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from candor import outcomes
from candor.policy import DAY
from candor.ports import Delete, Key, Put, Row, Update, Write
from candor.sealing import Vault
from candor.world import World

MOST_EVENTS = 256
MOST_BYTES = 262_144
"""Of a bundle before compression. An item of DynamoDB may have 400 KB."""

LEAST_SECONDS = 7200
"""DynamoDB ends no row sooner: before, the hourly sweep finds what is written of who is held."""

LEVEL = 6
"""Of compression: bundles are paid for by the kilobyte, as they are written and as they lie."""

Json = dict[str, Any]
T = TypeVar("T")


def cut(events: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut one home's, class's and day's events of one request, in the order they were sent.

    `size_of` gives the bytes that the client sent of one, and nothing that a retry could change.
    """
    part: list[T] = []
    size = 0
    for event in events:
        length = size_of(event)
        if part and (len(part) == MOST_EVENTS or size + length > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(event)
        size += length
    if part:
        yield part


def sort_key(part: Iterable[Json], source: str, *, proven: bool) -> str:
    """`<day>#<hash>` of the raw timestamps and messageIds of everything that was sent, and by whom.

    Who knows of an event cannot replace it: a public key's word lies beside what is proven.
    """
    events = list(part)
    sent = json.dumps([source, proven, *([event["raw"], event["id"]] for event in events)])
    return f"{events[0]['day']:05d}#{hashlib.sha256(sent.encode()).hexdigest()[:32]}"


def put(
    world: World,
    home: str,
    salt: bytes,
    sort: str,
    class_: str,
    source: str,
    events: list[Json],
    *,
    proven: bool,
) -> Put:
    """The row of one bundle, of `events` as `unification` shapes them."""
    due = world.policy.due(world.policy.retention[class_], int(sort[:5]) * DAY)
    data = world.vault.seal(salt, events, _place(home, sort), level=LEVEL)
    row: Row = {"data": data, "class": class_, "source": source, "n": len(events)}
    # DynamoDB does not act on a `ttl` that is years past, as of old events that come now.
    ttl = max(due, int(world.clock()) + LEAST_SECONDS)
    row |= {"due": due, "ttl": ttl} | ({"proven": True} if proven else {})
    return Put(Key("events", home, sort), row)


def opened(vault: Vault, salt: bytes | None, home: str, row: Mapping[str, Any]) -> list[Json]:
    """A bundle's events, each with who sent it (`source`, `proven`) and its `class`; none where it
    was shredded."""
    events = vault.open(salt, row["data"], _place(home, row["sk"])) or []
    of_all = {name: row[name] for name in ("class", "source")} | {"proven": "proven" in row}
    return [event | of_all for event in events]


def thin(world: World, home: str, salt: bytes, row: Row, keeps: Callable[[Json], bool]) -> int:
    """Take out of a bundle what was withdrawn, and count it; how many events went.

    Raises Conflict where the bundle was written again meanwhile.
    """
    place = _place(home, row["sk"])
    events = world.vault.open(salt, row["data"], place) or []
    kept = [event for event in events if keeps(event)]
    if len(kept) == len(events):
        return 0
    key, unchanged = Key("events", home, row["sk"]), {"data": row["data"]}
    if kept:
        change: Row = {"data": world.vault.seal(salt, kept, place, level=LEVEL), "n": len(kept)}
        write: Write = Update(key, set=change, when=unchanged)
    else:
        write = Delete(key, when=unchanged)
    gone = len(events) - len(kept)
    told = {f"withdrawn:{row['class']}": gone}
    world.rows.commit(write, outcomes.adding(row["source"], world.clock(), told))
    return gone


def days(
    world: World, salts: Mapping[str, bytes | None], before: int | None = None
) -> Iterator[tuple[int, list[tuple[str, Json]]]]:
    """The UTC days on which something happened at these homes, newest first, with its events.

    Each event comes with its home. `before` leaves out that day and all later ones.
    """
    after = None if before is None else f"{before:05d}"
    streams = {home: world.rows.query("events", home, after=after, backward=True) for home in salts}
    heads = {home: head for home, stream in streams.items() if (head := next(stream, None))}
    while heads:
        newest = max(row["sk"][:5] for row in heads.values())
        found: list[tuple[str, Json]] = []
        for home in [home for home, row in heads.items() if row["sk"][:5] == newest]:
            row: Row | None = heads.pop(home)
            while row and row["sk"][:5] == newest:
                found += [(home, event) for event in opened(world.vault, salts[home], home, row)]
                row = next(streams[home], None)
            if row:
                heads[home] = row
        yield int(newest), found


def _place(home: str, sort: str) -> str:
    return f"events/{home}/{sort}"
