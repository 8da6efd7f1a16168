"""The vacuum: archived records that nobody can read any more are deleted from the archive, nightly.

    vacuum/<run>/begun.json          the key ids that are dead, of which requests, and those held
    vacuum/<run>/groups.json         the classes and due dates to go through
    vacuum/<run>/found/<group>/…     what was found, by object, written before it is dropped
    vacuum/<run>/unreadable/<name>   an object that is no archive of records
    vacuum/<run>/done/<group>        a group that was gone through to its end
    vacuum/<run>/ended.json          what became of it all

An erasure destroys keys and leaves the archive alone: one run finds the records of everybody who
was erased by reading each manifest once. Key ids are random, and no personal data. Every step may
be repeated. The stream may bring back what was dropped, unreadable, and the next runs take it,
until nothing of an erased person can arrive any more.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Any

from candor import archive, keyring
from candor.policy import DAY, iso
from candor.ports import ABSENT, Conflict, Key, Objects, Row, Rows, Unavailable, Update

Json = dict[str, Any]
RUNS = "vacuum/"
LATE = DAY + 3600
"""Seconds after an erasure was completed in which the stream, which keeps records for a day, may
still bring one of its people."""
LATEST = LATE + 2 * DAY
"""Seconds after which all is dropped: the run of the night after that, and one more if it fails."""
KEPT = 14 * DAY
"""How long Step Functions can redrive an execution, which needs what its run wrote down."""
AT_ONCE = 100
"""Objects whose manifests are read before the first of them is rewritten."""
TRIES = 8


class Unfinished(Exception):
    """A part of the run failed."""


def begin(rows: Rows, objects: Objects, run: str, now: float, held: Collection[str] = ()) -> Json:
    """Write down what the run is to drop, and where to look; what is written stands.

    `held` are the idkeys of people under a legal hold. Answers whether there is anything to do.
    """
    begun = _read(objects, f"{RUNS}{run}/begun.json")
    if begun is None:
        _forget(objects, now)
        requests = dict(_requests(rows, now))
        begun = {"at": int(now), "requests": requests, "held": sorted(_living(rows, held))}
        groups = list(archive.groups(objects)) if _dead(begun) or begun["held"] else []
        begun["groups"] = groups
        _write(objects, f"{RUNS}{run}/begun.json", begun)
    places = [{"run": run, "group": group, "after": ""} for group in begun["groups"]]
    _write(objects, f"{RUNS}{run}/groups.json", places)
    return {"run": run, "work": bool(places)}


def sweep(objects: Objects, run: str, group: str, after: str, more: Callable[[], bool]) -> Json:
    """Go through a group's objects behind `after`: copy what is held, drop what is dead.

    `more` says whether there is time left. Answers where to go on, and whether to. What is found is
    written down before any of it goes, so that no crash and no repetition forgets it.
    """
    begun = _begun(objects, run)
    dead, held = _dead(begun), set(begun["held"])
    place = f"{RUNS}{run}/found/{group}/{hashlib.sha256(after.encode()).hexdigest()[:32]}.json"
    found = _read(objects, place) or {}
    names = archive.names(objects, group, after)
    while chunk := list(islice(names, AT_ONCE)):
        counts = {name: _counts(objects, run, name) for name in chunk}
        hit = {name: _found(counts[name], dead) for name in chunk if dead & counts[name].keys()}
        if hit.keys() - found.keys():
            found = hit | found
            _write(objects, place, found)
        for name in chunk:
            theirs = counts[name].keys()
            _sweep_one(objects, run, name, dead & theirs, held & theirs)
            after = name
            if not more():
                return {"run": run, "group": group, "after": after, "more": True}
    objects.put(f"{RUNS}{run}/done/{group}", b"")
    return {"run": run, "group": group, "after": after, "more": False}


def end(
    rows: Rows, objects: Objects, run: str, now: float, held: Collection[str] = ()
) -> dict[str, int]:
    """Tell each request what was dropped for it, and end the copies of who is held no more.

    Answers how many objects held dead records, how many records they held before and after, and how
    many objects were unreadable: where there is one, no request is told that all is done. Raises
    Unfinished where a group was not gone through to its end; then the next run that ends tells what
    this one dropped, too.
    """
    begun = _begun(objects, run)
    done = {key.removeprefix(f"{RUNS}{run}/done/") for key in objects.list(f"{RUNS}{run}/done/")}
    if not done.issuperset(begun["groups"]):
        raise Unfinished
    unreadable = sum(1 for _ in objects.list(f"{RUNS}{run}/unreadable/"))
    for folder in objects.folders(RUNS):
        other = folder.removeprefix(RUNS).rstrip("/")
        if other != run and objects.get(f"{folder}ended.json") is None:
            _tell_all(rows, objects, other, None)
    found = _tell_all(rows, objects, run, None if unreadable else int(now))
    copies = list(objects.list(archive.HOLDS))  # before asking who is held: later ones stay
    before = sum(one["records"] for one in found)
    dropped = sum(sum(one["dead"].values()) for one in found)
    counts = {
        "requests": len(begun["requests"]),
        "objects": len(found),
        "records_before": before,
        "records_dropped": dropped,
        "records_after": before - dropped,
        "copies_released": archive.release(objects, _living(rows, held), copies),
        "unreadable": unreadable,
    }
    _write(objects, f"{RUNS}{run}/ended.json", counts)
    return counts


def receipt(row: Row) -> Json:
    """What is known of a request's records in the archive: nothing, before a run tells it."""
    dropped = sum(row.get("vacuumed", {}).values())
    if "vacuumed_at" in row:
        because = f"dropped; the vacuum of {iso(row['vacuumed_at'])} was the last one to look"
        return _receipt(dropped, 0, because)
    because = "unreadable since the shredding; the nightly vacuum drops what is there"
    if "completed" in row:
        because += f", until {iso(row['completed'] + LATEST)} at the latest"
    return _receipt(dropped or None, None, because)


def _receipt(found: int | None, left: int | None, because: str) -> Json:
    counts = {"found": found, "deleted": found or 0, "left": left}
    return {"store": "archive", **counts, "because": because}


def _requests(rows: Rows, now: float) -> Iterator[tuple[str, Json]]:
    """The erasures that are not done in the archive: their key ids that nothing opens any more, and
    whether this run is the last one for them. A key that is there (again) is not dead."""
    asked = [row for row in rows.scan("requests") if row["type"] == "erasure"]
    asked = [row for row in asked if "vacuumed_at" not in row]
    living = _living(rows, {idkey for row in asked for idkey in row["members"]})
    for row in asked:
        kids = {kid for kid in row["members"].values() if kid}
        late = row["completed"] + LATE <= now if "completed" in row else False
        last = late and not kids & living
        if kids - living or last:
            yield row["pk"], {"kids": sorted(kids - living), "last": last}


def _living(rows: Rows, idkeys: Collection[str]) -> set[str]:
    """The key ids of these identifiers' keys, of those that have one."""
    return {kid for kid in keyring.key_ids(keyring.states(rows, idkeys)).values() if kid}


def _dead(begun: Json) -> set[str]:
    return {kid for asked in begun["requests"].values() for kid in asked["kids"]}


def _counts(objects: Objects, run: str, name: str) -> dict[str, int]:
    try:
        return archive.counts(objects, name)
    except archive.Unreadable:
        objects.put(f"{RUNS}{run}/unreadable/{name}", b"")
        return {}


def _found(counts: dict[str, int], dead: set[str]) -> Json:
    of_dead = {kid: count for kid, count in counts.items() if kid in dead}
    return {"records": sum(counts.values()), "dead": of_dead}


def _sweep_one(
    objects: Objects, run: str, name: str, dead: Collection[str], held: Collection[str]
) -> None:
    try:
        if held:
            archive.hold(objects, name, held)
        if dead:
            archive.drop(objects, name, dead)
    except archive.Unreadable:
        objects.put(f"{RUNS}{run}/unreadable/{name}", b"")


def _tell_all(rows: Rows, objects: Objects, run: str, done: int | None) -> list[Json]:
    """Tell every request what a run dropped for it, and if that is all; returns what it found."""
    begun = _begun(objects, run)
    found = _found_last(objects, run, begun["at"])
    dropped = Counter[str]()
    for one in found.values():
        dropped.update(one["dead"])
    for id_, asked in begun["requests"].items():
        count = sum(dropped[kid] for kid in asked["kids"])
        _tell(rows, id_, run, count, done if asked["last"] else None)
    return list(found.values())


def _found_last(objects: Objects, run: str, at: int) -> dict[str, Json]:
    """What a run found and none found that began later: that had not been dropped."""
    found = _all_found(objects, run)
    for folder in objects.folders(RUNS):
        other = folder.removeprefix(RUNS).rstrip("/")
        begun = _read(objects, f"{folder}begun.json")
        if begun and (begun["at"], other) > (at, run):
            for name in _all_found(objects, other):
                found.pop(name, None)
    return found


def _all_found(objects: Objects, run: str) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key in objects.list(f"{RUNS}{run}/found/"):
        found |= _read(objects, key)
    return found


def _tell(rows: Rows, id_: str, run: str, dropped: int, done: int | None) -> None:
    """Add to what a request knows: each run once, however often it ends."""
    key = Key("requests", id_)
    for _ in range(TRIES):
        row = rows.get([key]).get(key)
        if row is None or "vacuumed_at" in row:
            return
        change: Row = {} if done is None else {"vacuumed_at": done}
        told = row.get("vacuumed", {})
        if dropped != told.get(run, 0):
            change["vacuumed"] = told | {run: dropped}
        if not change:
            return
        same = {"pk": id_, "vacuumed": row.get("vacuumed", ABSENT), "vacuumed_at": ABSENT}
        try:
            rows.update(Update(key, set=change, when=same))
        except Conflict:
            continue
        return
    raise Unavailable("the request changes faster than it can be told")


def _forget(objects: Objects, now: float) -> None:
    """Delete what runs wrote down that nobody can take up any more: last of all when they began."""
    for folder in objects.folders(RUNS):
        begun = _read(objects, f"{folder}begun.json")
        if begun and begun["at"] + KEPT < now:
            objects.delete([key for key in objects.list(folder) if not key.endswith("begun.json")])
            objects.delete([f"{folder}begun.json"])


def _begun(objects: Objects, run: str) -> Json:
    begun: Json | None = _read(objects, f"{RUNS}{run}/begun.json")
    if begun is None:
        raise LookupError("this run has not begun, or is forgotten")
    return begun


def _read(objects: Objects, place: str) -> Any:
    body = objects.get(place)
    return json.loads(body) if body else None


def _write(objects: Objects, place: str, value: Any) -> None:
    objects.put(place, json.dumps(value).encode())
