"""The daily round: every identifier is looked at once a day, and ended where its time is over.

DynamoDB's own expiry ends whole rows. It knows nothing of a trait inside a row, of an identifier
that stands in a profile, or of one under which nothing is kept any more. The round reads the graph
as it lies, slice by slice, and opens nothing but what has something to end.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from candor import holds, keyring, outcomes, traits
from candor.identity import bury, node_key, profile_key
from candor.policy import DAY
from candor.ports import ABSENT, Check, Conflict, Delete, Key, Row, Update
from candor.world import World

PLACE = Key("keys", "S#sweep")
KEYS_DAYS = 7
"""How often keys are looked for that belong to nobody: an identifier takes its own along."""
NOTICE = 3600
"""Seconds that an identifier with nothing under it has left, for whoever brings something now."""
SOURCE = "sweep"
"""Under which it is counted what has no source of its own."""


@dataclass(slots=True)
class Ended:
    """How much went."""

    identifiers: int = 0
    traits: int = 0
    keys: int = 0


def go_on(world: World, more: Callable[[], bool]) -> Ended:
    """Do today's round from where it stopped, as long as `more` says that there is time."""
    ended, today = Ended(), int(world.clock() // DAY)
    place = world.rows.get([PLACE]).get(PLACE) or {}
    if place.get("done") == today:
        return ended
    at = place
    if place.get("table", "graph") == "graph":
        stopped = _graph(world, place, more, ended)
        if stopped is not None:
            _stop(world, stopped)
            return ended
        at = {}
    looked = place.get("keys", -KEYS_DAYS)
    if today - looked >= KEYS_DAYS:
        stopped = _keys(world, at, more, ended)
        if stopped is not None:
            _stop(world, stopped)
            return ended
        looked = today
    change = Update(PLACE, set={"done": today, "keys": looked}, remove=("table", "after", "sort"))
    world.rows.update(change)
    return ended


def _stop(world: World, place: Row) -> None:
    if place:
        world.rows.update(Update(PLACE, set=place, remove=("done",)))


def _graph(world: World, place: Row, more: Callable[[], bool], ended: Ended) -> Row | None:
    """Where it stopped, {} where it got nowhere, and None when it is through."""
    after = Key("graph", place["after"], place["sort"]) if "after" in place else None
    stopped: Row = {}
    scanned = world.rows.scan("graph", after=after, expired=True)
    for pk, rows in groupby(scanned, key=itemgetter("pk")):
        if not more():
            return stopped
        last = _partition(world, pk, rows, ended, more)
        stopped = {"table": "graph", "after": pk, "sort": last["sk"]}
    return None


def _partition(
    world: World, pk: str, rows: Iterator[Row], ended: Ended, more: Callable[[], bool]
) -> Row:
    """End what has ended of an identifier, where these are its rows; the last of them."""
    now, found, proof, last = world.clock(), dict[str, Row](), False, Row()
    for row in rows:
        last, kind = row, row["sk"].partition("#")[0]
        proof = proof or (kind == "CONSENT" and row["due"] > now)
        if kind in ("NODE", "TRAITS"):
            found[kind] = row
        if kind == "PROFILE" and row.get("hold"):
            holds.mend(world.rows, pk.removeprefix("P#"), row, now, more)
    node, told = found.get("NODE"), found.get("TRAITS")
    if node is None:
        return last
    idkey = pk.removeprefix("I#")
    try:
        if node["due"] <= now:
            if not _is_held(world, node):
                _bury(world, idkey, node, ended)
        elif told is not None and told.get("n") != 0:
            if told.get("next", now) <= now and not _is_held(world, node):
                ended.traits += _end_traits(world, idkey, told)
        elif not proof and _is_idle(world, idkey, node):
            home = _home(world, node)
            if not home.get("hold") and not home.get("apart", {}).get(idkey):
                _give_notice(world, idkey, node)
    except Conflict:
        pass  # it is in use
    return last


def _is_held(world: World, node: Row) -> bool:
    return bool(_home(world, node).get("hold"))


def _home(world: World, node: Row) -> Row:
    """The profile of a node."""
    key = profile_key(node["profile"])
    return world.rows.get([key], expired=True).get(key, {})


def _bury(world: World, idkey: str, node: Row, ended: Ended) -> None:
    class_ = world.policy.identifier(node["type"]).retention or "unknown"
    told = {f"expired_identifiers:{class_}": 1}
    count = outcomes.adding(SOURCE, world.clock(), told)
    if bury(world.rows, idkey, world.clock(), count) == "buried":
        ended.identifiers += 1
    _forget(world, idkey, ended)


def _forget(world: World, idkey: str, ended: Ended) -> None:
    """Destroy the key of an identifier that has no node, unless it is a fence; its row stays for
    what outlives an erasure: what was objected to, and since when the person is let in again."""
    unused, key = Check(node_key(idkey), when={"pk": ABSENT}), keyring.key_of(idkey)
    row = world.rows.get([key]).get(key, {})
    if not {"objections", "lifted"} & row.keys():
        outlives = {"mode": ABSENT, "objections": ABSENT, "lifted": ABSENT}
        world.rows.commit(unused, Delete(key, when=outlives))
    elif "salt" in row:
        world.rows.commit(unused, Update(key, remove=("salt",), when={"mode": ABSENT}))
    ended.keys += "salt" in row


def _end_traits(world: World, idkey: str, told: Row) -> int:
    salt = keyring.states(world.rows, [idkey])[idkey].salt
    return traits.end(world, salt, told) if salt else 0


def _is_idle(world: World, idkey: str, node: Row) -> bool:
    """Whether an identifier was not seen for the days of its class, and holds no event."""
    class_ = world.policy.identifier(node["type"]).retention
    days = world.policy.retention.get(class_)
    if days is None or world.policy.due(days, node["last"] * DAY) > world.clock():
        return False
    newest = world.rows.query("events", idkey, limit=1, backward=True)
    return next(newest, None) is None


def _give_notice(world: World, idkey: str, node: Row) -> None:
    """Let an identifier end soon, and not at once: who brings something now finds it, and moves
    its end again."""
    due = int(world.clock()) + NOTICE
    if due < node["due"]:
        later = node["ttl"] - node["due"] if "ttl" in node else None
        change: Row = {"due": due} if later is None else {"due": due, "ttl": due + later}
        when: dict[str, Any] = {name: node[name] for name in ("version", "last", "due")}
        world.rows.update(Update(node_key(idkey), set=change, when=when))


def _keys(world: World, place: Row, more: Callable[[], bool], ended: Ended) -> Row | None:
    """Destroy the keys that belong to nobody, and transit keys that were left over."""
    after = Key("keys", place["after"]) if "after" in place else None
    stopped: Row = {}
    scanned = world.rows.scan("keys", after=after, expired=True)
    while some := list(islice(scanned, 100)):
        if not more():
            return stopped
        owned = [row["pk"] for row in some if "#" not in row["pk"] and "mode" not in row]
        nodes = world.rows.get([node_key(idkey) for idkey in owned], expired=True)
        for idkey in owned:
            if node_key(idkey) not in nodes:
                with suppress(Conflict):  # it has one by now
                    _forget(world, idkey, ended)
        for row in some:
            if row.get("due", world.clock() + 1) <= world.clock():
                world.rows.delete([Key("keys", row["pk"])])
                ended.keys += 1
        stopped = {"table": "keys", "after": some[-1]["pk"]}
    return None
