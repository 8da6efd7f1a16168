"""Collection: what a client sent becomes one message for the queue, and an honest answer.

Pure. An event that cannot be taken is refused by itself; what the policy does not name is stripped
before it reaches the queue; both are told in the answer, with the fix. The wire format is Segment's
(https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/).
"""

import hashlib
import json
import re
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from candor.credentials import Source
from candor.errors import Refused
from candor.identifiers import normal_form
from candor.policy import DAY, UNNAMED, UNNAMED_EVENT, Policy
from candor.strict_json import read_json

MOST_BYTES = 500_000
"""Of a request's body, decompressed."""
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
_GZIP = 16 + zlib.MAX_WBITS
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffd]")

Json = dict[str, Any]


@dataclass(slots=True)
class Collected:
    """What became of one request. `events` go to the queue; the rest is told to the sender."""

    events: list[Json] = field(default_factory=list)
    refused: list[Json] = field(default_factory=list)
    stripped: list[Json] = field(default_factory=list)
    notes: list[Json] = field(default_factory=list)

    def answer(self) -> Json:
        """What the sender is told; `untold` counts what a long list leaves out."""
        lists = {"refused": self.refused, "stripped": self.stripped, "notes": self.notes}
        told = {name: said[:MOST_TOLD] for name, said in lists.items() if said}
        untold = {n: len(said) - MOST_TOLD for n, said in lists.items() if len(said) > MOST_TOLD}
        return {"success": True, **told} | ({"untold": untold} if untold else {})


class _Refusal(Exception):
    """One event cannot be taken."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def parse(body: bytes) -> Json:
    """The JSON object of a request's body, gzipped or not. Raises Refused, whatever the bytes."""
    if body[:2] == b"\x1f\x8b":
        body = _gunzip(body)
    if len(body) > MOST_BYTES:
        raise Refused("body_too_large", f"A body may have {MOST_BYTES} bytes, decompressed.")
    parsed = read_json(body)
    if not isinstance(parsed, dict):
        raise Refused("bad_json", "The body is not a JSON object.")
    return parsed


def collect(body: Json, kind: str, policy: Policy, now: float, *, keep_unnamed: bool) -> Collected:
    """Validate, strip and date the events of one request.

    `kind` is a value of PATHS; `now` is when the request was received, in epoch seconds;
    `keep_unnamed` lets events through that the catalogue does not name, for one day, flagged.
    Raises Refused where the request as a whole cannot be taken.
    """
    collected = Collected()
    merged = 0
    for index, sent in enumerate(_events(body, kind)):
        message_id = None
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
            message_id = _message_id(sent, index)
            reading = _Reading(sent, message_id, index, policy, now, keep_unnamed)
            event = reading.event(body.get("sentAt"))
        except _Refusal as refusal:
            said = _said(index, message_id, refusal.code, message=refusal.message)
            collected.refused.append(said)
        else:
            collected.events.append(event)
            collected.stripped += reading.stripped
            collected.notes += reading.notes
    return collected


def message(events: list[Json], source: Source, now: float) -> Json:
    """What goes to the queue: the events, and who sent them when."""
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
    """Reads one event, noting what it strips."""

    def __init__(
        self, sent: Json, message_id: str, index: int, policy: Policy, now: float, keep: bool
    ) -> None:
        self.sent, self.id, self.index, self.policy, self.now = sent, message_id, index, policy, now
        self.keep_unnamed = keep
        self.stripped: list[Json] = []
        self.notes: list[Json] = []

    def event(self, batch_sent_at: object) -> Json:
        type_ = self.sent.get("type")
        if not isinstance(type_, str) or type_ not in TYPES:
            raise _Refusal("unknown_type", f"`type` is one of {', '.join(sorted(TYPES))}.")
        name = self._name(type_)
        rule = self.policy.events.get(name, UNNAMED_EVENT)
        context = self._object("context")
        ids = self._identifiers(type_, context)
        at, day = self._times(batch_sent_at)
        if self.policy.due(self.policy.retention[rule.retention], day * DAY) <= self.now:
            raise _Refusal("too_old", f"Events of class {rule.retention} this old are not kept.")
        self._strip_unknown(self.sent, _FIELDS | {*_AS_PROPERTIES.get(type_, ())}, "")
        self._strip_unknown(context, self.policy.context_known, "context")
        consent = self._consent(context)
        event: Json = {
            "type": type_,
            "name": name,
            "id": self.id,
            "at": at,
            "day": day,
            "raw": self._text(self.sent.get("originalTimestamp") or self.sent.get("timestamp")),
            "ids": ids,
            "properties": self._properties(type_, name, rule.properties),
            "traits": self._traits(type_, context),
            "context": {k: v for k, v in context.items() if k in self.policy.context_kept},
            "consent": consent,
        }
        if rule is UNNAMED_EVENT:
            event["unnamed"] = True
        self._note_consent(name, rule.purposes, consent)
        for trait in event["traits"]:
            self._note_consent(f"traits.{trait}", self.policy.traits[trait].purposes, consent)
        if type_ == "alias" and isinstance(self.sent.get("previousId"), str):
            # It may have been a user's id: then that user's fence counts too.
            previous = normal_form(self.policy, "user_id", self.sent["previousId"])
            event["also"] = [["user_id", previous]] if previous else []
        return event

    def _name(self, type_: str) -> str:
        if type_ != "track":
            return type_
        name = self.sent.get("event")
        if not isinstance(name, str) or not name.strip():
            raise _Refusal("no_event_name", "A track call names its `event`.")
        name = name.strip()
        if _UNSAFE.search(name):
            raise _Refusal(
                "bad_event_name", "An event's name holds no control or broken characters."
            )
        if name in self.policy.events and name not in TYPES:
            return name
        days = self.policy.retention[UNNAMED]
        shown = _shown(name)
        fix = f"Add {shown!r} under `events` in policy.yaml, with purposes and retention."
        if not self.keep_unnamed or name in TYPES:
            raise _Refusal("not_in_policy", f"The policy names no event {shown!r}. {fix}")
        kept = f"{days} day under purpose service (local configuration only)"
        self.notes.append(
            _said(self.index, self.id, "not_in_policy", name=shown, kept=kept, fix=fix)
        )
        return name

    def _identifiers(self, type_: str, context: Json) -> list[list[str]]:
        """Pairs of type and normalised value, strongest first."""
        candidates: dict[str, list[object]] = {
            "user_id": [self.sent.get("userId")],
            "anonymous_id": [self.sent.get("anonymousId")],
        }
        if type_ == "alias":
            previous = self.sent.get("previousId")
            if previous != self.sent.get("userId"):  # SDKs send such an alias; it says nothing
                candidates["anonymous_id"].append(previous)
        traits = {**self._mapping(context.get("traits")), **self._mapping(self.sent.get("traits"))}
        known = {"traits": traits if type_ != "group" else {}, "context": context}
        for name, rule in self.policy.identifiers.items():
            candidates.setdefault(name, []).extend(_at(known, path) for path in rule.sources)
        found: dict[tuple[str, str], None] = {}
        for name in sorted(candidates, key=lambda name: self.policy.identifiers[name].priority):
            for value in candidates[name]:
                normal = normal_form(self.policy, name, value)
                if normal is not None:
                    found[name, normal] = None
        if not found:
            raise _Refusal(
                "no_identifier", "An event carries a `userId` or `anonymousId` that names somebody."
            )
        return [list(pair) for pair in found]

    def _times(self, batch_sent_at: object) -> tuple[int, int]:
        """When it happened by our clock, in epoch milliseconds, and its UTC day by the client's.

        The first corrects a wrong client clock: receivedAt − (sentAt − originalTimestamp). Neither
        is ever in the future.
        """
        stated = self.sent.get("originalTimestamp") or self.sent.get("timestamp")
        if stated is None:
            return int(self.now * 1000), int(self.now // DAY)
        happened = _epoch(stated)
        if happened is None:
            raise _Refusal("bad_timestamp", "`timestamp` is not an ISO 8601 time.")
        sent_at = _epoch(self.sent.get("sentAt") or batch_sent_at)
        corrected = happened if sent_at is None else self.now - (sent_at - happened)
        corrected = max(0.0, min(corrected, self.now))
        return int(corrected * 1000), int(min(happened, self.now) // DAY)

    def _properties(self, type_: str, name: str, allowed: frozenset[str] | None) -> Json:
        properties = self._object("properties")
        own = {key: self.sent[key] for key in _AS_PROPERTIES.get(type_, ()) if self.sent.get(key)}
        properties = {**own, **properties}
        if allowed is None:
            return properties
        fix = f"Add it under events.{name!r}.properties in policy.yaml."
        self._strip_unknown(properties, allowed, "properties", fix=fix)
        return {key: value for key, value in properties.items() if key in allowed}

    def _traits(self, type_: str, context: Json) -> Json:
        traits = self._mapping(context.get("traits"))
        if type_ == "identify":
            traits = {**traits, **self._object("traits")}
        elif own := self._object("traits"):
            fix = "Traits are a person's, and are kept from an identify call."
            self._strip_unknown(own, frozenset(), "traits", fix=fix)
        self._strip_unknown(traits, frozenset(self.policy.traits), "traits")
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
        said = _said(self.index, self.id, "value_too_large", name=f"traits.{trait}", fix=fix)
        self.stripped.append(said)
        return False

    def _consent(self, context: Json) -> dict[str, bool]:
        """Purposes by `context.consent.categoryPreferences`; of two that disagree, denial wins."""
        consent = self._mapping(context.get("consent"))
        choices: dict[str, bool] = {}
        for category, choice in self._mapping(consent.get("categoryPreferences")).items():
            for purpose in self.policy.categories.get(category.strip().lower(), ()):
                choices[purpose] = choices.get(purpose, True) and choice is True
        return choices

    def _note_consent(
        self, name: str, purposes: frozenset[str], consent: Mapping[str, bool]
    ) -> None:
        """Say what will be kept only if a grant is on record."""
        needing = sorted(p for p in purposes if self.policy.purposes[p].basis == "consent")
        if len(needing) < len(purposes) or any(consent.get(purpose) for purpose in needing):
            return
        fix = "Send context.consent.categoryPreferences, or record the choice by POST /v1/consents."
        self.notes.append(
            _said(
                self.index,
                self.id,
                "no_consent",
                name=_shown(name),
                message="Kept only if a grant for one of these purposes is on record.",
                purposes=needing,
                fix=fix,
            )
        )

    def _strip_unknown(self, sent: Json, known: frozenset[str], where: str, fix: str = "") -> None:
        for name, value in sent.items():
            if name in known or value is None:
                continue
            full = f"{where}.{_shown(name)}" if where else _shown(name)
            how = fix or f"Add it under {where or 'properties or traits'} in policy.yaml."
            self.stripped.append(_said(self.index, self.id, "not_in_policy", name=full, fix=how))

    def _object(self, name: str) -> Json:
        value = self.sent.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _Refusal("not_an_object", f"`{name}` is not a JSON object.")
        return value

    @staticmethod
    def _mapping(value: object) -> Json:
        return value if isinstance(value, dict) else {}

    @staticmethod
    def _text(value: object) -> str | None:
        return value if isinstance(value, str) else None


def _said(index: int, message_id: str | None, code: str, **more: Any) -> Json:
    return {"index": index, "messageId": message_id, "code": code, **more}


def _shown(name: str) -> str:
    return _UNSAFE.sub("", name)[:NOTED_NAME]


def _message_id(sent: Json, index: int) -> str:
    """The client's; else a hash of the event and its place, if it is dated; else a random one."""
    given = sent.get("messageId")
    if isinstance(given, str) and 0 < len(given) <= 256 and not _UNSAFE.search(given):
        return given
    if sent.get("timestamp") or sent.get("originalTimestamp"):
        own = {name: value for name, value in sent.items() if name not in ("sentAt", "messageId")}
        text = json.dumps([index, own], sort_keys=True, separators=(",", ":"))
        return "h-" + hashlib.sha256(text.encode()).hexdigest()[:32]
    return str(uuid.uuid4())


def _epoch(value: object) -> float | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(moment.timestamp(), 0.0)
    except (ValueError, OverflowError):
        return None


def _at(tree: Json, path: str) -> object:
    node: object = tree
    for part in path.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _size(sent: Json) -> int:
    """Bytes as JSON. Raises _Refusal where it is nested too deeply to be handled safely later."""
    try:
        text = json.dumps(sent, separators=(",", ":"))
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


def _gunzip(body: bytes) -> bytes:
    inflate = zlib.decompressobj(_GZIP)
    try:
        plain = inflate.decompress(body, MOST_BYTES + 1)
    except zlib.error:
        raise Refused("bad_gzip", "The body is not valid gzip.") from None
    if len(plain) <= MOST_BYTES and not inflate.eof:
        raise Refused("bad_gzip", "The gzipped body is cut short.")
    return plain
