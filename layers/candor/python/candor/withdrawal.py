"""Withdrawal: what was kept only for purposes that were denied since is deleted.

A denial binds reads and storage at once. In the same transaction a mark is left, which `sweep`
takes up: whatever the marked identifiers hold that no purpose allows any more, and that one of its
purposes was denied, goes for good. What was granted again before that stays.
(GDPR Articles 7(3) and 17(1)(b))
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from candor import bundles, keyring, registers, traits
from candor.consent import choose, forbids, is_restricted, register_of, verdict
from candor.identity import ERASING, Profile, node_key, profile_key, profile_of, traits_key
from candor.policy import Attribute, Policy
from candor.ports import Conflict, Delete, Key, Row, Update
from candor.world import World

WITHDRAWN = "WITHDRAWN"


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
    if node is None:
        return True
    address = profile_key(node["profile"])
    found = world.rows.get([address]).get(address)
    if found is None or idkey not in found["members"]:
        raise Conflict  # it was merged or split while we looked
    profile = profile_of(node["profile"], found)
    if profile.state == ERASING:
        return True  # an erasure takes all
    if profile.state or profile.held or is_restricted(profile.choices):
        return False  # what keeps it keeps the mark
    keys = [make(one) for one in profile.members for make in (keyring.key_of, node_key)]
    rows = world.rows.get(keys)
    person = "person" in row
    work = _Work(
        world,
        _proven(world, profile, rows) if person else profile.choices,
        {one: rows[node_key(one)]["signals"] for one in profile.members if node_key(one) in rows},
        None if person else idkey,
        deleted,
    )
    for one in profile.members:
        salt = keyring.state_of(rows.get(keyring.key_of(one))).salt
        if salt and one in work.signals:
            _traits(work, one, salt)
            if not _events(work, one, salt, more):
                return False
    return True


@dataclass(slots=True)
class _Work:
    """One mark's: what is looked at, and by what it is judged."""

    world: World
    choices: Mapping[str, list[int]]
    signals: dict[str, Mapping[str, list[int]]]
    """What each device said."""
    only: str | None
    """The device whose data it is about; None for all of the person's."""
    deleted: Deleted

    def keeps(self, named: Attribute | None, device: str) -> bool:
        """Whether something that came through a device, or from a home, is to be kept."""
        if self.only not in (None, device):
            return True
        if device not in self.signals:  # it is of another profile now
            row = self.world.rows.get([node_key(device)]).get(node_key(device))
            self.signals[device] = row["signals"] if row else {}
        return not _withdrawn(self.world.policy, named, self.choices, self.signals[device])


def _proven(world: World, profile: Profile, rows: Mapping[Key, Row]) -> dict[str, list[int]]:
    """What was chosen, but for denials that a public key told of, or may have told of before a
    split: they hide, and deleting cannot be undone. Nor does what counted before an identifier
    ended, of which only the proof is left; or a restriction, which deletes nothing. A grant counts
    though its record has ended."""
    choices = {purpose: [0, granted] for purpose, (_, granted) in profile.choices.items()}
    members = profile.members
    first = {one: rows[node_key(one)]["first"] for one in members if node_key(one) in rows}
    for idkey in first:
        told_here = ((idkey, row) for row in world.rows.query("graph", f"I#{idkey}", "CONSENT#"))
        for _, row in registers.standing(told_here, first):
            told = row["trust"] != "client" and row["mechanism"] not in ("split", "restriction")
            if row["binds"] == "profile" and (row["granted"] or told):
                choose(choices, register_of(row))
    return choices


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


def _traits(work: _Work, idkey: str, salt: bytes) -> None:
    world, key = work.world, traits_key(idkey)
    row = world.rows.get([key]).get(key)
    opened = world.vault.open(salt, row["data"], key.pk) if row else None
    if row is None or opened is None:
        return
    kept = {
        name: fact
        for name, fact in opened["traits"].items()
        if work.keeps(world.policy.traits.get(name), fact[3] or idkey)
    }
    gone = {name: fact for name, fact in opened["traits"].items() if name not in kept}
    if gone:
        until = traits.ends(world.policy, opened)
        change = traits.sealed(world, salt, row, opened | {"traits": kept}, until)
        world.rows.commit(change, *traits.counted(world, "withdrawn_traits", gone))
        work.deleted.traits += len(gone)


def _events(work: _Work, idkey: str, salt: bytes, more: Callable[[], bool]) -> bool:
    def keeps(event: Mapping[str, Any]) -> bool:
        named = work.world.policy.event(event["name"], unnamed=event.get("unnamed", False))
        return work.keeps(named, event.get("by", idkey))

    for row in work.world.rows.query("events", idkey):
        if not more():
            return False
        work.deleted.events += bundles.thin(work.world, idkey, salt, row, keeps)
    return True
