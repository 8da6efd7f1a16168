"""Unification: the events of one message become consent records, links, traits and bundles.

May run twice, late, or beside itself: every write is a fold, an overwrite of itself, or conditional
on what was read. Whatever stops it midway, the message comes again and nothing is lost or doubled.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from candor import bundles, consents, traits
from candor.consent import denies, fold_signals, signal, verdict
from candor.credentials import Trust
from candor.identifiers import Identifier
from candor.identity import Claim, Evidence, Graph, claim, event_hash, insist
from candor.keyring import Fenced
from candor.policy import Attribute
from candor.world import World

Json = dict[str, Any]
HOMES = 10
"""In one part of a message."""


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


@dataclass(slots=True)
class _Event:
    sent: Json
    claim: Claim
    also: list[Identifier]
    """Whose fences count too."""
    rule: Attribute | None
    dropped: str = ""


def unify(message: Json, world: World, more: Callable[[], bool] = lambda: True) -> list[Outcome]:
    """Store what may be stored of a message that `collection` made.

    Goes home by home, in parts, so that a message too long for one delivery gets on with each.
    Raises Unavailable where a store does not answer, and Unfinished where `more` says that time is
    up: what is done stays done, and the message goes on when it comes again.
    """
    source, events, outcomes = message["source"], [], []
    for sent in message["events"]:
        event = _read(sent, source["trust"], world)
        if event:
            events.append(event)
        else:  # the policy has changed while it waited
            outcomes.append(_outcome(sent, source["id"], "no_identifier"))
    for part in _parts(events):
        if not more():
            raise Unfinished
        outcomes += _Unification(part, source, world).run()
    return outcomes


def _read(sent: Json, trust: Trust, world: World) -> _Event | None:
    """An event with its identifiers; None where it has none."""
    make = world.identifiers.make
    made, also = (
        [one for type_, value in sent.get(field, ()) if (one := make(type_, value))]
        for field in ("ids", "also")
    )
    rule = world.policy.event(sent["name"], unnamed=sent.get("unnamed", False))
    return _Event(sent, claim(made, trust, world.policy), also, rule) if made else None


def _parts(events: list[_Event]) -> Iterator[list[_Event]]:
    """All events of a home are in one part, because together they name its bundles."""
    homes: dict[str, list[_Event]] = {}
    for event in events:
        homes.setdefault(event.claim.home.key, []).append(event)
    of_homes = iter(homes.values())
    while part := list(chain.from_iterable(islice(of_homes, HOMES))):
        yield part


class _Unification:
    def __init__(self, events: list[_Event], source: Json, world: World) -> None:
        self.events = events
        self.source = source
        self.trust: Trust = source["trust"]
        self.world = world
        self.policy = world.policy
        self.graph = Graph(world)
        self.said: dict[str, tuple[Identifier, dict[str, list[int]]]] = {}
        """What the events say of consent, for each device."""
        rules = self.policy.identifiers.items()
        known_limits = {f"limit:{type_}" for type_, rule in rules if rule.known}
        self.somebody_elses = {"client_may_not_join_known_users", *known_limits}
        """The refusals that mean: this profile is another person's."""

    def run(self) -> list[Outcome]:
        everyone = {one.key for event in self.events for one in (*event.claim.ids, *event.also)}
        pairs = {pair for event in self.events for pair in _pairs(event.claim)}
        self.graph.load(everyone, pairs)
        for event in self.events:
            if event.rule is None:
                event.dropped = "not_in_policy"  # which may change while events wait
            elif any(self._kept_out(one.key, event) for one in (*event.claim.ids, *event.also)):
                event.dropped = "fenced"
        self._hear_signals()
        for event in self._remaining():
            allowed = self._allowed(event)
            if allowed or event.claim.device.key in self.said:
                self._resolve(event)
            if not allowed:
                event.dropped = event.dropped or "no_consent"
        self._record_signals()
        self._write_traits()
        self._write_bundles()
        seen = {one.key for event in self._remaining() for one in event.claim.ids}
        self._insist(lambda: self.graph.seen(seen), seen)
        return [_outcome(event.sent, self.source["id"], event.dropped) for event in self.events]

    def _remaining(self) -> list[_Event]:
        return [event for event in self.events if not event.dropped]

    def _kept_out(self, idkey: str, event: _Event) -> bool:
        """Fenced, being erased, or from before the person registered anew."""
        before = self.graph.keys[idkey].lifted
        old = before is not None and event.sent["at"] // 1000 < before
        return old or self.graph.closed(idkey)

    def _hear_signals(self) -> None:
        """Fold what the message's events say for each device."""
        self.said = {}
        for event in (event for event in self.events if event.dropped != "fenced"):
            who = event.claim.device
            unproven = self.trust == "client" and self.policy.identifiers[who.type].known
            register = {
                purpose: signal(event.sent["at"] / 1000, granted=granted)
                for purpose, granted in event.sent["consent"].items()
                if not (granted and unproven)
            }
            if register:
                _, before = self.said.get(who.key, (who, {}))
                self.said[who.key] = who, fold_signals(before, register)

    def _record_signals(self) -> None:
        """At most one write per device, of the purposes that changed."""
        self._hear_signals()  # without the events that turned out to be fenced
        for who, register in self.said.values():

            def write(who: Identifier = who, register: Any = register) -> None:
                self.graph.ensure(who)
                consents.record_signals(self.graph, who.key, register, self.source)

            with suppress(Fenced):
                self._insist(write, [who.key])

    def _allowed(self, event: _Event) -> bool:
        """Whether any purpose lets this event be kept."""
        purposes = event.rule.purposes if event.rule else ()
        return any(self._may(event, purpose) for purpose in purposes)

    def _may(self, event: _Event, purpose: str) -> bool:
        """What a device says now counts already; a denial in any of the event's profiles binds."""
        device = event.claim.device
        node = self.graph.nodes.get(device.key)
        said = self.said.get(device.key, (device, {}))[1]
        signals = fold_signals(node.signals if node else {}, said)
        home = self.graph.profile(event.claim.home.key)
        own = verdict(self.policy, purpose, home.choices if home else {}, signals)
        if not own.allowed:
            return False
        others = [self.graph.profile(one.key) for one in event.claim.ids]
        return not any(other and denies(other.choices, purpose) for other in others)

    def _resolve(self, event: _Event) -> None:
        """Give the event's home a node and link the others to it.

        The device of somebody else takes nothing of the person that the event names; one that just
        did not fit into the person's profile keeps what it did, as an anonymous device does.
        """
        made = event.claim
        evidence = Evidence(
            event_hash(event.sent["id"]),
            self.source["id"],
            self.trust,
            f"{event.sent['type']}_carries_both",
            event.sent["at"] // 1000,
        )

        def write() -> None:
            left_out = self.graph.resolve(made.home, made.ids, evidence)
            refused = left_out.get(made.person.key) if made.person else None
            if refused in self.somebody_elses:
                event.dropped = "identity_conflict"

        try:
            self._insist(write, [one.key for one in made.ids], _pairs(made))
        except Fenced:
            event.dropped = "fenced"

    def _write_traits(self) -> None:
        facts: dict[str, list[traits.Fact]] = {}
        for event in self._remaining():
            home, device = event.claim.home.key, event.claim.device.key
            for name, value in event.sent["traits"].items():
                named = self.policy.traits.get(name)  # a policy may change while events wait
                if named and any(self._may(event, purpose) for purpose in named.purposes):
                    by = None if device == home else device
                    proven = self.trust != "client"
                    fact = traits.Fact(name, value, event.sent["at"], self.source["id"], by, proven)
                    facts.setdefault(home, []).append(fact)
        for home, of_home in facts.items():
            salt = self.graph.keys[home].salt or b""  # an event that remains has ensured its home

            def write(home: str = home, salt: bytes = salt, of_home: Any = of_home) -> None:
                traits.write(self.world, home, salt, of_home)

            self._insist(write, [])

    def _write_bundles(self) -> None:
        """All valid events of a home, class and day name the bundle; those allowed are in it."""
        groups: dict[tuple[str, str, int], list[_Event]] = {}
        for event in self.events:
            if event.rule is None or event.sent["type"] in ("identify", "alias"):
                continue
            group = event.claim.home.key, event.rule.retention, event.sent["day"]
            groups.setdefault(group, []).append(event)
        puts = []
        for (home, class_, _), group_events in groups.items():
            salt = self.graph.keys[home].salt
            for part in bundles.cut(group_events, lambda event: event.sent):
                kept = [_stored(event) for event in part if not event.dropped]
                if kept and salt:
                    sort = bundles.sort_key(event.sent for event in part)
                    stored = {"source": self.source["id"], "events": kept}
                    puts.append(bundles.put(self.world, home, salt, sort, class_, stored))
        if puts:
            self.world.rows.put(puts)

    def _insist(
        self, work: Callable[[], None], idkeys: Iterable[str], pairs: Iterable[tuple[str, str]] = ()
    ) -> None:
        insist(work, lambda: self.graph.load([*idkeys], [*pairs]))


def _outcome(sent: Json, source: str, dropped: str) -> Outcome:
    name = "(unnamed)" if sent.get("unnamed") else sent["name"]
    return Outcome(sent["type"], name, source, "dropped" if dropped else "stored", dropped)


def _pairs(made: Claim) -> list[tuple[str, str]]:
    return [(made.home.key, one.key) for one in made.ids if one != made.home]


def _stored(event: _Event) -> Json:
    sent = event.sent
    by = {} if event.claim.device == event.claim.home else {"by": event.claim.device.key}
    return {
        name: sent[name]
        for name in ("type", "name", "id", "at", "properties", "context", "unnamed")
        if sent.get(name) not in (None, {})
    } | by
