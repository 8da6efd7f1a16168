"""The archive: sealed bundles from the events table's stream, as compressed objects.

    events/<class>/<due date>/<hash>.gz     NDJSON of records, their data sealed as in the table
    manifests/<the same>.json               the key ids that the object's records are sealed under

The due date in the name lets an object end without being read; the manifest, which is written first
and never says less than its object, lets erasure find a person without opening anything.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from candor.ports import Objects
from candor.sealing import key_id_of

EVENTS, MANIFESTS = "events/", "manifests/"
_MANIFEST = re.compile(
    r"manifests/((.+)/([0-9]{4}-[0-9]{2}-[0-9]{2})/[0-9a-f]{32})\.json", re.DOTALL
)
"""Its name, the class (which once might hold a slash) and the due date."""
Record = Mapping[str, Any]
"""A row of the events table: pk, sk, class, source, due, n, the sealed data, maybe proven."""


def store(objects: Objects, records: Iterable[Record]) -> int:
    """Write records; the same batch of them overwrites itself. Returns how many objects it made."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        date = datetime.fromtimestamp(record["due"], UTC).strftime("%Y-%m-%d")
        groups.setdefault(f"{record['class']}/{date}", []).append(record)
    for group, of_group in groups.items():
        names = json.dumps(sorted([record["pk"], record["sk"]] for record in of_group))
        name = f"{group}/{hashlib.sha256(names.encode()).hexdigest()[:32]}"
        _write(objects, name, [_line(record) for record in of_group])
    return len(groups)


def naming(objects: Objects, key_ids: Collection[str]) -> Iterator[tuple[str, int]]:
    """The names of objects with records sealed under any of these keys, and how many they hold."""
    wanted = set(key_ids)
    for manifest in objects.list(MANIFESTS):
        body = objects.get(manifest)
        held = json.loads(body) if body else {}
        count = sum(held[key_id] for key_id in wanted & held.keys())
        if count:
            yield manifest.removeprefix(MANIFESTS).removesuffix(".json"), count


def drop(objects: Objects, name: str, key_ids: Collection[str]) -> None:
    """Rewrite one object without the records of these keys. Safe to repeat."""
    body = objects.get(f"{EVENTS}{name}.gz")
    lines = gzip.decompress(body).decode().splitlines() if body else []
    kept = [line for line in lines if _key_id(line) not in key_ids]
    if kept:
        _write(objects, name, kept, manifest_last=True)
    else:
        objects.delete([f"{EVENTS}{name}.gz"])
        objects.delete([f"{MANIFESTS}{name}.json"])


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


def _write(objects: Objects, name: str, lines: list[str], *, manifest_last: bool = False) -> None:
    counts: dict[str, int] = {}
    for line in lines:
        counts[_key_id(line)] = counts.get(_key_id(line), 0) + 1
    writes = [
        (f"{MANIFESTS}{name}.json", json.dumps(counts).encode()),
        (f"{EVENTS}{name}.gz", gzip.compress("\n".join(lines).encode(), 6, mtime=0)),
    ]
    for key, body in reversed(writes) if manifest_last else writes:
        objects.put(key, body)


def _line(record: Record) -> str:
    names = ("pk", "sk", "class", "source", "due", "n", "proven")
    row = {name: record[name] for name in names if name in record}
    return json.dumps(row | {"data": base64.b64encode(record["data"]).decode()})


def _key_id(line: str) -> str:
    return key_id_of(base64.b64decode(json.loads(line)["data"])).hex()
