"""Consent records, and the registers that decisions read; both are written in one transaction.

A record is never changed, only followed by another. `binds` says which register it counts in:
`device` for the signals of the identifier it stands under, `profile` for its profile's choices.
"""

import hmac
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from candor import keyring, withdrawal
from candor.consent import (
    MINOR,
    RESTRICTED,
    UNDENIABLE,
    Mechanism,
    fold_choices,
    fold_signals,
    hear_device,
    register_of,
    signal,
)
from candor.credentials import Trust
from candor.errors import NotFound, Refused
from candor.identifiers import Identifier
from candor.identity import (
    HIDDEN,
    Claim,
    Evidence,
    Graph,
    claim,
    event_hash,
    insist,
    node_key,
    profile_key,
)
from candor.policy import Policy
from candor.ports import ABSENT, PRESENT, Conflict, Key, Row, Update
from candor.world import World

Note = dict[str, Any]
"""What of a choice does not count: code, purposes, message."""
DENYING = ("gpc", "opt_out", "objection")
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
    guardian: bool = False
    """Whether a guardian made it, for a minor."""
    minor: bool | None = None
    """Whether the person is under the policy's age, where that is said."""
    mechanisms: Mapping[str, Mechanism] = field(default_factory=dict)
    """Of the purposes that have one of their own."""
    language: str | None = None
    """Of the text that the person was shown, as BCP 47 writes it."""
    text_version: str | None = None


def record_signals(
    graph: Graph,
    idkey: str,
    register: dict[str, list[int]],
    source: Mapping[str, Any],
    mechanisms: Mapping[str, Mechanism],
) -> None:
    """Fold what a device said into its register, with a record of each change. Raises Conflict.

    `mechanisms` has those of the purposes that are not a banner's. A denial that is said again
    moves its time, and is no new record.
    """
    said = graph.nodes[idkey].signals
    folded = hear_device(said, register, graph.now)
    changed = {
        purpose: now
        for purpose, now in folded.items()
        if purpose not in said or now[1] != said[purpose][1]
    }
    told = [
        {
            "purpose": purpose,
            "granted": bool(granted),
            "at": minute,
            "source": source["id"],
            "trust": source["trust"],
            "mechanism": mechanisms.get(purpose, "banner"),
            "binds": "device",
        }
        for purpose, (minute, granted) in changed.items()
    ]
    if folded != said:
        _write_signals(graph, idkey, folded, [_record(graph, idkey, one) for one in told])


def choose(world: World, choice: Choice) -> list[Note]:
    """Record an explicit choice. It binds when this returns; told is what of it does not.

    A denial binds the profile of every identifier named, whoever sends it. A grant binds the
    person's profile only from a server or verified source, else only the device. Someone erased
    comes back by a grant made after the erasure, and by nothing less; what stays fenced is silently
    not recorded, so that nobody learns from the answer who asked to be forgotten.

    A denial is never lost for a grant beside it that cannot count: that is left out and told.
    Raises Refused where nothing is left, and for a purpose that the policy does not name.
    """
    check(world.policy, choice.purposes)
    if not choice.purposes and choice.minor is None:
        raise Refused("nothing_chosen", "Say what was chosen in `purposes`: each true or false.")
    if not choice.ids:
        raise Refused("no_identifier", "Name the person by `userId` or `anonymousId`.")
    made = claim(choice.ids, choice.trust, world.policy)
    proven = choice.trust != "client"
    if choice.minor is not None:
        choice = replace(choice, purposes={**choice.purposes, MINOR: not choice.minor})
    choice, notes = _counting(world.policy, choice, made)
    # That somebody is of age brings nobody back.
    granting = any(granted for name, granted in choice.purposes.items() if name != MINOR)
    keys = [one.key for one in made.ids]
    pairs = [(made.home.key, key) for key in keys if key != made.home.key]
    graph = Graph(world)
    graph.load(keys, pairs)
    if granting and _register_anew(graph, choice, proven=proven):
        graph.load(keys, pairs)
    # From before the person registered anew, nothing counts of them.
    before = {key for key in keys if choice.at < (graph.keys[key].lifted or 0)}
    try:
        if before:
            raise keyring.Fenced
        insist(lambda: _resolve(graph, choice, made), lambda: graph.load(keys, pairs))
        _record_all(graph, choice, made, proven=proven)
        # Who chooses is there, and what they chose does not end before they have been away long.
        insist(lambda: graph.seen(keys), lambda: graph.load(keys, pairs))
    except keyring.Fenced:
        _deny_the_rest(graph, choice, [one for one in made.ids if one.key not in before])
    return notes


def check(policy: Policy, purposes: Collection[str]) -> None:
    """Raises Refused for a purpose that the policy does not name."""
    if set(purposes) - set(policy.purposes):
        named = ", ".join(sorted(policy.purposes))
        raise Refused("unknown_purpose", f"The policy's purposes are: {named}.")


def _deny_the_rest(graph: Graph, choice: Choice, ids: list[Identifier]) -> None:
    """Who is named beside somebody that is kept out loses no denial for it. Nobody new is made."""
    denied = {purpose for purpose, granted in choice.purposes.items() if not granted}
    graph.load([one.key for one in ids])
    for one in ids:
        if denied and one.key in graph.nodes:
            with suppress(keyring.Fenced):
                _bind_profile(graph, one, choice, denied)


def _counting(policy: Policy, choice: Choice, made: Claim) -> tuple[Choice, list[Note]]:
    """What of a choice can count, and what of the rest is to be told."""
    refused = _refused(policy, choice, made)
    grants = sorted(purpose for purpose, granted in choice.purposes.items() if granted)
    notes = []
    if refused and grants:
        kept = {purpose: False for purpose in choice.purposes if purpose not in grants}
        if not kept:
            raise refused
        choice = replace(choice, purposes=kept)
        notes.append(_note(refused.code, grants, refused.message))
    idle = [p for p in choice.purposes if p != MINOR and policy.purposes[p].basis in UNDENIABLE]
    if denied := sorted(purpose for purpose in idle if not choice.purposes[purpose]):
        text = "It is on record, and changes nothing: what these rest on is nobody's choice."
        notes.append(_note("not_a_choice", denied, text))
    return choice, notes


def _refused(policy: Policy, choice: Choice, made: Claim) -> Refused | None:
    """Why nothing counts that a choice grants, where nothing does."""
    of_age = choice.minor is False
    if choice.guardian and of_age:
        text = "A guardian chooses for a minor. Say that somebody is of age without `guardian`."
        return Refused("guardian_of_an_adult", text)
    if choice.guardian and not choice.evidence:
        return Refused("evidence_required", "Say in `evidence` how the guardian was verified.")
    # A proof shows that the person is logged in, and a child is: it makes no guardian of them.
    if (choice.guardian or of_age) and not (choice.trust == "server" and made.person):
        text = "Only a server may say so, of somebody whom it names by more than a device."
        return Refused("proof_required", f"A guardian's choice, or that somebody is of age: {text}")
    if choice.mechanism in DENYING:
        return Refused("grant_by_denial", f"`{choice.mechanism}` only ever denies.")
    if choice.trust == "client" and policy.identifiers[made.device.type].known:
        text = "From this source a grant counts for a device: send its `anonymousId`."
        return Refused("device_required", text)
    return None


def _note(code: str, purposes: list[str], message: str) -> Note:
    return {"code": code, "purposes": purposes, "message": message}


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


def restrict(world: World, idkey: str, by: str, *, on: bool, at: int | None = None) -> int:
    """Let a person's data be kept and not used, or used again: from now on, or as it was said `at`
    a time. Returns from when. Raises NotFound, for who is being erased, too."""
    unknown = NotFound("not_found", "There is no profile with this identifier.")
    graph = Graph(world)
    graph.load([idkey])
    if graph.profile(idkey) is None or (at is None and graph.closed(idkey)):
        raise unknown
    one = Identifier(graph.nodes[idkey].type, "", idkey)
    profile = graph.profiles[graph.nodes[idkey].profile]
    denied, granted = profile.choices.get(RESTRICTED, (0, 0))
    now = int(graph.now)
    said = at or max(now, granted if on else denied + 1)  # of one second the denial counts
    choice = Choice((one,), {RESTRICTED: not on}, said, "restriction", {}, by, "server")
    try:
        _bind_profile(graph, one, choice, {RESTRICTED})
    except keyring.Fenced:
        raise unknown from None
    return said


def object_(world: World, idkey: str, purposes: Collection[str], at: int, by: str) -> None:
    """Deny purposes for a person known by the key alone. Of who is not here, or is being erased,
    the key remembers it for when they come. Safe to repeat."""
    graph = Graph(world)
    denied = dict.fromkeys(purposes, False)
    for _ in range(2):  # whoever came while it was remembered may not have seen it
        graph.load([idkey])
        with suppress(keyring.Fenced):
            if idkey in graph.nodes:
                one = Identifier(graph.nodes[idkey].type, "", idkey)
                choice = Choice((one,), denied, at, "objection", {}, by, "server")
                _bind_profile(graph, one, choice, {*purposes})
                return
        keyring.remember(world.rows, idkey, dict.fromkeys(purposes, at))


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
    """Every consent record of these identifiers, with the identifier it stands under; what of an
    erased person's outlived them is one, too."""
    for idkey, state in keyring.states(world.rows, idkeys).items():
        for purpose, at in state.objections.items():
            yield idkey, _outlived(world, purpose, at)
        for row in world.rows.query("graph", f"I#{idkey}", "CONSENT#"):
            yield idkey, row


def _outlived(world: World, purpose: str, at: int) -> Row:
    """As a record, which is received for as long as its identifier is here."""
    told = {"purpose": purpose, "granted": False, "at": at, "binds": "profile"}
    said = {"mechanism": "erasure", "source": "erasure", "trust": "server"}
    said |= {"policy": world.policy.hash}
    return told | said | {"sk": f"CONSENT#{at:011d}#", "received": int(world.clock())}


def carried(graph: Graph, idkey: str, choices: Mapping[str, list[int]], by: str) -> list[Update]:
    """Records of choices (purpose to latest denial and grant, 0 for none) that a part of a split
    profile takes along."""
    told = [
        {
            "purpose": purpose,
            "granted": granted,
            "at": at,
            "source": by,
            "trust": "server",
            "mechanism": "split",
            "binds": "profile",
        }
        for purpose, times in sorted(choices.items())
        for granted, at in zip((False, True), times, strict=True)
        if at
    ]
    return [_record(graph, idkey, one) for one in told]


def _register_anew(graph: Graph, choice: Choice, *, proven: bool) -> bool:
    """Lift the fences that this grant may lift, of erasures that it follows and that are over."""
    lifted = False
    for one in choice.ids:
        state = graph.keys[one.key]
        speaks = proven or not graph.policy.identifiers[one.type].known
        if state.mode == "erase" and speaks and state.since and int(choice.at) > state.since:
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
    told = [_told(replace(choice, at=at), purpose, "profile") for purpose in sorted(purposes)]
    # A public key speaks for a device only: it makes nobody else's data go.
    person = choice.trust != "client"
    known = graph.policy.identifier(one.type).known
    ending = [withdrawal.mark(one.key, graph.now, person=person)] if person or not known else []
    granting = any(row["granted"] for row in told)
    marks = ending if any(not row["granted"] for row in told) else []

    def write() -> None:
        if one.key not in graph.nodes:
            graph.ensure(one)
        profile = graph.profile(one.key)
        # Who is hidden may be shown again, and what they denied meanwhile holds then.
        if profile is None or (profile.state and (profile.state != HIDDEN or granting)):
            raise keyring.Fenced
        folded = fold_choices(profile.choices, *map(register_of, told))
        records = [_record(graph, one.key, row, choice.evidence) for row in told]
        graph.rows.commit(
            Update(
                profile_key(profile.id),
                set={"choices": folded, "version": profile.version + 1},
                when={"version": profile.version, "state": profile.state or ABSENT},
            ),
            *records,
            *marks,
        )
        profile.choices, profile.version = folded, profile.version + 1

    insist(write, lambda: graph.load([one.key]))


def _bind_device(graph: Graph, one: Identifier, choice: Choice, purposes: set[str]) -> None:
    register = {purpose: signal(choice.at, granted=True) for purpose in purposes}

    def write() -> None:
        graph.ensure(one)
        # One that comes late, behind what might be a later denial, does not count, and leaves none.
        said = graph.nodes[one.key].signals
        heard = hear_device(said, register, graph.now)
        counting = sorted(purpose for purpose in purposes if heard[purpose][1])
        folded = fold_signals(said, {purpose: register[purpose] for purpose in counting})
        told = [_told(choice, purpose, "device") for purpose in counting]
        records = [_record(graph, one.key, row, choice.evidence) for row in told]
        _write_signals(graph, one.key, folded, records)

    insist(write, lambda: graph.load([one.key]))


def _write_signals(
    graph: Graph, idkey: str, folded: dict[str, list[int]], records: list[Update]
) -> None:
    node = graph.nodes[idkey]
    withdrawn = any(said[1] and not folded[purpose][1] for purpose, said in node.signals.items())
    marks = [withdrawal.mark(idkey, graph.now, person=False)] if withdrawn else []
    change = Update(
        node_key(idkey),
        set={"signals": folded, "version": node.version + 1},
        when={"version": node.version},
    )
    if records:
        graph.rows.commit(change, *records, *marks)
    else:
        graph.rows.update(change)
    node.signals, node.version = folded, node.version + 1


def _told(choice: Choice, purpose: str, binds: str) -> Row:
    shown = {"language": choice.language, "text_version": choice.text_version}
    told = {
        "purpose": purpose,
        "granted": choice.purposes[purpose],
        "at": int(choice.at),
        "source": choice.source,
        "trust": choice.trust,
        "mechanism": choice.mechanisms.get(purpose, choice.mechanism),
        "binds": binds,
    }
    guardian = {"guardian": True} if choice.guardian and choice.purposes[purpose] else {}
    return told | guardian | {name: text for name, text in shown.items() if text}


def _record(graph: Graph, idkey: str, told: Row, evidence: Mapping[str, Any] = {}) -> Update:
    """One record; the same choice told twice is the same row, as it was the first time."""
    content = json.dumps([told, dict(evidence)], sort_keys=True)
    salt = graph.keys[idkey].salt or b""
    # Keyed, so that nobody can guess evidence from its digest once the key is gone.
    digest = hmac.digest(salt, content.encode(), "sha256").hex()[:24]
    due = graph.policy.due(graph.policy.records["consent"], graph.now)
    key = Key("graph", f"I#{idkey}", f"CONSENT#{told['at']:011d}#{digest}")
    row = told | {"received": int(graph.now), "policy": graph.policy.hash, "due": due, "ttl": due}
    if evidence and salt:
        row["evidence"] = graph.world.vault.seal(salt, dict(evidence), f"{key.pk}/{key.sk}")
    return Update(key, once=row)
