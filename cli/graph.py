"""A profile's graph as the API tells of it: its identifiers, and what links them or does not."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

Json = Mapping[str, Any]
OUTSIDE = "(outside this profile)"
"""The type that the API gives to whom it does not tell of."""
TRUSTED = {
    "client": "public key, unproven",
    "server": "secret key",
    "verified": "public key, proven",
}
REFUSED = {
    "limit:profile": "the profile is full",
    "client_may_not_join_known_users": "two known people",
    "separated": "a person separated them",
    "quarantined": "shared by many",
}


@dataclass(frozen=True, slots=True)
class Node:
    """An identifier."""

    type: str
    value: str | None
    """None: the purpose of the read may not know it. One such node stands for all of its type."""
    known: bool = field(default=False, compare=False)
    """Whether it names a person, and not a device."""
    first_seen: str = field(default="", compare=False)
    last_seen: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return named({"type": self.type, "value": self.value})


@dataclass(frozen=True, slots=True)
class Link:
    """What is said of two identifiers, of which `a` is the stronger one."""

    a: Node
    b: Node | None
    """None: somebody outside this profile."""
    kind: Literal["joined", "refused", "apart"]
    """`apart`: it was believed once, and the other end belongs to somebody else now."""
    what: str
    source: str
    trust: str
    day: str
    rule: str = ""
    """Which rule refused it."""
    times: int = 1

    def end(self, node: Node) -> Node | None:
        """The end that is not this one."""
        return self.b if node == self.a else self.a

    @property
    def verdict(self) -> str:
        """Why it does not hold; nothing where it does."""
        if self.kind == "apart":
            return "taken apart again"
        return f"refused: {short(self.rule)}" if self.kind == "refused" else ""

    @property
    def sender(self) -> str:
        return f"{self.source} ({TRUSTED.get(self.trust, self.trust)})"

    @property
    def occasion(self) -> str:
        times = f", {self.times} times" if self.times > 1 else ""
        return f"{self.what}, {self.day}{times}"


@dataclass(frozen=True, slots=True)
class Graph:
    nodes: list[Node]
    """Those that name a person first, then by the policy's priority."""
    links: list[Link]
    """Oldest first."""
    asked: Node | None
    """By which the profile was asked for, where the purpose may know it."""
    untold: int = 0
    """Links between withheld identifiers of one type, which no picture can tell apart."""


def graph(
    identifiers: Collection[Json],
    links: Collection[Json],
    asked: str,
    types: Mapping[str, Json],
    sources: Mapping[str, str],
) -> Graph:
    """The graph that the API's answers tell of.

    `types` are the policy's identifiers, by which known ones are told from devices; `sources` names
    those that are known by their id; `asked` is an identifier as type:value.
    """
    nodes: dict[Node, Node] = {}
    for one in identifiers:
        node = _node(one, types)
        first, last = (str(one.get(name) or "") for name in ("first_seen", "last_seen"))
        nodes[node] = replace(node, first_seen=first, last_seen=last)
    found: dict[Link, tuple[str, int]] = {}
    untold = 0
    for one in sorted(links, key=_by_time):
        ends = [_node(one[side], types) for side in "ab" if one[side]["type"] != OUTSIDE]
        for end in ends:
            nodes.setdefault(end, end)
        ends.sort(key=lambda end: _rank(end, types))
        if not ends:
            continue
        if len(ends) == 2 and ends[0] == ends[1]:
            untold += 1
            continue
        link = _link(one, [nodes[end] for end in ends], sources)
        _, times = found.get(link, ("", 0))
        found[link] = day(one.get("time")), times + 1
    told = [replace(link, day=last, times=times) for link, (last, times) in found.items()]
    ranked = sorted(nodes.values(), key=lambda node: _rank(node, types))
    by_asked = [node for node in ranked if node.value is not None and node.name == asked]
    return Graph(ranked, told, by_asked[0] if by_asked else None, untold)


def named(one: Json) -> str:
    """An identifier of the API's, in words where the purpose may not know its value."""
    if one["type"] == OUTSIDE:
        return "somebody outside"
    value = one.get("value")
    return f"{one['type']} (withheld)" if value is None else f"{one['type']}:{value}"


def short(rule: str) -> str:
    """A rule that refuses links, in a few words."""
    kind, _, type_ = rule.partition(":")
    return REFUSED.get(rule) or (f"too many {type_}" if kind == "limit" else rule)


def day(value: object) -> str:
    """The UTC day of epoch seconds."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d")
    return str(value)


def _node(one: Json, types: Mapping[str, Json]) -> Node:
    value = one.get("value")
    type_ = str(one["type"])
    known = bool(types.get(type_, {}).get("known"))
    return Node(type_, None if value is None else str(value), known)


def _rank(node: Node, types: Mapping[str, Json]) -> tuple[bool, int, str, bool, str]:
    priority = types.get(node.type, {}).get("priority", 99)
    return not node.known, priority, node.type, node.value is None, node.value or ""


def _link(one: Json, ends: list[Node], sources: Mapping[str, str]) -> Link:
    """Without its day, so that those that only differ in it can be counted together."""
    refused, source = str(one.get("refused") or ""), str(one.get("source", "?"))
    outside = None if len(ends) == 1 else ends[1]
    kind: Literal["joined", "refused", "apart"] = "joined"
    if refused:
        kind = "refused"
    elif outside is None:
        kind = "apart"
    type_, _, both = str(one.get("rule", "")).partition("_carries_")
    what = f"{type_} event" if both else "consent choice"
    name, trust = sources.get(source, source), str(one.get("trust", "?"))
    return Link(ends[0], outside, kind, what, name, trust, "", refused)


def _by_time(one: Json) -> tuple[float, str]:
    """What was said at the same time has an order too, so that a picture is always the same."""
    time = one.get("time")
    return time if isinstance(time, int | float) else 0, json.dumps(one, sort_keys=True)
