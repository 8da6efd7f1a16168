"""Collection: what a client sent becomes one message for the queue, and an honest answer.

Pure. An event that cannot be taken is refused by itself; what the policy does not name is stripped
before it reaches the queue; both are told in the answer, with the fix. The wire format is Segment's
(https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/).
"""

import base64
import hashlib
import json
import re
import uuid
import zlib
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from candor import minimise, proofs
from candor.credentials import Source
from candor.errors import Refused
from candor.identifiers import LONGEST, normal_form
from candor.naming import Naming, Pairs, mapping
from candor.outcomes import Where, tally
from candor.policy import DAY, UNNAMED, UNNAMED_EVENT, Attribute, Policy
from candor.preferences import SHAPE, Heard, Preferences
from candor.strict_json import read_json

MOST_BYTES = 500_000
"""Of a request's body, decompressed."""
MOST_MEMBERS = 64
"""Of a gzipped body. What is behind a member is copied for each."""
MOST_EVENTS = 2_500
MOST_EVENT_BYTES = 32_768
MOST_TRAIT_BYTES = 4_096
MOST_MERGED_BYTES = 4_000_000
"""Of a batch's events together, after its shared context was merged into each."""
MOST_LEVELS = 64
MOST_TOLD = 200
"""Entries of each list in an answer, which Lambda limits to 6 MB."""
NOTED_NAME = 64
"""Characters of a name that an answer repeats."""

TYPES = frozenset({"identify", "track", "page", "screen", "group", "alias"})
PATHS = {
    **{name: name for name in (*TYPES, "batch")},
    "import": "batch",
    **{name[0]: name for name in (*TYPES - {"screen"}, "batch")},
    "s": "screen",
}
"""The last part of a collection path to the type of its events; `batch` holds many."""

_FIELDS = frozenset(
    {
        *("type", "event", "userId", "anonymousId", "previousId", "messageId", "timestamp"),
        *("originalTimestamp", "sentAt", "receivedAt", "context", "integrations", "properties"),
        *("traits", "channel", "version", "writeKey", "_metadata"),
    }
)
_AS_PROPERTIES = {
    "page": ("name", "category"),
    "screen": ("name", "category"),
    "group": ("groupId",),
}
"""Fields of a call that are kept as properties of its event."""
WITHOUT_PROPERTIES = ("identify", "alias")
"""Types of events whose properties nothing keeps, whatever the policy names."""
PREFERENCES_UPDATED = "Segment Consent Preference Updated"
"""The track event by which Segment's consent tools tell of a choice that a person just made
(https://segment.com/docs/privacy/consent-management/consent-in-unify/)."""
_CHOICE_ALONE = Attribute(frozenset(), UNNAMED, frozenset())
"""It need not be named by the policy: then its choice is recorded, and nothing else of it kept."""
_OF_ONE = ("index", "messageId", "name")
"""What differs between notes that say the same."""
_GZIP = 16 + zlib.MAX_WBITS
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffd]")
_written = json.JSONEncoder(separators=(",", ":")).encode

Json = dict[str, Any]


@dataclass(slots=True)
class Collected:
    """What became of one request. `events` go to the queue; the rest is told to the sender."""

    events: list[Json] = field(default_factory=list)
    refused: list[Json] = field(default_factory=list)
    stripped: list[Json] = field(default_factory=list)
    notes: list[Json] = field(default_factory=list)
    names: set[Where] = field(default_factory=set)
    """What the policy does not name."""
    all_named: bool = True
    """Whether the sender gave each event an id, so that a retry can be told from a new request."""

    def answer(self, most: int = MOST_TOLD) -> Json:
        """What the sender is told; `untold` counts what a list of more than `most` leaves out."""
        lists = {"refused": self.refused, "stripped": self.stripped, "notes": self._notes()}
        told = {name: said[:most] for name, said in lists.items() if said}
        untold = {n: len(said) - most for n, said in lists.items() if len(said) > most}
        return {"success": True, **told} | ({"untold": untold} if untold else {})

    def _notes(self) -> list[Json]:
        """What holds alike for many names and events, once: with `names` and `indexes`."""
        told: dict[str, tuple[Json, dict[str, None], dict[int, None]]] = {}
        for note in self.notes:
            alike = {name: note[name] for name in note if name not in _OF_ONE}
            _, names, indexes = told.setdefault(_written(alike), (alike, {}, {}))
            indexes[note["index"]] = None
            if "name" in note:
                names[note["name"]] = None
        return [
            alike | ({"names": list(names)} if names else {}) | {"indexes": list(indexes)}
            for alike, names, indexes in told.values()
        ]

    def counts(self) -> dict[str, int]:
        """What was not taken, as `outcomes` counts it."""
        kinds = {"refused": self.refused, "stripped": self.stripped}
        return tally([(kind, said["code"]) for kind, list_ in kinds.items() for said in list_])


class _Refusal(Exception):
    """One event cannot be taken."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def parse(body: bytes) -> Json:
    """The JSON object of a request's body, gzipped or not. Raises Refused, whatever the bytes."""
    if body[:2] == b"\x1f\x8b":
        body = _gunzip(body)
    if body[:5] == b"data=":
        body = _of_form(body)
    if len(body) > MOST_BYTES:
        raise Refused("body_too_large", f"A body may have {MOST_BYTES} bytes, decompressed.")
    parsed = read_json(body)
    if not isinstance(parsed, dict):
        raise Refused("bad_json", "The body is not a JSON object.")
    return parsed


def collect(
    body: Json,
    kind: str,
    policy: Policy,
    now: float,
    *,
    keep_unnamed: bool,
    sender: Source | None = None,
    gpc: bool = False,
) -> Collected:
    """Validate, strip and date the events of one request.

    `kind` is a value of PATHS; `now` is when the request was received, in epoch seconds;
    `keep_unnamed` lets events through that the catalogue does not name, for one day, flagged;
    `sender` is whose identity proofs are checked; `gpc` says that the browser sent Global Privacy
    Control. Raises Refused where the request as a whole cannot be
    taken.
    """
    reading = _Reading(body, policy, now, keep_unnamed, sender, gpc)
    collected, merged = reading.collected, 0
    ids: dict[str, Json] = {}
    for index, sent in enumerate(_events(body, kind)):
        reading.index, reading.id = index, None
        id_ = _own_id(sent)
        collected.all_named = collected.all_named and id_ is not None
        try:
            if not isinstance(sent, dict):
                raise _Refusal("not_an_object", "An event is a JSON object.")
            size = _size(sent)
            merged += size
            if size > MOST_EVENT_BYTES:
                raise _Refusal("event_too_large", f"An event may have {MOST_EVENT_BYTES} bytes.")
            if merged > MOST_MERGED_BYTES:
                text = f"A batch may have {MOST_MERGED_BYTES} bytes, its context in each event."
                raise _Refusal("batch_too_large", text)
            event = reading.event(sent, size)
        except _Refusal as refusal:
            collected.refused.append(reading.said(refusal.code, message=refusal.message))
        else:
            if gpc:
                event["gpc"] = True
            if id_ is not None and ids.setdefault(id_, sent) != sent:
                reading.note_duplicate()
            collected.events.append(event)
            collected.stripped += reading.stripped
            collected.notes += reading.notes
    return collected


def message(collected: Collected, body: Json, source: Source, now: float) -> Json:
    """What goes to the queue: the events, who sent them when, and what was not taken.

    That is to be counted. `once` names what is counted: a request that is sent again says the same
    where it can be told from a new one, so that neither hides the other.
    """
    told = _envelope(collected.events, source, now)
    if counts := collected.counts():
        once = _content(body) if collected.all_named else uuid.uuid4().hex
        told |= {"counts": counts, "names": sorted(collected.names), "once": once}
    return told


def refusal(code: str, source: Source, now: float) -> Json:
    """What goes to the queue where a request is refused as a whole: that it is to be counted."""
    told = {"counts": {f"request_refused:{code}": 1}, "names": [], "once": uuid.uuid4().hex}
    return _envelope([], source, now) | told


def _envelope(events: list[Json], source: Source, now: float) -> Json:
    sender = {"id": source.id, "kind": source.kind, "trust": source.trust}
    return {"v": 1, "received": int(now), "source": sender, "events": events}


def _events(body: Json, kind: str) -> Iterator[Any]:
    """The events of a request, with the batch's own context and integrations merged into each."""
    if kind != "batch":
        yield {**body, "type": kind}
        return
    batch = body.get("batch")
    if not isinstance(batch, list):
        raise Refused("no_batch", "`batch` is not a list of events.")
    if len(batch) > MOST_EVENTS:
        raise Refused("too_many_events", f"A batch may have {MOST_EVENTS} events.")
    shared = {
        name: body[name] for name in ("context", "integrations") if isinstance(body.get(name), dict)
    }
    for sent in batch:
        if isinstance(sent, dict):
            own = {
                name: {**value, **(sent.get(name) or {})}
                for name, value in shared.items()
                if isinstance(sent.get(name) or {}, dict)
            }
            yield {**sent, **own}
        else:
            yield sent


class _Reading:
    """Reads the events of a request one by one, noting what it strips."""

    def __init__(
        self,
        body: Json,
        policy: Policy,
        now: float,
        keep_unnamed: bool,
        sender: Source | None,
        gpc: bool,
    ) -> None:
        self.policy, self.now, self.sender, self.gpc = policy, now, sender, gpc
        self.keep_unnamed = keep_unnamed
        self.batch_sent_at = body.get("sentAt")
        self.collected = Collected()
        self.index, self.id = 0, cast("str | None", None)
        self.stripped: list[Json] = []
        self.notes: list[Json] = []
        self._naming = Naming(policy)
        self._preferences = Preferences(policy)
        self._needing: dict[frozenset[str], list[str]] = {}

    def event(self, sent: Json, size: int) -> Json:
        """One event as the queue gets it. Raises _Refusal."""
        self.stripped, self.notes = [], []
        self.id = message_id = _message_id(sent, self.index)
        type_ = sent.get("type")
        if not isinstance(type_, str) or type_ not in TYPES:
            raise _Refusal("unknown_type", f"`type` is one of {', '.join(sorted(TYPES))}.")
        name = self._name(sent, type_)
        chosen = type_ == "track" and name == PREFERENCES_UPDATED
        rule = self.policy.events.get(name, _CHOICE_ALONE if chosen else UNNAMED_EVENT)
        context = _object(sent, "context")
        ids, also, verified = self._identifiers(sent, type_, context)
        # A choice counts however long it waited.
        days = self.policy.records["consent"] if chosen else self.policy.retention[rule.retention]
        at, day = self._times(sent, days)
        if self.policy.due(days, day * DAY) <= self.now:
            raise _Refusal("too_old", f"Events of class {rule.retention} this old are not kept.")
        self._strip(sent, _FIELDS.union(_AS_PROPERTIES.get(type_, ())), "fields", "")
        self._strip(context, self.policy.context_known, "context", "")
        said = self._consent(context)
        consent = said.purposes
        raw = sent.get("originalTimestamp") or sent.get("timestamp")
        event: Json = {
            "type": type_,
            "name": name,
            "id": message_id,
            "at": at,
            "day": day,
            "raw": raw if isinstance(raw, str) else None,
            "size": size - len(_written(sent.get("sentAt"))),  # a retry has another
            "ids": ids,
            "properties": self._properties(sent, type_, name, rule.properties),
            "traits": self._traits(sent, type_, context),
            "context": self._kept(context),
            "consent": consent,
        }
        if rule is UNNAMED_EVENT:
            event["unnamed"] = True
        if said.mechanisms:
            event["mechanisms"] = said.mechanisms
        if verified:
            event["trust"] = "verified"
        heard = self._heard(consent, ids, proven="trust" in event)
        if chosen:
            event["choice"] = True
            self._note_choice(consent, ids, proven="trust" in event)
        self._note_consent(name, rule.purposes, heard)
        for trait in event["traits"]:
            self._note_consent(f"traits.{trait}", self.policy.traits[trait].purposes, heard)
        if type_ == "alias" and isinstance(sent.get("previousId"), str):
            # It may have been a user's id: then that user's fence counts too.
            previous = normal_form(self.policy, "user_id", sent["previousId"])
            also += [["user_id", previous]] if previous else []
        if also:
            event["also"] = also
        return event

    def said(self, code: str, **more: Any) -> Json:
        """One entry of an answer, about the event that is being read."""
        return {"index": self.index, "messageId": self.id, "code": code, **more}

    def note_duplicate(self) -> None:
        """Say that an event's id was that of another one in its batch."""
        message = "Another event of this batch has its messageId; only one of them will be shown."
        fix = "Give every event a messageId of its own, such as a UUID."
        self.notes.append(self.said("duplicate_message_id", message=message, fix=fix))

    def _name(self, sent: Json, type_: str) -> str:
        if type_ != "track":
            return type_
        name = sent.get("event")
        if not isinstance(name, str) or not name.strip():
            raise _Refusal("no_event_name", "A track call names its `event`.")
        name = name.strip()
        if (name in self.policy.events and name not in TYPES) or name == PREFERENCES_UPDATED:
            return name
        if _UNSAFE.search(name):
            raise _Refusal(
                "bad_event_name", "An event's name holds no control or broken characters."
            )
        if name in TYPES:
            text = f"{name!r} is a call of its own, and no track call's event: give it another."
            raise _Refusal("bad_event_name", text)
        days = self.policy.retention[UNNAMED]
        shown = _shown(name)
        fix = f"Add {shown!r} under `events` in policy.yaml, with purposes and retention."
        self.collected.names.add(("events", "", name))
        if not self.keep_unnamed:
            raise _Refusal("not_in_policy", f"The policy names no event {shown!r}. {fix}")
        kept = f"{days} day under purpose service (local configuration only)"
        self.notes.append(self.said("not_in_policy", name=shown, kept=kept, fix=fix))
        return name

    def _identifiers(self, sent: Json, type_: str, context: Json) -> tuple[Pairs, Pairs, bool]:
        """Whom an event names, whom it must not be of besides, and whether that is proven."""
        named = self._naming.read(sent, type_, context, self._tell_external)
        if not named:
            raise _Refusal(
                "no_identifier", "An event carries a `userId` or `anonymousId` that names somebody."
            )
        self._note_ignored(sent, {name for name, _ in named})
        verified = self._proves(context.get("identityProof"), named, sent.get("userId"))
        if verified or self.sender is None or self.sender.trust != "client":
            return named, [], verified
        ids, unproven = self._naming.apart(named)
        fix = "Send it from the shop's server, or with context.identityProof."
        types = list(dict.fromkeys(type_ for type_, _ in unproven))
        if not ids:
            message = f"It names somebody by {', '.join(types)} only, which needs a proof. {fix}"
            raise _Refusal("no_identifier", message)
        for name in types:
            message = "Without a proof it names nobody: it is left out."
            self.notes.append(self.said("unproven_identifier", name=name, message=message, fix=fix))
        # The event may still hold what belongs to them: whoever of them is erased keeps it out.
        return ids, unproven, False

    def _note_ignored(self, sent: Json, types: AbstractSet[str]) -> None:
        """Say which id of the event names nobody, where others of these types do."""
        for field_, type_ in (("userId", "user_id"), ("anonymousId", "anonymous_id")):
            value = sent.get(field_)
            if type_ in types or value is None or value == "":
                continue
            message = f"{_fault_of_id(value)} The event counts without it."
            fix = "Send an id of your own for one person or device, or none."
            self.notes.append(
                self.said("ignored_identifier", name=field_, message=message, fix=fix)
            )

    def _times(self, sent: Json, days: int) -> tuple[int, int]:
        """When it happened by our clock, in epoch milliseconds, and its UTC day by the client's.

        The first corrects a wrong client clock: receivedAt − (sentAt − originalTimestamp), as
        Segment does. However wrong the clock, both were read from it, so their difference is how
        long the event waited: a day less than nothing, or more than the `days` that it is kept, is
        no such wait, and `sentAt` is not believed. Neither time is ever in the future.
        """
        stated = sent.get("originalTimestamp") or sent.get("timestamp")
        if stated is None:
            return int(self.now * 1000), int(self.now // DAY)
        happened = _epoch(stated)
        if happened is None:
            raise _Refusal("bad_timestamp", "`timestamp` is not an ISO 8601 time.")
        corrected, stated = happened, sent.get("sentAt") or self.batch_sent_at
        sent_at = _epoch(stated)
        if sent_at is not None and -DAY <= sent_at - happened <= days * DAY:
            corrected = self.now - (sent_at - happened)
        elif stated:
            message = "`sentAt` is no time that this event can have been sent at, and was ignored."
            fix = "Send it as an ISO 8601 time, by the same clock as `timestamp`."
            self.notes.append(self.said("bad_sent_at", message=message, fix=fix))
        corrected = max(0.0, min(corrected, self.now))
        return int(corrected * 1000), int(min(happened, self.now) // DAY)

    def _properties(
        self, sent: Json, type_: str, name: str, allowed: frozenset[str] | None
    ) -> Json:
        properties = _object(sent, "properties")
        if type_ in _AS_PROPERTIES:
            own = {key: sent[key] for key in _AS_PROPERTIES[type_] if sent.get(key)}
            properties = {**own, **properties}
        if allowed is None:
            return properties
        if self._strip(properties, allowed, "properties", name):
            return {key: value for key, value in properties.items() if key in allowed}
        return properties

    def _traits(self, sent: Json, type_: str, context: Json) -> Json:
        traits = mapping(context.get("traits"))
        if not isinstance(context.get("traits"), dict | None):
            fix = "Send a JSON object."
            self.stripped.append(self.said("not_an_object", name="context.traits", fix=fix))
        own = _object(sent, "traits")
        if type_ == "identify":
            traits = {**traits, **own}
        elif own:
            fix = "Traits are a person's, and are kept from an identify call."
            for trait in own:
                self._tell_stripped(f"traits.{_shown(trait)}", fix)
        if not traits:
            return {}
        self._strip(traits, self.policy.traits.keys(), "traits", "")
        return {
            key: value
            for key, value in traits.items()
            if key in self.policy.traits and self._fits(key, value)
        }

    def _fits(self, trait: str, value: Any) -> bool:
        """Whether a trait's value is small enough; all of an identifier's traits are one row."""
        if len(json.dumps(value)) <= MOST_TRAIT_BYTES:
            return True
        fix = f"A trait's value may have {MOST_TRAIT_BYTES} bytes as JSON."
        self.stripped.append(self.said("value_too_large", name=f"traits.{trait}", fix=fix))
        return False

    def _kept(self, context: Json) -> Json:
        """What is kept of a context: least of all what says who or where somebody is."""
        kept = {name: context[name] for name in context if name in self.policy.context_kept}
        if "ip" in kept:
            kept["ip"] = minimise.ip(kept["ip"], self.policy.minimise_ip)
        if "userAgent" in kept:
            how = self.policy.minimise_user_agent
            kept["userAgent"] = minimise.user_agent(kept["userAgent"], how)
        return {name: value for name, value in kept.items() if value is not None}

    def _consent(self, context: Json) -> Heard:
        """What `context.consent` and RudderStack's `context.consentManagement` say."""
        stated, managed = context.get("consent"), context.get("consentManagement")
        if stated is None and managed is None:
            return Heard()
        if not isinstance(stated, dict | None):
            message = "It is not a JSON object, and grants nothing."
            self.notes.append(self.said("bad_consent", name="consent", message=message, fix=SHAPE))
        said = (*mapping(stated).items(), ("consentManagement", managed))
        heard = self._preferences.read(said)
        for one in heard.notes:
            told = self.said(one.code, name=_shown(one.name), message=one.message, fix=one.fix)
            self.notes.append(told)
        return heard

    def _note_choice(
        self, consent: Mapping[str, bool], ids: list[list[str]], *, proven: bool
    ) -> None:
        """Say what of an explicit choice will not count."""
        if not consent:
            message = "It says nothing of consent that counts, and changes nothing."
            self.notes.append(self.said("nothing_chosen", message=message, fix=SHAPE))
        elif any(consent.values()) and self._grants_nothing(ids, proven=proven):
            message = "From this source a grant counts for a device."
            fix = "Send its `anonymousId`, or send it from the shop's server."
            self.notes.append(self.said("device_required", message=message, fix=fix))

    def _heard(
        self, consent: Mapping[str, bool], ids: list[list[str]], *, proven: bool
    ) -> dict[str, bool]:
        """The choices that will count: a public key grants nothing for a person that it names, and
        nothing that Global Privacy Control denies."""
        if self._grants_nothing(ids, proven=proven):
            return {}
        return {p: given for p, given in consent.items() if not (self.gpc and p in self.policy.gpc)}

    def _grants_nothing(self, ids: list[list[str]], *, proven: bool) -> bool:
        rules = self.policy.identifiers
        unproven = self.sender is not None and self.sender.trust == "client" and not proven
        return unproven and all(rules[name].known for name, _ in ids)

    def _proves(self, proof: object, ids: list[list[str]], stated: object) -> bool:
        """Whether the event is beyond doubt its user's, whose id is `stated`; tells why not."""
        if proof is None or self.sender is None or self.sender.trust != "client":
            return False  # a server's word needs no proof
        spellings = {value for name, value in ids if name == "user_id"}
        if spellings and isinstance(stated, str):
            spellings.add(stated)
        fault = proofs.fault(proof, self.sender.secret, spellings, self.now)
        if fault:
            note = f"{fault} The event counts as unproven."
            fix = "Let the shop's server make it for this user with the source's secret."
            if self.sender.secret is None:
                fix = f"Give the source one: `candor keys secret {self.sender.id}`."
            self.notes.append(self.said("bad_identity_proof", message=note, fix=fix))
        return not fault

    def _note_consent(
        self, name: str, purposes: frozenset[str], consent: Mapping[str, bool]
    ) -> None:
        """Say what will be kept only if a grant is on record."""
        needing = self._needing.get(purposes)
        if needing is None:
            basis = {purpose: self.policy.purposes[purpose].basis for purpose in purposes}
            all_ = "consent" in basis.values() and len(set(basis.values())) == 1
            needing = self._needing[purposes] = sorted(purposes) if all_ else []
        if not needing or any(consent.get(purpose) for purpose in needing):
            return
        fix = "Send context.consent.categoryPreferences, or POST /v1/consents."
        self.notes.append(
            self.said(
                "no_consent",
                name=_shown(name),
                message="Kept only if one of these purposes is granted.",
                purposes=needing,
                fix=fix,
            )
        )

    def _strip(self, sent: Json, known: AbstractSet[str], where: str, event: str) -> bool:
        """Note what the policy does not name; whether there was any, an empty one included."""
        if sent.keys() <= known:
            return False
        place = f"events.{event!r}.properties" if event else where
        place = "properties or traits" if place == "fields" else place
        fix = f"Add it under {place} in policy.yaml."
        kept = event not in WITHOUT_PROPERTIES
        if not kept:
            fix = f"Send it as a trait of an identify call: an {event} call keeps no properties."
        prefix = "" if where == "fields" else f"{where}."
        for name in sent:
            if name not in known and sent[name] is not None:
                self._tell_stripped(prefix + _shown(name), fix)
                if kept:
                    self.collected.names.add((where, event, name))
        return True

    def _tell_stripped(self, name: str, fix: str) -> None:
        self.stripped.append(self.said("not_in_policy", name=name, fix=fix))

    def _tell_external(self, code: str, name: str, fix: str) -> None:
        name = ".".join(filter(None, ("context.externalIds", _shown(name))))
        self.stripped.append(self.said(code, name=name, fix=fix))


def _object(sent: Json, name: str) -> Json:
    value = sent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _Refusal("not_an_object", f"`{name}` is not a JSON object.")
    return value


def _shown(name: str) -> str:
    return _UNSAFE.sub("", name)[:NOTED_NAME]


def _fault_of_id(value: object) -> str:
    """Why a value that `normal_form` made nothing of names nobody, without the value."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return "It is neither text nor a whole number."
    if len(str(value).strip()) > LONGEST:
        return f"It has more than {LONGEST} characters."
    if _UNSAFE.search(str(value)) or not str(value).strip():
        return "It is blank, or holds control or broken characters."
    return "The policy says that such a value never names anybody."


def _own_id(sent: object) -> str | None:
    """The id that the sender gave an event, if it is one."""
    given = sent.get("messageId") if isinstance(sent, dict) else None
    fits = isinstance(given, str) and 0 < len(given) <= 256 and not _UNSAFE.search(given)
    return given if fits else None


def _message_id(sent: Json, index: int) -> str:
    """The client's; else a hash of the event and its place, if it is dated; else a random one."""
    if (given := _own_id(sent)) is not None:
        return given
    if sent.get("timestamp") or sent.get("originalTimestamp"):
        own = {name: value for name, value in sent.items() if name != "messageId"}
        return f"h-{_content({'index': index, 'own': _without_sent_at(own)})}"
    return str(uuid.uuid4())


def _content(body: Json) -> str:
    """A hash of what was sent, and of nothing that a retry changes."""
    text = json.dumps(_without_sent_at(body), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _without_sent_at(sent: Json) -> Json:
    return {name: value for name, value in sent.items() if name != "sentAt"}


def _epoch(value: object) -> float | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(moment.timestamp(), 0.0)
    except (ValueError, OverflowError):
        return None


def _size(sent: Json) -> int:
    """Bytes as JSON. Raises _Refusal where it is nested too deeply to be handled safely later."""
    try:
        text = _written(sent)
    except RecursionError:
        text = "{" * (MOST_LEVELS + 1)
    if text.count("{") + text.count("[") > MOST_LEVELS and _levels(sent) > MOST_LEVELS:
        raise _Refusal("too_deep", f"An event may be nested {MOST_LEVELS} levels deep.")
    return len(text)


def _levels(value: Any) -> int:
    """How deep a value is nested, counted no further than it matters."""
    levels, layer = 0, [value]
    while layer and levels <= MOST_LEVELS:
        inner = (one.values() if isinstance(one, dict) else one for one in layer)
        layer = [v for values in inner for v in values if isinstance(v, dict | list)]
        levels += 1
    return levels


def _of_form(body: bytes) -> bytes:
    """What a form or a pixel carries as `data`: JSON, or its base64."""
    text = unquote_to_bytes(body[5:].partition(b"&")[0].replace(b"+", b" ")).strip()
    if text[:1] == b"{":
        return text
    # Base64's own plus signs may have come unescaped.
    text = text.replace(b" ", b"+").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise Refused("bad_data", "`data` is neither JSON nor base64.") from None


def _gunzip(body: bytes) -> bytes:
    """What all members hold together (RFC 1952, section 2.2), or more than a body may have."""
    plain = b""
    for _ in range(MOST_MEMBERS):
        inflate = zlib.decompressobj(_GZIP)
        try:
            plain += inflate.decompress(body, MOST_BYTES + 1 - len(plain))
        except zlib.error:
            raise Refused("bad_gzip", "The body is not valid gzip.") from None
        if len(plain) > MOST_BYTES:
            return plain
        if not inflate.eof:
            raise Refused("bad_gzip", "The gzipped body is cut short.")
        body = inflate.unused_data
        if not body:
            return plain
    raise Refused("bad_gzip", f"A gzipped body may have {MOST_MEMBERS} members.")
