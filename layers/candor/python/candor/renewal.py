"""Renewal: a change of the policy's times reaches what is stored already.

Each row has the day on which it ends from the policy of its own time. A renewal goes over the
tables and writes the days that today's policy gives, or only tells what it would write. What has
ended stays ended, also where its time is longer now.

`sweep` carries it out in slices. A slice's rows, its counts and the place where it stopped are one
transaction, so it can stop anywhere and be done by two at once, and each row is counted once.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

from candor import keyring, traits
from candor.errors import Clash
from candor.identity import TRIES, node_key
from candor.policy import DAY
from candor.ports import ABSENT, Conflict, Key, Row, Table, Update, When
from candor.separation import QUARANTINE, SEPARATION
from candor.world import World

PLACE = Key("keys", "S#renewal")
TABLES: tuple[Table, ...] = ("requests", "events", "graph")
MOST_ROWS = 99
"""Of a slice: with the place they are one transaction."""
MOST_BYTES = 2_000_000
"""Of a slice's rows; DynamoDB's transactions take 4 MB."""
LATER = {"LINK": ("links", "link"), "CONSENT": ("consent records", "consent")}
LATER |= {SEPARATION[:-1]: ("separations", "link"), "NODE": ("identifiers", "identifier")}
LATER |= {"PROFILE": ("profiles", "identifier")}
"""What rows of the graph are, by their sort keys, and the record of the policy that they are."""

Json = dict[str, Any]


class Moved(NamedTuple):
    """Something whose end is another one by today's policy."""

    kind: str
    class_: str
    was: int
    due: int


@dataclass(slots=True)
class Look:
    """What became of some rows."""

    updates: list[Update] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    """Kind and class of what the policy names no class for."""


def start(world: World, by: str, *, dry_run: bool) -> None:
    """Begin a renewal, or join the same one; `by` is who asks. Raises Clash beside another one."""
    row = world.rows.get([PLACE]).get(PLACE)
    if row and row["status"] == "running":
        if row["dry_run"] == dry_run:
            return
        raise Clash(
            "busy", "Another renewal is under way: `GET /v1/retention` tells how far it is."
        )
    begun: Row = {"id": secrets.token_hex(14), "status": "running", "dry_run": dry_run, "by": by}
    begun |= _beginning(world)
    when: When = {"id": row["id"]} if row else {"pk": ABSENT}
    try:
        world.rows.update(Update(PLACE, set=begun, remove=("finished",), when=when))
    except Conflict:
        raise Clash("busy", "Somebody else began a renewal in this moment.") from None


def shown(world: World) -> Json:
    """How far the latest renewal is, and what it changed or would change; no status: none yet."""
    row = world.rows.get([PLACE]).get(PLACE)
    if row is None:
        return {"status": None}
    changes = [
        {"kind": kind, "class": class_, "sooner": sooner, "later": later, "at_once": at_once}
        for name, (sooner, later, at_once) in sorted(row["told"].items())
        for kind, class_ in [name.split("\t")]
    ]
    unknown = [
        {"kind": kind, "class": class_, "rows": count}
        for name, count in sorted(row["unknown"].items())
        for kind, class_ in [name.split("\t")]
    ]
    named = ("id", "status", "dry_run", "policy", "started", "looked")
    told = {name: row[name] for name in named} | {"finished": row.get("finished")}
    left = len(TABLES) - row["table"] if row["status"] == "running" else 0
    return told | {"tables_left": left, "changes": changes, "unknown": unknown}


def go_on(world: World, more: Callable[[], bool]) -> int:
    """Go on with the renewal that was begun, as long as `more` says that there is time; how much
    was moved."""
    row = world.rows.get([PLACE]).get(PLACE)
    if row is None or row["status"] != "running":
        return 0
    work = _Renewal(world, row)
    with suppress(Conflict):  # somebody else is at it, or it goes on in the next run
        work.run(more)
    return work.moved


def _beginning(world: World) -> Row:
    begun = {"policy": world.policy.hash, "started": int(world.clock()), "step": 0, "looked": 0}
    return begun | {"table": 0, "after": "", "sort": "", "told": {}, "unknown": {}}


class _Renewal:
    def __init__(self, world: World, row: Row) -> None:
        self.world = world
        self.row = row
        self.now = int(world.clock())
        self.moved = 0

    def run(self, more: Callable[[], bool]) -> None:
        if self.row["policy"] != self.world.policy.hash:
            self._save([], _beginning(self.world))
        while self.row["table"] < len(TABLES):
            table = TABLES[self.row["table"]]
            rows = self.world.rows.scan(table, after=self._after(table))
            while some := list(islice(rows, MOST_ROWS)):
                for part in _parts(some):
                    if not more():
                        return
                    self._insist(table, part)
            self._save([], {"table": self.row["table"] + 1, "after": "", "sort": ""})
        self._save([], {"status": "done", "finished": int(self.world.clock())})

    def _after(self, table: Table) -> Key | None:
        after, sort = self.row["after"], self.row["sort"]
        return Key(table, after, sort or None) if after else None

    def _insist(self, table: Table, rows: list[Row]) -> None:
        """One slice. Rows that changed meanwhile are looked at again."""
        last = rows[-1]
        place = {"after": last["pk"], "sort": last.get("sk", "")}
        for _ in range(TRIES):
            look = self._look(table, rows)
            told = place | {"looked": self.row["looked"] + len(rows)} | self._counted(look)
            try:
                self._save([] if self.row["dry_run"] else look.updates, told)
            except Conflict as conflict:
                if conflict.failed and conflict.failed[-1] == len(look.updates):
                    raise  # it is somebody else's by now
                keys = [Key(table, row["pk"], row.get("sk")) for row in rows]
                rows = list(self.world.rows.get(keys).values())
            else:
                self.moved += len(look.moved)
                return
        raise Conflict

    def _save(self, updates: list[Update], change: Row) -> None:
        step = self.row["step"]
        when = {"id": self.row["id"], "step": step}
        change = change | {"step": step + 1}
        self.world.rows.commit(*updates, Update(PLACE, set=change, when=when))
        self.row |= change

    def _counted(self, look: Look) -> Row:
        """What was told so far, and these."""
        told = {name: list(counts) for name, counts in self.row["told"].items()}
        unknown = dict(self.row["unknown"])
        for one in look.moved:
            counts = told.setdefault(f"{one.kind}\t{one.class_}", [0, 0, 0])
            counts[one.due > one.was] += 1
            counts[2] += one.due <= self.now
        for names in look.unknown:
            unknown["\t".join(names)] = unknown.get("\t".join(names), 0) + 1
        return {"told": told, "unknown": unknown}

    def _look(self, table: Table, rows: list[Row]) -> Look:
        look, beside = Look(), self._beside(table, rows)
        for row in rows:
            if table == "graph" and row["sk"] == "TRAITS":
                self._traits(row, beside, look)
            elif "due" in row:
                self._row(table, row, beside, look)
        return look

    def _beside(self, table: Table, rows: list[Row]) -> Mapping[Key, Row]:
        """Other rows that these end by."""
        if table != "graph":
            return {}
        keys = [node_key(idkey) for row in rows for idkey in row.get("members", ())]
        for row in rows:
            if row["sk"] == "TRAITS":
                keys += [node_key(row["pk"][2:]), keyring.key_of(row["pk"][2:])]
        return self.world.rows.get(keys)

    def _row(self, table: Table, row: Row, beside: Mapping[Key, Row], look: Look) -> None:
        found = _event(row) if table == "events" else _record(table, row, beside)
        if found is None:
            return
        kind, class_, since = found
        policy = self.world.policy
        days = (policy.retention if kind == "bundles" else policy.records).get(class_)
        if days is None:
            look.unknown.append((kind, class_))
            return
        due = policy.due(days, since)
        if due != row["due"]:
            key = Key(table, row["pk"], row.get("sk"))
            look.updates.append(_ending(Update(key), row, due, self.now))
            look.moved.append(Moved(kind, class_, row["due"], due))

    def _traits(self, row: Row, beside: Mapping[Key, Row], look: Look) -> None:
        """A row of traits ends with its identifier; what is in it by itself."""
        idkey, policy, vault = row["pk"][2:], self.world.policy, self.world.vault
        node = beside.get(node_key(idkey))
        salt = keyring.state_of(beside.get(keyring.key_of(idkey))).salt
        opened = vault.open(salt, row["data"], row["pk"]) if node and row.get("n") != 0 else None
        change = Update(Key("graph", row["pk"], "TRAITS"))
        if salt and opened:
            until = traits.ends(policy, opened)
            moved = dict(self._moved(opened["traits"], until, look))
            if moved:
                look.moved += moved.values()
                ends = until | {name: one.due for name, one in moved.items()}
                change = traits.sealed(self.world, salt, row, opened, ends)
        due = policy.due(policy.records["identifier"], node["last"] * DAY) if node else row["due"]
        if due != row["due"] or change.set:
            look.updates.append(_ending(change, row, due, self.now))

    def _moved(
        self, facts: traits.Facts, until: Mapping[str, int], look: Look
    ) -> Iterator[tuple[str, Moved]]:
        for name, fact in traits.living(facts, until, self.now).items():
            due = traits.ends_by(self.world.policy, name, fact)
            if due is None:
                look.unknown.append(("traits", name))
            elif due != until[name]:
                class_ = self.world.policy.traits[name].retention
                yield name, Moved("traits", class_, until[name], due)


def _event(row: Row) -> tuple[str, str, int]:
    return "bundles", row["class"], int(row["sk"][:5]) * DAY


def _record(table: Table, row: Row, beside: Mapping[Key, Row]) -> tuple[str, str, int] | None:
    """What a row is, by which record of the policy, and since when; None: not by the policy."""
    if table == "requests":
        ended = row["ended"] if "ended" in row else row["created"]
        return ("requests", "request", ended) if row["type"] != "hold" else None
    if row["pk"] == QUARANTINE:
        return "quarantines", "link", row["at"]
    kind = row["sk"].partition("#")[0]
    if kind not in LATER:
        return None
    if kind == "PROFILE":
        nodes = [beside[node_key(one)] for one in row["members"] if node_key(one) in beside]
        if not nodes:
            return None
        since = max(node["last"] for node in nodes) * DAY
    elif kind == "NODE":
        since = row["last"] * DAY
    else:
        since = row.get("received") or row.get("seen") or row["at"]
    return *LATER[kind], since


def _ending(change: Update, row: Row, due: int, now: int) -> Update:
    """A row's change with another end. What a hold keeps has no `ttl`, and gets none.

    DynamoDB does not act on a `ttl` that is years past.
    """
    ends, when = {"due": due}, {"due": row["due"], "ttl": row.get("ttl", ABSENT)}
    if "ttl" in row:
        ends["ttl"] = max(row["ttl"] - row["due"] + due, now)
    return replace(change, set={**change.set, **ends}, when={**change.when, **when})


def _parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    part: list[Row] = []
    size = 0
    for row in rows:
        length = len(row.get("data", b""))
        if part and size + length > MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += length
    yield part
