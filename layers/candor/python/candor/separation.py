"""Separation: a person takes apart what was joined wrongly, and what many share is with nobody.

Nothing was mixed when profiles were merged, so taking them apart again is one transaction: each
part has what its identifiers brought, and every denial that held for the whole. A separation
outranks all evidence, of before and of later, until a person lifts it; it lasts as long as either
identifier does.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from candor import consents, keyring
from candor.consent import denies, fold_choices
from candor.errors import Clash, NotFound, Refused
from candor.identifiers import Identifier
from candor.identity import (
    EVERYBODY,
    Evidence,
    Graph,
    Profile,
    insist,
    new_profile_id,
    node_key,
    profile_key,
    profile_row,
    traits_key,
)
from candor.policy import Policy
from candor.ports import ABSENT, PRESENT, Delete, Key, Put, Row, Update, Write
from candor.world import World

QUARANTINE = "QUARANTINE"


@dataclass(frozen=True, slots=True)
class Split:
    """The members of a profile's two parts. `moves` gets a profile of its own."""

    stays: frozenset[str]
    moves: frozenset[str]


def separation_key(idkey: str, other: str) -> Key:
    return Key("graph", f"I#{idkey}", f"SEP#{other}")


def plan(graph: Graph, one: Identifier, other: Identifier) -> Split | None:
    """How a profile would split if these were separated; None where they are in two already.

    The accepted links are gone through in the order in which they were decided, and one that would
    bring the two together again is left out. What no link holds any more stays with `one`.
    Raises NotFound where either is unknown, erased or fenced.
    """
    mine, theirs = _profile(graph, one), _profile(graph, other)
    if mine.id != theirs.id:
        return None
    living = graph.living(mine)
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
        decided = _decision(graph, one, other, by, reason)
        if split:
            apart = {one.key: [other.key], other.key: [one.key]}
            _split(graph, mine, split, apart, by, decided)
            return
        changes = [_kept(mine, one.key, other.key), _kept(theirs, other.key, one.key)]
        graph.rows.commit(*decided, *changes)

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
                writes.append(_kept(profile, idkey, from_, lifted=True))
        if not writes:
            raise Clash("not_separated", "These identifiers are not separated.")
        found = graph.rows.get([separation_key(*pair) for pair in pairs])
        writes += [Update(key, set=told, when={"sk": PRESENT}) for key in found]
        graph.rows.commit(*writes)

    insist(write, lambda: None)


def quarantine(world: World, one: Identifier, by: str, because: Mapping[str, object]) -> bool:
    """Let an identifier that many share be with nobody: alone, and linked to none from now on.

    Returns whether it was not so already. `because` holds nothing personal. Raises NotFound.
    """
    graph = Graph(world)

    def write() -> bool:
        graph.load([one.key])
        profile = _profile(graph, one)
        if EVERYBODY in profile.apart.get(one.key, ()):
            return False
        due = graph.policy.due(graph.policy.records["link"], graph.now)
        row: Row = {"type": one.type, "at": int(graph.now), "by": by, "because": dict(because)}
        told = Put(Key("graph", QUARANTINE, one.key), row | {"due": due, "ttl": due})
        living = frozenset(graph.living(profile))
        if living > {one.key}:
            split = Split(living - {one.key}, frozenset({one.key}))
            _split(graph, profile, split, {one.key: [EVERYBODY]}, by, [told])
        else:
            graph.rows.commit(told, _kept(profile, one.key, EVERYBODY))
        return True

    return insist(write, lambda: None)


def quarantine_shared(graph: Graph, ids: Collection[Identifier]) -> list[Identifier]:
    """Quarantine those of `ids` that the graph's work found to be shared by many."""
    found = []
    for one in ids:
        evidence = graph.shared.pop(one.key, None)
        # A legal hold is found out again when it is over; who is erased meanwhile is gone.
        with suppress(Clash, NotFound):
            if evidence and quarantine(graph.world, one, "candor", _because(graph, one, evidence)):
                found.append(one)
    return found


def release(world: World, one: Identifier) -> None:
    """Let a quarantined identifier join others again; what it is counted for begins anew.

    Raises NotFound, and Clash where it is in no quarantine.
    """
    graph = Graph(world)

    def write() -> None:
        graph.load([one.key])
        profile = _profile(graph, one)
        if EVERYBODY not in profile.apart.get(one.key, ()):
            raise Clash("not_quarantined", "This identifier is in no quarantine.")
        graph.rows.commit(
            _kept(profile, one.key, EVERYBODY, lifted=True),
            Update(node_key(one.key), set={"refusals": 0}, when={"version": PRESENT}),
            Delete(Key("graph", QUARANTINE, one.key)),
        )

    insist(write, lambda: None)


def quarantined(world: World) -> list[Row]:
    """What is in quarantine, newest first: {"identifier": {"type", "value"}, "at", "by",
    "because"}; the value is None where it is gone."""
    found = []
    for row in world.rows.query("graph", QUARANTINE):
        place = traits_key(row["sk"])
        rows = world.rows.get([place, keyring.key_of(row["sk"])])
        salt = keyring.state_of(rows.get(keyring.key_of(row["sk"]))).salt
        sealed = rows.get(place)
        opened = world.vault.open(salt, sealed["data"], sealed["pk"]) if sealed else None
        named = {"type": row["type"], "value": opened["value"] if opened else None}
        found.append({"identifier": named, **{n: row[n] for n in ("at", "by", "because")}})
    return sorted(found, key=lambda one: -one["at"])


def _because(graph: Graph, one: Identifier, evidence: Evidence) -> Row:
    node = graph.nodes[one.key]
    told = {"refusals": node.refusals, "source": evidence.source, "event": evidence.event}
    return told | {"trust": evidence.trust, "rule": evidence.rule}


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
    graph: Graph, one: Identifier, other: Identifier, by: str, reason: str
) -> list[Write]:
    """Who separated two identifiers, when and why, at both of them."""
    due = graph.policy.due(graph.policy.records["link"], graph.now)
    puts: list[Write] = []
    for a, b in ((one.key, other.key), (other.key, one.key)):
        key, salt = separation_key(a, b), graph.keys[a].salt or b""
        sealed = graph.world.vault.seal(salt, reason, f"{key.pk}/{key.sk}")
        row: Row = {"at": int(graph.now), "by": by, "reason": sealed, "due": due, "ttl": due}
        puts.append(Put(key, row))
    return puts


def _kept(profile: Profile, idkey: str, from_: str, *, lifted: bool = False) -> Update:
    """A profile's member kept from somebody, or no longer."""
    names = set(profile.apart.get(idkey, ()))
    names = names - {from_} if lifted else names | {from_}
    apart = {**profile.apart, idkey: sorted(names)}
    left = {name: kept for name, kept in apart.items() if kept}
    return Update(
        profile_key(profile.id),
        set={"apart": left, "version": profile.version + 1},
        when={"version": profile.version, "state": ABSENT},
    )


def _split(
    graph: Graph,
    whole: Profile,
    split: Split,
    apart: Mapping[str, list[str]],
    by: str,
    told: Collection[Write],
) -> None:
    """Make two profiles of one. At most half of its members move, so that it is a transaction."""
    if whole.held:
        raise Clash("held", "This person's data is under a legal hold.")
    graph.load([*split.stays, *split.moves])
    version = whole.version + 1
    joined = {
        idkey: sorted({*whole.apart.get(idkey, ()), *apart.get(idkey, ())})
        for idkey in {*whole.apart, *apart}
    }
    profiles, writes = [], list(told)
    for id_, members in ((whole.id, split.stays), (new_profile_id(graph.now), split.moves)):
        kept = {
            idkey: names
            for idkey, names in joined.items()
            # What is kept of those that are gone stays where it was.
            if idkey in members or (id_ == whole.id and idkey not in split.moves)
        }
        part = Profile(id_, {i: whole.members[i] for i in sorted(members)}, {}, version, apart=kept)
        choices, carried = _choices(graph, whole, part, by)
        profiles.append(replace(part, choices=choices))
        writes += carried
    stays, moves = profiles
    ends = graph.ends()
    writes += [
        Update(
            profile_key(stays.id),
            set=profile_row(stays),
            remove=() if stays.apart else ("apart",),
            when={"version": whole.version, "state": ABSENT, "hold": ABSENT},
        ),
        Put(profile_key(moves.id), profile_row(moves) | ends, when={"pk": ABSENT}),
        *(
            Update(
                node_key(idkey),
                set={"profile": moves.id},
                add={"version": 1},
                when={"profile": whole.id},
            )
            for idkey in sorted(moves.members)
        ),
    ]
    graph.rows.commit(*writes)


def _choices(
    graph: Graph, whole: Profile, part: Profile, by: str
) -> tuple[dict[str, list[int]], list[Put]]:
    """A part's register: what its own members chose, and what the whole was denied.

    With a record of each denial that is not its own, so that the register follows from records.
    """
    own = fold_choices(
        *(
            {row["purpose"]: [0, row["at"]] if row["granted"] else [row["at"], 0]}
            for _, row in consents.records(graph.world, list(part.members))
            if row["binds"] == "profile"
        )
    )
    denials = {
        purpose: denied
        for purpose, (denied, _) in whole.choices.items()
        if denies(whole.choices, purpose) and own.get(purpose, [0, 0])[0] < denied
    }
    choices = fold_choices(own, {purpose: [at, 0] for purpose, at in denials.items()})
    holder = _strongest(part, graph.policy)
    return choices, consents.carried(graph, holder, denials, by)


def _strongest(profile: Profile, policy: Policy) -> str:
    return min(profile.members, key=lambda i: (policy.identifier(profile.members[i]).priority, i))
