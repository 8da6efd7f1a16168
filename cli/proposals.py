"""Entries for names that sources sent and the policy does not know, ready to be pasted into it.

Strangers chose the names. The proposals are as narrow as can be: one purpose that needs consent,
the shortest class, the least of the context. What becomes of them is for a person to decide.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from candor.collection import WITHOUT_PROPERTIES
from candor.policy import UNNAMED
from cli.screen import UNSAFE

Json = dict[str, Any]
Where = Literal["events", "properties", "traits", "context", "fields"]
LONGEST = 64
"""Characters of a name that a proposal is made for."""
BLANK = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Seen:
    """A name that was stripped: where it stood, who sent it, and on how many days."""

    where: Where
    event: str
    name: str
    sources: tuple[str, ...]
    days: int

    def __str__(self) -> str:
        days = "1 day" if self.days == 1 else f"{self.days} days"
        return f"seen on {days}, from {', '.join(map(one_line, self.sources))}"


@dataclass(frozen=True, slots=True)
class Proposal:
    """Lines of YAML, and where they go."""

    place: str
    """`traits`, `events`, `events.NAME.properties` or `context.drop`."""
    instruction: str
    lines: tuple[str, ...]
    names: tuple[Seen, ...]


def seen(counted: Iterable[Json], names: Mapping[str, str] = {}) -> list[Seen]:
    """What `GET /v1/outcomes` tells of unknown names, most often seen first; `names` of sources."""
    days: dict[tuple[Where, str, str], set[int]] = {}
    sources: dict[tuple[Where, str, str], set[str]] = {}
    for one in counted:
        for told in one["names"]:
            key = told["where"], told["event"].strip(), told["name"].strip()
            days.setdefault(key, set()).add(one["day"])
            sources.setdefault(key, set()).add(names.get(one["source"], one["source"]))
    found = [Seen(*key, tuple(sorted(sources[key])), len(days[key])) for key in days]
    return sorted(found, key=lambda one: (-one.days, one.where, one.event, one.name))


def unknown(policy: Json, names: Iterable[Seen]) -> list[Seen]:
    """Those that this policy does not name either, as far as they can be names at all."""
    return [one for one in names if can_be_named(one) and not _named(policy, one)]


def can_be_named(one: Seen) -> bool:
    parts = [one.name, *([one.event] if one.where == "properties" else [])]
    return all(part.strip() and len(part) <= LONGEST and not UNSAFE.search(part) for part in parts)


def propose(policy: Json, text: str, names: Sequence[Seen]) -> list[Proposal]:
    """Entries for `unknown` names of a compiled policy, whose YAML is `text`."""
    new = [one for one in names if one.where == "events"]
    properties: dict[str, list[Seen]] = {}
    for one in names:
        if one.where == "properties":
            properties.setdefault(one.event, []).append(one)
    known = [event for event in properties if event in policy["events"]]
    strange = {event: of_event for event, of_event in properties.items() if event not in known}
    proposals = [
        _traits(policy, [one for one in names if one.where == "traits"]),
        _events(policy, new, strange),
        *(_properties(policy, text, event, properties[event]) for event in known),
        _context(policy, text, [one for one in names if one.where == "context"]),
    ]
    return [one for one in proposals if one.names]


def written(proposals: Iterable[Proposal]) -> list[str]:
    """All of them as lines of text."""
    lines: list[str] = []
    for one in proposals:
        lines += [f"# {one.instruction}", *one.lines, ""]
    return lines


def _traits(policy: Json, names: list[Seen]) -> Proposal:
    lines: list[str] = []
    for one in names:
        lines += [f"  # {one}", f"  {scalar(one.name)}: {{{_annotations(policy)}}}"]
    return Proposal("traits", "Below the line `traits:`", tuple(lines), tuple(names))


def _events(policy: Json, names: list[Seen], strange: dict[str, list[Seen]]) -> Proposal:
    lines, all_names = [], [*names]
    told = {one.name: str(one) for one in names}
    for event in dict.fromkeys([*told, *strange]):
        of_event = strange.get(event, [])
        all_names += of_event
        listed = ", ".join(scalar(one.name) for one in of_event)
        lines.append(f"  # {told.get(event) or of_event[0]}")
        lines.append(f"  {scalar(event)}: {{{_annotations(policy)}, properties: [{listed}]}}")
    return Proposal("events", "Below the line `events:`", tuple(lines), tuple(all_names))


def _properties(policy: Json, text: str, event: str, names: list[Seen]) -> Proposal:
    known = policy["events"][event]["properties"]
    line = _longer(text, ("events", event, "properties"), known, names)
    place = f"events.{event}.properties"
    instruction = f"In `events`, instead of the `properties` of {scalar(event)}"
    return Proposal(place, instruction, (*_comments(names), f"  {line}"), tuple(names))


def _context(policy: Json, text: str, names: list[Seen]) -> Proposal:
    line = _longer(text, ("context", "drop"), policy["context"]["drop"], names)
    instruction = (
        "In `context`, instead of `drop`; put under `keep` only what you have a purpose for"
    )
    return Proposal("context.drop", instruction, (*_comments(names), f"  {line}"), tuple(names))


def _comments(names: list[Seen]) -> list[str]:
    return [f"  # {scalar(one.name)}: {one}" for one in names]


def _longer(text: str, path: tuple[str, ...], known: list[str], names: list[Seen]) -> str:
    """The list at a place of the file with names added: in the file's own words, if these are easy
    to find and mean what they seem to, else all names one by one."""
    *above, field = path
    added = [one.name for one in names]
    start = _start(text, above)
    now = re.compile(rf"\b{field}: *(\*\w+|\[[^\][{{}}#'\"]*\])").search(text, start)
    if now:
        inside = BLANK.sub(" ", now[1]).strip("[] ").rstrip(",")
        longer = f"[{', '.join(filter(None, [inside, _flow(added)]))}]"
        try:
            found: Any = yaml.safe_load(text[: now.start(1)] + longer + text[now.end(1) :])
            for step in path:
                found = found[step]
            if _flat(found) == [*known, *added]:
                return f"{field}: {longer}"
        except (yaml.YAMLError, KeyError, TypeError):
            pass
    return f"{field}: [{_flow([*known, *added])}]"


def _start(text: str, above: list[str]) -> int:
    """Where the entry begins that stands below these names, or the end where that is not seen."""
    start = 0
    for depth, name in enumerate(above):
        spelled = "|".join(map(re.escape, (name, scalar(name))))
        line = re.compile(rf"^{'  ' * depth}(?:{spelled}):", re.MULTILINE)
        found = line.search(text, start)
        start = found.end() if found else len(text)
    return start


def _flat(names: Any) -> list[Any]:
    if not isinstance(names, list):
        return [names]
    return [name for one in names for name in _flat(one)]


def _annotations(policy: Json) -> str:
    asked = [name for name, one in policy["purposes"].items() if one["basis"] == "consent"]
    purpose = asked[0] if asked else next(iter(policy["purposes"]))
    classes = {name: days for name, days in policy["retention"].items() if name != UNNAMED}
    class_ = min(classes, key=lambda name: classes[name], default=UNNAMED)
    return (
        f"purposes: [{scalar(purpose)}], sensitivity: personal, retention: {scalar(class_)}, "
        "erasure: shred"
    )


def _named(policy: Json, one: Seen) -> bool:
    match one.where:
        case "events" | "traits":
            return one.name in policy[one.where]
        case "properties":
            if one.event in WITHOUT_PROPERTIES:  # no entry would keep it
                return True
            event = policy["events"].get(one.event)
            return event is not None and one.name in event["properties"]
        case "context":
            return any(one.name in policy["context"][part] for part in ("keep", "use", "drop"))
        case _:
            return False


def _flow(names: list[str]) -> str:
    return ", ".join(map(scalar, names))


def scalar(text: str) -> str:
    """Text as YAML, quoted where it has to be; good as a key and inside brackets."""
    flow: str = yaml.safe_dump(
        [text], default_flow_style=True, allow_unicode=True, width=float("inf")
    )
    return flow.strip()[1:-1]


def one_line(text: str) -> str:
    return UNSAFE.sub("�", text)
