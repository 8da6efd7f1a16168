"""The identity graph: nodes, profiles and links, and the one transaction that merges profiles.

A node always names an active profile that lists it; there are no chains. Everything is read before
it is written under a condition on what was read; a Conflict means: load again and decide again.
"""

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from candor import consent, keyring
from candor.credentials import Trust
from candor.identifiers import Identifier
from candor.policy import DAY, Policy
from candor.ports import (
    ABSENT,
    PRESENT,
    Check,
    Conflict,
    Delete,
    Key,
    Put,
    Row,
    Rows,
    Unavailable,
    Update,
    Write,
)
from candor.world import World

TRIES = 8
T = TypeVar("T")
MOST_MEMBERS = 90
"""Identifiers a profile may hold, so that a merge is one DynamoDB transaction of at most 100."""


def node_key(idkey: str) -> Key:
    return Key("graph", f"I#{idkey}", "NODE")


def traits_key(idkey: str) -> Key:
    return Key("graph", f"I#{idkey}", "TRAITS")


def link_key(idkey: str, other: str) -> Key:
    return Key("graph", f"I#{idkey}", f"LINK#{other}")


def profile_key(profile: str) -> Key:
    return Key("graph", f"P#{profile}", "PROFILE")


@dataclass(slots=True)
class Node:
    idkey: str
    type: str
    profile: str
    first: int
    last: int
    """Days since the epoch."""
    signals: dict[str, list[int]]
    version: int


@dataclass(slots=True)
class Profile:
    id: str
    members: dict[str, str]
    """idkey to type."""
    choices: dict[str, list[int]]
    version: int
    state: str | None = None
    """None is active; `erasing` accepts nothing."""
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why two identifiers are held to be one person's."""

    event: str
    """A hash of the event's messageId."""
    source: str
    trust: Trust
    rule: str
    at: int
    """Epoch seconds."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The identifiers of one event and what its source may say with them.

    `home` is where the event and its traits are stored; `device` whose consent signal it carries.
    """

    ids: tuple[Identifier, ...]
    home: Identifier
    device: Identifier
    person: Identifier | None
    """The strongest known identifier."""


def claim(ids: Iterable[Identifier], trust: Trust, policy: Policy) -> Claim:
    """Decided from the event alone. An unproven client speaks for its device only."""
    ranked = tuple(sorted(ids, key=lambda one: policy.identifiers[one.type].priority))
    devices = [one for one in ranked if not policy.identifiers[one.type].known]
    known = [one for one in ranked if policy.identifiers[one.type].known]
    home = devices[0] if trust == "client" and devices else ranked[0]
    device = devices[0] if devices else home
    return Claim(ranked, home, device, known[0] if known else None)


class Graph:
    """The part of the graph that one piece of work reads and changes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows = world.rows
        self.policy = world.policy
        self.now = world.clock()
        self.keys: dict[str, keyring.KeyState] = {}
        self.nodes: dict[str, Node] = {}
        self.profiles: dict[str, Profile] = {}
        self.links: dict[tuple[str, str], bool] = {}
        """Pairs that have a LINK, and whether it is an accepted one."""

    def load(self, idkeys: Collection[str], pairs: Collection[tuple[str, str]] = ()) -> None:
        """Read (again) the keys and nodes of these identifiers, their profiles, links of pairs."""
        found = self.rows.get(
            [
                *(keyring.key_of(idkey) for idkey in idkeys),
                *(node_key(idkey) for idkey in idkeys),
                *(link_key(a, b) for a, b in pairs),
            ]
        )
        for idkey in idkeys:
            self.keys[idkey] = keyring.state_of(found.get(keyring.key_of(idkey)))
            self.nodes.pop(idkey, None)
            if row := found.get(node_key(idkey)):
                self.nodes[idkey] = _node(idkey, row)
        for pair in pairs:
            row = found.get(link_key(*pair))
            self.links.pop(pair, None)
            if row:
                self.links[pair] = "refused" not in row
        profiles = {node.profile for idkey in idkeys if (node := self.nodes.get(idkey))}
        found = self.rows.get([profile_key(id_) for id_ in profiles])
        for id_ in profiles:
            self.profiles.pop(id_, None)
            if row := found.get(profile_key(id_)):
                self.profiles[id_] = profile_of(id_, row)

    def ensure(self, one: Identifier) -> bytes | None:
        """The salt of an identifier, which has a node from now on; None where it is fenced.

        Raises Conflict where another made the node first: load and try again.
        """
        state = self.keys[one.key]
        try:
            salt = state.salt or keyring.salt(self.rows, one.key)
        except keyring.Fenced:
            return None
        self.keys[one.key] = keyring.KeyState(salt, since=state.since)
        if one.key not in self.nodes:
            bury(self.rows, one.key, self.now)
            self._create(one, salt)
        return salt

    def profile(self, idkey: str) -> Profile | None:
        node = self.nodes.get(idkey)
        return self.profiles.get(node.profile) if node else None

    def _create(self, one: Identifier, salt: bytes) -> None:
        """A node in a profile of its own, only while its key still is `salt` and has no fence."""
        today = int(self.now // DAY)
        due = self.policy.due(self.policy.records["identifier"], self.now)
        node = Node(one.key, one.type, _new_profile_id(self.now), today, today, {}, 1)
        profile = Profile(node.profile, {one.key: one.type}, {}, 1)
        sealed = self.world.vault.seal(
            salt, {"value": one.value, "traits": {}}, traits_key(one.key).pk
        )
        ends = {"due": due, "ttl": due}
        self.rows.commit(
            Check(Key("keys", one.key), when={"salt": salt, "mode": ABSENT}),
            Put(node_key(one.key), _node_row(node) | ends, when={"pk": ABSENT}),
            Put(traits_key(one.key), {"data": sealed, "version": 1} | ends),
            Put(profile_key(profile.id), _profile_row(profile) | ends, when={"pk": ABSENT}),
        )
        self.nodes[one.key], self.profiles[profile.id] = node, profile

    def link(self, a: str, b: str, evidence: Evidence) -> str | None:
        """Link two identifiers that have nodes; returns the rule that refused it, or None.

        Both the link and its refusal are kept as evidence. Raises Conflict: load and try again.
        """
        one, other = self.profile(a), self.profile(b)
        refused = self._refusal(one, other, evidence.trust)
        if self.links.get((a, b)) or (refused and (a, b) in self.links):
            return refused
        due = self.policy.due(self.policy.records["link"], self.now)
        row: Row = {
            "event": evidence.event,
            "source": evidence.source,
            "trust": evidence.trust,
            "rule": evidence.rule,
            "at": evidence.at,
            "due": due,
            "ttl": due,
        }
        if refused or one is None or other is None:
            row["refused"] = refused
            self.rows.put([Put(link_key(a, b), row), Put(link_key(b, a), row)])
        else:
            both = Put(link_key(a, b), row), Put(link_key(b, a), row)
            self.rows.commit(*both, *self._merging(one, other))
        self.links[a, b] = refused is None
        return refused

    def _refusal(self, one: Profile | None, other: Profile | None, trust: Trust) -> str | None:
        """The rule that forbids linking identifiers of these two profiles, or None."""
        if one is None or other is None or one.state or other.state:
            return "profile_not_active"
        if one.id == other.id:
            return None
        return joining_refusal(one.members, other.members, trust, self.policy)

    def _merging(self, one: Profile, other: Profile) -> list[Write]:
        """The writes that make two profiles one; the smaller id (the older) survives."""
        if one.id == other.id:
            return [Check(profile_key(one.id), when={"version": one.version, "state": ABSENT})]
        survivor, loser = sorted((one, other), key=lambda profile: profile.id)
        there = self.rows.get([node_key(idkey) for idkey in loser.members], expired=True)
        moving = [i for i in loser.members if node_key(i) in there]
        merged = Profile(
            survivor.id,
            survivor.members | {idkey: loser.members[idkey] for idkey in moving},
            consent.fold_choices(survivor.choices, loser.choices),
            survivor.version + 1,
        )
        due = self.policy.due(self.policy.records["identifier"], self.now)
        unchanged = {"state": ABSENT}
        writes: list[Write] = [
            Update(
                profile_key(survivor.id),
                set=_profile_row(merged) | {"due": due, "ttl": due},
                when=unchanged | {"version": survivor.version},
            ),
            Delete(profile_key(loser.id), when=unchanged | {"version": loser.version}),
        ]
        writes += [
            Update(
                node_key(idkey),
                set={"profile": survivor.id},
                add={"version": 1},
                when={"profile": loser.id},
            )
            for idkey in moving
        ]
        self.profiles[survivor.id] = merged
        self.profiles.pop(loser.id)
        for idkey in moving:
            if idkey in self.nodes:
                self.nodes[idkey].profile = survivor.id
                self.nodes[idkey].version += 1
        return writes

    def seen(self, idkeys: Collection[str]) -> None:
        """Move last-seen, and with it the end of node, traits and profile, at most once a day."""
        today = int(self.now // DAY)
        due = self.policy.due(self.policy.records["identifier"], self.now)
        stale = [n for i in idkeys if (n := self.nodes.get(i)) and n.last < today]
        ends = {"due": due, "ttl": due}
        for key in {profile_key(node.profile) for node in stale}:
            self.rows.update(Update(key, set=ends, when={"version": PRESENT}))
        for node in stale:
            self.rows.update(Update(traits_key(node.idkey), set=ends, when={"version": PRESENT}))
            self.rows.update(
                Update(node_key(node.idkey), set={"last": today} | ends, when={"version": PRESENT})
            )
            node.last = today


def bury(rows: Rows, idkey: str, now: float) -> bool:
    """Remove an identifier that has ended, from its profile too. False where it has not.

    DynamoDB's own expiry takes days, and until then an ended node would bar its successor.
    Raises Conflict where something of it changed meanwhile.
    """
    key = node_key(idkey)
    row = rows.get([key], expired=True).get(key)
    if row is None or row["due"] > now:
        return False
    home = profile_key(row["profile"])
    listed = rows.get([home], expired=True).get(home)
    writes: list[Write] = [
        Delete(key, when={"version": row["version"]}),
        Delete(traits_key(idkey)),
    ]
    if listed and idkey in listed["members"]:
        unchanged = {"version": listed["version"], "state": ABSENT}
        rest = {other: type_ for other, type_ in listed["members"].items() if other != idkey}
        change = {"members": rest, "version": listed["version"] + 1}
        writes.append(
            Update(home, set=change, when=unchanged) if rest else Delete(home, when=unchanged)
        )
    rows.commit(*writes)
    return True


def insist(work: Callable[[], T], again: Callable[[], None]) -> T:
    """`work` until it meets no Conflict, with `again` (load what it decides on) before each try."""
    for _ in range(TRIES):
        try:
            return work()
        except Conflict:
            again()
    raise Unavailable("too many writers at the same rows")


def joining_refusal(
    one: dict[str, str], other: dict[str, str], trust: Trust, policy: Policy
) -> str | None:
    """The rule that forbids one profile of the members of two, or None."""
    rules = policy.identifiers
    known = [any(rules[type_].known for type_ in side.values()) for side in (one, other)]
    if trust == "client" and all(known):
        return "client_may_not_join_known_users"
    types = [*one.values(), *other.values()]
    if len(types) > MOST_MEMBERS:
        return "limit:profile"
    for type_ in set(types):
        if types.count(type_) > rules[type_].limit:
            return f"limit:{type_}"
    return None


def event_hash(message_id: str) -> str:
    """How evidence names an event: messageIds are the client's and may say anything."""
    return hashlib.sha256(message_id.encode(errors="surrogatepass")).hexdigest()[:24]


def profile_of(id_: str, row: Row) -> Profile:
    return Profile(
        id_, row["members"], row["choices"], row["version"], row.get("state"), row.get("request")
    )


def _node(idkey: str, row: Row) -> Node:
    return Node(
        idkey,
        row["type"],
        row["profile"],
        row["first"],
        row["last"],
        row["signals"],
        row["version"],
    )


def _node_row(node: Node) -> dict[str, Any]:
    return {
        "type": node.type,
        "profile": node.profile,
        "first": node.first,
        "last": node.last,
        "signals": node.signals,
        "version": node.version,
    }


def _profile_row(profile: Profile) -> dict[str, Any]:
    return {"members": profile.members, "choices": profile.choices, "version": profile.version}


def _new_profile_id(now: float) -> str:
    """Ids sort by time: 12 hex digits of milliseconds, then chance."""
    return f"{int(now * 1000):012x}{secrets.token_hex(6)}"
