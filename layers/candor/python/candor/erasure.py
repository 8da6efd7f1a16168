"""Erasure: hidden when it is acknowledged, then unreadable, then deleted, verified and certified.

The request item is written first, then the profile is closed and every member's key is fenced, and
shredded in the same call where nothing is waited for; each step repeats safely, and `sweep` takes
up what stopped between two of them.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from candor import destinations, fencing, keyring, requests, transit, vacuum
from candor.errors import Clash
from candor.identifiers import Identifier
from candor.identity import link_key, node_key, profile_key
from candor.policy import DAY, iso
from candor.ports import Conflict, Delete, Key, Row, Signer, Update, Workflow
from candor.requests import ACTIVE, STORES, TAKEN_BACK, WAITING, Erasure, Store, receipt
from candor.separation import quarantine_key, separation_key
from candor.signatures import signed
from candor.withdrawal import mark_key

Json = dict[str, Any]
SEARCHED: tuple[Store, ...] = ("keys", "graph", "events")
"""What the others hold is unreadable at once: the vacuum drops it, or the fence."""
HISTORY_DAYS = 90
"""How long Step Functions keeps an execution's history."""
ROUNDS = 3
LONGEST_SECONDS = 900
"""How long a function of Lambda's may run."""


def advance(work: Erasure, workflow: Workflow, id_: str) -> Row:
    """Hide, shred and start the machine, as far as it may go, from wherever a request stopped.

    Safe to repeat. Raises Clash where another request is erasing one of its people.
    """
    row = requests.find(work.rows, id_)
    if row["type"] != "erasure" or row["status"] not in ACTIVE:
        return row
    try:
        _see_to_whom(work, row)
        fencing.hide(work, id_)
    except Clash:
        if row["status"] != "running":
            _end(work, id_, "refused", ground=requests.ANOTHER)
        raise
    row = requests.find(work.rows, id_)
    if row["status"] in TAKEN_BACK:  # while we hid them
        return reopen(work, row)
    if not requests.ready(work, row):
        return row
    row = requests.move(work, id_, "running", ACTIVE)
    if fencing.shred(work, id_):
        workflow.start(requests.execution(row), {"request": id_})
    return requests.find(work.rows, id_)


def _see_to_whom(work: Erasure, row: Row) -> None:
    """Raises Clash where the person was erased, and registered anew, since a request was made that
    nothing was done for."""
    lifted = keyring.states(work.rows, [row["subject"]])[row["subject"]].lifted or 0
    if row["status"] == "pending" and not row["members"] and lifted > row["created"]:
        raise Clash("erasing", "Another request has erased this person.")


def resume(work: Erasure, workflow: Workflow, row: Row) -> Row:
    """Take up a request that stopped, wherever that was."""
    return advance(work, workflow, requests.taken_up(work, row)["pk"])


def plan(work: Erasure, id_: str) -> None:
    """The machine's first step: whoever came meanwhile goes as well. Raises Clash."""
    if _is_over(requests.find(work.rows, id_)):
        return
    fencing.hide(work, id_)
    if not fencing.shred(work, id_):
        status = requests.find(work.rows, id_)["status"]
        raise Clash("wrong_status", f"The request is {status}.")


def cancel(work: Erasure, id_: str) -> Row:
    """Take a request back of which nothing is destroyed yet. Safe to repeat. Raises Clash."""
    return _end(work, id_, "cancelled")


def refuse(work: Erasure, id_: str, ground: str) -> Row:
    """Refuse a request of which nothing is destroyed yet, and say why. Safe to repeat."""
    return _end(work, id_, "refused", ground=ground)


def reopen(work: Erasure, row: Row) -> Row:
    """Show again whom a request that ended so had hidden. `sweep` does again, until nobody can be
    left who hid them without knowing of the end."""
    fencing.reopen(work, row["pk"])
    last = row["ended"] + LONGEST_SECONDS < work.clock()
    told = {"open": True} if last else {}
    return work.rows.update(Update(requests.key_of(row["pk"]), set=told, remove=("salt",)))


def _end(work: Erasure, id_: str, status: str, **why: str) -> Row:
    row = requests.move(work, id_, status, WAITING, **why)
    return reopen(work, row) if row["type"] == "erasure" else row


def forecast(work: Erasure, subject: Identifier) -> list[Json]:
    """What would go, store by store. Changes nothing."""
    found = work.rows.get([node_key(subject.key)])
    profiles = fencing.profiles_of(work, {node["profile"] for node in found.values()})
    members = {subject.key: subject.type}
    for profile in profiles.values():
        members |= profile["members"]
    kids = keyring.key_ids(keyring.states(work.rows, members))
    row: Row = {"members": kids, "profiles": list(profiles)}
    counts: dict[str, int] = {store: _count(work, store, row) for store in SEARCHED}
    counts |= destinations.forecast(work, members.values())
    counted = [
        {"store": store, "found": count, "deleted": 0, "left": count, "because": "dry run"}
        for store, count in counts.items()
    ]
    return [*counted, vacuum.receipt(row) | {"because": "dry run; the vacuum will search it"}]


def erase(work: Erasure, store: Store, id_: str) -> None:
    """Delete all that a store holds of the request's people, with a receipt. Safe to repeat."""
    row = requests.find(work.rows, id_)
    if _is_over(row):
        return
    found = {f"found_{store}": _count(work, store, row)}
    work.rows.update(Update(requests.key_of(id_), once=found, when={"pk": row["pk"]}))
    delete(work, store, row)


def delete(work: Erasure, store: Store, row: Row) -> None:
    """Delete all that a store holds of a request's people. Safe to repeat."""
    if store == "graph":
        # What others' rows say of the members goes first: it is found through the members' own.
        work.rows.delete(list(_reverse_links(work, row)))
        work.rows.delete(_graph_keys(work, row))
        work.rows.delete(map(quarantine_key, row["members"]))
        work.rows.delete(map(mark_key, row["members"]))
        for profile in row["profiles"]:
            try:
                work.rows.commit(Delete(profile_key(profile), when={"request": row["pk"]}))
            except Conflict:
                continue  # it is gone already
    elif store == "events":
        work.rows.delete(_event_keys(work, row))


def verify(work: Erasure, id_: str) -> Json:
    """Search every live store again. Returns {"clean", "attempt", "last"} for the machine.

    Nothing is clean before the queues' messages are counted, which nobody else looks at. What only
    a destination has left is not deleted again: it had its time to answer.
    """
    row = requests.find(work.rows, id_)
    if _is_over(row):
        return {"clean": True, "attempt": row["attempts"], "last": True}
    left = {store: _count(work, store, row) for store in ("graph", "events")}
    readable = keyring.states(work.rows, list(row["members"]))
    left["keys"] = sum(1 for state in readable.values() if state.salt or not state.mode)
    here = any(left.values()) or "found_queues" not in row
    clean = not here and not destinations.unconfirmed(row)
    row = work.rows.update(
        Update(
            requests.key_of(id_),
            set={"clean": clean, **{f"left_{store}": count for store, count in left.items()}},
            once={"found_keys": len(row["members"])},
            add={"attempts": 1},
        )
    )
    attempts = row["attempts"]
    return {"clean": clean, "attempt": attempts, "last": not here or attempts >= ROUNDS}


def certify(work: Erasure, signer: Signer, id_: str) -> None:
    """Sign what was done and complete the request; only after a clean verification."""
    row = requests.find(work.rows, id_)
    if _is_over(row):
        return
    if row["status"] not in ("running", "partial"):
        raise Clash("wrong_status", f"The request is {row['status']}.")
    now = int(work.clock())
    horizons = _horizons(work, now)
    document = json.dumps(
        {
            "type": "candor/erasure-certificate/1",
            "request": id_,
            "mode": row["mode"],
            "requested": iso(row["created"]),
            "completed": iso(now),
            "policy": row["policy"],
            "identifiers": len(row["members"]),
            "stores": [
                *(receipt(row | {"completed": now}, store) for store in STORES),
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
            requests.key_of(id_),
            set={
                "status": "completed",
                "completed": now,
                "certificate": certificate,
                "horizons": horizons,
                **requests.ending(work),
            },
            remove=("salt",),
            when={"clean": True, "status": row["status"]},
        )
    )


def _is_over(row: Row) -> bool:
    """Whether a machine comes late, which must not touch what was registered since."""
    return bool(row["status"] == "completed")


def fail(work: Erasure, id_: str) -> None:
    """The machine gave up. Some stores are done, so the request is `partial`; it is never lost."""
    row = requests.find(work.rows, id_)
    if row["status"] == "running":
        requests.move(work, id_, "partial", ("running",))


class ErasureFailed(Exception):
    """What an execution ends with; the machine goes by the name."""


def give_up(work: Erasure, id_: str, name: str, retries: int = 0) -> None:
    """The machine's last step after a failure: the request is `partial`. Raises ErasureFailed.

    Where it is so already, and this step is not being tried again, somebody has redriven the
    execution of this name, which then goes on.
    """
    row = requests.find(work.rows, id_)
    redriven = row["status"] == "partial" and not retries
    if requests.execution(row) == name and redriven:
        again = {"status": "running", "attempts": 0}
        work.rows.update(Update(requests.key_of(id_), set=again, when={"status": "partial"}))
        return
    if requests.execution(row) == name:
        fail(work, id_)
    raise ErasureFailed("The request's receipts say what is left and why.")


def _count(work: Erasure, store: Store, row: Row) -> int:
    """How many keys, rows, records or messages a store holds of a request's people."""
    counts: dict[Store, Callable[[], int]] = {
        "keys": lambda: len(_key_ids(row)),
        "graph": lambda: sum(1 for _ in _graph_keys(work, row)),
        "events": lambda: sum(1 for _ in _event_keys(work, row)),
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


def _horizons(work: Erasure, now: int) -> list[Json]:
    """What remains somewhere, unreadable, and until when."""
    days = {
        "backups of the keys table, which could bring back the shredded keys": work.recovery_days,
        "workflow history: the request's id and no personal data": HISTORY_DAYS,
    }
    told = [{"what": what, "until": iso(now + count * DAY)} for what, count in days.items()]
    # Messages of who was hidden for long are younger than the request.
    last_message = now + transit.LIFE_SECONDS
    archived = "archived records, which the nightly vacuum drops"
    return [
        *told,
        {"what": archived, "until": iso(now + vacuum.LATEST)},
        {"what": "queued messages, sealed under hourly transit keys", "until": iso(last_message)},
    ]
