"""What is wrong with the rules for identifiers: each by itself, and with each other."""

import re
from collections.abc import Iterator
from typing import Any, get_args

from candor.spelling import NO_REGION, Normaliser, spell
from cli import patterns, shapes
from cli.explanations import nearest, shown
from cli.places import Path
from cli.shapes import Found

ANYBODY = (
    *("42", "ann", "Ann Lee", "x-9_Z", "507f191e810c19729de860ea"),
    *("ann@example.com", "a.lee+shop@mail.example.org", "0b3f7a1c-5a51-4d4e-9d0f-3a0d6a7f2b11"),
    *("+41791234567", "0791234567", "+14155550123"),
)
"""Values that name somebody, in every shape that identifiers have."""
FIELDS = ("user_id", "anonymous_id")
"""Types that every call has a field of its own for."""
EXTERNAL_IDS = "context.externalIds"
_LITERAL = re.compile(r"(?:[^\\.^$*+?{}\[\]()|]|\\[^a-zA-Z0-9])+")


def find(policy: Any) -> Found:
    yield from _ranks(policy)
    yield from _devices(policy)
    yield from _regions(policy)
    yield from _hanging(policy)
    yield from _blocking(policy)
    yield from _unmet(policy)
    yield from _places(policy)
    yield from _readers(policy)
    yield from _proofs(policy)


def _ranks(policy: Any) -> Found:
    ranked: dict[int, str] = {}
    priorities = _priorities(policy)
    for name, rank in priorities.items():
        if rank in ranked:
            message = f"`{ranked[rank]}` has {rank} too, and one of them must be the stronger"
            free = next(n for n in range(1, len(priorities) + 2) if n not in priorities.values())
            yield ("identifiers", name, "priority"), message, f"{free} is free."
        ranked.setdefault(rank, name)


def _devices(policy: Any) -> Found:
    """What names a device only, and would be the home of what is said of a person."""
    kinds = {name: rule.get("known") for name, rule in shapes.rules(policy)}
    priorities = _priorities(policy)
    people = [name for name in priorities if kinds.get(name) is True]
    weakest = max(people, key=lambda name: priorities[name], default="")
    for name, rank in priorities.items():
        if kinds.get(name) is False and weakest and rank < priorities[weakest]:
            message = (
                f"it names a device and is stronger than `{weakest}`, which names a person: what "
                "is said of a person would be kept under a device"
            )
            fix = f"Give it more than {priorities[weakest]}."
            yield ("identifiers", name, "priority"), message, fix


def _regions(policy: Any) -> Found:
    for name, rule in shapes.rules(policy):
        path, region = ("identifiers", name), rule.get("region")
        if rule.get("normaliser") != "phone":
            if region is not None:
                message = "only `normaliser: phone` reads a region"
                yield (*path, "region"), message, "Remove it, or write `normaliser: phone`."
        elif region is None:
            message = (
                "`region` is missing: whose are the numbers that come without a country's code?"
            )
            fix = f"Add `region:` and a country, such as DE, or {NO_REGION}: then they name nobody."
            yield path, message, fix
        elif isinstance(region, str) and region != NO_REGION and region not in _countries():
            near = nearest(region, _countries()) if region.upper() in _countries() else ""
            message = f"no country {shown(region)} has telephone numbers"
            yield (*path, "region"), message, near or "Give it like DE, GB or US (ISO 3166)."


def _countries() -> set[str]:
    from phonenumbers import SUPPORTED_REGIONS  # only where there is a rule for phone numbers

    return set(SUPPORTED_REGIONS)


def _hanging(policy: Any) -> Found:
    everywhere: Path = ("never_identifiers",)
    lists = [(everywhere, shapes.at(policy, "never_identifiers"))]
    lists += [
        (("identifiers", name, "never"), rule.get("never")) for name, rule in shapes.rules(policy)
    ]
    for path, listed in lists:
        for index, text in shapes.texts(listed):
            if patterns.may_hang(text):
                message = "this repeats what repeats itself, and may take for ever on some values"
                yield (*path, index), message, "Take one repetition away: (a+)+ is a+."


def _blocking(policy: Any) -> Found:
    """Patterns that leave nobody: each by itself, or all of a type together."""
    everywhere = []
    for index, text in shapes.texts(shapes.at(policy, "never_identifiers")):
        pattern = shapes.pattern_of(text)
        if pattern and all(map(pattern.fullmatch, ANYBODY)):
            yield ("never_identifiers", index), *_blocks("every identifier there could be")
        elif pattern:
            everywhere.append(pattern)
    for name, rule in shapes.rules(policy):
        blocked = list(shapes.texts(rule.get("never")))
        values = [spelled for one in ANYBODY if (spelled := _spelled(rule, one))]
        left = [one for one in values if not any(p.fullmatch(one) for p in everywhere)]
        for _, text in blocked:
            pattern = shapes.pattern_of(text)
            left = [one for one in left if pattern is None or not pattern.fullmatch(one)]
        if blocked and not left:
            path = ("identifiers", name, "never")
            alone = [
                n
                for n, text in blocked
                if (p := shapes.pattern_of(text)) and all(map(p.fullmatch, values))
            ]
            yield (*path, *alone[:1]), *_blocks(f"every `{name}` there could be")


def _blocks(what: str) -> tuple[str, str]:
    return f"this blocks {what}", "A pattern is held against the whole value: make it narrower."


def _unmet(policy: Any) -> Found:
    """Patterns for a value that no identifier can have, because its normaliser spells it otherwise.

    Of a pattern for more than a few values nobody could tell without trying all that it fits.
    """
    of_types = list(shapes.rules(policy))
    for index, text in shapes.texts(shapes.at(policy, "never_identifiers")):
        for literal in _literals(text):
            if of_types and all(_is_unmet(literal, rule) for _, rule in of_types):
                message = f"no identifier is ever spelled {shown(literal)}"
                yield ("never_identifiers", index), message, _instead(literal, of_types[0][1])
    for name, rule in of_types:
        for index, text in shapes.texts(rule.get("never")):
            for literal in _literals(text):
                if _is_unmet(literal, rule):
                    message = f"no `{name}` is ever spelled {shown(literal)}"
                    path = ("identifiers", name, "never", index)
                    yield path, message, _instead(literal, rule)


def _literals(text: str) -> Iterator[str]:
    """The values that a pattern stands for, where it is plain that there are no others."""
    alternatives = re.split(r"(?<!\\)\|", text)
    if all(map(_LITERAL.fullmatch, alternatives)):
        yield from (re.sub(r"\\(.)", r"\1", one) for one in alternatives)


def _is_unmet(literal: str, rule: dict[str, Any]) -> bool:
    spelled = _spelled(rule, literal)
    return spelled is None or not re.fullmatch(re.escape(literal), spelled, re.IGNORECASE)


def _instead(literal: str, rule: dict[str, Any]) -> str:
    spelled = _spelled(rule, literal)
    return f"Write {re.escape(spelled)}" if spelled else "Remove it: it names nobody as it is."


def _spelled(rule: dict[str, Any], value: str) -> str | None:
    normaliser, region = rule.get("normaliser", "trim"), rule.get("region")
    if normaliser not in get_args(Normaliser):
        normaliser = "trim"
    return spell(value, normaliser, region if isinstance(region, str) else NO_REGION) or None


def _places(policy: Any) -> Found:
    traits, context = shapes.mapping(policy, "traits"), shapes.mapping(policy, "context")
    there = {name for part in ("keep", "use") for _, name in shapes.texts(context.get(part))}
    for name, rule in shapes.rules(policy):
        for index, place in shapes.texts(rule.get("from")):
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
            elif place == EXTERNAL_IDS:
                message = "it is not said which of the external ids"
                yield path, message, f"Add their type: {EXTERNAL_IDS}.{name}."


def _readers(policy: Any) -> Found:
    """Places that two types are read from, and types that are read from nowhere."""
    readers: dict[str, str] = {}
    for name, rule in shapes.rules(policy):
        listed = rule.get("from")
        if name not in FIELDS and listed in (None, []):
            message = "it is read from nowhere, so no event can carry it"
            fix = f"Add `from:` and places, such as [{EXTERNAL_IDS}.{name}]."
            yield ("identifiers", name), message, fix
        for index, place in shapes.texts(listed):
            if place in readers:
                path = ("identifiers", name, "from", index)
                message = f"`{readers[place]}` is read from {place} too: one value is not two types"
                if readers[place] == name:
                    message = f"{place!r} stands here twice"
                yield path, message, "Remove one of the two."
            readers.setdefault(place, str(name))


def _proofs(policy: Any) -> Found:
    if shapes.at(policy, "identifiers", "anonymous_id", "needs_proof") is True:
        message = (
            "before somebody signs in, a browser names nothing else and has no proof: all that it "
            "sends would be refused"
        )
        yield ("identifiers", "anonymous_id", "needs_proof"), message, "Remove it."


def _priorities(policy: Any) -> dict[str, int]:
    return shapes.numbers({name: rule.get("priority") for name, rule in shapes.rules(policy)})
