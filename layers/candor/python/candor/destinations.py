"""Destinations: others that hold a person's data are told of its erasure, and waited for.

What each knows people by is sealed under the request's own key before any other key is destroyed.
The answers stand in the request, and the state machine only waits for them: a request completes by
what is written there.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as mac
from typing import TYPE_CHECKING, Any, Literal

from candor import keyring
from candor.errors import NotFound
from candor.identifiers import Identifier
from candor.identity import node_key, traits_key
from candor.policy import Policy
from candor.ports import (
    ABSENT,
    PRESENT,
    Conflict,
    Key,
    Row,
    Signer,
    Unavailable,
    Update,
    Workflow,
)
from candor.sealing import Vault
from candor.signatures import signed

if TYPE_CHECKING:
    from candor.requests import Erasure

Json = dict[str, Any]
Status = Literal["erased", "unknown_person", "failed"]
CONFIRMING = ("erased", "unknown_person")
Send = Callable[[str, bytes], None]
"""Posts a body to a URL. Raises Unavailable, which says why."""
CALLBACK = re.compile(r"([0-9a-f]{28})\.([a-z][a-z0-9_]{0,63})\.([0-9a-f]{64})")
"""A request, a destination, and what only the two of them know."""
UNREACHED = "Unreached"
SAID = {
    "erased": "it says that it erased them",
    "unknown_person": "it says that it knows nobody by them",
    "failed": "it says that it failed",
}


def opened(work: Erasure, vault: Vault, id_: str, salt: bytes, subject: Identifier) -> Row:
    """What a new request holds of destinations: which, and sealed, how they know its subject."""
    names = sorted(name for name, one in work.policy.destinations.items() if "erasure" in one.tell)
    if not names:
        return {}
    known = subject.type in _types(work.policy, names)
    people = {subject.key: [subject.type, subject.value]} if known else {}
    held = {"secret": secrets.token_hex(32), "people": people}
    return {"destinations": names, "identities": vault.seal(salt, held, _place(id_))}


def gathered(work: Erasure, row: Row, idkeys: Iterable[str]) -> Row:
    """The change of a request that keeps how destinations know these people; empty where it does.

    To be written before their keys are destroyed, on the condition that `identities` is unchanged.
    """
    if not _open(row):
        return {}
    held, vault = _held(work, row), work.vault()
    missing = [idkey for idkey in idkeys if idkey not in held["people"]]
    states = keyring.states(work.rows, missing)
    keys = [make(idkey) for idkey in missing for make in (node_key, traits_key)]
    found = work.rows.get(keys, expired=True)
    known, people = _types(work.policy, row["destinations"]), dict(held["people"])
    for idkey in missing:
        node, traits = found.get(node_key(idkey)), found.get(traits_key(idkey))
        if node and traits and node["type"] in known:
            value = vault.open(states[idkey].salt, traits["data"], traits["pk"])
            if value is not None:
                people[idkey] = [node["type"], value["value"]]
    if people == held["people"]:
        return {}
    sealed = vault.seal(row["salt"], held | {"people": people}, _place(row["pk"]))
    return {"identities": sealed}


def pending(work: Erasure, row: Row) -> list[Json]:
    """Whom the machine is to tell, and for how long to wait: [{"name", "seconds"}].

    Who failed before is told again, and who confirmed less than there is to erase by now.
    """
    wanted = []
    for name in row["destinations"] if _open(row) else ():
        destination = work.policy.destinations.get(name)
        if destination is None:
            gone = "the policy does not name it any more: tell it by hand, or name it again"
            work.rows.update(Update(_key(row["pk"]), set={f"asked_{name}": gone}))
            continue
        count = len(_people(work, row, name))
        if row.get(f"known_{name}") == count and not _left(row, name):
            continue
        forgotten = (f"answer_{name}",)
        change = Update(_key(row["pk"]), set={f"known_{name}": count}, remove=forgotten)
        work.rows.update(change)
        if count:
            wanted.append({"name": name, "seconds": destination.answer_within_hours * 3600})
    return wanted


def tell(
    work: Erasure,
    signer: Signer,
    send: Send,
    workflow: Workflow,
    row: Row,
    name: str,
    token: str,
) -> None:
    """Tell one destination, whose answer ends the machine's task of this token. Safe to repeat."""
    key, url = _key(row["pk"]), work.policy.destinations[name].url
    try:
        change = Update(key, set={f"token_{name}": token}, when={f"answer_{name}": ABSENT})
        work.rows.update(change)
    except Conflict:  # it answered what it was told before, although that looked as if it failed
        workflow.succeed(token)
        return
    now = _iso(work.clock())
    notice = {
        "type": "candor/erasure-notice/1",
        "request": row["pk"],
        "destination": name,
        "url": url,
        "time": now,
        "mode": row["mode"],
        "identifiers": _people(work, row, name),
        "callback": f"/v1/privacy/callbacks/{row['pk']}.{name}.{_secret(work, row, name)}",
    }
    try:
        send(url, json.dumps(signed(json.dumps(notice, indent=1), signer)).encode())
    except Unavailable as why:
        work.rows.update(Update(key, set={f"asked_{name}": f"it could not be told: {why}"}))
        workflow.fail(token, UNREACHED)
    else:
        told = f"it was told at {now} and has not answered"
        work.rows.update(Update(key, set={f"asked_{name}": told}))


def answer(work: Erasure, workflow: Workflow, callback: str, status: Status) -> tuple[str, str]:
    """Take a destination's answer; the first one counts. Returns the request's id and its name.

    Raises NotFound, which does not tell an id that never was from one that is used or over.
    """
    unknown = NotFound("not_found", "There is nothing with this id.")
    match = CALLBACK.fullmatch(callback)
    if match is None:
        raise unknown
    id_, name, secret = match.groups()
    row = work.rows.get([_key(id_)]).get(_key(id_))
    if row is None or not _open(row) or name not in row["destinations"]:
        raise unknown
    token = row.get(f"token_{name}")
    if not compare_digest(secret, _secret(work, row, name)) or token is None:
        raise unknown
    given = {"status": status, "at": _iso(work.clock())}
    waiting = {f"token_{name}": token}
    try:
        when = waiting | {"salt": PRESENT}
        work.rows.update(Update(_key(id_), once={f"answer_{name}": given}, when=when))
    except Conflict:
        raise unknown from None
    workflow.succeed(token)
    with suppress(Conflict):
        work.rows.update(Update(_key(id_), remove=(f"token_{name}",), when=waiting))
    return id_, name


def unconfirmed(row: Row) -> list[str]:
    """The destinations of a request that have not confirmed."""
    return [name for name in row.get("destinations", ()) if _left(row, name)]


def receipts(row: Row) -> list[Json]:
    """A receipt for each destination of a request."""
    return [_receipt(row, name) for name in row.get("destinations", ())]


def confirmations(row: Row) -> list[Json]:
    """What a certificate says of destinations."""
    return [
        {"destination": name, "identifiers": row[f"known_{name}"], **row.get(f"answer_{name}", {})}
        for name in row.get("destinations", ())
    ]


def forecast(work: Erasure, types: Iterable[str]) -> dict[str, int]:
    """How many identifiers of these types each destination would be told, by its store's name."""
    listed = list(types)
    return {
        _store(name): sum(type_ in one.knows for type_ in listed)
        for name, one in work.policy.destinations.items()
        if "erasure" in one.tell
    }


def _open(row: Row) -> bool:
    """Whether a request has destinations, and has not completed, which ends what it knows."""
    return "destinations" in row and "salt" in row


def _left(row: Row, name: str) -> bool:
    confirmed = row.get(f"answer_{name}", {}).get("status") in CONFIRMING
    return not confirmed and row.get(f"known_{name}") != 0


def _receipt(row: Row, name: str) -> Json:
    found, said = row.get(f"known_{name}", 0), row.get(f"answer_{name}")
    deleted = found if said and said["status"] == "erased" else 0
    left = found if _left(row, name) else 0
    if said:
        because = f"{SAID[said['status']]}, at {said['at']}"
    elif row.get(f"known_{name}") == 0:
        because = "it knows people by none of their identifiers"
    else:
        because = row.get(f"asked_{name}", "it was not told yet")
    counts = {"found": found, "deleted": deleted, "left": left}
    return {"store": _store(name), **counts, "because": because}


def _store(name: str) -> str:
    """What a destination is called among the stores."""
    return f"destination:{name}"


def _types(policy: Policy, names: Iterable[str]) -> set[str]:
    there = (policy.destinations.get(name) for name in names)
    return {type_ for one in there if one for type_ in one.knows}


def _people(work: Erasure, row: Row, name: str) -> list[Json]:
    knows = work.policy.destinations[name].knows
    known = sorted(one for one in _held(work, row)["people"].values() if one[0] in knows)
    return [{"type": type_, "value": value} for type_, value in known]


def _held(work: Erasure, row: Row) -> Json:
    held: Json = work.vault().open(row["salt"], row["identities"], _place(row["pk"]))
    return held


def _secret(work: Erasure, row: Row, name: str) -> str:
    """Another one for each destination and each run of a request."""
    about = f"{row['pk']}/{row.get('runs', 0)}/{name}"
    return mac(bytes.fromhex(_held(work, row)["secret"]), about.encode(), sha256).hex()


def _place(id_: str) -> str:
    return f"requests/{id_}/destinations"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _key(id_: str) -> Key:
    return Key("requests", id_)
