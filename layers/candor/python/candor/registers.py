"""Consent registers as their records give them, and as they lie in the tables, compared.

Registers are what decisions read, records are what proves them. Each operation writes both in one
transaction, so they agree, with exceptions: a record ends by the policy while its register lives
on, and an identifier leaves a profile when it has not been seen for long. What was denied then
stays denied; what was granted is granted no more once it is rebuilt, because nobody could show it.
And what a device denies again moves its register and leaves no record (`consent.hear_device`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from candor import consents
from candor.consent import (
    MINOR,
    Choices,
    Signals,
    choose,
    fold_choices,
    fold_signals,
    hear,
    register_of,
)
from candor.errors import NotFound
from candor.identifiers import Identifier
from candor.identity import Graph, Profile, insist, node_key, profile_key
from candor.policy import DAY
from candor.ports import ABSENT, Conflict, Row, Update, Write
from candor.world import World

Record = tuple[str, Row]
"""A consent record, with the identifier it stands under."""
Register = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Registers:
    signals: dict[str, Register] = field(default_factory=dict)
    """By identifier."""
    choices: Register = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """One purpose in a register that is not what the records say."""

    idkey: str | None
    """Whose signals; None: the choices of the whole person."""
    purpose: str
    register: list[int] | None
    records: list[int] | None
    becomes: list[int] | None


def standing(found: Iterable[Record], first: Mapping[str, int]) -> Iterator[Record]:
    """The records that count for identifiers which are here since these days.

    Who had not been seen for so long that they ended, and comes again, begins anew. What they said
    before lasts for its own time, as proof. Clocks of two workers may be a midnight apart.
    """
    return (one for one in found if one[1]["received"] // DAY >= first.get(one[0], 0) - 1)


def rebuilt(found: Iterable[Record]) -> Registers:
    """The registers that follow from records, in whatever order they come."""
    registers = Registers()
    for idkey, row in found:
        if row["binds"] == "device":
            said = registers.signals.setdefault(idkey, {})
            hear(said, row["purpose"], row["at"], granted=row["granted"])
        elif row["binds"] == "profile":
            choose(registers.choices, register_of(row))
    return registers


def differences(held: Registers, found: Registers) -> list[Difference]:
    """Where registers are not what records give, and what they are to become: that, and whatever
    they deny. A denial ends by the person's word, not for want of a record."""
    listed = []
    for idkey in sorted({*held.signals, *found.signals}):
        register, records = held.signals.get(idkey, {}), found.signals.get(idkey, {})
        kept = {purpose: said for purpose, said in register.items() if not said[1]}
        listed += _differing(idkey, register, records, fold_signals(records, kept))
    kept = {
        purpose: times if purpose == MINOR else [times[0], 0]
        for purpose, times in held.choices.items()
        if times[0] or purpose == MINOR
    }
    after = fold_choices(found.choices, kept)
    return listed + _differing(None, held.choices, found.choices, after)


def _differing(
    idkey: str | None, register: Signals | Choices, records: Register, after: Register
) -> list[Difference]:
    return [
        Difference(idkey, one, register.get(one), records.get(one), after.get(one))
        for one in sorted({*register, *records})
        if register.get(one) != records.get(one)
        and not (idkey and _said_again(register.get(one), records.get(one)))
    ]


def _said_again(register: list[int] | None, record: list[int] | None) -> bool:
    """Whether a device denies what its records say that it denied before."""
    return bool(register and record and not register[1] and not record[1] and register > record)


def rebuild(world: World, one: Identifier, *, dry_run: bool) -> list[Difference]:
    """Compare the registers of a person with their records, and mend them unless it is a dry run.

    All of it is one transaction on the condition that nobody changed what was compared, so it is
    safe to repeat, and beside others. Raises NotFound, and Unavailable where others keep changing
    it.
    """
    graph = Graph(world)

    def work() -> list[Difference]:
        profile = _whole(graph, one)
        members = [*graph.living(profile)]
        graph.load(members)
        loaded = graph.profiles.get(profile.id)
        if loaded is None or loaded.version != profile.version:
            raise Conflict
        nodes = {idkey: graph.nodes[idkey] for idkey in members if idkey in graph.nodes}
        # Read after the versions: a record that comes in between fails their condition.
        told = consents.records(world, members)
        first = {idkey: node.first for idkey, node in nodes.items()}
        held = Registers({i: node.signals for i, node in nodes.items()}, profile.choices)
        found = differences(held, rebuilt(standing(told, first)))
        if not dry_run:
            _write(graph, profile, held, found)
        return found

    return insist(work, lambda: None)


def _whole(graph: Graph, one: Identifier) -> Profile:
    graph.load([one.key])
    profile = graph.profile(one.key)
    if profile is None or graph.closed(one.key):
        raise NotFound("not_found", "There is no profile with this identifier.")
    return profile


def _write(graph: Graph, profile: Profile, held: Registers, found: list[Difference]) -> None:
    changed = [one for one in found if one.becomes != one.register]
    writes: list[Write] = []
    for idkey in dict.fromkeys(one.idkey for one in changed):
        register = held.choices if idkey is None else held.signals[idkey]
        mine = {one.purpose: one.becomes for one in changed if one.idkey == idkey}
        mended = {
            purpose: said for purpose, said in {**register, **mine}.items() if said is not None
        }
        if idkey is None:
            change: Row = {"choices": mended, "version": profile.version + 1}
            when: Row = {"version": profile.version, "state": ABSENT}
            writes.append(Update(profile_key(profile.id), set=change, when=when))
        else:
            version = graph.nodes[idkey].version
            change = {"signals": mended, "version": version + 1}
            when = {"version": version, "profile": profile.id}
            writes.append(Update(node_key(idkey), set=change, when=when))
    if writes:
        graph.rows.commit(*writes)


def shown(one: Difference, named: Any) -> dict[str, Any]:
    """A difference for people; `named` says how the person's purpose may know an identifier."""
    said = [_said(one, part) for part in (one.register, one.records, one.becomes)]
    told = dict(zip(("register", "records", "becomes"), said, strict=True))
    whose = None if one.idkey is None else named(one.idkey)
    return {"identifier": whose, "purpose": one.purpose, **told, "because": _because(one)}


def _said(one: Difference, part: list[int] | None) -> dict[str, int | None] | None:
    if part is None:
        return None
    if one.idkey is None:
        return {"denied": part[0] or None, "granted": part[1] or None}
    return {"denied": None if part[1] else part[0], "granted": part[0] if part[1] else None}


def _because(one: Difference) -> str:
    if one.becomes == one.register:
        return "No record tells of this denial any more. It stays: only the person can lift it."
    if one.becomes == one.records:
        return "The register becomes what the records say."
    return "The register becomes what the records say, and keeps what it denies."
