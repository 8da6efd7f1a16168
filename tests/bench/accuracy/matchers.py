"""Ways to make profiles of what was sent: Candor itself, and two references to compare it with.

Flat: connected components. All identifiers of an event (userId, anonymousId, and email and phone of
`traits` or `context.traits`) are one person's, whatever their values; so are those of events that
share one. Nothing is blocked and nothing is limited.

Segment: as the documentation of Unify says of spaces made since October 2020 (Identity Resolution
Onboarding, as of commit 0e86ee5 of github.com/segmentio/segment-docs, read 2026-11-25):

- values that match `^[0-]*$` or are `-1`, `null` or `anonymous` are not identifiers. Its customers
  opt in to that; here all have;
- an event goes to the profile that any of its identifiers matches, several matching profiles become
  one, and none makes a new one;
- if the profile that results would hold more than its limit of a type (one user_id, five of any
  other; no time window), the lowest-priority identifier of the event is demoted, and it is tried
  again without it. Priority: user_id, email, then by name: anonymous_id, phone;
- a demoted identifier is not taken up from this event. The event belongs to the profile found.

`phone` is not among its eleven default identifiers, but the example of a custom one in its settings
page. Both are measured: with phone it reads what Candor reads; without, it is the bare defaults.

All get the same events in the same order. What each shows of people is a list of `Profile`s. Traits
are read from Candor only, which makes its exposure the larger one: the references, too, would show
an address that they demoted.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from candor import collection
from candor.credentials import Source
from candor.errors import NotFound
from candor.policy import Policy
from candor.ports import Clock, Key, Table, Write
from candor.profiles import View, view
from tests.bench.accuracy.simulator import START, Json, Message, Sender, Year, identifiers
from tests.fakes import FakeRows
from tests.worlds import SHIPPED, Shop

BLOCKED = re.compile(r"[0-]*|-1|null|anonymous")
LIMITS = {"user_id": 1}
ALL_OTHERS = 5
PRIORITY = ("user_id", "email", "anonymous_id", "phone")
SOURCES: dict[Sender, Source] = {
    "website": Source("website", "shop", "website", "client"),
    "server": Source("server", "shop's server", "server", "server"),
    "crm": Source("crm", "CRM", "crm", "server"),
}
EVERYTHING = "privacy_rights"
"""The purpose that is shown all there is."""
MOST = 500


@dataclass(slots=True)
class Profile:
    """What is shown to whoever looks up one of its identifiers."""

    identifiers: set[str] = field(default_factory=set)
    """`email:a@b.example`"""
    events: set[str] = field(default_factory=set)
    """By messageId."""
    traits: set[str] = field(default_factory=set)
    """Addresses and numbers that it tells, whether they are its identifiers or not."""


class _Merging:
    """Profiles that grow and become one; `of` says whose an identifier is."""

    def __init__(self) -> None:
        self.of: dict[str, Profile] = {}

    def matching(self, names: Iterable[str]) -> list[Profile]:
        found = (self.of[name] for name in names if name in self.of)
        return list({id(profile): profile for profile in found}.values())

    def put(self, names: Iterable[str], event: str) -> None:
        """An event's identifiers into one profile, together with all that they match."""
        names = list(names)
        profiles = sorted(self.matching(names), key=lambda one: -len(one.identifiers))
        into, *others = profiles or [Profile()]
        for other in others:
            into.identifiers |= other.identifiers
            into.events |= other.events
        into.identifiers.update(names)
        into.events.add(event)
        for moved in (names, *(other.identifiers for other in others)):
            self.of.update(dict.fromkeys(moved, into))

    def profiles(self) -> list[Profile]:
        return self.matching(self.of)


def flat(messages: Iterable[Message]) -> list[Profile]:
    merging = _Merging()
    for event in _events(messages):
        merging.put(identifiers(event), event["messageId"])
    return merging.profiles()


def segment(messages: Iterable[Message], *, phone: bool = True) -> list[Profile]:
    merging = _Merging()
    for event in _events(messages):
        names = [one for one in identifiers(event) if _is_segments(one, phone=phone)]
        names.sort(key=lambda one: PRIORITY.index(_type(one)))
        while names and _too_many(names, merging.matching(names)):
            names.pop()
        if names:
            merging.put(names, event["messageId"])
    return merging.profiles()


def _is_segments(identifier: str, *, phone: bool) -> bool:
    type_, _, value = identifier.partition(":")
    return (phone or type_ != "phone") and not BLOCKED.fullmatch(value)


def _too_many(names: Iterable[str], profiles: Iterable[Profile]) -> bool:
    together = set(names).union(*(profile.identifiers for profile in profiles))
    counts = Counter(map(_type, together))
    return any(n > LIMITS.get(type_, ALL_OTHERS) for type_, n in counts.items())


class _IndexedRows(FakeRows):
    """A query among the rows of thousands of people looks at its own partition only."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._partitions: dict[tuple[str, str], dict[Key, None]] = {}

    def _keys(self, table: Table, pk: str | None = None) -> Iterable[Key]:
        if pk is None:
            return super()._keys(table)
        return [key for key in self._partitions.get((table, pk), ()) if key in self._rows]

    def _write_all(self, writes: Collection[Write]) -> None:
        super()._write_all(writes)
        for write in writes:
            key = write.key
            self._partitions.setdefault((key.table, key.pk), {})[key] = None


def candor(year: Year, policy: Policy = SHIPPED) -> list[Profile]:
    """What the API shows, after everything went through collection and unification."""
    shop = Shop(policy, START, _IndexedRows)
    for message in year.messages:
        shop.clock.now = message.at
        _take(shop, message)
    # As if nothing had come to its end yet: what retention hides is not what is measured.
    shop.clock.now = START
    return list(_shown(shop, list(dict.fromkeys(_names(year.messages)))))


def _take(shop: Shop, message: Message) -> None:
    source, now, body = SOURCES[message.sender], shop.clock(), {"batch": message.events}
    collected = collection.collect(
        body, "batch", shop.policy, now, keep_unnamed=False, sender=source
    )
    if collected.events:
        shop.unify(collection.message(collected, body, source, now))


def _shown(shop: Shop, names: list[str]) -> Iterable[Profile]:
    """Each profile once, found by whatever identifier finds it first."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            continue
        one = shop.world.identifiers.make(*name.split(":", 1))
        try:
            person = view(shop.world, one, EVERYTHING)
        except NotFound:
            continue
        members = {f"{each['type']}:{each['value']}" for each in person.identifiers()}
        seen |= members
        told = person.traits()
        traits = {f"{type_}:{told[type_]}" for type_ in ("email", "phone") if type_ in told}
        yield Profile(members, _event_ids(person), traits)


def _event_ids(person: View) -> set[str]:
    found: set[str] = set()
    cursor: str | None = None
    while True:
        events, cursor = person.events(MOST, cursor)
        found |= {event["messageId"] for event in events}
        if cursor is None:
            return found


def _events(messages: Iterable[Message]) -> Iterable[Json]:
    return (event for message in messages for event in message.events)


def _names(messages: Iterable[Message]) -> Iterable[str]:
    return (name for event in _events(messages) for name in identifiers(event))


def _type(identifier: str) -> str:
    return identifier.partition(":")[0]
