"""Separation: a person takes apart what was joined wrongly, and what many share is with nobody.

Nothing was mixed when profiles were merged, so taking them apart again is one transaction: each
part has what its identifiers brought, and every denial that held for the whole. A separation
outranks all evidence, of before and of later, until a person lifts it; it lasts as long as either
identifier does.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from candor import consents, keyring, registers
from candor.consent import MINOR, RESTRICTED, denies, fold_choices
from candor.errors import Clash, NotFound, Refused
from candor.identifiers import Identifier
from candor.identity import (
    EVERYBODY,
    Evidence,
    Graph,
    Profile,
    counted,
    insist,
    new_profile_id,
    node_key,
    profile_key,
    profile_row,
    traits_key,
)
from candor.policy import Policy
from candor.ports import ABSENT, PRESENT, Conflict, Key, Put, Row, Update, Write
from candor.world import World

QUARANTINE = "QUARANTINE"
SEPARATION = "SEP#"
ROOM = 96
"""Writes that a split may have, of the 100 of a transaction, for the parts that it moves."""


@dataclass(frozen=True, slots=True)
class Split:
    """The members of a profile's two parts. `moves` gets a profile of its own."""

    stays: frozenset[str]
    moves: frozenset[str]


def separation_key(idkey: str, other: str) -> Key:
    return Key("graph", f"I#{idkey}", f"{SEPARATION}{other}")


def quarantine_key(idkey: str) -> Key:
    return Key("graph", QUARANTINE, idkey)


def plan(graph: Graph, one: Identifier, other: Identifier) -> Split | None:
    """How a profile would split if these were separated; None where they are in two already.

    The accepted links are gone through in the order in which they were decided, and one that would
    bring the two together again is left out. What no link holds any more stays with `one`.
    Raises NotFound where either is unknown, erased or fenced, and Conflict: load and try again.
    """
    mine, theirs = _profile(graph, one), _profile(graph, other)
    if mine.id != theirs.id:
        return None
    living = graph.living(mine)
    if not living.keys() >= {one.key, other.key}:
        raise Conflict
    group = {idkey: {idkey} for idkey in living}
    for a, b in _links(graph, living):
        joined = group[a] | group[b]
        if group[a] is not group[b] and not joined >= {one.key, other.key}:
            for idkey in joined:
                group[idkey] = joined
    apart = frozenset(group[other.key])
    rest = frozenset(living) - apart
    return Split(rest, apart) if len(apart) <= len(rest) else Split(apart, rest)


def separate(world: World, one: Identifier, other: Identifier, by: str, reason: str) -> None:
    """Keep two identifiers apart from now on, and split their profile if they share one.

    `by` is who decided, `reason` their own words, which are sealed. Safe to repeat.
    Raises Refused, NotFound, and Unavailable where others keep changing the profile.
    """
    if one == other:
        raise Refused("same_identifier", "These are the same identifier.")
    graph = Graph(world)

    def write() -> None:
        graph.load([one.key, other.key])
        split = plan(graph, one, other)
        mine, theirs = _profile(graph, one), _profile(graph, other)
        if split is None and other.key in mine.apart.get(one.key, ()):
            return
        version = max(mine.version, theirs.version) + 1
        told: Row = {"at": int(graph.now), "by": by, "version": version, "split": split is not None}
        decided = _decision(graph, one, other, told, reason)
        if split:
            apart = {one.key: [other.key], other.key: [one.key]}
            _split(graph, mine, [split.moves], apart, by, decided)
            return
        changes = [(mine, one.key, other.key), (theirs, other.key, one.key)]
        graph.rows.commit(*decided, *(_kept(*change, version) for change in changes))

    insist(write, lambda: None)


def lift(world: World, one: Identifier, other: Identifier, by: str) -> None:
    """Let evidence join two identifiers again. It is joined when it is seen again.

    Raises NotFound, and Clash where they are not separated.
    """
    graph = Graph(world)

    def write() -> None:
        graph.load([one.key, other.key])
        pairs = [(one.key, other.key), (other.key, one.key)]
        profiles = [_profile(graph, one), _profile(graph, other)]
        told = {"lifted": int(graph.now), "lifted_by": by}
        writes: list[Write] = []
        for (idkey, from_), profile in zip(pairs, profiles, strict=True):
            if from_ in profile.apart.get(idkey, ()):
                writes.append(_kept(profile, idkey, from_, profile.version + 1, lifted=True))
        if not writes:
            raise Clash("not_separated", "These identifiers are not separated.")
        found = graph.rows.get([separation_key(*pair) for pair in pairs])
        writes += [Update(key, set=told, when={"sk": PRESENT}) for key in found]
        graph.rows.commit(*writes)

    insist(write, lambda: None)


def quarantine(world: World, one: Identifier, by: str, because: Mapping[str, object]) -> bool:
    """Let an identifier that many share be with nobody: alone, and linked to none from now on.

    Those whom it alone held together part first, as many at a time as a transaction takes, so it
    is safe to repeat. Returns whether it was not so already. `because` holds nothing personal.
    Raises NotFound.
    """
    graph = Graph(world)

    def write() -> bool | None:
        graph.load([one.key])
        profile = _profile(graph, one)
        if EVERYBODY in profile.apart.get(one.key, ()):
            return False
        due = graph.policy.due(graph.policy.records["link"], graph.now)
        row: Row = {"type": one.type, "at": int(graph.now), "by": by, "because": dict(because)}
        row |= {"version": profile.version + 1, "due": due, "ttl": due}
        told = Put(quarantine_key(one.key), row)
        largest, *others = _without(graph, graph.living(profile), one.key)
        some = _some(profile, others)
        if len(some) < len(others):
            _split(graph, profile, some, {}, by, [])
            return None
        if largest:
            kept = {one.key: [EVERYBODY]}
            _split(graph, profile, [*some, frozenset({one.key})], kept, by, [told])
        else:
            graph.rows.commit(told, _kept(profile, one.key, EVERYBODY, profile.version + 1))
        return True

    while (done := insist(write, lambda: None)) is None:
        pass
    return done


def quarantine_shared(graph: Graph, ids: Collection[Identifier]) -> list[Identifier]:
    """Quarantine those of `ids` that the graph's work found to be shared by many."""
    found = []
    for one in ids:
        evidence = graph.shared.pop(one.key, None)
        with suppress(NotFound):  # who is erased meanwhile is gone
            if evidence and quarantine(graph.world, one, "candor", _because(graph, one, evidence)):
                found.append(one)
    return found


def release(world: World, one: Identifier, by: str) -> None:
    """Let a quarantined identifier join others again; what it is counted for begins anew.

    Raises NotFound, and Clash where it is in no quarantine.
    """
    graph = Graph(world)
    told: Row = {"released": int(graph.now), "released_by": by}

    def write() -> None:
        graph.load([one.key])
        profile = _profile(graph, one)
        if EVERYBODY not in profile.apart.get(one.key, ()):
            raise Clash("not_quarantined", "This identifier is in no quarantine.")
        writes: list[Write] = [_kept(profile, one.key, EVERYBODY, profile.version + 1, lifted=True)]
        if met := graph.nodes[one.key].met:
            anew = tuple(counted(met))
            writes.append(Update(node_key(one.key), remove=anew, when={"version": PRESENT}))
        listed = graph.rows.get([quarantine_key(one.key)])
        graph.rows.commit(*writes, *(Update(key, set=told, when={"sk": PRESENT}) for key in listed))

    insist(write, lambda: None)


def quarantined(world: World) -> list[Row]:
    """What is in quarantine, newest first: {"identifier": {"type", "value"}, "at", "by",
    "because"}; the value is None where it is gone."""
    found = []
    for row in world.rows.query("graph", QUARANTINE):
        if "released" in row:
            continue
        place = traits_key(row["sk"])
        rows = world.rows.get([place, keyring.key_of(row["sk"])])
        salt = keyring.state_of(rows.get(keyring.key_of(row["sk"]))).salt
        sealed = rows.get(place)
        opened = world.vault.open(salt, sealed["data"], sealed["pk"]) if sealed else None
        named = {"type": row["type"], "value": opened["value"] if opened else None}
        found.append({"identifier": named, **{n: row[n] for n in ("at", "by", "because")}})
    return sorted(found, key=lambda one: -one["at"])


def _without(graph: Graph, living: Collection[str], shared: str) -> list[frozenset[str]]:
    """What becomes of a profile without one of its identifiers: the largest part first.

    Whom no link holds, because evidence ends before they do, stay with the largest.
    """
    links = [*_links(graph, living)]
    linked = {end for link in links for end in link} - {shared}
    group = {idkey: {idkey} for idkey in linked}
    for a, b in links:
        if shared not in (a, b) and group[a] is not group[b]:
            joined = group[a] | group[b]
            for idkey in joined:
                group[idkey] = joined
    parts = sorted(
        {frozenset(one) for one in group.values()}, key=lambda one: (-len(one), *sorted(one))
    )
    largest, *others = parts or [frozenset()]
    return [largest | (frozenset(living) - linked - {shared}), *others]


def _some(whole: Profile, parts: Collection[frozenset[str]]) -> list[frozenset[str]]:
    """As many of a profile's parts as can be moved at once: each is a profile, its nodes, and a
    record of each denial of the whole, and of who is of age."""
    denials = sum(denies(whole.choices, purpose) for purpose in whole.choices) + 2
    left = ROOM - 2 * denials
    found: list[frozenset[str]] = []
    for part in parts:
        left -= 1 + len(part) + denials
        if left < 0 and found:
            break
        found.append(part)
    return found


def _because(graph: Graph, one: Identifier, evidence: Evidence) -> Row:
    told: Row = {"met": graph.nodes[one.key].met, "source": evidence.source}
    return told | {"event": evidence.event, "trust": evidence.trust, "rule": evidence.rule}


def _profile(graph: Graph, one: Identifier) -> Profile:
    profile = graph.profile(one.key)
    if profile is None or graph.closed(one.key):
        raise NotFound("not_found", "There is no profile with this identifier.")
    return profile


def _links(graph: Graph, members: Collection[str]) -> Iterator[tuple[str, str]]:
    """The accepted links between members, in the order in which they were decided."""
    found = []
    for idkey in members:
        for row in graph.rows.query("graph", f"I#{idkey}", "LINK#"):
            other = row["sk"].removeprefix("LINK#")
            if idkey < other and other in members and "refused" not in row:
                found.append((row.get("version", 0), idkey, other))
    return ((a, b) for _, a, b in sorted(found))


def _decision(
    graph: Graph, one: Identifier, other: Identifier, told: Row, reason: str
) -> list[Write]:
    """Who separated two identifiers, when and why, at both of them."""
    due = graph.policy.due(graph.policy.records["link"], graph.now)
    puts: list[Write] = []
    for a, b in ((one.key, other.key), (other.key, one.key)):
        key, salt = separation_key(a, b), graph.keys[a].salt or b""
        sealed = graph.world.vault.seal(salt, reason, f"{key.pk}/{key.sk}")
        puts.append(Put(key, told | {"reason": sealed, "due": due, "ttl": due}))
    return puts


def _kept(
    profile: Profile, idkey: str, from_: str, version: int, *, lifted: bool = False
) -> Update:
    """A profile's member kept from somebody, or no longer."""
    names = set(profile.apart.get(idkey, ()))
    names = names - {from_} if lifted else names | {from_}
    apart = {**profile.apart, idkey: sorted(names)}
    left = {name: kept for name, kept in apart.items() if kept}
    return Update(
        profile_key(profile.id),
        set={"apart": left, "version": version},
        when={"version": profile.version, "state": ABSENT},
    )


def _split(
    graph: Graph,
    whole: Profile,
    moving: Collection[frozenset[str]],
    apart: Mapping[str, list[str]],
    by: str,
    told: Collection[Write],
) -> None:
    """Make profiles of parts of one, in a transaction. What is not of them stays in it."""
    graph.load(living := graph.living(whole))
    moved = frozenset().union(*moving)
    staying = frozenset(living) - moved
    if not staying:
        raise Conflict  # somebody moved them while we looked
    version = whole.version + 1
    joined = {
        idkey: sorted({*whole.apart.get(idkey, ()), *apart.get(idkey, ())})
        for idkey in {*whole.apart, *apart}
    }
    profiles, writes = [], list(told)
    ids = (new_profile_id(graph.now) for _ in moving)
    for id_, members in ((whole.id, staying), *zip(ids, moving, strict=True)):
        kept = {
            idkey: names
            for idkey, names in joined.items()
            # What is kept of those that are gone stays where it was.
            if idkey in members or (id_ == whole.id and idkey not in moved)
        }
        types = {i: whole.members[i] for i in sorted(members)}
        part = Profile(id_, types, {}, version, apart=kept, hold=whole.hold)
        choices, carried = _choices(graph, whole, part, by)
        profiles.append(replace(part, choices=choices))
        writes += carried
    stays, *parts = profiles
    ends = graph.ends(whole.due)
    writes += [
        Update(
            profile_key(stays.id),
            set=profile_row(stays),
            remove=() if stays.apart else ("apart",),
            when={"version": whole.version, "state": ABSENT},
        ),
        *(Put(profile_key(one.id), profile_row(one) | ends, when={"pk": ABSENT}) for one in parts),
        *(
            Update(
                node_key(idkey),
                set={"profile": part.id},
                add={"version": 1},
                when={"profile": whole.id},
            )
            for part in parts
            for idkey in sorted(part.members)
        ),
    ]
    graph.rows.commit(*writes)


def _choices(
    graph: Graph, whole: Profile, part: Profile, by: str
) -> tuple[dict[str, list[int]], list[Update]]:
    """A part's register: what its own members chose, and what the whole was denied.

    With a record of each denial that is not its own, so that the register follows from records.
    """
    first = {idkey: graph.nodes[idkey].first for idkey in part.members if idkey in graph.nodes}
    found = consents.records(graph.world, list(part.members))
    own = registers.rebuilt(registers.standing(found, first)).choices
    taken = {
        purpose: [denied, 0]
        for purpose, (denied, _) in whole.choices.items()
        if denies(whole.choices, purpose) and own.get(purpose, [0, 0])[0] < denied
    }
    for mark in (MINOR, RESTRICTED):
        if whole.choices.get(mark, [0, 0]) != own.get(mark, [0, 0]):
            taken[mark] = whole.choices[mark]  # or what ended when it was lifted would count again
    holder = _strongest(part, graph.policy)
    return fold_choices(own, taken), consents.carried(graph, holder, taken, by)


def _strongest(profile: Profile, policy: Policy) -> str:
    return min(profile.members, key=lambda i: (policy.identifier(profile.members[i]).priority, i))
