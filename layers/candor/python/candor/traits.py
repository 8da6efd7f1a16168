"""Traits: a fold per identifier, the best fact of each name winning, in one sealed row."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from candor.errors import NotFound, Refused
from candor.identifiers import Identifier
from candor.identity import Graph, insist, traits_key
from candor.policy import Policy
from candor.ports import Row, Update
from candor.world import World

MOST_TRAIT_BYTES = 4_096
"""Of a value as JSON: all of an identifier's traits are one row."""


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


def fold(policy: Policy, *registers: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Registers are name to `stored` facts. What was proven wins over what a public key said, then
    the latest, then the kind of source that the policy trusts more; a tie is settled by content."""
    folded: dict[str, list[Any]] = {}
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
            _write(world, home, salts[home], row, of_home)


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


def _write(world: World, home: str, salt: bytes, row: Row, facts: Iterable[Fact]) -> None:
    key = traits_key(home)
    opened = world.vault.open(salt, row["data"], key.pk)
    if opened is None:
        return  # erased meanwhile: there is no node to hold them
    said = ({fact.name: stored(fact)} for fact in facts)
    folded = fold(world.policy, opened["traits"], *said)
    if json.dumps(folded) == json.dumps(opened["traits"]):  # for Python, True equals 1
        return
    data = world.vault.seal(salt, opened | {"traits": folded}, key.pk)
    version = row["version"]
    world.rows.update(
        Update(key, set={"data": data, "version": version + 1}, when={"version": version})
    )


def _rank(policy: Policy, fact: list[Any]) -> tuple[bool, int, int, str]:
    _, at, _, _, proven, kind = fact
    trusted = -policy.source_priority.get(kind, len(policy.source_priority))
    return proven, at, trusted, json.dumps(fact, sort_keys=True)
