"""Privacy requests: the row that says who asked for what, how far it is, and what was found.

A row is written before anything is done for it and is told at every step, so whatever stops halfway
is known by it. It names people by the keyed hashes of their identifiers only; who verified the
requester, and how, is sealed under a key of its own.
"""

import calendar
import secrets
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from candor import destinations, keyring, vacuum
from candor.errors import Clash, NotFound
from candor.identifiers import Identifier
from candor.identity import node_key, profile_key
from candor.policy import DAY, Policy, iso
from candor.ports import ABSENT, Clock, Conflict, Key, Objects, Put, Queue, Row, Rows, Update
from candor.sealing import Vault, new_salt

Json = dict[str, Any]
Type = Literal["erasure", "restriction", "objection", "rectification"]
TYPES: tuple[Type, ...] = get_args(Type)
Law = Literal["gdpr", "ccpa"]
Store = Literal["graph", "events", "archive", "queues", "keys"]
STORES: tuple[Store, ...] = ("keys", "graph", "events", "archive", "queues")
CCPA_DAYS = 45
"""California Code of Regulations, title 11, section 7021(b)."""
WAITING = ("pending", "held")
"""Nothing is destroyed yet, so the request can still be taken back."""
ACTIVE = (*WAITING, "running")
TAKEN_BACK = ("cancelled", "refused")
"""By a decision: whom such a request had hidden is shown again."""
ENDED = ("completed", "failed", *TAKEN_BACK)
Ground = Literal[
    "identity_not_verified",
    "manifestly_unfounded",
    "excessive",
    "freedom_of_expression",
    "legal_obligation",
    "public_interest",
    "legal_claims",
]
"""Why a request may be refused. (GDPR Articles 12(2), 12(5), 17(3))"""
UNDONE = "not done yet"
ANOTHER = "erased_by_another_request"
"""Why a request is refused that nobody need do anything for."""


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


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, under what law, and what staff says of how they were verified."""

    principal: str
    verified_by: str
    law: Law = "gdpr"


def key_of(id_: str) -> Key:
    return Key("requests", id_)


def find(rows: Rows, id_: str) -> Row:
    """Raises NotFound."""
    row = rows.get([key_of(id_)]).get(key_of(id_))
    if row is None or row["type"] not in TYPES:
        raise NotFound("not_found", "There is no privacy request with this id.")
    return row


def open_(
    work: Erasure, vault: Vault, type_: Type, subject: Identifier, asking: Asking, **more: Any
) -> Row:
    """Write down a request of a person."""
    id_, row = _row(work, vault, type_, subject, asking, **more)
    work.rows.commit(Put(key_of(id_), row, when={"pk": ABSENT}))
    return row | {"pk": id_}


def _row(
    work: Erasure, vault: Vault, type_: Type, subject: Identifier, asking: Asking, **more: Any
) -> tuple[str, Row]:
    now = work.clock()
    id_, salt = new_id(now), new_salt()
    return id_, {
        "type": type_,
        "status": "pending",
        "subject": subject.key,
        "created": int(now),
        "answer_by": answer_by(now, asking.law),
        "law": asking.law,
        "principal": asking.principal,
        "salt": salt,
        "verified_by": vault.seal(salt, asking.verified_by, f"requests/{id_}"),
        "policy": work.policy.hash,
        **more,
        **(destinations.opened(work, vault, id_, salt, subject) if type_ == "erasure" else {}),
    }


def open_erasure(
    work: Erasure, vault: Vault, subject: Identifier, mode: keyring.Mode, asking: Asking
) -> Row:
    """Write down a verified erasure request; `erasure.advance` acts on it.

    A request that is already under way for the person is joined, and one that stopped partway is
    taken up again. Someone unknown is fenced too: the answer does not tell, and what arrives late
    is kept out.
    """
    joined = _joinable(work, subject.key, mode)
    if joined:
        return taken_up(work, joined)
    return open_(work, vault, "erasure", subject, asking, **_new_erasure(work, mode))


def open_many(
    work: Erasure,
    vault: Vault,
    subjects: Collection[Identifier],
    mode: keyring.Mode,
    asking: Asking,
) -> Row:
    """Write down an erasure request for each of many, and a row that lists them, which comes last:
    what it does not list, after a crash, `sweep` takes up by itself."""
    states = keyring.states(work.rows, {one.key for one in subjects})
    ids, puts = [], []
    for one in {one.key: one for one in subjects}.values():
        if states[one.key].mode:
            ids.append(open_erasure(work, vault, one, mode, asking)["pk"])
            continue
        new = _new_erasure(work, mode)
        id_, row = _row(work, vault, "erasure", one, asking, **new)
        ids.append(id_)
        puts.append(Put(key_of(id_), row))
    work.rows.put(puts)
    now = work.clock()
    due = work.policy.due(work.policy.records["request"], now)
    listed: Row = {"type": "bulk", "requests": ids, "created": int(now), "due": due, "ttl": due}
    listed["principal"] = asking.principal
    id_ = new_id(now)
    work.rows.commit(Put(key_of(id_), listed, when={"pk": ABSENT}))
    return listed | {"pk": id_}


def many(rows: Rows, id_: str) -> Row:
    """The row that lists many requests. Raises NotFound."""
    row = rows.get([key_of(id_)]).get(key_of(id_))
    if row is None or row["type"] != "bulk":
        raise NotFound("not_found", "There is nothing with this id.")
    return row


def progress(work: Erasure, row: Row) -> Json:
    """How far many requests are: how many are in which status, how many of the pending wait for
    their time or for a person, and which need somebody."""
    found = work.rows.get([key_of(id_) for id_ in row["requests"]])
    statuses = Counter(one["status"] for one in found.values())
    stuck = [one["pk"] for one in found.values() if _needs_somebody(one)]
    pending = [one for one in found.values() if one["status"] == "pending"]
    waiting = [one for one in pending if one["members"] and not ready(work, one)]
    return {
        "id": row["pk"],
        "created": iso(row["created"]),
        "total": len(row["requests"]),
        "statuses": dict(statuses),
        "waiting": len(waiting),
        "attention": sorted(stuck),
    }


def _needs_somebody(row: Row) -> bool:
    """Whether a request will not end by itself. Who was named twice is refused the second time."""
    refused = row["status"] == "refused" and row.get("ground") != ANOTHER
    return refused or row["status"] in ("held", "partial") or _awaits_approval(row)


def _awaits_approval(row: Row) -> bool:
    asked = row.get("second_person", False) and "approved" not in row
    return asked and row["status"] in ACTIVE


def _new_erasure(work: Erasure, mode: keyring.Mode) -> Row:
    rule = work.policy.erasure
    return {
        "mode": mode,
        "acts_at": int(work.clock()) + rule.waiting_days * DAY,
        "second_person": rule.second_person,
        "members": {},
        "profiles": [],
    }


def move(work: Erasure, id_: str, to: str, from_: Collection[str], **more: Any) -> Row:
    """A request in its next status, from one of `from_`. Raises Clash where it is in another, and
    where it is to end though data is destroyed already."""
    row = find(work.rows, id_)
    while row["status"] in from_:
        if to in TAKEN_BACK and "shredding" in row:
            raise Clash("wrong_status", "Some of this person's data is destroyed already.")
        when = {"status": row["status"], "shredding": row.get("shredding", ABSENT)}
        told = {"status": to, **more, **(ending(work) if to in ENDED else {})}
        # Who verified the requester, and how, ends with the request.
        gone = ("salt",) if to in ENDED else ()
        change = Update(key_of(id_), set=told, remove=gone, add={"turns": 1}, when=when)
        try:
            return work.rows.update(change)
        except Conflict:
            row = find(work.rows, id_)
    if row["status"] == to:
        return row
    raise Clash("wrong_status", f"The request is {row['status']}.")


def ending(work: Erasure) -> Row:
    """What the row of a request gets that ends now; one that is open stays, however long it is."""
    now = int(work.clock())
    due = work.policy.due(work.policy.records["request"], now)
    return {"ended": now, "due": due, "ttl": due}


def taken_up(work: Erasure, row: Row) -> Row:
    """A request that is to go on, under a new execution if it stopped."""
    if row["status"] != "partial":
        return row
    again = Update(
        key_of(row["pk"]),
        set={"status": "running", "attempts": 0},  # what is destroyed cannot be taken back
        add={"runs": 1},
        when={"status": "partial"},
    )
    try:
        return work.rows.update(again)
    except Conflict:
        return find(work.rows, row["pk"])


def approve(work: Erasure, id_: str, principal: str) -> Row:
    """A second person's yes. Raises Clash where none is waited for, or it is the first person's."""
    row = find(work.rows, id_)
    if row["status"] not in ACTIVE or not row.get("second_person"):
        raise Clash("not_waiting", "This request waits for nobody's approval.")
    if row["principal"] == principal:
        raise Clash("same_person", "Somebody else has to approve it than who asked for it.")
    return work.rows.update(Update(key_of(id_), once={"approved": principal}, when={"pk": id_}))


def ready(work: Erasure, row: Row) -> bool:
    """Whether nothing is waited for before data is destroyed."""
    approved = "approved" in row or not row.get("second_person")
    return approved and row.get("acts_at", 0) <= work.clock()


def execution(row: Row) -> str:
    """The name of a request's execution: its id, and the run where it had to be taken up again."""
    return f"{row['pk']}-{row['runs']}" if "runs" in row else str(row["pk"])


def shown(row: Row) -> Json:
    """A request as the API tells it. Nothing personal: the subject is not repeated."""
    return {
        "id": row["pk"],
        "type": row["type"],
        "mode": row.get("mode"),
        "status": row["status"],
        "law": row.get("law", "gdpr"),
        "created": iso(row["created"]),
        "due": iso(row["answer_by"]),
        "acts_at": iso(row["acts_at"]) if row.get("acts_at", 0) > row["created"] else None,
        "awaits_approval": _awaits_approval(row),
        "ground": row.get("ground"),
        "identifiers": len(row.get("members", ())),
        "receipts": [
            *(receipt(row, store) for store in STORES if _is_told(row, store)),
            *destinations.receipts(row),
        ],
        "horizons": row.get("horizons", []),
        "certificate": row.get("certificate"),
    }


def _is_told(row: Row, store: Store) -> bool:
    """Whether a store was searched. All were when the keys are counted, or somebody tried to."""
    return f"found_{store}" in row or "found_keys" in row


def receipt(row: Row, store: Store) -> Json:
    if store == "archive":
        return vacuum.receipt(row)
    if store == "queues":
        count = row.get("found_queues")
        because = "messages are sealed for all alike; the fence drops what names this person"
        because = UNDONE if count is None else because
        return {"store": store, "found": count, "deleted": 0, "left": count, "because": because}
    left = row.get(f"left_{store}", 0)
    found = row.get(f"found_{store}", left)
    if row["type"] != "erasure":
        return {"store": store, "found": found, "deleted": 0, "left": left, "because": "changed"}
    verb = "shredded" if store == "keys" else "deleted"
    because = f"{verb}, and searched again" if not left else UNDONE
    deleted = max(found - left, 0)
    return {"store": store, "found": found, "deleted": deleted, "left": left, "because": because}


def answer_by(now: float, law: Law) -> int:
    """When the person has to be answered: within a month of the request (GDPR Article 12(3)), the
    last day of a month where the next has no such day (Regulation 1182/71, Article 3(2)(c)); within
    45 days under the CCPA."""
    if law == "ccpa":
        return int(now) + CCPA_DAYS * DAY
    at = datetime.fromtimestamp(int(now), UTC)
    year, month = at.year + at.month // 12, at.month % 12 + 1
    day = min(at.day, calendar.monthrange(year, month)[1])
    return int(at.replace(year=year, month=month, day=day).timestamp())


def new_id(now: float) -> str:
    """Ids sort by time."""
    return f"{int(now * 1000):012x}{secrets.token_hex(8)}"


def _joinable(work: Erasure, idkey: str, mode: keyring.Mode) -> Row | None:
    """A request that already does what is asked."""
    state = keyring.states(work.rows, [idkey])[idkey]
    key = key_of((state.mode and state.request) or _closed_by(work, idkey) or "-")
    row = work.rows.get([key]).get(key)
    if row and mode == "erase_and_suppress" and (state.mode or row["mode"]) == "erase":
        return None
    return row if row and row["status"] in (*ACTIVE, "partial", "completed") else None


def _closed_by(work: Erasure, idkey: str) -> str | None:
    """The request that has closed a profile, and has not come to this key of its own yet."""
    node = work.rows.get([node_key(idkey)], expired=True).get(node_key(idkey))
    address = profile_key(node["profile"] if node else "-")
    closed: str | None = work.rows.get([address], expired=True).get(address, {}).get("request")
    return closed
