"""Unification: the events of one message become consent records, links, traits and bundles.

May run twice, late, or beside itself: every write is a fold, an overwrite of itself, or conditional
on what was read. Whatever stops it midway, the message comes again and nothing is lost or doubled.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from candor import bundles, consents, outcomes, separation, traits
from candor.consent import Mechanism, forbids, hear, hear_device, verdict
from candor.credentials import Trust
from candor.errors import Refused
from candor.identifiers import Identifier
from candor.identity import SEPARATED, Claim, Evidence, Graph, claim, event_hash, insist
from candor.keyring import Fenced
from candor.policy import Attribute
from candor.ports import ABSENT, Conflict, Put, Unavailable
from candor.world import World

Json = dict[str, Any]
HOMES = 100
"""In one part of a message."""
RECORDED = "recorded"
"""The outcome of a choice whose event is not stored besides."""


class Unfinished(Exception):
    """Time was up before the message was through."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event. Holds nothing personal: `name` is the catalogue's."""

    type: str
    name: str
    source: str
    outcome: str
    reason: str = ""
    also: tuple[tuple[str, str], ...] = ()
    """What became of parts of it: outcome and reason."""


@dataclass(slots=True, eq=False)
class _Party:
    """Whom events name, all of them the same identifiers on the same word."""

    claim: Claim
    also: list[Identifier]
    """Whose fences count too."""
    trust: Trust
    somebody_elses: bool | None = None
    """Whether the home's profile turned out to be another person's; None before anyone asked."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """`refused_link` and the rule, for each rule that refused to link some of them."""
    pairs: list[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        home = self.claim.home
        self.pairs = [(home.key, one.key) for one in self.claim.ids if one != home]

    @property
    def everyone(self) -> list[Identifier]:
        return [*self.claim.ids, *self.also]


@dataclass(slots=True)
class _Event:
    sent: Json
    party: _Party
    rule: Attribute | None
    dropped: str = ""
    also: list[tuple[str, str]] = field(default_factory=list)


def unify(
    message: Json,
    world: World,
    more: Callable[[], bool] = lambda: True,
    *,
    apart: bool = False,
) -> tuple[list[Outcome], list[Json]]:
    """Store what may be stored of a message that `collection` made, and count what may not.

    Goes home by home, in parts. Where `more` says that time is up it leaves the parts to come, and
    returns them as a message of their own; what a part has done stays done. `apart` is for a
    message that has failed before: each home is stored by itself, and what fails by itself is
    returned as a message of its own, so that one bad event takes no neighbour to the dead letters.
    Raises Unavailable where no store answers, and Unfinished where no part came to its end.
    """
    left: list[Json] = []
    if apart:
        events, found = _read_apart(message, world, left)
    else:
        events, found = _read(message, world)
    parts = list(_parts(events, HOMES))
    for n, part in enumerate(parts):
        outcomes: list[Outcome] = []
        try:
            if n and not more():
                raise Unfinished
            for some in _parts(part, 1) if apart else [part]:
                work = _Unification(some, message["source"], world, more).run
                sent = [event.sent for event in some]
                outcomes += _apart(work, message, sent, left) if apart else work()
        except Unfinished:
            if n == 0:
                raise
            sent = [event.sent for event in chain.from_iterable(parts[n:])]
            left.append(_rest(message, sent) | ({"again": True} if apart else {}))
            break
        # What was refused of the request is counted with its first part.
        told = _rest(message, ()) if n else message
        sent = [event.sent for event in part]
        _count(told | {"events": sent}, outcomes if n else [*found, *outcomes], world)
        found += outcomes
    if not parts:
        _count(message, found, world)
    return found, left


def _rest(message: Json, sent: Iterable[Json]) -> Json:
    """Some events of a message as a message of their own, with nothing that was counted already."""
    return {name: message[name] for name in ("v", "received", "source")} | {"events": [*sent]}


def _apart(
    work: Callable[[], list[Outcome]], message: Json, sent: list[Json], left: list[Json]
) -> list[Outcome]:
    """What becomes of some events by themselves; where they fail, `left` gets them."""
    try:
        return work()
    except Unfinished:
        raise
    except Exception as error:
        if type(error) is Unavailable:
            raise  # nobody's fault, and over by itself
        left.append(_rest(message, sent) | {"apart": True})
        return []


def _read_apart(
    message: Json, world: World, left: list[Json]
) -> tuple[list[_Event], list[Outcome]]:
    events: list[_Event] = []
    found: list[Outcome] = []
    for sent in message["events"]:

        def read(sent: Json = sent) -> list[Outcome]:
            known, nobodys = _read(message | {"events": [sent]}, world)
            events.extend(known)
            return nobodys

        found += _apart(read, message, [sent], left)
    return events, found


def _read(message: Json, world: World) -> tuple[list[_Event], list[Outcome]]:
    """A message's events with whom they name; and what became of those that name nobody."""
    source, reader = message["source"], _Reader(world, message["source"]["trust"])
    events, nobodys = [], []
    for sent in message["events"]:
        party = reader.party(sent)
        if party:
            rule = world.policy.event(sent["name"], unnamed=sent.get("unnamed", False))
            events.append(_Event(sent, party, rule))
        else:  # the policy has changed while it waited
            nobodys.append(_outcome(sent, source["id"], "no_identifier"))
    return events, nobodys


class _Reader:
    """Makes each identifier and each party of a message once."""

    def __init__(self, world: World, trust: Trust) -> None:
        self._world, self._trust = world, trust
        self._made: dict[tuple[str, str], Identifier | None] = {}
        self._parties: dict[str, _Party | None] = {}

    def party(self, sent: Json) -> _Party | None:
        """Whom an event names; None where nobody."""
        trust: Trust = sent.get("trust", self._trust)
        named = repr((trust, sent["ids"], sent.get("also")))
        if named not in self._parties:
            made = self._identifiers(sent["ids"])
            also = self._identifiers(sent.get("also", ()))
            found = _Party(claim(made, trust, self._world.policy), also, trust) if made else None
            self._parties[named] = found
        return self._parties[named]

    def _identifiers(self, pairs: Iterable[list[str]]) -> list[Identifier]:
        found = []
        for type_, value in pairs:
            if (type_, value) not in self._made:
                self._made[type_, value] = self._world.identifiers.make(type_, value)
            if one := self._made[type_, value]:
                found.append(one)
        return found


def _parts(events: list[_Event], size: int) -> Iterator[list[_Event]]:
    """All events of a home are in one part, because together they name its bundles."""
    homes: dict[str, list[_Event]] = {}
    for event in events:
        homes.setdefault(event.party.claim.home.key, []).append(event)
    of_homes = iter(homes.values())
    while part := list(chain.from_iterable(islice(of_homes, size))):
        yield part


def _count(message: Json, found: list[Outcome], world: World) -> None:
    """What was not stored is counted, once however often the message comes.

    What is stored is counted as it is archived, once for each bundle.
    """
    dropped = [(one.outcome, one.reason) for one in found if one.outcome != "stored"]
    parts = [part for one in found for part in one.also]
    counts = message.get("counts", {}) | outcomes.tally([*dropped, *parts])
    if counts:
        source, now = message["source"]["id"], world.clock()
        sent = [[event.get("raw"), event.get("id")] for event in message["events"]]
        once = hashlib.sha256(json.dumps([message.get("once"), sent]).encode()).hexdigest()[:32]
        names = [tuple(where) for where in message.get("names", ())]
        outcomes.note_names(world.rows, source, now, names)
        outcomes.count(world.rows, source, now, counts, once)


class _Unification:
    def __init__(
        self, events: list[_Event], source: Json, world: World, more: Callable[[], bool]
    ) -> None:
        self.events = events
        self.parties = list({id(event.party): event.party for event in events}.values())
        self.source = source
        self.world = world
        self.more = more
        self.policy = world.policy
        self.graph = Graph(world)
        self.said: dict[str, tuple[_Party, dict[str, list[int]], dict[str, Mechanism]]] = {}
        """What the events say of consent, for each device, and how it was said."""
        self.allowing: dict[tuple[int, frozenset[str]], bool] = {}
        """By party and purposes, as long as nothing changes."""
        rules = self.policy.identifiers.items()
        known_limits = {f"limit:{type_}" for type_, rule in rules if rule.known}
        self.somebody_elses = {"client_may_not_join_known_users", *known_limits}
        """The refusals that mean: this profile is another person's."""

    def run(self) -> list[Outcome]:
        self._go_on()
        everyone = {one.key for party in self.parties for one in party.everyone}
        self.graph.load(everyone, {pair for party in self.parties for pair in party.pairs})
        self._record_choices()  # a new registration lets in what comes with it
        for event in self.events:
            if any(self._kept_out(one.key, event) for one in event.party.everyone):
                event.dropped = "fenced"
            elif event.rule is None:  # it may be a choice alone, or the policy changed meanwhile
                event.dropped = RECORDED if "choice" in event.sent else "not_in_policy"
        self._hear_signals()
        self._heed_gpc()  # before anything is kept that it denies
        for event in self._remaining():
            allowed = self._allowed(event)
            if allowed or event.party.claim.device.key in self.said:
                self._resolve(event)
            if not allowed:
                event.dropped = event.dropped or "no_consent"
        self._hear_signals()  # without the events that turned out to be fenced
        self._record_signals()
        self._write_traits()
        self._write_bundles()
        seen = {one.key for event in self._remaining() for one in event.party.claim.ids}
        self._insist(lambda: self.graph.seen(seen), seen)
        return [
            _outcome(
                event.sent, self.source["id"], event.dropped, [*event.also, *event.party.refused]
            )
            for event in self.events
        ]

    def _go_on(self) -> None:
        if not self.more():
            raise Unfinished

    def _remaining(self) -> Iterator[_Event]:
        return (event for event in self.events if not event.dropped)

    def _kept_out(self, idkey: str, event: _Event) -> bool:
        """Fenced, being erased, or from before the person registered anew."""
        before = self.graph.keys[idkey].lifted
        old = before is not None and event.sent["at"] // 1000 < before
        return old or self.graph.closed(idkey)

    def _record_choices(self) -> None:
        """What the person chose in the shop's own settings, as if it came by POST /consents.

        Of a party's many choices only the latest grant and denial of a purpose can count, so these
        are recorded, and the message's size does not decide how much there is to write.
        """
        latest: dict[tuple[int, str, bool], _Event] = {}
        chosen = [event for event in self.events if "choice" in event.sent]
        for event in sorted(chosen, key=lambda event: int(event.sent["at"])):
            for purpose, granted in event.sent["consent"].items():
                latest[id(event.party), purpose, granted] = event
        for event in {id(event): event for event in latest.values()}.values():
            party = event.party
            if not any(self._kept_out(one.key, event) for one in party.also):
                self._go_on()
                event.also += [("choice_dropped", code) for code in self._choose(event)]
                self.graph.load([one.key for one in party.claim.ids], party.pairs)

    def _choose(self, event: _Event) -> list[str]:
        """Record an event's choice; returns the codes of what of it does not count."""
        sent, named = event.sent, self.policy.purposes
        choice = consents.Choice(
            ids=event.party.claim.ids,
            purposes={p: given for p, given in sent["consent"].items() if p in named},
            at=sent["at"] / 1000,
            mechanism="preference_center",
            evidence={"messageId": sent["id"]},
            source=self.source["id"],
            trust=event.party.trust,
            mechanisms=sent.get("mechanisms", {}),
        )
        try:
            return [note["code"] for note in consents.choose(self.world, choice)]
        except Refused as refused:
            return [refused.code]

    def _hear_signals(self) -> None:
        """Fold what the message's events say for each device."""
        self.said = {}
        self.allowing.clear()
        for event in self.events:
            choices = event.sent["consent"]
            if not choices or "choice" in event.sent or not self._is_heard(event):
                continue
            party = event.party
            who = party.claim.device
            unproven = party.trust == "client" and self.policy.identifiers[who.type].known
            for purpose, granted in choices.items():
                if not (granted and (unproven or event.dropped == "fenced")):
                    _, register, by = self.said.setdefault(who.key, (party, {}, {}))
                    before = register.get(purpose)
                    hear(register, purpose, event.sent["at"] // 1000, granted=granted)
                    if register[purpose] != before:
                        by[purpose] = event.sent.get("mechanisms", {}).get(purpose, "banner")

    def _is_heard(self, event: _Event) -> bool:
        """Whether what an event says of consent counts. Of one that names somebody who is kept out
        it is what a device denies that is not, and that is here already."""
        if event.dropped != "fenced":
            return True
        device = event.party.claim.device.key
        return device in self.graph.nodes and not self._kept_out(device, event)

    def _record_signals(self) -> None:
        """At most one write per device, of the purposes that changed."""
        for party, register, by in self.said.values():

            def write(party: _Party = party, register: Any = register, by: Any = by) -> None:
                device, source = party.claim.device, self.source | {"trust": party.trust}
                self.graph.ensure(device)
                consents.record_signals(self.graph, device.key, register, source, by)

            with suppress(Fenced):
                self._insist(write, [party.claim.device.key])

    def _heed_gpc(self) -> None:
        """Global Privacy Control denies for the person, from when it was first seen on a device."""
        first: dict[Identifier, int] = {}
        for event in self.events:
            if "gpc" in event.sent and self._is_heard(event):
                device, at = event.party.claim.device, event.sent["at"] // 1000
                first[device] = min(at, first.get(device, at))
        for device, at in first.items():
            with suppress(Fenced):
                consents.deny_by_gpc(self.graph, device, at, self.source)

    def _allowed(self, event: _Event) -> bool:
        """Whether any purpose lets this event be kept."""
        return event.rule is not None and self._may_keep(event, event.rule.purposes)

    def _may_keep(self, event: _Event, purposes: frozenset[str]) -> bool:
        """Whether one of these purposes is allowed, and is not one that the event itself denies:
        what was done under a no is not kept for a yes that came after it."""
        rules = self.policy.purposes
        denied = {
            purpose
            for purpose, granted in event.sent["consent"].items()
            if not granted and purpose in rules and rules[purpose].basis == "consent"
        }
        return self._may(event.party, purposes - denied if denied else purposes)

    def _may(self, party: _Party, purposes: frozenset[str]) -> bool:
        """Whether one of these purposes is allowed to what this party sends now."""
        asked = id(party), purposes
        if asked not in self.allowing:
            self.allowing[asked] = any(self._may_for(party, purpose) for purpose in purposes)
        return self.allowing[asked]

    def _may_for(self, party: _Party, purpose: str) -> bool:
        """What a device says now counts already; a denial in any of the event's profiles binds."""
        device = party.claim.device.key
        node = self.graph.nodes.get(device)
        said = self.said[device][1] if device in self.said else {}
        signals = hear_device(node.signals if node else {}, said, self.graph.now)
        home = self.graph.profile(party.claim.home.key)
        own = verdict(self.policy, purpose, home.choices if home else {}, signals)
        if not own.allowed:
            return False
        others = [self.graph.profile(one.key) for one in party.claim.ids]
        return not any(other and forbids(self.policy, other.choices, purpose) for other in others)

    def _resolve(self, event: _Event) -> None:
        """Give the event's home a node and link the others to it, once for each party.

        The device of somebody else takes nothing of the person that the event names; one that just
        did not fit into the person's profile keeps what it did, as an anonymous device does.
        """
        party = event.party
        if party.somebody_elses is None:
            party.somebody_elses = False
            if not self.graph.settled(party.claim):
                self._go_on()
                self._link(event)
                self.allowing.clear()
        if party.somebody_elses:
            event.dropped = event.dropped or "identity_conflict"

    def _link(self, event: _Event) -> None:
        party = event.party
        made = party.claim
        evidence = Evidence(
            event_hash(event.sent["id"]),
            self.source["id"],
            party.trust,
            f"{event.sent['type']}_carries_both",
            event.sent["at"] // 1000,
        )

        def write() -> None:
            left_out = self.graph.resolve(made.home, made.ids, evidence)
            party.refused = [("refused_link", rule) for rule in sorted({*left_out.values()})]
            refused = left_out.get(made.person.key) if made.person else None
            party.somebody_elses = refused in self.somebody_elses or (
                refused == SEPARATED and self._names_a_person(made.home)
            )

        try:
            self._insist(write, [one.key for one in made.ids], party.pairs)
            if separation.quarantine_shared(self.graph, made.ids):
                self.graph.load([one.key for one in made.ids], party.pairs)
                self._insist(write, [one.key for one in made.ids], party.pairs)
        except Fenced:
            for other in self.events:
                if other.party is party:
                    other.dropped = other.dropped or "fenced"

    def _names_a_person(self, home: Identifier) -> bool:
        """Whether somebody known is in a home's profile."""
        profile = self.graph.profile(home.key)
        members = profile.members.values() if profile else ()
        return any(self.policy.identifier(type_).known for type_ in members)

    def _write_traits(self) -> None:
        facts: dict[str, list[traits.Fact]] = {}
        for event in self._remaining():
            if not event.sent["traits"]:
                continue
            party = event.party
            home, device = party.claim.home.key, party.claim.device.key
            for name, value in event.sent["traits"].items():
                named = self.policy.traits.get(name)  # a policy may change while events wait
                if not named or not self._may_keep(event, named.purposes):
                    event.also.append(("trait_dropped", "no_consent" if named else "not_in_policy"))
                elif self._is_over(named, event.sent["at"]):
                    event.also.append(("trait_dropped", "expired"))
                else:
                    fact = traits.Fact(
                        name,
                        value,
                        event.sent["at"],
                        self.source["id"],
                        None if device == home else device,
                        party.trust != "client",
                        self.source["kind"],
                    )
                    facts.setdefault(home, []).append(fact)
        if facts:
            # An event that remains has ensured its home.
            salts = {home: self.graph.keys[home].salt or b"" for home in facts}
            self._insist(lambda: traits.write(self.world, salts, facts), [])

    def _is_over(self, named: Attribute, at: int) -> bool:
        """Whether the time is over for what was said then."""
        days = self.policy.retention[named.retention]
        return self.policy.due(days, at / 1000) <= self.graph.now

    def _write_bundles(self) -> None:
        """All valid events of a home, class and day name the bundle; those allowed are in it.

        What is proven and what is not lie in two.
        """
        groups: dict[tuple[str, str, int, bool], list[_Event]] = {}
        for event in self.events:
            if event.rule is None or event.sent["type"] in ("identify", "alias"):
                continue
            home, proven = event.party.claim.home.key, event.party.trust != "client"
            group = home, event.rule.retention, event.sent["day"], proven
            groups.setdefault(group, []).append(event)
        puts = []
        for (home, class_, _, proven), group_events in groups.items():
            salt = self.graph.keys[home].salt
            for part in bundles.cut(group_events, lambda event: int(event.sent["size"])):
                kept = [_stored(event) for event in part if not event.dropped]
                if kept and salt:
                    source, sent = self.source["id"], (event.sent for event in part)
                    sort = bundles.sort_key(sent, source, proven=proven)
                    put = bundles.put(
                        self.world, home, salt, sort, class_, source, kept, proven=proven
                    )
                    profile = self.graph.profile(home)
                    if len(kept) < len(part) and profile and profile.held:
                        self._add(put)
                    else:
                        puts.append(put)
        if puts:
            self.world.rows.put(puts)

    def _add(self, put: Put) -> None:
        """A bundle that comes again with less, since something was denied, replaces nothing of a
        held person's."""
        with suppress(Conflict):
            self.world.rows.commit(replace(put, when={"pk": ABSENT}))

    def _insist(
        self, work: Callable[[], None], idkeys: Iterable[str], pairs: Iterable[tuple[str, str]] = ()
    ) -> None:
        insist(work, lambda: self.graph.load([*idkeys], [*pairs]))


def _outcome(
    sent: Json, source: str, dropped: str, also: Iterable[tuple[str, str]] = ()
) -> Outcome:
    name = "(unnamed)" if sent.get("unnamed") else sent["name"]
    if dropped == RECORDED:
        return Outcome(sent["type"], name, source, RECORDED, also=tuple(also))
    outcome = "dropped" if dropped else "stored"
    return Outcome(sent["type"], name, source, outcome, dropped, tuple(also))


def _stored(event: _Event) -> Json:
    sent, made = event.sent, event.party.claim
    by = {} if made.device == made.home else {"by": made.device.key}
    return {
        name: sent[name]
        for name in ("type", "name", "id", "at", "properties", "context", "unnamed")
        if sent.get(name) not in (None, {})
    } | by
