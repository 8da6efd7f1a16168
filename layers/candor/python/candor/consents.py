"""Consent records, and the registers that decisions read; both are written in one transaction.

A record is never changed, only followed by another. `binds` says which register it counts in:
`device` for the signals of the identifier it stands under, `profile` for its profile's choices.
"""

import hmac
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from candor import keyring
from candor.consent import UNDENIABLE, Mechanism, fold_choices, fold_signals, signal
from candor.credentials import Trust
from candor.errors import Refused
from candor.identifiers import Identifier
from candor.identity import (
    Claim,
    Evidence,
    Graph,
    claim,
    event_hash,
    insist,
    node_key,
    profile_key,
)
from candor.ports import ABSENT, PRESENT, Conflict, Key, Put, Row, Update
from candor.world import World

DENYING = ("gpc", "objection")
"""Mechanisms by which nobody grants anything."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An explicit choice, made by or for the person of `ids`."""

    ids: tuple[Identifier, ...]
    purposes: Mapping[str, bool]
    at: float
    """Epoch seconds; never in the future."""
    mechanism: Mechanism
    evidence: Mapping[str, Any]
    source: str
    trust: Trust


def record_signals(
    graph: Graph, idkey: str, register: dict[str, list[int]], source: Mapping[str, Any]
) -> None:
    """Fold what a device said into its register, with a record of each change. Raises Conflict."""
    said = graph.nodes[idkey].signals
    folded = fold_signals(said, register)
    changed = {purpose: now for purpose, now in folded.items() if now != said.get(purpose)}
    told = [
        {
            "purpose": purpose,
            "granted": bool(granted),
            "at": minute,
            "source": source["id"],
            "trust": source["trust"],
            "mechanism": "banner",
            "binds": "device",
        }
        for purpose, (minute, granted) in changed.items()
    ]
    if told:
        _write_signals(graph, idkey, folded, [_record(graph, idkey, one) for one in told])


def choose(world: World, choice: Choice) -> None:
    """Record an explicit choice. It binds when this returns.

    A denial binds the profile of every identifier named, whoever sends it. A grant binds the
    person's profile only from a server or verified source, else only the device. Someone erased
    comes back by a grant made after the erasure, and by nothing less; what stays fenced is silently
    not recorded, so that nobody learns from the answer who asked to be forgotten.
    """
    unknown = sorted(set(choice.purposes) - set(world.policy.purposes))
    if unknown:
        named = ", ".join(sorted(world.policy.purposes))
        raise Refused("unknown_purpose", f"The policy's purposes are: {named}.")
    _check_effect(world, choice)
    if not choice.ids:
        raise Refused("no_identifier", "Name the person by `userId` or `anonymousId`.")
    made = claim(choice.ids, choice.trust, world.policy)
    proven = choice.trust != "client"
    granting = any(choice.purposes.values())
    if granting and not proven and world.policy.identifiers[made.device.type].known:
        raise Refused(
            "device_required",
            "From this source a grant counts for a device: send its `anonymousId`.",
        )
    keys = [one.key for one in made.ids]
    pairs = [(made.home.key, key) for key in keys if key != made.home.key]
    graph = Graph(world)
    graph.load(keys, pairs)
    if granting and _register_anew(graph, choice, proven=proven):
        graph.load(keys, pairs)
    if any(choice.at < (graph.keys[key].lifted or 0) for key in keys):
        return  # from before the person registered anew
    try:
        insist(lambda: _resolve(graph, choice, made), lambda: graph.load(keys, pairs))
        _record_all(graph, choice, made, proven=proven)
    except keyring.Fenced:
        return


def _check_effect(world: World, choice: Choice) -> None:
    """Refuse what would be recorded and change nothing, or mean what it does not say."""
    for purpose, granted in sorted(choice.purposes.items()):
        basis = world.policy.purposes[purpose].basis
        if not granted and basis in UNDENIABLE:
            text = f"`{purpose}` rests on {basis}, and no choice ends it. Nothing was recorded."
            raise Refused("not_a_choice", text)
        if granted and choice.mechanism in DENYING:
            text = f"`{choice.mechanism}` only ever denies. Nothing was recorded."
            raise Refused("grant_by_denial", text)


def _resolve(graph: Graph, choice: Choice, made: Claim) -> None:
    """A choice that names two identifiers links them, as an event does."""
    told = json.dumps([choice.at, choice.mechanism, sorted(choice.purposes.items())])
    rule, at = "consent_names_both", int(choice.at)
    evidence = Evidence(event_hash(told), choice.source, choice.trust, rule, at)
    graph.resolve(made.home, made.ids, evidence)


def _record_all(graph: Graph, choice: Choice, made: Claim, *, proven: bool) -> None:
    denied = {purpose for purpose, granted in choice.purposes.items() if not granted}
    granted = set(choice.purposes) - denied
    for one in made.ids:
        binding = denied | granted if proven and one == made.person else denied
        if binding:
            _bind_profile(graph, one, choice, binding)
    if granted and not (proven and made.person):
        _bind_device(graph, made.device, choice, granted)


def deny_by_gpc(graph: Graph, device: Identifier, at: int, source: Mapping[str, Any]) -> None:
    """Heed Global Privacy Control, which counts from when it was first seen on a device.

    (https://w3c.github.io/gpc/) Later requests say nothing new. Raises Fenced.
    """

    def write() -> None:
        graph.ensure(device)
        node = graph.nodes[device.key]
        if node.gpc is not None or not graph.policy.gpc:
            return
        choice = Choice((device,), purposes, at, "gpc", {}, source["id"], source["trust"])
        _bind_profile(graph, device, choice, set(purposes))
        first = Update(node_key(device.key), once={"gpc": at}, when={"pk": PRESENT})
        node.gpc = graph.rows.update(first)["gpc"]

    purposes = dict.fromkeys(graph.policy.gpc, False)
    insist(write, lambda: graph.load([device.key]))


def records(world: World, idkeys: list[str]) -> Iterator[tuple[str, Row]]:
    """Every consent record of these identifiers, with the identifier it stands under."""
    for idkey in idkeys:
        for row in world.rows.query("graph", f"I#{idkey}", "CONSENT#"):
            yield idkey, row


def carried(graph: Graph, idkey: str, denials: Mapping[str, int], by: str) -> list[Put]:
    """Records of denials (purpose to epoch seconds) that a part of a split profile takes along."""
    told = [
        {
            "purpose": purpose,
            "granted": False,
            "at": at,
            "source": by,
            "trust": "server",
            "mechanism": "split",
            "binds": "profile",
        }
        for purpose, at in sorted(denials.items())
    ]
    return [_record(graph, idkey, one) for one in told]


def _register_anew(graph: Graph, choice: Choice, *, proven: bool) -> bool:
    """Lift the fences that this grant may lift, of erasures that it follows and that are over."""
    lifted = False
    for one in choice.ids:
        state = graph.keys[one.key]
        speaks = proven or not graph.policy.identifiers[one.type].known
        if state.mode == "erase" and speaks and state.since and choice.at > state.since:
            request = Key("requests", state.request or "")
            row = graph.rows.get([request]).get(request)
            if row is None or row["status"] == "completed":
                _lift(graph, one.key, state.since, int(choice.at))
                lifted = True
    return lifted


def _lift(graph: Graph, idkey: str, since: int, at: int) -> None:
    with suppress(Conflict):  # somebody else lifted it, or it was erased again
        keyring.lift(graph.rows, idkey, since, at)


def _bind_profile(graph: Graph, one: Identifier, choice: Choice, purposes: set[str]) -> None:
    at = max(1, int(choice.at))  # 0 means never
    register = {p: [0, at] if choice.purposes[p] else [at, 0] for p in purposes}

    def write() -> None:
        graph.ensure(one)
        profile = graph.profile(one.key)
        if profile is None or profile.state:
            raise keyring.Fenced
        folded = fold_choices(profile.choices, register)
        records = [
            _record(graph, one.key, _told(choice, purpose, "profile"), choice.evidence)
            for purpose in sorted(purposes)
        ]
        graph.rows.commit(
            Update(
                profile_key(profile.id),
                set={"choices": folded, "version": profile.version + 1},
                when={"version": profile.version, "state": ABSENT},
            ),
            *records,
        )
        profile.choices, profile.version = folded, profile.version + 1

    insist(write, lambda: graph.load([one.key]))


def _bind_device(graph: Graph, one: Identifier, choice: Choice, purposes: set[str]) -> None:
    register = {purpose: signal(choice.at, granted=True) for purpose in purposes}

    def write() -> None:
        graph.ensure(one)
        told = [_told(choice, purpose, "device") for purpose in sorted(purposes)]
        records = [_record(graph, one.key, row, choice.evidence) for row in told]
        folded = fold_signals(graph.nodes[one.key].signals, register)
        _write_signals(graph, one.key, folded, records)

    insist(write, lambda: graph.load([one.key]))


def _write_signals(
    graph: Graph, idkey: str, folded: dict[str, list[int]], records: list[Put]
) -> None:
    node = graph.nodes[idkey]
    graph.rows.commit(
        Update(
            node_key(idkey),
            set={"signals": folded, "version": node.version + 1},
            when={"version": node.version},
        ),
        *records,
    )
    node.signals, node.version = folded, node.version + 1


def _told(choice: Choice, purpose: str, binds: str) -> Row:
    return {
        "purpose": purpose,
        "granted": choice.purposes[purpose],
        "at": int(choice.at),
        "source": choice.source,
        "trust": choice.trust,
        "mechanism": choice.mechanism,
        "binds": binds,
    }


def _record(graph: Graph, idkey: str, told: Row, evidence: Mapping[str, Any] = {}) -> Put:
    """One record; the same choice told twice is the same row."""
    content = json.dumps([told, dict(evidence)], sort_keys=True)
    salt = graph.keys[idkey].salt or b""
    # Keyed, so that nobody can guess evidence from its digest once the key is gone.
    digest = hmac.digest(salt, content.encode(), "sha256").hex()[:24]
    due = graph.policy.due(graph.policy.records["consent"], graph.now)
    key = Key("graph", f"I#{idkey}", f"CONSENT#{told['at']:011d}#{digest}")
    row = told | {"received": int(graph.now), "policy": graph.policy.hash, "due": due, "ttl": due}
    if evidence and salt:
        row["evidence"] = graph.world.vault.seal(salt, dict(evidence), f"{key.pk}/{key.sk}")
    return Put(key, row)
