"""The identity graph: nodes, profiles and links, and the one transaction that merges profiles.

A node always names an active profile that lists it; there are no chains. Everything is read before
it is written under a condition on what was read; a Conflict means: load again and decide again.
"""

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeVar

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
    When,
    Write,
)
from candor.world import World

TRIES = 8
T = TypeVar("T")
SWEEP_SECONDS = 2 * DAY
"""How much later than `due` DynamoDB may end a node: sweep comes first and tells its profile."""
MOST_MEMBERS = 90
"""Identifiers a profile may hold, so that a merge is one DynamoDB transaction of at most 100."""
EVERYBODY = "*"
"""Whom a quarantined identifier is apart from."""
SEPARATED, QUARANTINED = "separated", "quarantined"
"""The rules that keep apart what limits would let join."""
HIDDEN, ERASING = "hidden", "erasing"
"""The states of a profile that is closed by a privacy request: it may come back, or may not."""
MET = "met_"
"""Before a type, the attribute of a node that counts how many of them it met."""


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
    gpc: int | None = None
    """When Global Privacy Control was first seen here, epoch seconds."""
    met: dict[str, int] = field(default_factory=dict)
    """By type: how many a link to this one brought together with it or, refused, did not, as far
    as they speak for its being shared."""


@dataclass(slots=True)
class Profile:
    id: str
    members: dict[str, str]
    """idkey to type."""
    choices: dict[str, list[int]]
    version: int
    state: str | None = None
    """None is active; else HIDDEN or ERASING, and nothing is accepted."""
    request: str | None = None
    apart: dict[str, list[str]] = field(default_factory=dict)
    """Separations: idkey to those that it is never to be with, or EVERYBODY."""
    hold: dict[str, int] = field(default_factory=dict)
    """The legal holds that it is under: their ids, with until when, epoch seconds."""
    due: int = 0
    """When its row ends, epoch seconds: not before any of its members."""

    @property
    def held(self) -> bool:
        return bool(self.hold)


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
        self.evidence: dict[tuple[str, str], Row] = {}
        """The LINKs of pairs as they lie there, ended ones too."""
        self.shared: dict[str, Evidence] = {}
        """Identifiers that were found to be shared by many, with the last of the evidence."""

    def load(self, idkeys: Collection[str], pairs: Collection[tuple[str, str]] = ()) -> None:
        """Read (again) the keys and nodes of these identifiers, their profiles, links of pairs.

        Raises Unavailable where others keep moving them.
        """
        for _ in range(TRIES):
            self._read(idkeys, pairs)
            # A profile is read after its nodes, and somebody may have left it in between: who went
            # on with it would join strangers, and not see what was denied.
            idkeys, pairs = [idkey for idkey in self.nodes if self.profile(idkey) is None], ()
            if not idkeys:
                return
        raise Unavailable("profiles change faster than they can be read")

    def _read(self, idkeys: Collection[str], pairs: Collection[tuple[str, str]]) -> None:
        links = [link_key(a, b) for a, b in pairs]
        keys = [make(idkey) for idkey in idkeys for make in (keyring.key_of, node_key)]
        # Conditions see a link that has ended until DynamoDB removes it, so it is read too.
        found = self.rows.get(keys + links, expired=links)
        for idkey in idkeys:
            self.keys[idkey] = keyring.state_of(found.get(keyring.key_of(idkey)))
            self.nodes.pop(idkey, None)
            if row := found.get(node_key(idkey)):
                self.nodes[idkey] = _node(idkey, row)
        for pair in pairs:
            row = found.get(link_key(*pair))
            self.links.pop(pair, None)
            self.evidence.pop(pair, None)
            if row:
                self._know(pair, row)
        profiles = {node.profile for idkey in idkeys if (node := self.nodes.get(idkey))}
        found = self.rows.get([profile_key(id_) for id_ in profiles])
        for id_ in profiles:
            self.profiles.pop(id_, None)
            if row := found.get(profile_key(id_)):
                self.profiles[id_] = profile_of(id_, row)

    def _know(self, pair: tuple[str, str], link: Row) -> None:
        self.evidence[pair] = link
        if link["due"] > self.now:
            self.links[pair] = "refused" not in link

    def closed(self, idkey: str) -> bool:
        """Whether the identifier is fenced, or its profile is being erased."""
        profile = self.profile(idkey)
        return bool(self.keys[idkey].mode or (profile and profile.state))

    def profile(self, idkey: str) -> Profile | None:
        """The profile that an identifier's node names and that lists it."""
        node = self.nodes.get(idkey)
        profile = self.profiles.get(node.profile) if node else None
        return profile if profile and idkey in profile.members else None

    def settled(self, made: Claim) -> bool:
        """Whether all that an event says of who belongs together is known already."""
        home = self.profile(made.home.key)
        return home is not None and all(
            (one == made.home or self.links.get((made.home.key, one.key)))
            and self.profile(one.key) is home
            and not self._is_shared(one.key)
            for one in made.ids
        )

    def resolve(
        self, home: Identifier, others: Iterable[Identifier], evidence: Evidence
    ) -> dict[str, str]:
        """Give the home of an event a node, and link the others to it, strongest first.

        An identifier gets its node and joins a profile in one transaction, so that no crash and no
        erasure in between leaves it to itself. Returns the idkeys that were left out, with the
        rule. Raises Fenced where any of them is kept out, and Conflict: load and try again.
        """
        others = [one for one in others if one != home]
        if any(self.closed(one.key) for one in (home, *others)):
            raise keyring.Fenced
        if home.key not in self.nodes:
            self._place(home, others, evidence)
        left_out = {one.key: self._link(home, one, evidence) for one in others}
        for one in (home, *others):
            if self._is_shared(one.key):
                self.shared[one.key] = evidence
        return {idkey: refused for idkey, refused in left_out.items() if refused}

    def ensure(self, one: Identifier) -> None:
        """Give an identifier a node, in a profile of its own. Raises Fenced and Conflict."""
        if self.closed(one.key):
            raise keyring.Fenced
        if one.key not in self.nodes:
            self._create([one], None, [], None)

    def _place(self, home: Identifier, others: list[Identifier], evidence: Evidence) -> None:
        """A node for the home: in the profile of the strongest other that has one and may take it,
        else in a new profile together with the others that have none."""
        for one in others:
            profile = self.profile(one.key)
            if profile and not self._refusal(_alone(home), profile, evidence.trust):
                self._create([home], profile, [(home, one)], evidence)
                return
        group = [home]
        for one in others:
            refused = self._refusal(_alone(*group), _alone(one), evidence.trust)
            if one.key not in self.nodes and not refused:
                group.append(one)
        self._create(group, None, [(home, one) for one in group[1:]], evidence)

    def _create(
        self,
        group: list[Identifier],
        profile: Profile | None,
        pairs: list[tuple[Identifier, Identifier]],
        evidence: Evidence | None,
    ) -> None:
        """Nodes for a group, in `profile` or a new one, only while none of them has a fence."""
        today = int(self.now // DAY)
        new = profile or Profile(new_profile_id(self.now), {}, {}, 0)
        members = {one.key: one.type for one in group}
        met = self._meetings(pairs, evidence)
        grown = replace(
            new,
            members=new.members | members,
            choices=consent.fold_choices(new.choices, *map(self._objections, members)),
            version=new.version + 1,
        )
        ends = self.ends()
        decided = {"profile": grown.id, "version": grown.version}
        links = [
            put
            for home, one in pairs
            if evidence
            for put in self._links(home, one, evidence, decided)
        ]
        writes: list[Write] = [*links]
        nodes: dict[str, Node] = {}
        for one in group:
            salt = self.keys[one.key].salt or keyring.salt(self.rows, one.key)
            self.keys[one.key] = replace(self.keys[one.key], salt=salt)
            found = bury(self.rows, one.key, self.now)
            if found == "closed":
                raise keyring.Fenced
            if found == "held":
                self._revive(one.key)
                raise Conflict  # it is there again
            place = traits_key(one.key)
            sealed = self.world.vault.seal(salt, {"value": one.value, "traits": {}}, place.pk)
            made = Node(one.key, one.type, new.id, today, today, {}, 1, met=met.pop(one.key, {}))
            nodes[one.key] = made
            writes += [
                Check(keyring.key_of(one.key), when={"salt": salt, "mode": ABSENT}),
                Put(node_key(one.key), _node_row(made) | ends, when={"pk": ABSENT}),
                Put(place, {"data": sealed, "version": 1, "n": 0} | ends),
            ]
        if profile:
            unchanged = {"version": profile.version, "state": ABSENT}
            kept = profile_row(grown) | self.ends(profile.due)
            writes.append(Update(profile_key(new.id), kept, when=unchanged))
        else:
            writes.append(Put(profile_key(new.id), profile_row(grown) | ends, when={"pk": ABSENT}))
        self.rows.commit(*writes, *_counts(met))
        self.profiles[new.id] = grown
        self.nodes |= nodes
        self._remember(met, links)

    def _objections(self, idkey: str) -> consent.Choices:
        """What an identifier's person had denied before an erasure holds for who comes again."""
        return {one: [at, 0] for one, at in self.keys[idkey].objections.items()}

    def _link(self, home: Identifier, one: Identifier, evidence: Evidence) -> str | None:
        """Link an identifier to a home that has a node; returns the rule that refused it, or None.

        Both the link and its refusal are kept as evidence, at both ends.
        """
        a, b = home.key, one.key
        mine, theirs = self.profile(a), self.profile(b)
        if mine is None or (b in self.nodes and theirs is None):
            raise Conflict  # it ended or went while we looked
        together = theirs is not None and mine.id == theirs.id
        if together and self.links.get((a, b)):
            return None
        if together:
            decided = {"profile": mine.id, "version": mine.version + 1}
            later = Update(
                profile_key(mine.id),
                set={"version": mine.version + 1},
                when={"version": mine.version, "state": ABSENT},
            )
            links = self._links(home, one, evidence, decided)
            self.rows.commit(*links, later)
            mine.version += 1
            self._remember({}, links)
            return None
        refused = self._refusal(mine, theirs or _alone(one), evidence.trust)
        if refused:
            if self._prune(mine, theirs):
                raise Conflict
            self._refuse(home, one, evidence, refused)
            return refused
        if theirs is None:
            self._create([one], mine, [(home, one)], evidence)
        else:
            self._merge(mine, theirs, home, one, evidence)
        return None

    def _refuse(self, home: Identifier, one: Identifier, evidence: Evidence, rule: str) -> None:
        """Keep a refusal as evidence, once."""
        pair = home.key, one.key
        if pair in self.links or rule == QUARANTINED:  # which may be met by thousands
            return
        profiles = [found for end in pair if (found := self.profile(end))]
        decided: Row = {"refused": rule, "version": max(found.version for found in profiles)}
        met = self._meetings([(home, one)], evidence, rule)
        links = self._links(home, one, evidence, decided)
        self.rows.commit(*links, *map(_unchanged, profiles), *_counts(met))
        self._remember(met, links)

    def _meetings(
        self,
        pairs: Collection[tuple[Identifier, Identifier]],
        evidence: Evidence | None,
        refused: str = "",
    ) -> dict[str, dict[str, int]]:
        """What links, or the refusal of one, add to whose `met`: once for each two identifiers.

        The word of a public key counts against devices only, or it could silence a person.
        """
        met: dict[str, dict[str, int]] = {}
        for home, one in pairs:
            blamed = self._blamed(home, one, refused)
            if evidence is None or blamed is None or (home.key, one.key) in self.links:
                continue
            if evidence.trust == "client" and self.policy.identifier(blamed.type).known:
                continue
            type_ = one.type if blamed == home else home.type
            counts = met.setdefault(blamed.key, {})
            counts[type_] = counts.get(type_, 0) + 1
        return met

    def _blamed(self, home: Identifier, one: Identifier, refused: str) -> Identifier | None:
        """Of two identifiers, the one that seems to be shared the more of the other there are.

        Where they join it is the weaker, if the other names a person. Where a limit keeps them
        apart it is the one that is not of the type of which there would be too many, else the
        weaker; but it has been there before.
        """
        stronger, weaker = sorted(
            (home, one), key=lambda end: self.policy.identifier(end.type).priority
        )
        if not refused:
            return weaker if self.policy.identifier(stronger.type).known else None
        _, _, type_ = refused.partition("limit:")
        others = [end for end in (home, one) if type_ and end.type != type_]
        blamed = others[0] if len(others) == 1 else weaker
        return blamed if refused != SEPARATED and blamed.key in self.nodes else None

    def _remember(self, met: Mapping[str, Mapping[str, int]], links: Iterable[Put]) -> None:
        """What a transaction wrote."""
        for put in links:
            self._know((put.key.pk[2:], str(put.key.sk)[5:]), put.row)
        for idkey, counts in met.items():
            mine = self.nodes[idkey].met
            mine |= {type_: mine.get(type_, 0) + count for type_, count in counts.items()}

    def _is_shared(self, idkey: str) -> bool:
        """Whether an identifier has met too many to be one person's, and is in no quarantine.

        Of those that are weaker no fewer than a profile may hold, or whoever clears their cookies
        would seem to be many.
        """
        node, profile = self.nodes.get(idkey), self.profile(idkey)
        if node is None or profile is None or not node.met:
            return False
        rule, people = self.policy.identifier(node.type), 0
        for type_, count in node.met.items():
            other = self.policy.identifier(type_)
            if other.priority < rule.priority:
                people += count
            elif count > max(rule.shared_after, other.limit):
                people = count
                break
        return people > rule.shared_after and EVERYBODY not in profile.apart.get(idkey, ())

    def _links(
        self, home: Identifier, one: Identifier, evidence: Evidence, decided: Row
    ) -> list[Put]:
        """A decision and its evidence in both directions, so that erasing either end finds it.

        `decided` says which profile it made, in which version, or why it was refused. Where the two
        were joined before and taken apart since, `earlier` keeps those versions, with who said so.
        """
        due = self.policy.due(self.policy.records["link"], self.now)
        row: Row = asdict(evidence) | decided | {"seen": int(self.now), "due": due, "ttl": due}
        a, b = home.key, one.key
        before = self.evidence.get((a, b))
        if before and self.links.get((a, b)):
            then = [before.get("version", 0), before["trust"]]
            row["earlier"] = [*before.get("earlier", ()), then]
        # What another worker wrote meanwhile is not replaced. One end stands for both, which are
        # written together; but each ends by itself, and the other may be gone already.
        unchanged: When = {"pk": ABSENT}
        if before:
            unchanged = {"version": before.get("version", ABSENT), "due": before["due"]}
        return [Put(link_key(a, b), row, unchanged), Put(link_key(b, a), row)]

    def _refusal(self, one: Profile, other: Profile, trust: Trust) -> str | None:
        return kept_apart(one, other) or joining_refusal(
            one.members, other.members, trust, self.policy
        )

    def _prune(self, *profiles: Profile | None) -> bool:
        """Drop from profiles the members that are theirs no more; whether there were any."""
        pruned = False
        for profile in profiles:
            if profile is None:
                continue
            living = self.living(profile)
            if len(living) < len(profile.members):
                self.rows.update(
                    Update(
                        profile_key(profile.id),
                        set={"members": living, "version": profile.version + 1},
                        when={"version": profile.version, "state": ABSENT},
                    )
                )
                pruned = True
        return pruned

    def living(self, profile: Profile) -> dict[str, str]:
        """The members that have not ended, or that a hold keeps, and whose node still names this
        profile."""
        keys = [node_key(idkey) for idkey in profile.members]
        found = self.rows.get(keys, expired=profile.held)
        return {
            idkey: type_
            for idkey, type_ in profile.members.items()
            if found.get(node_key(idkey), {}).get("profile") == profile.id
        }

    def _merge(
        self,
        mine: Profile,
        theirs: Profile,
        home: Identifier,
        one: Identifier,
        evidence: Evidence,
    ) -> None:
        """Make two profiles one; the smaller id (the older) survives."""
        survivor, loser = sorted((mine, theirs), key=lambda profile: profile.id)
        moving = self.living(loser)
        merged = Profile(
            survivor.id,
            survivor.members | moving,
            consent.fold_choices(survivor.choices, loser.choices),
            # Later than both, so that decisions have the order in which they were made.
            max(survivor.version, loser.version) + 1,
            apart=_both(survivor.apart, loser.apart),
            hold={**survivor.hold, **loser.hold},
            due=max(survivor.due, loser.due),
        )
        decided = {"profile": merged.id, "version": merged.version, "merged": loser.id}
        unchanged = {"state": ABSENT}
        met = self._meetings([(home, one)], evidence)
        links = self._links(home, one, evidence, decided)
        self.rows.commit(
            *links,
            Update(
                profile_key(survivor.id),
                set=profile_row(merged) | self.ends(merged.due),
                when=unchanged | {"version": survivor.version},
            ),
            Delete(profile_key(loser.id), when=unchanged | {"version": loser.version}),
            *(
                Update(
                    node_key(idkey),
                    set={"profile": survivor.id},
                    add={"version": 1} | counted(met.get(idkey, {})),
                    when={"profile": loser.id},
                )
                for idkey in moving
            ),
            *_counts({idkey: counts for idkey, counts in met.items() if idkey not in moving}),
        )
        self._remember(met, links)
        self.profiles[survivor.id] = merged
        self.profiles.pop(loser.id)
        for node in self.nodes.values():
            if node.profile == loser.id:
                node.profile, node.version = survivor.id, node.version + 1

    def ends(self, before: int = 0) -> dict[str, int]:
        """When who is seen now ends; a profile not sooner than `before`, as others of it may have
        a day from a policy that gave them more."""
        due = max(before, self.policy.due(self.policy.records["identifier"], self.now))
        return {"due": due, "ttl": due + SWEEP_SECONDS}

    def _revive(self, idkey: str) -> None:
        """Let an identifier that has ended, and that a legal hold keeps, go on where it is seen."""
        key = node_key(idkey)
        home = profile_key(self.rows.get([key], expired=True)[key]["profile"])
        before = {one: row["due"] for one, row in self.rows.get([home]).items()}
        for one in (home, traits_key(idkey), key):
            ends = self.ends(before.get(one, 0))
            self.rows.update(Update(one, set=ends, when={"version": PRESENT}))

    def seen(self, idkeys: Collection[str]) -> None:
        """Move last-seen, and with it the end of node, traits and profile, at most once a day."""
        today, ends = int(self.now // DAY), self.ends()
        stale = [n for i in idkeys if (n := self.nodes.get(i)) and n.last < today]
        for id_ in {node.profile for node in stale}:
            later = self.ends(self.profiles[id_].due if id_ in self.profiles else 0)
            self.rows.update(Update(profile_key(id_), set=later, when={"version": PRESENT}))
        for node in stale:
            self.rows.update(Update(traits_key(node.idkey), set=ends, when={"version": PRESENT}))
            self.rows.update(
                Update(node_key(node.idkey), set={"last": today} | ends, when={"version": PRESENT})
            )
            node.last = today


def bury(
    rows: Rows, idkey: str, now: float, *also: Write
) -> Literal["alive", "absent", "buried", "closed", "held"]:
    """Remove an identifier that has ended, from its profile too; says what it found.

    DynamoDB's own expiry takes days, and until then an ended node would bar its successor. What a
    request has closed is that request's to remove, and what is under a legal hold stays. `also` is
    written with it. Raises Conflict where something of it
    changed meanwhile.
    """
    key = node_key(idkey)
    row = rows.get([key], expired=True).get(key)
    if row is None:
        return "absent"
    if row["due"] > now:
        return "alive"
    home = profile_key(row["profile"])
    listed = rows.get([home], expired=True).get(home)
    if listed and listed.get("state"):
        return "closed"
    if listed and listed.get("hold"):
        return "held"
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
    rows.commit(*writes, *also)
    return "buried"


def insist(work: Callable[[], T], again: Callable[[], None]) -> T:
    """`work` until it meets no Conflict, with `again` (load what it decides on) before each try."""
    for _ in range(TRIES):
        try:
            return work()
        except Conflict:
            again()
    raise Unavailable("too many writers at the same rows")


def kept_apart(one: Profile, other: Profile) -> str | None:
    """QUARANTINED or SEPARATED where a member of one is never to be with a member of the other."""
    kept = [
        (idkey, theirs)
        for mine, theirs in ((one, other), (other, one))
        for member in mine.members
        for idkey in mine.apart.get(member, ())
    ]
    # Whichever of them is asked, and of whomever else they were separated.
    if any(idkey == EVERYBODY for idkey, _ in kept):
        return QUARANTINED
    return SEPARATED if any(idkey in theirs.members for idkey, theirs in kept) else None


def joining_refusal(
    one: Mapping[str, str], other: Mapping[str, str], trust: Trust, policy: Policy
) -> str | None:
    """The rule that forbids one profile of the members of two, or None; of limits that of the
    strongest type."""
    rule = policy.identifier
    known = [any(rule(type_).known for type_ in side.values()) for side in (one, other)]
    if trust == "client" and all(known):
        return "client_may_not_join_known_users"
    types = [*one.values(), *other.values()]
    if len(types) > MOST_MEMBERS:
        return "limit:profile"
    for type_ in sorted(set(types), key=lambda type_: rule(type_).priority):
        if types.count(type_) > rule(type_).limit:
            return f"limit:{type_}"
    return None


def event_hash(message_id: str) -> str:
    """How evidence names an event: messageIds are the client's and may say anything."""
    return hashlib.sha256(message_id.encode(errors="surrogatepass")).hexdigest()[:24]


def profile_of(id_: str, row: Row) -> Profile:
    return Profile(
        id_,
        row["members"],
        row["choices"],
        row["version"],
        row.get("state"),
        row.get("request"),
        row.get("apart", {}),
        row.get("hold", {}),
        row.get("due", 0),
    )


def _alone(*group: Identifier) -> Profile:
    """What identifiers without a profile are to who asks whether they may join one."""
    return Profile("", {one.key: one.type for one in group}, {}, 0)


def _unchanged(profile: Profile) -> Check:
    return Check(profile_key(profile.id), when={"version": profile.version, "state": ABSENT})


def _both(one: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {idkey: sorted({*one.get(idkey, ()), *other.get(idkey, ())}) for idkey in {*one, *other}}


def _node(idkey: str, row: Row) -> Node:
    return Node(
        idkey,
        row["type"],
        row["profile"],
        row["first"],
        row["last"],
        row["signals"],
        row["version"],
        row.get("gpc"),
        {name.removeprefix(MET): row[name] for name in row if name.startswith(MET)},
    )


def _node_row(node: Node) -> dict[str, Any]:
    return {
        "type": node.type,
        "profile": node.profile,
        "first": node.first,
        "last": node.last,
        "signals": node.signals,
        "version": node.version,
    } | counted(node.met)


def counted(met: Mapping[str, int]) -> dict[str, int]:
    """A node's `met` as attributes of its row."""
    return {f"{MET}{type_}": count for type_, count in met.items()}


def _counts(met: Mapping[str, Mapping[str, int]]) -> list[Update]:
    return [
        Update(node_key(idkey), add=counted(counts), when={"version": PRESENT})
        for idkey, counts in met.items()
    ]


def profile_row(profile: Profile) -> dict[str, Any]:
    row = {"members": profile.members, "choices": profile.choices, "version": profile.version}
    more = {"apart": profile.apart, "hold": profile.hold}
    return row | {name: value for name, value in more.items() if value}


def new_profile_id(now: float) -> str:
    """Ids sort by time: 12 hex digits of milliseconds, then chance."""
    return f"{int(now * 1000):012x}{secrets.token_hex(6)}"
