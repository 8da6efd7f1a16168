"""The audit log: who did what to whose data, for which purpose. One writer, a chain of blocks.

Each block carries the hash of the one before it, so that a change or a gap anywhere shows, and a
signed checkpoint in a bucket that nobody can overwrite says how far the chain had come. Entries
name people by pseudonyms that only the HMAC secret relates to identifiers.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from candor.policy import Policy
from candor.ports import ABSENT, Key, Objects, Put, Queue, Row, Rows, Signer
from candor.signatures import signed

LOG = "main"
GENESIS = "0" * 64
BATCH = 10
"""Entries the queue delivers at once, as the template says."""
Entry = dict[str, Any]


def tell(
    queue: Queue,
    *,
    at: float,
    actor: str,
    action: str,
    purpose: str | None = None,
    about: Sequence[str] = (),
    request: str | None = None,
) -> None:
    """Send one entry to the log's writer. `about` are pseudonyms. Returns once the queue has it."""
    entry: Entry = {
        "id": secrets.token_hex(12),
        "at": int(at),
        "actor": actor,
        "action": action,
        "purpose": purpose,
        "about": list(about),
        "request": request,
    }
    queue.send(json.dumps(entry), group=LOG, once=entry["id"])


def append(rows: Rows, policy: Policy, entries: Iterable[Entry], now: float) -> int:
    """Write one block of entries that the log does not have yet; returns how many were new.

    What was written but not acknowledged comes again, in order but cut differently; a batch has at
    most BATCH entries, so the newest BATCH blocks hold all that can come twice. Raises Conflict
    where another writer was quicker.
    """
    batch = {entry["id"]: entry for entry in entries}
    newest = list(rows.query("audit", LOG, backward=True, limit=BATCH))
    last = newest[0] if newest else None
    told = [b for b in newest if any(entry["id"] in batch for entry in b["entries"])]
    known = {entry["id"] for block in told for entry in block["entries"]}
    new = [entry for id_, entry in batch.items() if id_ not in known]
    if new:
        seq = int(last["sk"]) + 1 if last else 0
        due = policy.due(policy.records["audit"], now)
        previous = last["hash"] if last else GENESIS
        block = {"previous": previous, "entries": new, "policy": policy.hash, "written": int(now)}
        block |= {"hash": block_hash(seq, block), "due": due, "ttl": due}
        rows.commit(Put(Key("audit", LOG, f"{seq:012d}"), block, when={"sk": ABSENT}))
        told.append(block | {"sk": f"{seq:012d}"})
    for block in told:
        rows.put(_index(block))
    return len(new)


def block_hash(seq: int, block: Row) -> str:
    """SHA-256 over a block's place and content, in canonical JSON."""
    content = {name: block[name] for name in ("previous", "entries", "policy", "written")}
    text = json.dumps([seq, content], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def broken(rows: Rows) -> int | None:
    """The number of the first block that does not follow from the one before it, or None.

    The oldest blocks end by the policy, so the chain starts at the first that still lives.
    """
    expected: int | None = None
    previous = GENESIS
    for row in rows.query("audit", LOG):
        seq = int(row["sk"])
        if expected is None:
            expected, previous = seq, row["previous"] if seq else GENESIS
        if seq != expected or row["previous"] != previous or row["hash"] != block_hash(seq, row):
            return expected
        expected, previous = seq + 1, row["hash"]
    return None


def checkpoint(rows: Rows, objects: Objects, signer: Signer, now: float) -> str | None:
    """Sign the chain's head and keep it; returns the object's name, None while the log is empty."""
    last = head(rows)
    if last is None:
        return None
    told = {"log": LOG, "seq": int(last["sk"]), "hash": last["hash"], "at": int(now)}
    name = f"checkpoints/{last['sk']}.json"
    objects.put(name, json.dumps(signed(json.dumps(told), signer)).encode())
    return name


def head(rows: Rows) -> Row | None:
    """The newest block."""
    return next(rows.query("audit", LOG, backward=True, limit=1), None)


def _index(block: Row) -> list[Put]:
    """Who-saw-me: under each pseudonym, the block that tells of it, and as long as it does."""
    row = {"log": LOG, "due": block["due"], "ttl": block["ttl"]}
    about = {pseudonym for entry in block["entries"] for pseudonym in entry["about"]}
    return [Put(Key("audit", f"A#{pseudonym}", block["sk"]), row) for pseudonym in sorted(about)]
