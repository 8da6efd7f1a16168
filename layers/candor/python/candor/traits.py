"""Traits: a fold per identifier, the best fact of each name winning, in one sealed row."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from candor.identity import traits_key
from candor.ports import Update
from candor.world import World


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


def stored(fact: Fact) -> list[Any]:
    return [fact.value, fact.at, fact.source, fact.by, fact.proven]


def fold(*registers: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Registers are name to `stored` facts. What was proven wins over what a public key said, then
    the latest; a tie is settled by content."""
    folded: dict[str, list[Any]] = {}
    for register in registers:
        for name, fact in register.items():
            if name not in folded or _rank(fact) > _rank(folded[name]):
                folded[name] = fact
    return folded


def write(world: World, home: str, salt: bytes, facts: Iterable[Fact]) -> None:
    """Fold facts into an identifier's row. Writes only a change. Raises Conflict: try again."""
    key = traits_key(home)
    row = world.rows.get([key]).get(key)
    opened = world.vault.open(salt, row["data"], key.pk) if row else None
    if row is None or opened is None:
        return  # erased meanwhile: there is no node to hold them
    folded = fold(opened["traits"], *({fact.name: stored(fact)} for fact in facts))
    if json.dumps(folded) == json.dumps(opened["traits"]):  # for Python, True equals 1
        return
    data = world.vault.seal(salt, opened | {"traits": folded}, key.pk)
    version = row["version"]
    world.rows.update(
        Update(key, set={"data": data, "version": version + 1}, when={"version": version})
    )


def _rank(fact: list[Any]) -> tuple[bool, int, str]:
    return fact[4], fact[1], json.dumps(fact, sort_keys=True)
