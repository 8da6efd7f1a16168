"""Withdrawal: what was kept only for purposes that were denied since is deleted.

A denial binds reads and storage at once. In the same transaction a mark is left, which `sweep`
takes up: whatever the marked identifiers hold that no purpose allows any more, and that one of its
purposes was denied, goes for good. What was granted again before that stays.
(GDPR Articles 7(3) and 17(1)(b))
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from candor import bundles, keyring
from candor.consent import forbids, verdict
from candor.identity import node_key, profile_key, profile_of, traits_key
from candor.policy import Attribute, Policy
from candor.ports import Conflict, Delete, Key, Row, Update
from candor.world import World

WITHDRAWN = "WITHDRAWN"
Signals = Mapping[str, Mapping[str, list[int]]]
"""What each device said, by its idkey."""


@dataclass(slots=True)
class Deleted:
    """How much went."""

    events: int = 0
    traits: int = 0


def mark_key(idkey: str) -> Key:
    return Key("graph", WITHDRAWN, idkey)


def mark(idkey: str, now: float, *, person: bool) -> Update:
    """That something was denied at an identifier: for its whole person, or for what it holds."""
    told: Row = {"at": int(now)} | ({"person": True} if person else {})
    return Update(mark_key(idkey), set=told, add={"times": 1})


def carry_out(world: World, more: Callable[[], bool]) -> Deleted:
    """Delete for each mark, as long as `more` says that there is time. Safe to repeat, and beside
    what goes on: a mark that was set again meanwhile stays."""
    deleted = Deleted()
    for row in world.rows.query("graph", WITHDRAWN):
        if not more():
            break
        try:
            if _of_mark(world, row, deleted, more):
                done = {"times": row["times"]}
                world.rows.commit(Delete(mark_key(row["sk"]), when=done))
        except Conflict:
            continue  # it is taken up in the next run
    return deleted


def _of_mark(world: World, row: Row, deleted: Deleted, more: Callable[[], bool]) -> bool:
    """Whether all of a mark is done. Raises Conflict where something changed meanwhile."""
    idkey = row["sk"]
    node = world.rows.get([node_key(idkey)]).get(node_key(idkey))
    address = profile_key(node["profile"] if node else "-")
    found = world.rows.get([address]).get(address)
    if node is None or found is None or idkey not in found["members"]:
        return True
    profile = profile_of(node["profile"], found)
    if profile.state or profile.held:
        return profile.state is not None  # an erasure takes all; a hold keeps it, and the mark
    members = list(profile.members) if "person" in row else [idkey]
    rows = world.rows.get(
        [make(one) for one in profile.members for make in (keyring.key_of, node_key)]
    )
    signals = {
        one: rows[node_key(one)]["signals"] for one in profile.members if node_key(one) in rows
    }
    for one in members:
        salt = keyring.state_of(rows.get(keyring.key_of(one))).salt
        if salt and one in signals:
            _traits(world, one, salt, profile.choices, signals, deleted)
            if not _events(world, one, salt, profile.choices, signals, deleted, more):
                return False
    return True


def _withdrawn(
    policy: Policy,
    named: Attribute | None,
    choices: Mapping[str, list[int]],
    said: Mapping[str, list[int]],
) -> bool:
    """Whether something was denied, and no purpose is left that allows to keep it."""
    if named is None:  # the policy names it no more; it ends on its day
        return False
    if any(verdict(policy, purpose, choices, said).allowed for purpose in named.purposes):
        return False
    return any(
        forbids(policy, choices, purpose) or not said.get(purpose, [0, 1])[1]
        for purpose in named.purposes
    )


def _traits(
    world: World,
    idkey: str,
    salt: bytes,
    choices: Mapping[str, list[int]],
    signals: Signals,
    deleted: Deleted,
) -> None:
    key = traits_key(idkey)
    row = world.rows.get([key]).get(key)
    opened = world.vault.open(salt, row["data"], key.pk) if row else None
    if row is None or opened is None:
        return
    kept = {
        name: fact
        for name, fact in opened["traits"].items()
        if not _withdrawn(
            world.policy, world.policy.traits.get(name), choices, signals.get(fact[3] or idkey, {})
        )
    }
    if gone := len(opened["traits"]) - len(kept):
        version = row["version"]
        data = world.vault.seal(salt, opened | {"traits": kept}, key.pk)
        changed = {"data": data, "version": version + 1}
        world.rows.update(Update(key, set=changed, when={"version": version}))
        deleted.traits += gone


def _events(
    world: World,
    idkey: str,
    salt: bytes,
    choices: Mapping[str, list[int]],
    signals: Signals,
    deleted: Deleted,
    more: Callable[[], bool],
) -> bool:
    def keeps(event: Mapping[str, Any]) -> bool:
        named = world.policy.event(event["name"], unnamed=event.get("unnamed", False))
        said = signals.get(event.get("by", idkey), {})
        return not _withdrawn(world.policy, named, choices, said)

    for row in world.rows.query("events", idkey):
        if not more():
            return False
        gone = bundles.thin(world, idkey, salt, row, keeps)
        deleted.events += gone
    return True
