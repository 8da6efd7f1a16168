"""Why two identifiers are held to be one person's, or are not; and what separating them would do.

For people: the shortest chain of evidence, each step in a sentence. Values are shown as far as the
purpose of the read may know them.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from candor import separation
from candor.errors import Refused
from candor.identifiers import Identifier
from candor.identity import EVERYBODY, QUARANTINED, SEPARATED, link_key
from candor.ports import Row
from candor.profiles import View

Json = dict[str, Any]
TRUSTED = {
    "client": "a public key, so it is unproven",
    "server": "a secret key",
    "verified": "a public key, with the shop's proof of who was logged in",
}
BLOCKED = {
    "limit:profile": "they would have been more identifiers than a profile may hold",
    "client_may_not_join_known_users": "a public key may not join two known people",
    SEPARATED: "a person separated them",
    QUARANTINED: "one of them is shared by many, and joins nobody",
}


def chain(links: Iterable[tuple[str, str]], a: str, b: str) -> list[tuple[str, str]] | None:
    """The fewest links that lead from `a` to `b`, in order; None where none do."""
    beside: dict[str, list[str]] = {}
    for one, other in sorted(links):
        beside.setdefault(one, []).append(other)
        beside.setdefault(other, []).append(one)
    came_from, waiting = {a: a}, deque([a])
    while waiting and b not in came_from:
        here = waiting.popleft()
        for other in beside.get(here, ()):
            if other not in came_from:
                came_from[other] = here
                waiting.append(other)
    if b not in came_from:
        return None
    steps: list[tuple[str, str]] = []
    while b != a:
        steps.insert(0, (came_from[b], b))
        b = came_from[b]
    return steps


def why(view: View, a: Identifier, b: Identifier) -> Json:
    """{"a", "b", "together", "because", "chain": [{"a", "b", "said", rule, source, trust, event,
    time}]} for two identifiers, of which the first is of the profile that is read.

    Whoever is unknown, erased or somebody else's looks the same, but for what was refused here.
    """
    if a.key not in view.members:
        raise Refused("not_a_member", "`a` is no identifier of this profile.")
    together = b.key in view.members
    told: Json = {"a": _asked(a), "b": _asked(b), "together": together, "chain": []}
    if a == b:
        return told | {"because": "They are the same identifier."}
    if not together:
        return told | {"because": _apart(view, a, b)}
    rows = _links(view)
    steps = chain([pair for pair, row in rows.items() if "refused" not in row], a.key, b.key)
    if steps is None:
        text = "They are one profile, but the evidence has reached its own end and is gone."
        return told | {"because": text}
    for one, other in steps:
        row = rows.get((one, other)) or rows[other, one]
        step = {"a": view.named(one), "b": view.named(other), "said": sentence(row)}
        told["chain"].append(step | {name: row[name] for name in ("rule", "source", "trust")})
        told["chain"][-1] |= {"event": row["event"], "time": row["at"]}
    count = len(steps)
    because = "One event named both." if count == 1 else f"{count} pieces of evidence, one by one."
    return told | {"because": because}


def sentence(link: Mapping[str, Any]) -> str:
    """What a LINK row says."""
    kind, _, both = str(link["rule"]).partition("_carries_")
    what = f"{_article(kind)} {kind} event named both" if both else "A choice of consent named both"
    text = f"{what}, from {link['source']} on {_day(link['at'])} ({TRUSTED[link['trust']]})"
    return f"{text}; refused, because {blocked(link['refused'])}" if "refused" in link else text


def blocked(rule: str) -> str:
    """Why a rule refuses to join two identifiers."""
    kind, _, type_ = rule.partition(":")
    if kind == "limit" and type_ != "profile":
        return f"a profile may not hold more {type_} than the policy's limit"
    return BLOCKED.get(rule, rule)


def parts(view: View, split: separation.Split) -> list[Json]:
    """What each part of a profile would hold: its identifiers, names of traits, count of events."""
    found = []
    for idkeys in (split.stays, split.moves):
        shown = sorted(idkeys & view.members.keys())
        found.append(
            {
                "identifiers": [view.named(idkey) for idkey in shown],
                "traits": sorted({name for i in shown for name in view.members[i].traits}),
                "events": _events(view, idkeys),
                "moves": idkeys == split.moves,
            }
        )
    return found


def _events(view: View, members: Collection[str]) -> int:
    rows = view.world.rows
    return sum(row["n"] for idkey in members for row in rows.query("events", idkey))


def _links(view: View) -> dict[tuple[str, str], Row]:
    found = {}
    for idkey in view.members:
        for row in view.world.rows.query("graph", f"I#{idkey}", "LINK#"):
            other = row["sk"].removeprefix("LINK#")
            if idkey < other and other in view.members:
                found[idkey, other] = row
    return found


def _apart(view: View, a: Identifier, b: Identifier) -> str:
    """Why two are in two profiles, as far as it was decided here."""
    if EVERYBODY in view.profile.apart.get(a.key, ()):
        return "The first is shared by many, and in quarantine: it joins nobody."
    keys = [separation.separation_key(a.key, b.key), link_key(a.key, b.key)]
    found = view.world.rows.get(keys)
    separated, link = (found.get(key) for key in keys)
    if b.key in view.profile.apart.get(a.key, ()):
        day = f" on {_day(separated['at'])}" if separated else ""
        return f"A person separated them{day}."
    if link:
        return f"{sentence(link)}." if "refused" in link else "They were joined, and are no more."
    return "No evidence links them."


def _asked(one: Identifier) -> Json:
    """An identifier that was asked for, and so is known to who asked."""
    return {"type": one.type, "value": one.value}


def _article(word: str) -> str:
    return "An" if word[0] in "aeiou" else "A"


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
