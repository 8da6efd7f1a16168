"""Erasure: fenced and unreadable when it is acknowledged, then deleted, verified and certified.

The request item is written first, then the profile is closed, then every member's key is shredded;
each step repeats safely, and `sweep` takes up what stopped between two of them.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Literal

from candor import archive, destinations, keyring, transit
from candor.errors import Clash, NotFound
from candor.identifiers import Identifier
from candor.identity import EVERYBODY, TRIES, link_key, node_key, profile_key
from candor.policy import DAY, Policy
from candor.ports import (
    ABSENT,
    Clock,
    Conflict,
    Delete,
    Key,
    Objects,
    Put,
    Queue,
    Row,
    Rows,
    Signer,
    Unavailable,
    Update,
    Workflow,
)
from candor.sealing import Vault, new_salt
from candor.separation import quarantine_key, separation_key
from candor.signatures import signed
from candor.withdrawal import mark_key

Json = dict[str, Any]
Store = Literal["graph", "events", "archive", "queues", "keys"]
STORES: tuple[Store, ...] = ("keys", "graph", "events", "archive", "queues")
ANSWER_DAYS = 30
"""GDPR Article 12(3): one month."""
HISTORY_DAYS = 90
"""How long Step Functions keeps an execution's history."""
ROUNDS = 3
ACTIVE = ("pending", "running")


def _no_vault() -> Vault:
    raise LookupError("what destinations are told of is sealed, and there is no vault to open it")


@dataclass(frozen=True, slots=True)
class Erasure:
    """What every step of erasing works with."""

    rows: Rows
    policy: Policy
    clock: Clock
    objects: Objects
    queues: tuple[Queue, ...] = ()
    recovery_days: int = 1
    vault: Callable[[], Vault] = _no_vault
    """Only called where the policy names destinations."""


def open_request(
    work: Erasure,
    vault: Vault,
    subject: Identifier,
    mode: keyring.Mode,
    *,
    verified_by: str,
    principal: str,
) -> Row:
    """Write down a verified erasure request; `advance` acts on it.

    A request that is already under way for the person is joined, and one that stopped partway is
    taken up again. Someone unknown is fenced too: the answer does not tell, and what arrives late
    is kept out.
    """
    joined = _joinable(work, subject.key, mode)
    if joined:
        return _taken_up(work, joined)
    now = work.clock()
    id_ = f"{int(now * 1000):012x}{secrets.token_hex(8)}"
    salt = new_salt()
    due = work.policy.due(work.policy.records["request"], now)
    row: Row = {
        "type": "erasure",
        "mode": mode,
        "status": "pending",
        "subject": subject.key,
        "created": int(now),
        "answer_by": int(now) + ANSWER_DAYS * DAY,
        "principal": principal,
        "salt": salt,
        "verified_by": vault.seal(salt, verified_by, f"requests/{id_}"),
        "members": {},
        "profiles": [],
        "policy": work.policy.hash,
        "due": due,
        "ttl": due,
        **destinations.opened(work, vault, id_, salt, subject),
    }
    work.rows.commit(Put(Key("requests", id_), row, when={"pk": ABSENT}))
    return row | {"pk": id_}


def advance(work: Erasure, workflow: Workflow, id_: str) -> Row:
    """Fence, shred and start the machine, from wherever a request stopped. Safe to repeat."""
    row = request(work, id_)
    if row["status"] not in ACTIVE:
        return row
    try:
        fence(work, id_)
    except Clash:
        work.rows.update(Update(_key(id_), set={"status": "refused"}, when={"status": "pending"}))
        raise
    workflow.start(execution(row), {"request": id_})
    try:
        change = Update(_key(id_), set={"status": "running"}, when={"status": "pending"})
        return work.rows.update(change)
    except Conflict:  # the machine was quicker, or this is a repetition
        return request(work, id_)


def resume(work: Erasure, workflow: Workflow, row: Row) -> Row:
    """Take up a request that stopped, wherever that was."""
    return advance(work, workflow, _taken_up(work, row)["pk"])


def fence(work: Erasure, id_: str) -> None:
    """Close the profiles of everyone the request names, and shred the keys of all their members.

    Names them all in the request first: after a crash it must still know which keys it destroyed.
    Raises Clash where a hold or another request forbids it.
    """
    for _ in range(TRIES):
        row = request(work, id_)
        members: dict[str, str | None] = row["members"]
        asked = {row["subject"], *members, *_fenced_with(work, row["subject"])}
        nodes = work.rows.get([node_key(idkey) for idkey in asked], expired=True)
        profiles = _profiles(work, {node["profile"] for node in nodes.values()})
        people = asked.union(*(one["members"] for one in profiles.values()))
        profiles |= _left_out(work, people, id_)
        for profile in profiles.values():
            _may_close(profile, id_)  # all of them, before any is closed
        everyone = asked.union(*(profile["members"] for profile in profiles.values()))
        kids = keyring.key_ids(keyring.states(work.rows, everyone))
        named = {idkey: kids[idkey] or members.get(idkey) for idkey in everyone}
        try:
            told = destinations.gathered(work, row, everyone)
            if named != members or told:
                _name(work, row, {"members": named, **told}, profiles)
            for id_of, profile in profiles.items():
                _close(work, id_of, profile, id_)
        except Conflict:
            continue
        if named.keys() == members.keys() and not told:
            break  # closed before we looked, so nobody has joined since
    else:
        raise Unavailable("the profile changes faster than it can be closed")
    for idkey in named:
        keyring.shred(work.rows, idkey, row["mode"], id_, row["created"])


def request(work: Erasure, id_: str) -> Row:
    row = work.rows.get([_key(id_)]).get(_key(id_))
    if row is None:
        raise NotFound("not_found", "There is no privacy request with this id.")
    return row


def execution(row: Row) -> str:
    """The name of a request's execution: its id, and the run where it had to be taken up again."""
    return f"{row['pk']}-{row['runs']}" if "runs" in row else str(row["pk"])


def shown(row: Row) -> Json:
    """A request as the API tells it. Nothing personal: the subject is not repeated."""
    certificate = row.get("certificate")
    return {
        "id": row["pk"],
        "type": row["type"],
        "mode": row["mode"],
        "status": row["status"],
        "created": _iso(row["created"]),
        "due": _iso(row["answer_by"]),
        "identifiers": len(row["members"]),
        "receipts": [
            *(_receipt(row, store) for store in STORES if f"found_{store}" in row),
            *destinations.receipts(row),
        ],
        "horizons": row.get("horizons", []),
        "certificate": certificate,
    }


def forecast(work: Erasure, subject: Identifier) -> list[Json]:
    """What would go, store by store. Changes nothing."""
    found = work.rows.get([node_key(subject.key)])
    profiles = _profiles(work, {node["profile"] for node in found.values()})
    members = {subject.key: subject.type}
    for profile in profiles.values():
        members |= profile["members"]
    kids = keyring.key_ids(keyring.states(work.rows, members))
    row: Row = {"members": kids, "profiles": list(profiles)}
    counts: dict[str, int] = {store: _count(work, store, row) for store in STORES[:-1]}
    counts |= destinations.forecast(work, members.values())
    return [
        {"store": store, "found": count, "deleted": 0, "left": count, "because": "dry run"}
        for store, count in counts.items()
    ]


def erase(work: Erasure, store: Store, id_: str) -> None:
    """Delete all that a store holds of the request's people, with a receipt. Safe to repeat."""
    row = request(work, id_)
    work.rows.update(
        Update(_key(id_), once={f"found_{store}": _count(work, store, row)}, when={"pk": row["pk"]})
    )
    if store == "graph":
        # What others' rows say of the members goes first: it is found through the members' own.
        work.rows.delete(list(_reverse_links(work, row)))
        work.rows.delete(_graph_keys(work, row))
        work.rows.delete(map(quarantine_key, row["members"]))
        work.rows.delete(map(mark_key, row["members"]))
        for profile in row["profiles"]:
            try:
                work.rows.commit(Delete(profile_key(profile), when={"request": id_}))
            except Conflict:
                continue  # it is gone already
    elif store == "events":
        work.rows.delete(_event_keys(work, row))
    elif store == "archive":
        kids = _key_ids(row)
        for name, _ in list(archive.naming(work.objects, kids)):
            archive.drop(work.objects, name, kids)


def verify(work: Erasure, id_: str) -> Json:
    """Search every live store again. Returns {"clean", "attempt", "last"} for the machine.

    What only a destination has left is not deleted again: it had its time to answer.
    """
    row = request(work, id_)
    left = {store: _count(work, store, row) for store in ("graph", "events", "archive")}
    readable = keyring.states(work.rows, list(row["members"]))
    left["keys"] = sum(1 for state in readable.values() if state.salt or not state.mode)
    here = any(left.values())
    clean = not here and not destinations.unconfirmed(row)
    row = work.rows.update(
        Update(
            _key(id_),
            set={"clean": clean, **{f"left_{store}": count for store, count in left.items()}},
            once={"found_keys": len(row["members"])},
            add={"attempts": 1},
        )
    )
    attempts = row["attempts"]
    return {"clean": clean, "attempt": attempts, "last": not here or attempts >= ROUNDS}


def certify(work: Erasure, signer: Signer, id_: str) -> None:
    """Sign what was done and complete the request; only after a clean verification."""
    row = request(work, id_)
    if row["status"] == "completed":
        return
    now = int(work.clock())
    horizons = _horizons(work, row, now)
    document = json.dumps(
        {
            "type": "candor/erasure-certificate/1",
            "request": id_,
            "mode": row["mode"],
            "requested": _iso(row["created"]),
            "completed": _iso(now),
            "policy": row["policy"],
            "identifiers": len(row["members"]),
            "stores": [
                *(_receipt(row, store) for store in STORES),
                *destinations.receipts(row),
            ],
            "destinations": destinations.confirmations(row),
            "shredded_key_ids": sorted(_key_ids(row)),
            "horizons": horizons,
        },
        indent=1,
    )
    certificate = signed(document, signer)
    work.rows.update(
        Update(
            _key(id_),
            set={
                "status": "completed",
                "completed": now,
                "certificate": certificate,
                "horizons": horizons,
            },
            remove=("salt",),
            when={"clean": True, "status": row["status"]},
        )
    )


def fail(work: Erasure, id_: str) -> None:
    """The machine gave up. Some stores are done, so the request is `partial`; it is never lost."""
    row = request(work, id_)
    if row["status"] in ACTIVE:
        change = Update(_key(id_), set={"status": "partial"}, when={"status": row["status"]})
        work.rows.update(change)


class ErasureFailed(Exception):
    """What an execution ends with; the machine goes by the name."""


def give_up(work: Erasure, id_: str, name: str) -> None:
    """The machine's last step after a failure: the request is `partial`. Raises ErasureFailed.

    Where it is so already, somebody has redriven the execution of this name, which then goes on.
    """
    row = request(work, id_)
    if execution(row) == name and row["status"] == "partial":
        again = {"status": "running", "attempts": 0}
        work.rows.update(Update(_key(id_), set=again, when={"status": "partial"}))
        return
    if execution(row) == name:
        fail(work, id_)
    raise ErasureFailed("The request's receipts say what is left and why.")


def _joinable(work: Erasure, idkey: str, mode: keyring.Mode) -> Row | None:
    """A request that already does what is asked."""
    state = keyring.states(work.rows, [idkey])[idkey]
    if state.mode is None or state.request is None:
        return None
    if mode == "erase_and_suppress" and state.mode == "erase":
        return None
    key = _key(state.request)
    row = work.rows.get([key]).get(key)
    return row if row and row["status"] in (*ACTIVE, "partial", "completed") else None


def _taken_up(work: Erasure, row: Row) -> Row:
    """A request that is to go on, under a new execution if it stopped."""
    if row["status"] != "partial":
        return row
    again = Update(
        _key(row["pk"]),
        set={"status": "pending", "attempts": 0},
        add={"runs": 1},
        when={"status": "partial"},
    )
    try:
        return work.rows.update(again)
    except Conflict:
        return request(work, row["pk"])


def _fenced_with(work: Erasure, subject: str) -> set[str]:
    """Whom an earlier request fenced together with the subject, and who still is."""
    earlier = keyring.states(work.rows, [subject])[subject]
    if not (earlier.mode and earlier.request):
        return set()
    row = work.rows.get([_key(earlier.request)]).get(_key(earlier.request))
    states = keyring.states(work.rows, list(row["members"])) if row else {}
    return {idkey for idkey, state in states.items() if state.mode}


def _left_out(work: Erasure, members: set[str], by: str) -> dict[str, Row]:
    """Profiles of devices that named one of these people and did not fit into the profile any more.

    They hold what the person did there, and belong to nobody else. Where another request erases
    one, because it named another person too, that is enough.
    """
    others = {
        link["sk"].removeprefix("LINK#")
        for idkey in members
        for link in work.rows.query("graph", f"I#{idkey}", "LINK#", expired=True)
        if link.get("refused", "").startswith("limit:")
    }
    nodes = work.rows.get([node_key(idkey) for idkey in others - members], expired=True)
    found = _profiles(work, {node["profile"] for node in nodes.values()})
    rule = work.policy.identifier
    return {
        id_: profile
        for id_, profile in found.items()
        if profile.get("request", by) == by
        and not any(rule(type_).known for type_ in profile["members"].values())
        and EVERYBODY not in chain.from_iterable(profile.get("apart", {}).values())
    }


def _profiles(work: Erasure, ids: set[str]) -> dict[str, Row]:
    found = work.rows.get([profile_key(id_) for id_ in ids], expired=True)
    return {id_: row for id_ in ids if (row := found.get(profile_key(id_)))}


def _name(work: Erasure, row: Row, named: Row, profiles: dict[str, Row]) -> None:
    """Write down who and what the request covers, if nobody else did meanwhile."""
    change = {**named, "profiles": sorted({*row["profiles"], *profiles})}
    seen = {name: row.get(name, ABSENT) for name in ("members", "identities")}
    work.rows.update(Update(_key(row["pk"]), set=change, when=seen))


def _may_close(listed: Row, id_: str) -> None:
    if listed.get("request") == id_:
        return
    if "hold" in listed:
        raise Clash("held", "This person's data is under a legal hold.")
    if "request" in listed:
        raise Clash("erasing", "Another request is already erasing this person.")


def _close(work: Erasure, profile: str, listed: Row, id_: str) -> None:
    """From here no merge, consent or read finds the profile. Raises Conflict if it changed."""
    if listed.get("request") == id_:
        return
    work.rows.update(
        Update(
            profile_key(profile),
            set={"state": "erasing", "request": id_, "version": listed["version"] + 1},
            when={"version": listed["version"], "state": ABSENT, "hold": ABSENT},
        )
    )


def _count(work: Erasure, store: Store, row: Row) -> int:
    """How many keys, rows, records or messages a store holds of a request's people."""
    counts: dict[Store, Callable[[], int]] = {
        "keys": lambda: len(_key_ids(row)),
        "graph": lambda: sum(1 for _ in _graph_keys(work, row)),
        "events": lambda: sum(1 for _ in _event_keys(work, row)),
        "archive": lambda: sum(count for _, count in archive.naming(work.objects, _key_ids(row))),
        "queues": lambda: sum(queue.depth() for queue in work.queues),
    }
    return counts[store]()


def _graph_keys(work: Erasure, row: Row) -> Iterator[Key]:
    for idkey in row["members"]:
        for item in work.rows.query("graph", f"I#{idkey}", expired=True):
            yield Key("graph", item["pk"], item["sk"])


def _reverse_links(work: Erasure, row: Row) -> Iterator[Key]:
    for key in _graph_keys(work, row):
        kind, _, other = str(key.sk).partition("#")
        if kind == "LINK":
            yield link_key(other, key.pk.removeprefix("I#"))
        elif kind == "SEP":
            yield separation_key(other, key.pk.removeprefix("I#"))


def _event_keys(work: Erasure, row: Row) -> Iterator[Key]:
    for idkey in row["members"]:
        for item in work.rows.query("events", idkey, expired=True):
            yield Key("events", item["pk"], item["sk"])


def _key_ids(row: Row) -> list[str]:
    return [kid for kid in row["members"].values() if kid]


def _receipt(row: Row, store: Store) -> Json:
    found = row.get(f"found_{store}", 0)
    left = row.get(f"left_{store}", 0)
    if store == "queues":
        because = "messages are sealed for all alike; the fence drops what names this person"
        return {"store": store, "found": found, "deleted": 0, "left": found, "because": because}
    verb = "shredded" if store == "keys" else "deleted"
    because = f"{verb}, and searched again" if not left else "not done yet"
    deleted = max(found - left, 0)
    return {"store": store, "found": found, "deleted": deleted, "left": left, "because": because}


def _horizons(work: Erasure, row: Row, now: int) -> list[Json]:
    """What remains somewhere, unreadable, and until when."""
    longest = max(work.policy.retention.values())
    days = {
        "backups of the keys table, which could bring back the shredded keys": work.recovery_days,
        "archive residue: sealed records that the stream delivered late": longest,
        "workflow history: the request's id and no personal data": HISTORY_DAYS,
    }
    told = [{"what": what, "until": _iso(now + count * DAY)} for what, count in days.items()]
    last_message = row["created"] + transit.LIFE_SECONDS
    return [
        *told,
        {"what": "queued messages, sealed under hourly transit keys", "until": _iso(last_message)},
    ]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _key(id_: str) -> Key:
    return Key("requests", id_)
