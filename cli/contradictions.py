"""What is wrong in a policy of the right shape: names of nothing, rules that cannot both hold.

It reads what is written, shape or no shape, so that every mistake is told at once.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from candor.collection import WITHOUT_PROPERTIES
from candor.consent import UNDENIABLE
from candor.imports import NDJSON
from cli import patterns
from cli.explanations import nearest
from cli.places import Mistake, Path, Written

ATTRIBUTES = ("identifiers", "traits", "events")
NAMED = ("purposes", "retention", "identifiers")
"""What is named by its name in keys, objects' names, paths and headers."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
ANYBODY = (
    *("42", "ann", "Ann Lee", "ann@example.com", "a.lee+shop@mail.example.org", "+41791234567"),
    *("0791234567", "507f191e810c19729de860ea", "0b3f7a1c-5a51-4d4e-9d0f-3a0d6a7f2b11", "x-9_Z"),
)
"""Values that name somebody, in every shape that identifiers have."""
READ = ("consent", "identityProof", "traits")
"""Parts of an event's context that collection reads by these names."""
NAMELESS = "nothing is called that: the name is empty"
Found = Iterator[tuple[Path, str, str]]


def find(written: Written, kinds: Sequence[str]) -> list[Mistake]:
    """`kinds` are the kinds of source."""
    policy = written.value
    checks = (
        _names(policy),
        _unknown(policy),
        _unused(policy),
        _categories(policy),
        _missing(policy),
        _too_short(policy),
        _never_stale(policy),
        _ranks(policy),
        _hanging(policy),
        _blocking(policy),
        _places(policy),
        _context(policy),
        _read(policy),
        _sources(policy, kinds),
        _repeated(policy),
        _unreachable(policy),
        _mapped(policy),
    )
    return [written.mistake(*told) for check in checks for told in check]


def _names(policy: Any) -> Found:
    """Names that become parts of keys, of objects' names and of paths."""
    for section in NAMED:
        for name in _mapping(policy, section):
            if isinstance(name, str) and not NAME.fullmatch(name):
                message = f"{name!r} cannot be part of a key or of an address"
                yield (section, name), message, "Use letters, digits, `_` and `-`, 64 at most."


def _unknown(policy: Any) -> Found:
    purposes, classes = _mapping(policy, "purposes"), _mapping(policy, "retention")
    for path, entry in _attributes(policy):
        for index, name in _texts(entry.get("purposes")):
            if name not in purposes:
                yield (*path, "purposes", index), f"no purpose {name!r}", nearest(name, purposes)
        class_ = entry.get("retention")
        if isinstance(class_, str) and class_ not in classes:
            yield (*path, "retention"), f"no class {class_!r}", nearest(class_, classes)
    for category, listed in _mapping(policy, "consent_categories").items():
        for index, name in _texts(listed):
            if name not in purposes:
                path = ("consent_categories", category, index)
                yield path, f"no purpose {name!r}", nearest(name, purposes)
    for index, name in _texts(policy.get("gpc")):
        basis = _at(purposes, name, "basis")
        if name not in purposes:
            yield ("gpc", index), f"no purpose {name!r}", nearest(name, purposes)
        elif basis in UNDENIABLE:
            message = f"it changes nothing: `{name}` rests on {basis}, which no signal takes away"
            yield ("gpc", index), message, "Remove it."


def _unused(policy: Any) -> Found:
    used = {name for _, entry in _attributes(policy) for _, name in _texts(entry.get("purposes"))}
    for name, purpose in _mapping(policy, "purposes").items():
        sees_everything = isinstance(purpose, dict) and purpose.get("sees_everything")
        if name not in used and not sees_everything:
            yield (
                ("purposes", name),
                "nothing is kept for this purpose, and people are told that something is",
                "Name it in the `purposes` of what it needs, or remove it.",
            )


def _categories(policy: Any) -> Found:
    seen: dict[str, str] = {}
    for category, listed in _mapping(policy, "consent_categories").items():
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
        here = _mapping(policy, section)
        for name, meaning in names.items():
            if here and name not in here:
                yield (section,), f"`{name}` is missing", f"{meaning}; Candor cannot do without."


def _too_short(policy: Any) -> Found:
    days = _numbers(_mapping(policy, "retention"))
    longest = max(days, key=lambda name: days[name], default="")
    why = {
        "identifier": "the key that its data is sealed under would be gone",
        "consent": "the proof that it may be kept would be gone",
    }
    for record, number in _numbers(_mapping(policy, "records")).items():
        if record in why and longest and number < days[longest]:
            message = f"it is shorter than the class `{longest}`, and {why[record]} before the data"
            yield ("records", record), message, f"At least {days[longest]}."


def _never_stale(policy: Any) -> Found:
    days = _numbers(_mapping(policy, "retention"))
    for path, entry in _attributes(policy):
        within, kept = entry.get("verify_within"), days.get(str(entry.get("retention")))
        if isinstance(within, int) and kept and within >= kept:
            message = f"after {within} days it is not stale but gone: its class keeps {kept} days"
            yield (*path, "verify_within"), message, f"Less than {kept}, or leave it out."


def _ranks(policy: Any) -> Found:
    ranked: dict[int, str] = {}
    for name, rule in _mapping(policy, "identifiers").items():
        rank = rule.get("priority") if isinstance(rule, dict) else None
        if isinstance(rank, int) and rank in ranked:
            path = ("identifiers", name, "priority")
            message = f"`{ranked[rank]}` has {rank} too, and one of them must be the stronger"
            taken = _numbers({n: r.get("priority") for n, r in _rules(policy)}).values()
            free = next(n for n in range(1, len(taken) + 2) if n not in taken)
            yield path, message, f"{free} is free."
        elif isinstance(rank, int):
            ranked[rank] = str(name)


def _hanging(policy: Any) -> Found:
    everywhere: Path = ("never_identifiers",)
    lists = [(everywhere, _at(policy, "never_identifiers"))]
    lists += [(("identifiers", name, "never"), rule.get("never")) for name, rule in _rules(policy)]
    for path, listed in lists:
        for index, text in _texts(listed):
            if patterns.may_hang(text):
                message = "this repeats what repeats itself, and may take for ever on some values"
                yield (*path, index), message, "Take one repetition away: (a+)+ is a+."


def _blocking(policy: Any) -> Found:
    """Patterns that leave nobody: each by itself, or all of a type together."""
    everywhere = []
    for index, text in _texts(_at(policy, "never_identifiers")):
        pattern = _compiled(text)
        if pattern and all(map(pattern.fullmatch, ANYBODY)):
            yield ("never_identifiers", index), *_blocks("every identifier there could be")
        elif pattern:
            everywhere.append(pattern)
    for name, rule in _rules(policy):
        texts = list(_texts(rule.get("never")))
        digits = rule.get("normaliser") == "digits"
        values = [re.sub(r"(?!^\+)\D", "", one) if digits else one for one in ANYBODY]
        left = [one for one in values if not any(p.fullmatch(one) for p in everywhere)]
        for _, text in texts:
            pattern = _compiled(text)
            left = [one for one in left if pattern is None or not pattern.fullmatch(one)]
        if texts and not left:
            path = ("identifiers", name, "never")
            alone = [
                n for n, text in texts if (p := _compiled(text)) and all(map(p.fullmatch, values))
            ]
            yield (*path, *alone[:1]), *_blocks(f"every `{name}` there could be")


def _blocks(what: str) -> tuple[str, str]:
    return f"this blocks {what}", "A pattern is held against the whole value: make it narrower."


def _places(policy: Any) -> Found:
    traits, context = _mapping(policy, "traits"), _mapping(policy, "context")
    there = {name for part in ("keep", "use") for _, name in _texts(context.get(part))}
    for name, rule in _rules(policy):
        for index, place in _texts(rule.get("from")):
            where, _, rest = place.partition(".")
            path: Path = ("identifiers", name, "from", index)
            if where == "traits" and rest not in traits:
                yield path, f"no trait is called {rest!r}", nearest(rest, map(str, traits))
            elif where == "context" and rest.partition(".")[0] not in there:
                message = f"`context.use` and `context.keep` have no {rest.partition('.')[0]!r}"
                yield path, message, f"Add it to `context.use`. {nearest(rest, there)}"
            elif where not in ("traits", "context") or not rest:
                message = f"no event has a place {place!r}"
                yield path, message, "Give it like traits.email or context.device.id."


def _context(policy: Any) -> Found:
    first: dict[str, str] = {}
    for part, names in _mapping(policy, "context").items():
        for index, name in _texts(names):
            path: Path = ("context", part, index)
            if name in first and first[name] == part:
                yield path, f"{name!r} stands here twice", "Remove one of the two."
            elif name in first:
                message = f"{name!r} stands under `{first[name]}` too, and only one can be done"
                yield path, message, "Remove one of the two."
            first.setdefault(name, str(part))


def _read(policy: Any) -> Found:
    context = _mapping(policy, "context")
    there = {name for part in ("keep", "use") for _, name in _texts(context.get(part))}
    for name in READ if context else ():
        if name not in there:
            message = f"`{name}` is missing, and it is read whatever stands here"
            yield ("context", "use"), message, "Add it, so that this file says what happens."


def _sources(policy: Any, kinds: Sequence[str]) -> Found:
    listed = _mapping(policy, "sources").get("priority")
    if not isinstance(listed, list):
        return
    counted = Counter(name for _, name in _texts(listed))
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
    for path, entry in _attributes(policy):
        for part in ("purposes", "properties"):
            counted = Counter(name for _, name in _texts(_flat(entry.get(part))))
            for name in (name for name, count in counted.items() if count > 1):
                yield (*path, part), f"{name!r} stands here twice", "Remove one of the two."


def _unreachable(policy: Any) -> Found:
    for section in ("traits", "events"):
        if "" in _mapping(policy, section):
            yield (section, ""), NAMELESS, "Remove it, or give it a name."
    for path, entry in _attributes(policy):
        if "properties" in entry and "" in _flat(entry["properties"]):
            yield (*path, "properties"), NAMELESS, "Remove it, or give it a name."
    for name in _mapping(policy, "events"):
        if isinstance(name, str) and name != name.strip():
            message = "no event is called that: names are trimmed when they come in"
            yield ("events", name), message, f"Write {name.strip()!r}."
    for name in WITHOUT_PROPERTIES:
        if _flat(_at(policy, "events", name, "properties") or []):
            message = f"nothing is kept of the properties of an {name} call"
            yield ("events", name, "properties"), message, "Leave it empty: [], and name traits."


def _mapped(policy: Any) -> Found:
    """A mapping that brings what would be stripped, or nobody."""
    events, traits = _mapping(policy, "events"), _mapping(policy, "traits")
    naming = {"userId", "anonymousId"}
    naming.update(place for _, rule in _rules(policy) for _, place in _texts(rule.get("from")))
    categories = {str(name).lower(): name for name in _mapping(policy, "consent_categories")}
    for section in ("imports", "webhooks"):
        for name, mapping in _mapping(policy, section).items():
            if (section, name) == ("imports", NDJSON):
                message = "files of events are called that, which need no mapping"
                yield (section, name), message, "Give it another name."
            targets = [str(one).partition(":")[0] for one in _mapping(mapping, "map").values()]
            if targets and naming.isdisjoint(targets):
                message = "no value names anybody, so that everything would be refused"
                yield (section, name, "map"), message, f"Map one to {', '.join(sorted(naming))}."
            event = _at(mapping, "event") or _at(mapping, "type") or "identify"
            if event not in events:
                path = (section, name, "event")
                yield path, f"the catalogue has no event {event!r}", nearest(event, events)
                continue
            properties = [str(one) for one in _flat(_at(events[event], "properties"))]
            for field, target in _mapping(mapping, "map").items():
                at = (section, name, "map", field)
                match str(target).partition(":")[0].split("."):
                    case "traits", trait, *_ if trait not in traits:
                        yield at, f"the catalogue has no trait {trait!r}", nearest(trait, traits)
                    case "properties", one, *_ if one not in properties:
                        yield at, f"{event!r} has no property {one!r}", nearest(one, properties)
                    case "context", "consent", _, one if one.lower() not in categories:
                        told = nearest(one, categories.values())
                        yield at, f"there is no consent category {one!r}", told


# Reading what may have any shape


def _at(policy: Any, *path: str) -> Any:
    for step in path:
        policy = policy.get(step) if isinstance(policy, dict) else None
    return policy


def _mapping(policy: Any, *path: str) -> dict[Any, Any]:
    found = _at(policy, *path)
    return found if isinstance(found, dict) else {}


def _attributes(policy: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    for section in ATTRIBUTES:
        for name, entry in _mapping(policy, section).items():
            if isinstance(entry, dict):
                yield (section, name), entry


def _rules(policy: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, rule in _mapping(policy, "identifiers").items():
        if isinstance(rule, dict):
            yield name, rule


def _texts(found: Any) -> Iterator[tuple[int, str]]:
    for index, text in enumerate(found if isinstance(found, list) else []):
        if isinstance(text, str):
            yield index, text


def _flat(names: Any) -> list[Any]:
    if not isinstance(names, list):
        return [names]
    return [name for one in names for name in _flat(one)]


def _numbers(found: dict[Any, Any]) -> dict[str, int]:
    return {
        str(name): number
        for name, number in found.items()
        if isinstance(number, int) and not isinstance(number, bool)
    }


def _compiled(text: str) -> re.Pattern[str] | None:
    if patterns.may_hang(text):
        return None
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error:
        return None
