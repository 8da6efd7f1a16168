"""The one way to read a person: a view folded from what the members of a profile hold.

Every read has a purpose, and gets of each member what policy and consent allow for it. What is left
out is named, with why and what would change it; its values are not.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from candor import bundles, keyring, preferences, traits
from candor.consent import Signals, Verdict, summary, verdict
from candor.consents import records
from candor.errors import NotFound, Refused
from candor.identifiers import Identifier
from candor.identity import Profile, node_key, profile_key, profile_of, traits_key
from candor.policy import DAY, Attribute
from candor.ports import Row
from candor.separation import SEPARATION, quarantine_key
from candor.world import World

Json = dict[str, Any]
MOST_LISTED = 500
LISTED = 100
MOST_PAGE_BYTES = 4_000_000
"""Of a page of events: Lambda answers with at most 6 MB."""


@dataclass(frozen=True, slots=True)
class Member:
    idkey: str
    type: str
    salt: bytes | None
    node: Row
    value: str
    traits: traits.Facts
    """Those that have not ended."""
    ends: dict[str, int]


@dataclass(slots=True)
class View:
    """One person, read for one purpose."""

    world: World
    purpose: str
    profile: Profile
    members: dict[str, Member]
    asked: str
    """The idkey that the person was asked for by."""
    _withheld: dict[str, Verdict] = field(default_factory=dict)
    _strangers: dict[str, Signals] = field(default_factory=dict)

    def traits(self, *, verbose: bool = False) -> Json:
        """Name to value; verbose with source, time and end of each."""
        policy = self.world.policy
        usable: list[dict[str, list[Any]]] = []
        for member in self.members.values():
            mine = {}
            for name, fact in member.traits.items():
                attribute = policy.traits.get(name)
                if attribute is None:  # named once, and no longer
                    continue
                if self._may(name, attribute.purposes, fact[3] or member.idkey):
                    mine[name] = fact
            usable.append(mine)
        folded = traits.fold(policy, *usable)
        if not verbose:
            return {name: folded[name][0] for name in sorted(folded)}
        return {name: self._verbose(name, folded[name]) for name in sorted(folded)}

    def identifiers(self) -> list[Json]:
        """The members' values, as far as the purpose may know them."""
        rule = self.world.policy.identifier
        found = []
        ranked = sorted(self.members.values(), key=lambda m: (rule(m.type).priority, m.value))
        for member in ranked:
            if self._may_know(member):
                first, last = (_day(member.node[name]) for name in ("first", "last"))
                one = {"type": member.type, "value": member.value}
                found.append(one | {"first_seen": first, "last_seen": last})
        return found

    def events(
        self, limit: int = LISTED, cursor: str | None = None
    ) -> tuple[list[Json], str | None]:
        """Newest first, each once, and where to go on."""
        found: list[Json] = []
        place: list[Any] = []
        size = 0
        for here, event in self._events(_decoded(cursor)):
            shown = self._shown(event)
            size += len(json.dumps(shown))
            if len(found) == limit or (found and size > MOST_PAGE_BYTES):
                return found, _encoded(place)
            found.append(shown)
            place = here
        return found, None

    def consents(self) -> Json:
        """Each purpose's state over the whole profile."""
        devices = [member.node["signals"] for member in self.members.values()]
        policy, choices = self.world.policy, self.profile.choices
        states = {name: summary(policy, name, choices, devices) for name in policy.purposes}
        return {
            name: {"state": state, "because": why, "may": self.may(name).allowed}
            for name, (state, why) in states.items()
        }

    def may(self, purpose: str) -> Verdict:
        """Whether the person may be acted on for a purpose: whatever does so asks this first.

        What only a device granted allows what that device sent to be used, and no more.
        """
        return verdict(self.world.policy, purpose, self.profile.choices, {})

    def signals(self) -> Json:
        """For which purposes data of the identifier that was asked for may be used, in the words
        of Consent Mode and of banners."""
        policy, said = self.world.policy, self.members[self.asked].node["signals"]
        verdicts = {
            name: verdict(policy, name, self.profile.choices, said) for name in policy.purposes
        }
        usable = {name for name, one in verdicts.items() if one.allowed}
        return {
            "consent_mode": preferences.consent_mode(policy, usable),
            "category_preferences": preferences.category_preferences(policy, usable),
        }

    def consent_records(self) -> list[Json]:
        """The newest of the history behind `consents`, newest first, with evidence opened."""
        found = []
        for idkey, row in records(self.world, list(self.members)):
            member = self.members[idkey]
            shown = {name: row[name] for name in row if name not in ("pk", "sk", "due", "ttl")}
            shown["identifier"] = self.named(idkey)
            if "evidence" in shown and not self._may("consent:evidence", frozenset(), idkey):
                del shown["evidence"]
            elif "evidence" in row:
                place = f"{row['pk']}/{row['sk']}"
                shown["evidence"] = self.world.vault.open(member.salt, row["evidence"], place)
            found.append(shown)
        return sorted(found, key=lambda one: (-one["at"], one["purpose"]))[:MOST_LISTED]

    def links(self) -> list[Json]:
        """The evidence that the members belong together, and what was refused, oldest first."""
        found = []
        for member in self.members.values():
            for row in self.world.rows.query("graph", f"I#{member.idkey}", "LINK#"):
                other = row["sk"].removeprefix("LINK#")
                if other in self.members and other < member.idkey:
                    continue  # told once, from its other end
                found.append(
                    {
                        "a": self.named(member.idkey),
                        "b": self.named(other),
                        "rule": row["rule"],
                        "source": row["source"],
                        "trust": row["trust"],
                        "event": row["event"],
                        "time": row["at"],
                        "refused": row.get("refused"),
                        "merged": "merged" in row,
                    }
                )
        return sorted(found, key=lambda one: one["time"])

    def separations(self) -> list[Json]:
        """Who was separated from whom, with nobody where it is a quarantine, and what of that was
        lifted since; oldest first. Reasons are for who answers privacy requests."""
        rows = self.world.rows
        quarantines = rows.get([quarantine_key(idkey) for idkey in self.members])
        found = [(key.sk or "", row) for key, row in quarantines.items()]
        for idkey in self.members:
            for row in rows.query("graph", f"I#{idkey}", SEPARATION):
                other = row["sk"].removeprefix(SEPARATION)
                if other not in self.members or idkey < other:
                    found.append((idkey, row))
        shown = [self._separation(idkey, row) for idkey, row in found]
        return sorted(shown, key=lambda one: one["time"])

    def _separation(self, idkey: str, row: Row) -> Json:
        told = row.get("because")
        if "reason" in row and self._may("separation:reason", frozenset(), idkey):
            place = f"{row['pk']}/{row['sk']}"
            told = {"reason": self.world.vault.open(self.members[idkey].salt, row["reason"], place)}
        other = row["sk"].removeprefix(SEPARATION)
        return {
            "a": self.named(idkey),
            "b": None if "because" in row else self.named(other),
            "time": row["at"],
            "by": row["by"],
            "because": told,
            "lifted": row.get("lifted", row.get("released")),
            "lifted_by": row.get("lifted_by", row.get("released_by")),
        }

    def withheld(self) -> list[Json]:
        """What the readings so far left out: names, never values."""
        return [
            {
                "name": name,
                "purpose": self.purpose,
                "because": refused.because,
                "fix": refused.fix,
            }
            for name, refused in sorted(self._withheld.items())
        ]

    def _events(self, after: list[Any] | None) -> Iterator[tuple[list[Any], Json]]:
        """Events and their places, [-day, -time, name] ascending, behind `after`.

        A name is a messageId and who sent it, so that nobody can hide what another has sent.
        """
        salts = {idkey: member.salt for idkey, member in self.members.items()}
        seen: set[str] = set()
        for day, of_day in bundles.days(self.world, salts, 1 - after[0] if after else None):
            placed = [([-day, -event["at"], _name(event)], home, event) for home, event in of_day]
            for place, home, event in sorted(placed, key=lambda one: one[0]):
                again = place[2] in seen
                seen.add(place[2])
                if again or (after and place <= after):
                    continue
                unnamed = event.get("unnamed", False)
                rule = self.world.policy.event(event["name"], unnamed=unnamed)
                if rule is None:
                    continue  # named once, and no longer
                shown = "(unnamed)" if unnamed else event["name"]
                if self._may(f"event:{shown}", rule.purposes, event.get("by", home)):
                    yield place, event

    def _shown(self, event: Json) -> Json:
        """An event without what of it the policy named once, and no longer."""
        policy, unnamed = self.world.policy, event.get("unnamed", False)
        rule = policy.event(event["name"], unnamed=unnamed)
        named = rule.properties if rule else frozenset()
        return {
            "type": event["type"],
            "event": event["name"],
            "messageId": event["id"],
            "at": event["at"],
            "timestamp": _iso(event["at"]),
            "properties": _of(event.get("properties", {}), named),
            "context": _of(event.get("context", {}), policy.context_kept),
            "source": event["source"],
        } | ({"unnamed": True} if unnamed else {})

    def _may(self, name: str, purposes: frozenset[str], signal_of: str) -> bool:
        policy = self.world.policy
        rule = policy.purposes[self.purpose]
        if rule.sees_everything:
            return True
        if self.purpose not in purposes:
            names = ", ".join(sorted(purposes)) or "those who answer privacy requests"
            because = f"the policy keeps it for {names}, not for {self.purpose}"
            fix = "read it for one of these purposes, or change the policy"
            refused = Verdict(False, because, fix)
        else:
            signals = self._signals(signal_of)
            refused = verdict(policy, self.purpose, self.profile.choices, signals)
            if refused.allowed:
                return True
        self._withheld[name] = refused
        return False

    def _signals(self, idkey: str) -> Signals:
        """What a device said, also one that is not of this profile any more: of what it sent, its
        denial holds."""
        if idkey in self.members:
            signals: Signals = self.members[idkey].node["signals"]
            return signals
        if idkey not in self._strangers:
            row = self.world.rows.get([node_key(idkey)]).get(node_key(idkey))
            self._strangers[idkey] = row["signals"] if row else {}
        return self._strangers[idkey]

    def _verbose(self, name: str, fact: list[Any]) -> Json:
        attribute = self.world.policy.traits[name]
        return {
            "value": fact[0],
            "time": fact[1],
            "source": fact[2],
            "purposes": sorted(attribute.purposes),
            "expires": max(
                member.ends[name]
                for member in self.members.values()
                if member.traits.get(name) == fact
            ),
            **self._accuracy(fact, attribute),
        }

    def _accuracy(self, fact: list[Any], attribute: Attribute) -> Json:
        """When a proven source last said so, and whether that is too long ago.

        Whoever says the same again confirms it, because the latest fact is the one that is kept.
        (Accuracy: GDPR Article 5(1)(d))
        """
        verified = fact[1] if fact[4] else None
        if attribute.verify_within is None:
            return {"verified_at": verified, "stale": False}
        until = (verified or 0) / 1000 + attribute.verify_within * DAY
        return {"verified_at": verified, "stale": until <= self.world.clock()}

    def named(self, idkey: str) -> Json:
        """A member by its type, and its value where the purpose may know it."""
        member = self.members.get(idkey)
        if member is None:
            return {"type": "(outside this profile)", "value": None}
        return {"type": member.type, "value": member.value if self._may_know(member) else None}

    def _may_know(self, member: Member) -> bool:
        purposes = self.world.policy.identifier(member.type).purposes
        return self._may(f"identifier:{member.type}", purposes, member.idkey)


def view(world: World, one: Identifier | None, purpose: str) -> View:
    """The person of an identifier, read for a purpose.

    Raises NotFound alike, after the same store calls, for the unknown, the erased and the fenced.
    """
    if purpose not in world.policy.purposes:
        named = ", ".join(sorted(world.policy.purposes))
        raise Refused("unknown_purpose", f"The policy's purposes are: {named}.")
    idkey = one.key if one else "-"
    found = world.rows.get([keyring.key_of(idkey), node_key(idkey)])
    fenced = keyring.state_of(found.get(keyring.key_of(idkey))).mode
    node = found.get(node_key(idkey))
    profile_id = node["profile"] if node and not fenced else "-"
    address = profile_key(profile_id)
    row = world.rows.get([address]).get(address)
    if row is None or row.get("state") or idkey not in row["members"]:
        raise NotFound("not_found", "There is no profile with this identifier.")
    profile = profile_of(profile_id, row)
    members = _members(world, profile)
    if idkey not in members:
        raise NotFound("not_found", "There is no profile with this identifier.")
    return View(world, purpose, profile, members, idkey)


def limited(limit: str | None) -> int:
    """A page size from a query string."""
    if limit is None:
        return LISTED
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= MOST_LISTED:
        raise Refused("bad_limit", f"`limit` is a whole number from 1 to {MOST_LISTED}.")
    return int(limit)


def _members(world: World, profile: Profile) -> dict[str, Member]:
    keys = [
        make(idkey) for idkey in profile.members for make in (keyring.key_of, node_key, traits_key)
    ]
    found = world.rows.get(keys)
    members = {}
    for idkey, type_ in profile.members.items():
        state = keyring.state_of(found.get(keyring.key_of(idkey)))
        node, row = found.get(node_key(idkey)), found.get(traits_key(idkey))
        if state.mode or node is None or row is None or node["profile"] != profile.id:
            continue
        opened = world.vault.open(state.salt, row["data"], row["pk"])
        if opened is not None:
            ends = traits.ends_at_read(world.policy, opened)
            members[idkey] = Member(
                idkey,
                type_,
                state.salt,
                node,
                opened["value"],
                traits.living(opened["traits"], ends, world.clock()),
                ends,
            )
    return members


def _name(event: Json) -> str:
    """Tells an event from all others; a messageId holds no line feed."""
    return "\n".join([event["id"], event["source"], str(event["proven"])])


def _of(object_: Json, names: frozenset[str] | None) -> Json:
    return {name: object_[name] for name in object_ if names is None or name in names}


def _iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _day(day: int) -> str:
    return _iso(day * DAY * 1000)[:10]


def _bounded(number: object) -> bool:
    return isinstance(number, int) and -(10**14) < number <= 0


def _encoded(cursor: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(cursor).encode()).decode().rstrip("=")


def _decoded(cursor: str | None) -> list[Any] | None:
    if cursor is None:
        return None
    try:
        day, at, id_ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, RecursionError):
        day = at = id_ = None
    if not (_bounded(day) and _bounded(at) and isinstance(id_, str)):
        raise Refused("bad_cursor", "`cursor` is not one that this API gave.")
    return [day, at, id_]
