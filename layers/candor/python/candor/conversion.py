"""Conversion: named values, a row's cells or a form's fields, become one event of Segment's shape.

The same rules serve `candor import`, the drop bucket and webhooks. What cannot be converted is
`Unfit` as a whole: half a person's data, or a choice that cannot be read, is worse than none.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Self

CONSENT = ("context", "consent", "categoryPreferences")
FACTS = ("identify", "alias")
"""Types of events that are no occurrence, so that they may lack a time of their own."""

_ROOTS = frozenset({"userId", "anonymousId", "previousId", "groupId", "messageId", "timestamp"})
_TREES = frozenset({"traits", "properties", "context"})
_TARGET = re.compile(
    r"(?P<path>[^:]+)(?::(?P<kind>number|boolean|opt_out|date)(?:\((?P<form>.+)\))?)?"
)
_YES = frozenset({"true", "yes", "y", "1", "on", "t"})
_NO = frozenset({"false", "no", "n", "0", "off", "f"})
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_EPOCH = re.compile(r"\d{9,10}|\d{12,13}")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")

Json = dict[str, Any]


class Unfit(Exception):
    """What cannot become an event, and why. Repeats no value, only names that a mapping has."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True, slots=True)
class Target:
    """Where in an event a value goes, and what it is read as: text where `kind` is empty."""

    path: tuple[str, ...]
    kind: str = ""
    form: str | None = None
    """Of a date, as strptime has it; without one ISO 8601 or epoch seconds or milliseconds."""

    @classmethod
    def of(cls, text: str) -> Self:
        """`traits.age:number`. Raises ValueError, which says what is wrong with it."""
        match = _TARGET.fullmatch(text)
        if not match or (match["form"] and match["kind"] != "date"):
            raise ValueError(
                f"{text!r} is no target: a path, and at most one of :number, :boolean, :opt_out, "
                ":date or :date(%d.%m.%Y)"
            )
        path, kind = tuple(match["path"].split(".")), match["kind"] or ""
        if not all(path) or not (path[0] in _ROOTS if len(path) == 1 else path[0] in _TREES):
            raise ValueError(
                f"{text!r} is no target: it is one of {', '.join(sorted(_ROOTS))}, or begins with "
                "traits., properties. or context."
            )
        if path[:3] == CONSENT:
            if len(path) != 4 or kind not in ("", "boolean", "opt_out"):
                raise ValueError(f"{text!r} is no target: a choice is :boolean or :opt_out")
            kind = kind or "boolean"
        elif kind == "opt_out":
            raise ValueError(f"{text!r} is no target: only a choice can be :opt_out")
        if path == ("timestamp",):
            kind = kind or "date"
        if match["form"]:
            datetime.strptime(datetime.now(UTC).strftime(match["form"]), match["form"])  # noqa: DTZ007
        return cls(path, kind, match["form"])

    def read(self, name: str, value: Any) -> Any:
        """The value as its kind; None where it says nothing. Raises Unfit. `name` is for that."""
        if isinstance(value, str):
            value = value.strip()
        if value in (None, ""):
            return None
        match self.kind:
            case "number":
                return _number(name, value)
            case "boolean":
                return _boolean(name, value)
            case "opt_out":  # who did not opt out has not opted in
                return False if _boolean(name, value) else None
            case "date":
                return _moment(name, value, self.form)
        return value


@dataclass(frozen=True, slots=True)
class Conversion:
    """How named values become an event of `type`, and of `event` where that is `track`."""

    type: str
    event: str | None
    targets: Mapping[str, Target]

    @classmethod
    def of(cls, compiled: Mapping[str, Any]) -> Self:
        """From a mapping of the policy, or one that was given by hand. Raises ValueError."""
        targets = {name: Target.of(text) for name, text in compiled["map"].items()}
        taken: set[tuple[str, ...]] = set()
        for name, target in targets.items():
            path = target.path
            if path in taken and path[:3] != CONSENT:
                raise ValueError(f"{name!r} goes where another one goes: {'.'.join(path)}")
            taken.add(path)
        inner = {path[:length] for path in taken for length in range(1, len(path))}
        if inner & taken:
            raise ValueError(f"{'.'.join(min(inner & taken))!r} is a value and holds others")
        return cls(compiled["type"], compiled.get("event"), targets)

    def build(self, values: Mapping[str, Any]) -> Json:
        """The event that these values say. Raises Unfit."""
        event: Json = {"type": self.type} | ({"event": self.event} if self.event else {})
        for name, target in self.targets.items():
            value = target.read(name, values.get(name))
            if value is not None:
                _put(event, self._path(target), value)
        return event

    def _path(self, target: Target) -> tuple[str, ...]:
        """An event that is no `identify` carries a person's traits in its context."""
        aside = target.path[0] == "traits" and self.type != "identify"
        return ("context", *target.path) if aside else target.path


def dated(event: Json, as_of: float) -> Json:
    """The event as an old one can be sent again: with one time, and an id that is its own.

    A fact (`FACTS`) without a time holds as of `as_of`, epoch seconds: when whoever says it said
    so. The id is the sender's, else a hash of what the event says and of no place in any file, so
    that it is the same in the next export. Raises Unfit for an occurrence without a time.
    """
    own = {
        name: value for name, value in event.items() if name not in _CLOCKS and value is not None
    }
    stated = event.get("timestamp") or event.get("originalTimestamp")
    if stated is None and event.get("type") not in FACTS:
        raise Unfit("no_timestamp", "What happened in the past says when: `timestamp`.")
    if stated is not None:
        own["timestamp"] = stated
    if not own.get("messageId"):
        text = json.dumps(own, sort_keys=True, separators=(",", ":"))
        own["messageId"] = "i-" + hashlib.sha256(text.encode()).hexdigest()[:32]
    moment = datetime.fromtimestamp(as_of, UTC).isoformat(timespec="milliseconds")
    return {"timestamp": moment, **own}


_CLOCKS = frozenset({"timestamp", "originalTimestamp", "sentAt", "receivedAt"})
"""By which collection would correct the clock of a sender who sends at once."""


def _put(event: Json, path: tuple[str, ...], value: Any) -> None:
    node = event
    for part in path[:-1]:
        node = node.setdefault(part, {})
    if path[:3] == CONSENT:  # of two columns that disagree, the denial counts
        value = value and node.get(path[-1], True)
    node[path[-1]] = value


def _number(name: str, value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise Unfit("bad_number", f"{name!r} is not a number like 1234.5.")
    try:
        return int(value)
    except ValueError:
        number = float(value)
    if number in (float("inf"), float("-inf")):
        raise Unfit("bad_number", f"{name!r} is too large a number.")
    return number


def _boolean(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in _YES or word in _NO:
        return word in _YES
    raise Unfit("bad_boolean", f"{name!r} is none of true, yes, 1, on; false, no, 0, off.")


def _moment(name: str, value: Any, form: str | None) -> str:
    """A date as YYYY-MM-DD, a time as ISO 8601; one without a zone is meant in UTC."""
    try:
        moment = _parsed(str(value), form)
    except (ValueError, OverflowError, OSError):
        how = f"written like {form}" if form else "an ISO 8601 date, nor epoch seconds"
        raise Unfit("bad_date", f"{name!r} is not {how}.") from None
    return moment.isoformat()


def _parsed(text: str, form: str | None) -> date | datetime:
    if form:
        moment = datetime.strptime(text, form)  # noqa: DTZ007  the zone is the next line's
        timed = any(f"%{part}" in form for part in "HIMSpfcXsT")
        return _in_utc(moment) if timed else moment.date()
    if _EPOCH.fullmatch(text):
        seconds = int(text) / (1000 if len(text) > 10 else 1)
        return datetime.fromtimestamp(seconds, UTC)
    if _DATE.fullmatch(text):
        return date.fromisoformat(text)
    return _in_utc(datetime.fromisoformat(text))


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
