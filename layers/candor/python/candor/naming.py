"""Whom an event names: the identifiers in it, by the places that the policy's rules read.

Pure. The names of fields are Segment's; what cannot be read is told and left out, never guessed.
"""

from collections.abc import Callable, Iterator
from typing import Any

from candor.identifiers import normal_form
from candor.policy import Policy

MOST_EXTERNAL_IDS = 16
"""Of one event; each is an identifier that unify reads and links."""

Json = dict[str, Any]
Pairs = list[list[str]]
"""Type and normalised value of each identifier, strongest first."""
Tell = Callable[[str, str, str], None]
"""Takes of an external id that is left out: a code, its type if it has one, and what to do."""


class Naming:
    """Reads the identifiers of a request's events, each spelling once."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        rules = sorted(policy.identifiers.items(), key=lambda rule: rule[1].priority)
        self._places = [(name, [_steps(at) for at in rule.sources]) for name, rule in rules]
        self._external = {at[2] for _, places in self._places for at in places if _external(at)}
        self._normal: dict[tuple[str, str], str | None] = {}

    def read(self, sent: Json, type_: str, context: Json, tell: Tell) -> Pairs:
        """The identifiers of one event of this type, which may be none."""
        own: dict[str, tuple[object, ...]] = {
            "user_id": (sent.get("userId"),),
            "anonymous_id": (sent.get("anonymousId"),),
        }
        if type_ == "alias" and sent.get("previousId") != sent.get("userId"):
            own["anonymous_id"] += (sent.get("previousId"),)  # SDKs alias users to themselves too
        traits = mapping(context.get("traits"))
        if type_ != "group":  # whose traits are not its members'
            traits = {**traits, **mapping(sent.get("traits"))}
        known: Json = {"traits": traits, "context": self._readable(context, tell)}
        found: dict[tuple[str, str], None] = {}
        for name, paths in self._places:
            for value in (*own.get(name, ()), *_at(known, paths)):
                if value is None:
                    continue
                normal = self._normal_form(name, value)
                if normal is not None:
                    found[name, normal] = None
        return [list(pair) for pair in found]

    def apart(self, named: Pairs) -> tuple[Pairs, Pairs]:
        """The identifiers that anybody may name, and those whose type needs a proof."""
        sides: tuple[Pairs, Pairs] = [], []
        for pair in named:
            sides[self._policy.identifiers[pair[0]].needs_proof].append(pair)
        return sides

    def _readable(self, context: Json, tell: Tell) -> Json:
        """A context as far as it may name somebody, with its external ids by their type."""
        readable = context
        if context.get("externalIds") is not None:
            readable = {**context, "externalIds": self._by_type(context["externalIds"], tell)}
        device = mapping(context.get("device"))
        if device.get("adTrackingEnabled") not in (None, True):
            allowed = {name: device[name] for name in device if name != "advertisingId"}
            readable = {**readable, "device": allowed}
        return readable

    def _by_type(self, sent: object, tell: Tell) -> dict[str, list[object]]:
        """Segment's `context.externalIds`, as far as a rule reads it.

        https://www.twilio.com/docs/segment/unify/identity-resolution/externalids
        """
        found: dict[str, list[object]] = {}
        entries = sent if isinstance(sent, list) else [sent]
        for entry in map(mapping, entries[:MOST_EXTERNAL_IDS]):
            type_ = entry.get("type")
            form = entry.get("collection"), entry.get("encoding")
            if not isinstance(type_, str) or form != ("users", "none"):
                fix = "Send a list of {id, type, collection: users, encoding: none}."
                tell("bad_external_id", "", fix)
            elif type_ in self._external:
                found.setdefault(type_, []).append(entry.get("id"))
            else:
                fix = "Add it to the `from` of an identifier type in policy.yaml."
                tell("not_in_policy", type_, fix)
        if len(entries) > MOST_EXTERNAL_IDS:
            fix = f"An event may have {MOST_EXTERNAL_IDS}; the first of them are read."
            tell("too_many_external_ids", "", fix)
        return found

    def _normal_form(self, name: str, value: object) -> str | None:
        """`identifiers.normal_form`, once for each value of a request."""
        if not isinstance(value, str):
            return normal_form(self._policy, name, value)
        if (name, value) not in self._normal:
            self._normal[name, value] = normal_form(self._policy, name, value)
        return self._normal[name, value]


def mapping(value: object) -> Json:
    """A JSON object, or an empty one instead of anything else."""
    return value if isinstance(value, dict) else {}


def _steps(place: str) -> list[str]:
    """A rule's `from` as a path. The type of an external id may itself hold dots (`ios.id`)."""
    steps = place.split(".")
    return [*steps[:2], ".".join(steps[2:])] if _external(steps) else steps


def _external(steps: list[str]) -> bool:
    return steps[:2] == ["context", "externalIds"]


def _at(tree: Json, paths: list[list[str]]) -> Iterator[object]:
    """What stands at these places: one value each, but for external ids."""
    for path in paths:
        node: object = tree
        for step in path:
            node = node.get(step) if isinstance(node, dict) else None
        yield from node if _external(path) and isinstance(node, list) else (node,)
