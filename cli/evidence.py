"""How what is known of who belongs together looks on a terminal."""

import shlex
from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from candor import explanation
from cli.graph import TRUSTED, Graph, Link, Node, day, named
from cli.lettering import shortened
from cli.screen import text
from cli.show import facts, grid, listed, panel, plain, withheld

Json = Mapping[str, Any]
DEEPEST = 5
"""Steps from a tree's root; what is farther away begins a tree of its own."""
LONGEST = 80
"""Characters of an identifier in a tree."""
DAYS = 7
REASONS = {
    "shared_device": "a device that several people share",
    "shared_address": "an address that several people share",
    "test_value": "a value that testers use",
    "other": "shared by many",
}
OFTEN = {
    "client_may_not_join_known_users": "a page sends one person's user_id with another's email, "
    "as forms for friends do; let the shop's server say who belongs together",
    "limit:profile": "one browser or device that everybody uses, such as a till; quarantine it",
    "separated": "the same evidence keeps coming; the separation does its work",
    "quarantined": "what is in quarantine is still used; it joins nobody",
}
LIMITS = (
    "the SDK goes on with its anonymous id after somebody logged out (call reset() there), or "
    "people share a device; quarantine it"
)


def chain(found: Json, a: str, b: str, names: Mapping[str, str]) -> RenderableType:
    """Why two identifiers are one person's, step by step, or why they are not.

    `names` are those of sources by their ids, which stand in the API's sentences.
    """
    told = listed(found.get("chain"))
    colour = "green" if found.get("together") else "yellow"
    verdict = "one person" if found.get("together") else "not one person"
    because = Text.assemble(text(f"{verdict}: ", colour), text(spoken(found["because"], names)))
    parts: list[RenderableType] = [because]
    if told:
        steps = grid("", "from", "to", "because")
        for n, one in enumerate(told, 1):
            # Whoever asked knows what they asked for, whatever the purpose may know.
            near = a if n == 1 else named(one["a"])
            far = b if n == len(told) else named(one["b"])
            steps.add_row(n, near, far, spoken(one["said"], names))
        parts += ["", steps]
    if found.get("withheld"):
        parts += ["", withheld(found["withheld"])]
    return panel(Group(*parts), f"why {a} and {b}", "blue")


def spoken(said: object, names: Mapping[str, str]) -> str:
    """A sentence of the API with the names of sources in the place of their ids."""
    words = str(said)
    for id_, name in names.items():
        words = words.replace(f"from {id_} on ", f"from {name} on ")
    return words


def parts(found: Json, a: str, b: str) -> RenderableType:
    """What would become of a profile, or what became of it."""
    if not listed(found.get("parts")):
        return text(f"{a} and {b} are in two profiles already. They would be kept apart.")
    shown: list[RenderableType] = []
    for one in listed(found["parts"]):
        rows = facts()
        ids = listed(one["identifiers"])
        for n, identifier in enumerate(ids):
            rows.add_row("" if n else "identifiers", named(identifier))
        rows.add_row("traits", ", ".join(map(str, one["traits"])) or "none")
        rows.add_row("events", one["events"])
        title = "gets a profile of its own" if one["moves"] else "keeps the profile"
        shown.append(panel(rows, title, "yellow" if one["moves"] else "blue"))
    if found.get("withheld"):
        shown.append(withheld(found["withheld"]))
    return Group(*shown)


def again(*words: str) -> str:
    """A command for a shell, to be copied."""
    return shlex.join(["candor", "identity", *words])


def quarantine(found: list[dict[str, Any]], names: Mapping[str, str]) -> RenderableType:
    """What is in quarantine, and how it was found."""
    if not found:
        return text("Nothing is in quarantine.", "dim")
    table = grid("identifier", "since", "by", "because")
    for one in found:
        who = str(one.get("by"))
        by = "Candor itself" if who == "candor" else names.get(who, who)
        table.add_row(_quarantined(one["identifier"]), day(one.get("at")), by, because(one, names))
    return table


def because(one: Json, names: Mapping[str, str]) -> str:
    """How it was found that an identifier is shared by many."""
    told = one.get("because") or {}
    if "met" not in told:
        reason = str(told.get("reason"))
        return REASONS.get(reason, reason)
    source, trust = str(told.get("source")), str(told.get("trust"))
    met = told["met"] if isinstance(told["met"], Mapping) else {}
    many = " and ".join(f"{plain(count)} {type_}" for type_, count in sorted(met.items()))
    sender = f"{names.get(source, source)} ({TRUSTED.get(trust, trust)})"
    return f"it was met with {many}, the last of them said by {sender}"


def _quarantined(one: Json) -> str:
    return named(one) if one.get("value") is not None else f"{one['type']} (gone)"


def stats(found: Json, quarantined: int) -> RenderableType:
    """Refused links, by rule, source and day."""
    shown: list[RenderableType] = []
    for one in listed(found["refused"]):
        table = grid("source", *(text_[5:] for text_ in found["days"]))
        for column in table.columns[1:]:
            column.justify = "right"
        for source in one["sources"]:
            table.add_row(source["name"], *(number or "·" for number in source["by_day"]))
        title = Text.assemble(text(one["rule"], "bold"), text(f": {one['meaning']}"))
        shown += [title, text(f"Often: {one['often']}." if one["often"] else "", "dim"), table, ""]
    if not shown:
        shown = [text(f"No link was refused in the last {DAYS} days.", "green"), ""]
    many = "1 identifier is" if quarantined == 1 else f"{quarantined} identifiers are"
    shown.append(text(f"{many} in quarantine: candor identity quarantine"))
    return panel(Group(*shown), f"refused links, the last {DAYS} days (UTC)", "blue")


def refusals(
    counted: list[dict[str, Any]], names: Mapping[str, str], today: int
) -> list[dict[str, Any]]:
    """Refused links as {"rule", "meaning", "often", "sources": [{"name", "by_day"}]}, from what the
    API counted; most first. `today` is in days since the epoch, and the last of `by_day`."""
    rules: dict[str, dict[str, list[int]]] = {}
    for one in counted:
        for outcome, count in one["outcomes"].items():
            kind, _, rule = str(outcome).partition(":")
            place = DAYS - 1 - (today - one["day"])
            if kind == "refused_link" and 0 <= place < DAYS:
                source = names.get(one["source"], one["source"])
                days = rules.setdefault(rule, {}).setdefault(source, [0] * DAYS)
                days[place] += count
    found = [
        {
            "rule": rule,
            "meaning": meaning(rule),
            "often": OFTEN.get(rule, LIMITS if rule.startswith("limit:") else ""),
            "sources": [
                {"name": name, "by_day": days}
                for name, days in sorted(sources.items(), key=lambda one: (-sum(one[1]), one[0]))
            ],
        }
        for rule, sources in rules.items()
    ]
    total = {rule: sum(map(sum, sources.values())) for rule, sources in rules.items()}
    return sorted(found, key=lambda one: (-total[str(one["rule"])], one["rule"]))


def meaning(rule: str) -> str:
    """What a rule that refuses links says. One of another version is told as it is."""
    if rule in explanation.BLOCKED or rule.startswith("limit:"):
        return explanation.blocked(rule)
    return rule


def picture(graph: Graph, asked: str) -> RenderableType:
    """A profile's graph as trees: how each identifier is reached from the one asked for."""
    nodes = [one for one in (graph.asked, *graph.nodes) if one]
    shown: list[RenderableType] = []
    left = dict.fromkeys(nodes)
    roots = deque(nodes)
    told: set[int] = set()
    while roots:
        root = roots.popleft()
        if root in left:
            tree, deeper = _tree(graph, root, left, told)
            shown.append(tree)
            roots.extendleft(reversed(deeper))
    if graph.untold:
        said = f"Links between withheld identifiers of one type, not shown: {graph.untold}"
        shown.append(text(said, "dim"))
    return panel(Group(*shown), f"the graph of {asked}", "blue")


def _tree(
    graph: Graph, root: Node, left: dict[Node, None], told: set[int]
) -> tuple[Tree, list[Node]]:
    """A tree of what is left, nearest first, and what was too deep for it.

    `left` loses what is in it, and `told` gets the links that are.
    """
    tree = Tree(_label(root, None), guide_style="dim")
    branches = {root: tree}
    deeper: dict[Node, None] = {}
    left.pop(root)
    waiting = deque([(root, 0)])
    order = []
    while waiting:
        here, depth = waiting.popleft()
        order.append(here)
        for n, link in enumerate(graph.links):
            far = link.end(here) if link.b and here in (link.a, link.b) else None
            if link.kind != "joined" or far is None or far not in left:
                continue
            if depth == DEEPEST:
                deeper[far] = None
                continue
            left.pop(far)
            told.add(n)
            branches[far] = branches[here].add(_label(far, link))
            waiting.append((far, depth + 1))
    for here in order:
        for n, link in enumerate(graph.links):
            if n not in told and here in (link.a, link.b):
                told.add(n)
                branches[here].add(_leaf(link, here))
    return tree, [node for node in deeper if node in left]


def _label(node: Node, link: Link | None) -> Text:
    name = text(shortened(node.name, LONGEST), "bold" if node.known else "")
    return Text.assemble(name, text(f"   {_words(link)}", "dim")) if link else name


def _leaf(link: Link, here: Node) -> Text:
    other = link.end(here) if link.b else None
    name = shortened(other.name, LONGEST) if other else "somebody outside"
    if link.kind == "joined":
        return text(f"also with {name}   {_words(link)}", "dim")
    return text(f"╌╌✕ {name}   {link.verdict}; {_words(link)}", "yellow")


def _words(link: Link) -> str:
    return f"{link.occasion}, {link.sender}"
