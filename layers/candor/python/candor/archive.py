"""The archive: sealed bundles from the events table's stream, as compressed objects.

    events/<class>/<due date>/<hash>.gz     NDJSON of records, their data sealed as in the table
    manifests/<the same>.json               the key ids that the object's records are sealed under
    holds/<key id>/<the same>.gz            what of an object is of somebody who is held

The due date in the name lets an object end without being read; the manifest, which is written
before its object and deleted after it, tells whose records are in it without opening anything.
"""

import base64
import gzip
import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from candor.ports import Objects
from candor.sealing import Damaged, key_id_of

EVENTS, MANIFESTS, HOLDS = "events/", "manifests/", "holds/"
WHOLE = 5 * 2**40
"""Bytes of the largest object that S3 has."""
_MANIFEST = re.compile(
    r"manifests/((.+)/([0-9]{4}-[0-9]{2}-[0-9]{2})/[0-9a-f]{32})\.json", re.DOTALL
)
"""Its name, the class (which once might hold a slash) and the due date."""
_GROUP = re.compile(r"events/(.+/[0-9]{4}-[0-9]{2}-[0-9]{2})/", re.DOTALL)
_EVENTS = re.compile(r"events/(.+/[0-9a-f]{32})\.gz", re.DOTALL)
Record = Mapping[str, Any]
"""A row of the events table: pk, sk, class, source, due, n, the sealed data, maybe proven."""


class Unreadable(Exception):
    """An object is no compressed list of records."""


def store(objects: Objects, records: Iterable[Record]) -> int:
    """Write records; the same batch of them overwrites itself. Returns how many objects it made."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        date = datetime.fromtimestamp(record["due"], UTC).strftime("%Y-%m-%d")
        groups.setdefault(f"{record['class']}/{date}", []).append(record)
    for group, of_group in groups.items():
        names = json.dumps(sorted([record["pk"], record["sk"]] for record in of_group))
        _write(objects, f"{group}/{_hash(names)}", [_line(record) for record in of_group])
    return len(groups)


def groups(objects: Objects, within: str = EVENTS) -> Iterator[str]:
    """The classes and due dates of which there are objects, as `<class>/<due date>`."""
    for folder in objects.folders(within):
        match = _GROUP.fullmatch(folder)
        if match:
            yield match[1]
        else:
            yield from groups(objects, folder)


def names(objects: Objects, group: str, after: str = "") -> Iterator[str]:
    """The names of a group's objects that sort behind `after`, without `events/` and `.gz`."""
    start = f"{EVENTS}{after}.gz" if after else ""
    for key in objects.list(f"{EVENTS}{group}/", start):
        match = _EVENTS.fullmatch(key)
        if match:
            yield match[1]


def counts(objects: Objects, name: str) -> dict[str, int]:
    """How many records an object holds under each key id. Raises Unreadable.

    By its manifest. Where that is not there (the stream brought an object again while `drop`
    deleted it) or says nothing, it is made anew, so that the object ends on its day.
    """
    body = objects.get(f"{MANIFESTS}{name}.json")
    try:
        return {str(kid): int(count) for kid, count in json.loads(body or b"").items()}
    except (ValueError, AttributeError):
        lines = _lines(objects.get(f"{EVENTS}{name}.gz"))
    if lines:
        _put_manifest(objects, name, lines)
    return Counter(map(_key_id, lines))


def drop(objects: Objects, name: str, key_ids: Collection[str]) -> None:
    """Delete the records of these keys from an object: the others move to an object of their own,
    and the old one goes. Safe to repeat, and beside the stream, which may bring the old one again.
    Raises Unreadable.

    Nothing is ever overwritten by less: the new name is a hash of the content, and what is deleted
    is exactly what was read.
    """
    key = f"{EVENTS}{name}.gz"
    part = objects.part(key, 0, WHOLE)
    if part is None:
        return
    lines = _lines(part.body)
    kept = [line for line in lines if _key_id(line) not in key_ids]
    if len(kept) == len(lines):
        return
    if kept:
        group = name.rpartition("/")[0]
        _write(objects, f"{group}/{_hash(chr(10).join(kept))}", kept)
    objects.remove(key, part.etag)
    if objects.part(key, 0, 1) is None:
        objects.delete([f"{MANIFESTS}{name}.json"])


def hold(objects: Objects, name: str, key_ids: Collection[str]) -> int:
    """Copy the records of these keys to where nothing ends; returns how many objects were made.

    An object that was copied is not opened again. Where others were dropped from it, what remains
    has another name and is copied a second time.
    """
    places = {f"{HOLDS}{key_id}/{name}.gz": key_id for key_id in key_ids}
    missing = {p: k for p, k in places.items() if objects.part(p, 0, 1) is None}
    lines = _lines(objects.get(f"{EVENTS}{name}.gz")) if missing else []
    made = 0
    for place, key_id in missing.items():
        own = [line for line in lines if _key_id(line) == key_id]
        if own:
            objects.put(place, _compressed(own))
            made += 1
    return made


def release(objects: Objects, held: Collection[str], copies: Iterable[str]) -> int:
    """Delete those of these copies whose key ids are not held; returns how many."""
    gone = [key for key in copies if key.removeprefix(HOLDS).partition("/")[0] not in held]
    objects.delete(gone)
    return len(gone)


def expire(objects: Objects, now: float) -> int:
    """Delete what is past its date; returns how many objects.

    Goes by the manifests: each is written before its object, and is deleted after it. What is not
    named like one is somebody else's, and stays.
    """
    today = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    ended, after, passed = 0, "", set[str]()
    while True:
        for manifest in objects.list(MANIFESTS, after):
            match = _MANIFEST.fullmatch(manifest)
            if not match:
                continue
            name, class_, date = match.groups()
            if class_ in passed:  # a store that begins no list in the middle
                continue
            if date > today:  # and so are all that follow of its class
                passed.add(class_)
                after = f"{MANIFESTS}{class_}/A"  # a letter comes after all digits
                break
            objects.delete([f"{EVENTS}{name}.gz"])
            objects.delete([manifest])
            ended += 1
        else:
            return ended


def end_by_age(objects: Objects, retention: Mapping[str, int]) -> None:
    """Let the bucket itself end what is older than its class, should nobody else have.

    Objects are made after what is in them happened, so none ends before its date; a manifest ends
    a day after its object. What is of a class that is gone ends as it was to.
    """
    spare = {EVENTS: 2, MANIFESTS: 3}
    wanted = {
        f"{top}{class_}/": days + spare[top] for top in spare for class_, days in retention.items()
    }
    held = objects.lifecycle()
    for prefix in held.keys() - wanted.keys():
        if next(objects.list(prefix), None) is not None:
            wanted[prefix] = held[prefix]
    if wanted != held:
        objects.set_lifecycle(wanted)


def _write(objects: Objects, name: str, lines: list[str]) -> None:
    _put_manifest(objects, name, lines)
    objects.put(f"{EVENTS}{name}.gz", _compressed(lines))


def _put_manifest(objects: Objects, name: str, lines: list[str]) -> None:
    counts = Counter(map(_key_id, lines))
    objects.put(f"{MANIFESTS}{name}.json", json.dumps(counts).encode())


def _compressed(lines: list[str]) -> bytes:
    return gzip.compress("\n".join(lines).encode(), 6, mtime=0)


def _lines(body: bytes | None) -> list[str]:
    """The records of an object, none of one that is gone."""
    try:
        lines = gzip.decompress(body).decode().splitlines() if body is not None else []
        for line in lines:
            _key_id(line)
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, Damaged) as error:
        raise Unreadable from error
    return lines


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _line(record: Record) -> str:
    names = ("pk", "sk", "class", "source", "due", "n", "proven")
    row = {name: record[name] for name in names if name in record}
    return json.dumps(row | {"data": base64.b64encode(record["data"]).decode()})


def _key_id(line: str) -> str:
    return key_id_of(base64.b64decode(json.loads(line)["data"])).hex()
