"""What is wrong in a policy of the right shape: names of nothing, rules that cannot both hold.

It reads what is written, shape or no shape, so that every mistake is told at once.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from candor.collection import WITHOUT_PROPERTIES
from candor.consent import UNDENIABLE
from candor.imports import NDJSON
from candor.preferences import CONSENT_TYPES, OPT_OUTS, TCF_PURPOSES
from cli import identifier_rules, shapes
from cli.explanations import nearest
from cli.places import Mistake, Path, Written
from cli.shapes import Found

NAMED = ("purposes", "retention", "identifiers")
"""What is named by its name in keys, objects' names, paths and headers."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
READ = ("consent", "consentManagement", "identityProof", "traits")
"""Parts of an event's context that collection reads by these names."""
SIGNALS: Mapping[str, Collection[str]] = {
    "consent_mode": CONSENT_TYPES,
    "tcf": [str(number) for number in TCF_PURPOSES],
    "us_opt_outs": [*dict.fromkeys(OPT_OUTS.values())],
}
"""Sections that say what words of other tools stand for, with those words."""
BACKUP_DAYS = 35
"""The oldest time that DynamoDB restores a table to (point-in-time recovery)."""
NAMELESS = "nothing is called that: the name is empty"


def find(written: Written, kinds: Sequence[str]) -> list[Mistake]:
    """`kinds` are the kinds of source."""
    policy = written.value
    checks = (
        _names(policy),
        _unknown(policy),
        _unused(policy),
        _categories(policy),
        _signals(policy),
        _missing(policy),
        _too_short(policy),
        _never_stale(policy),
        identifier_rules.find(policy),
        _context(policy),
        _read(policy),
        _sources(policy, kinds),
        _repeated(policy),
        _unreachable(policy),
        _mapped(policy),
        _destinations(policy),
    )
    return [written.mistake(*told) for check in checks for told in check]


def _names(policy: Any) -> Found:
    """Names that become parts of keys, of objects' names and of paths."""
    for section in NAMED:
        for name in shapes.mapping(policy, section):
            if isinstance(name, str) and not NAME.fullmatch(name):
                message = f"{name!r} cannot be part of a key or of an address"
                yield (section, name), message, "Use letters, digits, `_` and `-`, 64 at most."


def _unknown(policy: Any) -> Found:
    purposes, classes = shapes.mapping(policy, "purposes"), shapes.mapping(policy, "retention")
    for path, entry in shapes.attributes(policy):
        for index, name in shapes.texts(entry.get("purposes")):
            if name not in purposes:
                yield (*path, "purposes", index), f"no purpose {name!r}", nearest(name, purposes)
        class_ = entry.get("retention")
        if isinstance(class_, str) and class_ not in classes:
            yield (*path, "retention"), f"no class {class_!r}", nearest(class_, classes)
    for category, listed in shapes.mapping(policy, "consent_categories").items():
        for index, name in shapes.texts(listed):
            if name not in purposes:
                path = ("consent_categories", category, index)
                yield path, f"no purpose {name!r}", nearest(name, purposes)
    yield from _denied(policy, ("gpc",), policy.get("gpc"))


def _denied(policy: Any, path: Path, listed: Any) -> Found:
    """Purposes that a signal can deny."""
    purposes = shapes.mapping(policy, "purposes")
    for index, name in shapes.texts(listed):
        basis = shapes.at(purposes, name, "basis")
        if name not in purposes:
            yield (*path, index), f"no purpose {name!r}", nearest(name, purposes)
        elif basis in UNDENIABLE and path[0] != "consent_mode":
            message = f"it changes nothing: `{name}` rests on {basis}, which no signal takes away"
            yield (*path, index), message, "Remove it."


def _signals(policy: Any) -> Found:
    """What the words of other consent tools stand for."""
    for section, known in SIGNALS.items():
        for word, listed in shapes.mapping(policy, section).items():
            path: Path = (section, str(word))
            if isinstance(word, bool):
                continue  # told as what YAML takes it for
            if str(word) not in known:
                near = "They are 1 to 11." if section == "tcf" else nearest(word, known)
                yield path, f"{section} has no {word!r}", near
            if not listed:
                yield path, "it stands for no purpose", "Name the purposes, or remove it."
            yield from _denied(policy, path, listed)


def _unused(policy: Any) -> Found:
    used = {
        name
        for _, entry in shapes.attributes(policy)
        for _, name in shapes.texts(entry.get("purposes"))
    }
    for name, purpose in shapes.mapping(policy, "purposes").items():
        sees_everything = isinstance(purpose, dict) and purpose.get("sees_everything")
        if name not in used and not sees_everything:
            yield (
                ("purposes", name),
                "nothing is kept for this purpose, and people are told that something is",
                "Name it in the `purposes` of what it needs, or remove it.",
            )


def _categories(policy: Any) -> Found:
    seen: dict[str, str] = {}
    for category, listed in shapes.mapping(policy, "consent_categories").items():
        path = ("consent_categories", category)
        if listed == [] or listed is None:
            yield path, "it stands for no purpose", "Name the purposes that it stands for."
        lower = str(category).lower()
        if lower in seen:
            message = f"it is the same as `{seen[lower]}`: banners may send any case"
            yield path, message, "Make one of the two."
        seen[lower] = str(category)


def _missing(policy: Any) -> Found:
    wanted = {
        "purposes": {"service": "A purpose for what people asked for themselves"},
        "retention": {"unnamed": "How long a laptop keeps events that this file does not name"},
        "identifiers": {
            "user_id": "The id that the shop itself gives to a person",
            "anonymous_id": "The id that SDKs give to a browser or an app",
        },
    }
    for section, names in wanted.items():
        here = shapes.mapping(policy, section)
        for name, meaning in names.items():
            if here and name not in here:
                yield (section,), f"`{name}` is missing", f"{meaning}; Candor cannot do without."


def _too_short(policy: Any) -> Found:
    days = shapes.numbers(shapes.mapping(policy, "retention"))
    longest = max(days, key=lambda name: days[name], default="")
    why = {
        "identifier": "the key that its data is sealed under would be gone",
        "consent": "the proof that it may be kept would be gone",
    }
    for record, number in shapes.numbers(shapes.mapping(policy, "records")).items():
        if record in why and longest and number < days[longest]:
            message = f"it is shorter than the class `{longest}`, and {why[record]} before the data"
            yield ("records", record), message, f"At least {days[longest]}."
        if record == "request" and number < BACKUP_DAYS:
            message = "a backup may be older, and would bring back whom nobody knows to be erased"
            yield ("records", record), message, f"At least {BACKUP_DAYS}."


def _never_stale(policy: Any) -> Found:
    days = shapes.numbers(shapes.mapping(policy, "retention"))
    for path, entry in shapes.attributes(policy):
        within, kept = entry.get("verify_within"), days.get(str(entry.get("retention")))
        if isinstance(within, int) and kept and within >= kept:
            message = f"after {within} days it is not stale but gone: its class keeps {kept} days"
            yield (*path, "verify_within"), message, f"Less than {kept}, or leave it out."


def _context(policy: Any) -> Found:
    first: dict[str, str] = {}
    for part, names in shapes.mapping(policy, "context").items():
        for index, name in shapes.texts(names):
            path: Path = ("context", part, index)
            if name in first and first[name] == part:
                yield path, f"{name!r} stands here twice", "Remove one of the two."
            elif name in first:
                message = f"{name!r} stands under `{first[name]}` too, and only one can be done"
                yield path, message, "Remove one of the two."
            first.setdefault(name, str(part))


def _read(policy: Any) -> Found:
    context = shapes.mapping(policy, "context")
    there = {name for part in ("keep", "use") for _, name in shapes.texts(context.get(part))}
    for name in READ if context else ():
        if name not in there:
            message = f"`{name}` is missing, and it is read whatever stands here"
            yield ("context", "use"), message, "Add it, so that this file says what happens."


def _sources(policy: Any, kinds: Sequence[str]) -> Found:
    listed = shapes.mapping(policy, "sources").get("priority")
    if not isinstance(listed, list):
        return
    counted = Counter(name for _, name in shapes.texts(listed))
    for name in kinds:
        path = ("sources", "priority")
        if not counted[name]:
            yield (
                path,
                f"the kind `{name}` is missing",
                "Put it where it ranks, the strongest first.",
            )
        elif counted[name] > 1:
            yield path, f"the kind `{name}` stands here twice", "Leave it where it ranks."


def _repeated(policy: Any) -> Found:
    for path, entry in shapes.attributes(policy):
        for part in ("purposes", "properties"):
            counted = Counter(name for _, name in shapes.texts(shapes.flat(entry.get(part))))
            for name in (name for name, count in counted.items() if count > 1):
                yield (*path, part), f"{name!r} stands here twice", "Remove one of the two."


def _unreachable(policy: Any) -> Found:
    for section in ("traits", "events"):
        if "" in shapes.mapping(policy, section):
            yield (section, ""), NAMELESS, "Remove it, or give it a name."
    for path, entry in shapes.attributes(policy):
        if "properties" in entry and "" in shapes.flat(entry["properties"]):
            yield (*path, "properties"), NAMELESS, "Remove it, or give it a name."
    for name in shapes.mapping(policy, "events"):
        if isinstance(name, str) and name != name.strip():
            message = "no event is called that: names are trimmed when they come in"
            yield ("events", name), message, f"Write {name.strip()!r}."
    for name in WITHOUT_PROPERTIES:
        if shapes.flat(shapes.at(policy, "events", name, "properties") or []):
            message = f"nothing is kept of the properties of an {name} call"
            yield ("events", name, "properties"), message, "Leave it empty: [], and name traits."


def _destinations(policy: Any) -> Found:
    """Who is to be told of people by identifiers that there are not."""
    identifiers = shapes.mapping(policy, "identifiers")
    for name, destination in shapes.mapping(policy, "destinations").items():
        for index, type_ in shapes.texts(shapes.at(destination, "knows")):
            if type_ not in identifiers:
                path = ("destinations", name, "knows", index)
                yield path, f"no identifier {type_!r}", nearest(type_, identifiers)


def _mapped(policy: Any) -> Found:
    """A mapping that brings what would be stripped, or nobody."""
    events, traits = shapes.mapping(policy, "events"), shapes.mapping(policy, "traits")
    naming = {"userId", "anonymousId"}
    naming.update(
        place for _, rule in shapes.rules(policy) for _, place in shapes.texts(rule.get("from"))
    )
    categories = {str(name).lower(): name for name in shapes.mapping(policy, "consent_categories")}
    for section in ("imports", "webhooks"):
        for name, mapping in shapes.mapping(policy, section).items():
            if (section, name) == ("imports", NDJSON):
                message = "files of events are called that, which need no mapping"
                yield (section, name), message, "Give it another name."
            targets = [
                str(one).partition(":")[0] for one in shapes.mapping(mapping, "map").values()
            ]
            if targets and naming.isdisjoint(targets):
                message = "no value names anybody, so that everything would be refused"
                yield (section, name, "map"), message, f"Map one to {', '.join(sorted(naming))}."
            event = shapes.at(mapping, "event") or shapes.at(mapping, "type") or "identify"
            if event not in events:
                path = (section, name, "event")
                yield path, f"the catalogue has no event {event!r}", nearest(event, events)
                continue
            properties = [str(one) for one in shapes.flat(shapes.at(events[event], "properties"))]
            for field, target in shapes.mapping(mapping, "map").items():
                at = (section, name, "map", field)
                match str(target).partition(":")[0].split("."):
                    case "traits", trait, *_ if trait not in traits:
                        yield at, f"the catalogue has no trait {trait!r}", nearest(trait, traits)
                    case "properties", one, *_ if one not in properties:
                        yield at, f"{event!r} has no property {one!r}", nearest(one, properties)
                    case "context", "consent", _, one if one.lower() not in categories:
                        told = nearest(one, categories.values())
                        yield at, f"there is no consent category {one!r}", told
