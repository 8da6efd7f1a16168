"""Traits: a fold per identifier, the best fact of each name winning, in one sealed row.

Each ends by itself, on the day that the policy gave it when it was said. The earliest of these days
stands beside the seal (`next`), so that `sweep` opens no row in which nothing has ended.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from candor import outcomes
from candor.errors import NotFound, Refused
from candor.identifiers import Identifier
from candor.identity import Graph, insist, traits_key
from candor.policy import Policy
from candor.ports import Row, Update
from candor.world import World

MOST_TRAIT_BYTES = 4_096
"""Of a value as JSON: all of an identifier's traits are one row."""
NEVER = 10**11
"""Epoch seconds, for what ends with its identifier and not before."""
Facts = dict[str, list[Any]]
"""Names to `stored` facts."""


class Fact(NamedTuple):
    """One thing that was said of a person."""

    name: str
    value: Any
    at: int
    """Epoch milliseconds."""
    source: str
    by: str | None
    """The device it came through, whose consent it rests on, where that is not its home."""
    proven: bool
    """Whether its source may speak for people: a public key may not."""
    kind: str
    """Of its source."""


def stored(fact: Fact) -> list[Any]:
    return list(fact[1:])


def fold(policy: Policy, *registers: Facts) -> Facts:
    """Registers are name to `stored` facts. What was proven wins over what a public key said, then
    the latest, then the kind of source that the policy trusts more; a tie is settled by content."""
    folded: Facts = {}
    for register in registers:
        for name, fact in register.items():
            if name not in folded or _rank(policy, fact) > _rank(policy, folded[name]):
                folded[name] = fact
    return folded


def write(world: World, salts: Mapping[str, bytes], facts: Mapping[str, Iterable[Fact]]) -> None:
    """Fold facts into their identifiers' rows. Writes only a change. Raises Conflict: try again."""
    rows = world.rows.get([traits_key(home) for home in facts])
    for home, of_home in facts.items():
        if row := rows.get(traits_key(home)):
            _write(world, salts[home], row, of_home)


def rectify(world: World, one: Identifier, said: Mapping[str, Any], by: str) -> None:
    """Correct traits of an identifier's person, on staff's word. Raises NotFound, and Refused for a
    name that the policy does not keep."""
    if unknown := sorted(set(said) - world.policy.traits.keys()):
        raise Refused("unknown_trait", f"The policy keeps none of {len(unknown)} of these names.")
    graph = Graph(world)
    now = int(world.clock() * 1000)
    facts = [
        Fact(name, value, now, by, None, proven=True, kind="staff") for name, value in said.items()
    ]

    def work() -> None:
        graph.load([one.key])
        salt = graph.keys[one.key].salt
        if graph.profile(one.key) is None or graph.closed(one.key) or salt is None:
            raise NotFound("not_found", "There is no profile with this identifier.")
        write(world, {one.key: salt}, {one.key: facts})

    insist(work, lambda: None)


def ends(policy: Policy, opened: Mapping[str, Any]) -> dict[str, int]:
    """When each trait of an opened row ends, epoch seconds: the day that was written with it.

    One without such a day ends by today's policy, or with its identifier where that names it not.
    """
    told: dict[str, int] = dict(opened.get("ends", {}))
    for name, fact in opened["traits"].items():
        if name not in told and (end := ends_by(policy, name, fact)) is not None:
            told[name] = end
    return told


def ends_at_read(policy: Policy, opened: Mapping[str, Any]) -> dict[str, int]:
    """The same as it is read: sooner where today's policy says so, and never later."""
    told = ends(policy, opened)
    for name, fact in opened["traits"].items():
        if (now := ends_by(policy, name, fact)) is not None:
            told[name] = min(told[name], now)
    return told


def ends_by(policy: Policy, name: str, fact: list[Any]) -> int | None:
    """When today's policy lets a fact end; None where it does not name it, or its class."""
    attribute = policy.traits.get(name)
    days = policy.retention.get(attribute.retention) if attribute else None
    return None if days is None else policy.due(days, fact[1] / 1000)


def living(facts: Facts, ends: Mapping[str, int], now: float) -> Facts:
    return {name: fact for name, fact in facts.items() if ends.get(name, now + 1) > now}


def sealed(
    world: World, salt: bytes, row: Row, opened: Mapping[str, Any], ends: Mapping[str, int]
) -> Update:
    """The change of a row to these traits, of which those in `ends` end then. Commits only while
    the row is what was read."""
    place, version = traits_key(row["pk"][2:]), row["version"]
    kept = {name: ends[name] for name in opened["traits"] if name in ends}
    data = world.vault.seal(salt, {**opened, "ends": kept}, place.pk)
    change: Row = {"data": data, "version": version + 1, "n": len(opened["traits"])}
    change["next"] = min(kept.values(), default=NEVER)
    return Update(place, set=change, when={"version": version})


def end(world: World, salt: bytes, row: Row) -> int:
    """Take out of a row what has ended, and count it; how many traits went. Raises Conflict."""
    opened, now = world.vault.open(salt, row["data"], row["pk"]), world.clock()
    if opened is None:
        return 0
    until = ends(world.policy, opened)
    kept = living(opened["traits"], until, now)
    gone = {name: fact for name, fact in opened["traits"].items() if name not in kept}
    change = sealed(world, salt, row, opened | {"traits": kept}, until)
    world.rows.commit(change, *counted(world, "expired_traits", gone))
    return len(gone)


def counted(world: World, outcome: str, gone: Facts) -> list[Update]:
    """The counts of traits that go, by their sources and classes."""
    by_source: dict[str, Counter[str]] = {}
    for name, fact in gone.items():
        attribute = world.policy.traits.get(name)
        class_ = attribute.retention if attribute else "unknown"
        by_source.setdefault(fact[2], Counter())[f"{outcome}:{class_}"] += 1
    now = world.clock()
    return [outcomes.adding(source, now, counts) for source, counts in sorted(by_source.items())]


def _write(world: World, salt: bytes, row: Row, facts: Iterable[Fact]) -> None:
    opened, now = world.vault.open(salt, row["data"], row["pk"]), world.clock()
    if opened is None:
        return  # erased meanwhile: there is no node to hold them
    until = ends(world.policy, opened)
    before = living(opened["traits"], until, now)
    said = ({fact.name: stored(fact)} for fact in facts)
    folded = fold(world.policy, before, *said)
    if json.dumps(folded) == json.dumps(before):  # for Python, True equals 1
        return
    new = {n: f for n, f in folded.items() if json.dumps(f) != json.dumps(before.get(n))}
    until |= _ends_of(world.policy, new)
    # What has ended is the sweep's to remove, which spares who is held.
    kept = {**opened["traits"], **folded}
    world.rows.update(sealed(world, salt, row, opened | {"traits": kept}, until))


def _ends_of(policy: Policy, facts: Facts) -> dict[str, int]:
    found = {name: ends_by(policy, name, fact) for name, fact in facts.items()}
    return {name: end for name, end in found.items() if end is not None}


def _rank(policy: Policy, fact: list[Any]) -> tuple[bool, int, int, str]:
    _, at, _, _, proven, kind = fact
    trusted = -policy.source_priority.get(kind, len(policy.source_priority))
    return proven, at, trusted, json.dumps(fact, sort_keys=True)
