"""Signed webhooks: the handshake, the signature, and a body's items as events.

As Meta has it for lead forms (Webhooks from Meta, "Verification Requests" and "Validating
Payloads"): `hub.challenge` is answered to who knows the verify token, and a body is taken where
`X-Hub-Signature-256` is its HMAC-SHA256 under the secret that the source shares. A body that comes
twice makes the same events, which overwrite themselves; one from long ago is refused.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from candor.collection import Collected
from candor.conversion import Conversion, Unfit
from candor.credentials import verify_token
from candor.errors import Refused, Unauthenticated
from candor.policy import Policy

SIGNATURE = "x-hub-signature-256"
"""The header, in lower case."""
HOUR = 3600
AHEAD_SECONDS = 300
"""How far a sender's clock may be before ours."""
MOST_ITEMS = 1_000
MILLISECONDS = 1e11
"""A greater number is no time in seconds (it would be the year 5138)."""
_SIGNATURE = re.compile(r"sha256=([0-9a-fA-F]{64})")
_CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{1,256}")
_STEP = re.compile(r"([^.\[\]]+)((?:\[\d*\])*)")

Json = dict[str, Any]


def challenge(secret: str | None, query: Mapping[str, str]) -> str:
    """The handshake's answer. Raises Unauthenticated, and Refused for no handshake."""
    token = verify_token(_shared(secret))
    if not hmac.compare_digest(query.get("hub.verify_token", "").encode(), token.encode()):
        raise Unauthenticated("bad_verify_token", "The verify token is not this source's.")
    answer = query.get("hub.challenge", "")
    if query.get("hub.mode") != "subscribe" or not _CHALLENGE.fullmatch(answer):
        raise Refused("bad_challenge", "This is no request to subscribe with a challenge.")
    return answer


def verify(secret: str | None, body: bytes, signature: str | None) -> None:
    """Raises Unauthenticated where the signature is not that of the body as it was sent."""
    match = _SIGNATURE.fullmatch(signature or "")
    stated = bytes.fromhex(match[1]) if match else b""
    if not hmac.compare_digest(hmac.digest(_shared(secret).encode(), body, "sha256"), stated):
        raise Unauthenticated("bad_signature", "X-Hub-Signature-256 is not this body's signature.")


def items(policy: Policy, mapping: str | None, body: Json, now: float) -> "Items":
    """What a body holds, by the mapping of its source. Raises Refused."""
    compiled = policy.webhooks.get(mapping or "")
    if compiled is None:
        raise Refused("unknown_mapping", "The policy has no mapping of this source's name now.")
    return Form.of(compiled).items(body, now)


def _shared(secret: str | None) -> str:
    if not secret:
        text = "This source shares no secret yet: `candor keys secret`."
        raise Unauthenticated("no_secret", text)
    return secret


@dataclass(frozen=True, slots=True)
class Path:
    """`entry[].changes[0].value`: names, indexes, and with `[]` every element of a list."""

    steps: tuple[str | int | None, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError, which says what is wrong with it."""
        steps: list[str | int | None] = []
        for part in text.split("."):
            match = _STEP.fullmatch(part)
            if not match:
                raise ValueError(f"{text!r} is no path like entry[].changes[0].value")
            indexes = re.findall(r"\[(\d*)\]", match[2])
            steps += [match[1], *(int(index) if index else None for index in indexes)]
        return cls(tuple(steps))

    def all(self, tree: Any) -> Iterator[Any]:
        """Every value there is."""
        found = [tree]
        for step in self.steps:
            found = [inner for one in found for inner in _inside(one, step)]
        yield from found

    def one(self, tree: Any) -> Any:
        """The first value, or None."""
        return next(self.all(tree), None)


def _inside(node: Any, step: str | int | None) -> list[Any]:
    if isinstance(step, str):
        return [node[step]] if isinstance(node, dict) and step in node else []
    if not isinstance(node, list):
        return []
    return node if step is None else node[step : step + 1]


@dataclass(frozen=True, slots=True)
class Form:
    """How a body is read: an entry of `webhooks` in the policy."""

    conversion: Conversion
    each: Path
    where: tuple[tuple[Path, Any], ...]
    """What an item must hold to be one of ours."""
    id: Path
    time: Path
    pairs: tuple[Path, Path, Path] | None
    """Where a list of pairs lies, and in each the name and the value."""
    wanted: Mapping[str, Path]
    max_age_hours: int

    @classmethod
    def of(cls, compiled: Mapping[str, Any]) -> Self:
        """Raises ValueError."""
        fields = compiled["fields"]
        pairs = fields and [Path.of(fields[name]) for name in ("path", "name", "value")]
        return cls(
            Conversion.of(compiled),
            Path.of(compiled["each"]),
            tuple((Path.of(path), value) for path, value in compiled["where"].items()),
            Path.of(compiled["id"]),
            Path.of(compiled["time"]),
            (pairs[0], pairs[1], pairs[2]) if pairs else None,
            {name: Path.of(name) for name in compiled["map"]},
            compiled["max_age_hours"],
        )

    def items(self, body: Json, now: float) -> "Items":
        """What a body holds, at `now` (epoch seconds). Raises Refused where that is too much."""
        ours = [one for one in self.each.all(body) if self._is_ours(one)]
        if len(ours) > MOST_ITEMS:
            raise Refused("too_many_events", f"A webhook's body may have {MOST_ITEMS} items.")
        found = Items()
        if not ours:  # no reason for its sender to try again, and none to be silent
            text = "Nothing in this body is what the mapping reads (`each`, `where`)."
            found.refuse(0, Unfit("no_item", text))
        for index, item in enumerate(ours):
            try:
                found.events.append(self._event(item, now))
                found.places.append(index)
            except Unfit as unfit:
                found.refuse(index, unfit)
        return found

    def _is_ours(self, item: Any) -> bool:
        return all(path.one(item) == value for path, value in self.where)

    def _event(self, item: Any, now: float) -> Json:
        """Id and time are the sender's own and signed, so that a replay is the same event."""
        id_, at = self.id.one(item), _epoch(self.time.one(item))
        if not isinstance(id_, str | int) or isinstance(id_, bool) or not str(id_).strip():
            raise Unfit("no_id", "The item has no id.")
        if at is None:
            raise Unfit("no_timestamp", "The item does not say when it was made.")
        if not now - self.max_age_hours * HOUR <= at <= now + AHEAD_SECONDS:
            raise Unfit("outside_window", "The item is too old, or from the future.")
        event = self.conversion.build(self._values(item))
        moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
        id_hash = hashlib.sha256(str(id_).encode()).hexdigest()[:32]
        return {**event, "timestamp": moment, "messageId": f"w-{id_hash}"}

    def _values(self, item: Any) -> Json:
        """What the mapping reads: a field of the form, or what lies at a path of the item."""
        fields: Json = {}
        if self.pairs:
            where, name, value = self.pairs
            for pair in where.all(item):
                key = name.one(pair)
                if isinstance(key, str):
                    fields.setdefault(key, value.one(pair))
        return {name: fields.get(name, path.one(item)) for name, path in self.wanted.items()}


@dataclass(slots=True)
class Items:
    """Of one body: events, each with the place of its item, and the items none came of."""

    events: list[Json] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    refused: list[Json] = field(default_factory=list)

    def refuse(self, index: int, unfit: Unfit) -> None:
        said = {"index": index, "messageId": None, "code": unfit.code, "message": unfit.message}
        self.refused.append(said)

    def place(self, collected: Collected) -> None:
        """Let it tell of items what it tells of their events, and what none came of."""
        for said in (collected.refused, collected.stripped, collected.notes):
            said[:] = [one | {"index": self.places[one["index"]]} for one in said]
        collected.refused += self.refused
        collected.refused.sort(key=lambda one: int(one["index"]))


def _epoch(value: Any) -> float | None:
    """Epoch seconds of a time as JSON has it: a number of seconds or milliseconds, or ISO 8601."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        if isinstance(value, str) and not value.isdecimal():
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds / 1000 if seconds > MILLISECONDS else seconds
