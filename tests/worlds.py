"""Candor in memory, as the example shop runs it, and the few moves that tests make in it."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from candor import archive, collection, consents, erasure, history, holds, requests, unification
from candor.consent import Mechanism, verdict
from candor.credentials import Source
from candor.identifiers import Identifier, Identifiers
from candor.identity import EVERYBODY, MOST_MEMBERS
from candor.keyring import Mode
from candor.policy import DAY, Policy
from candor.ports import Key, Row, Table, Unavailable
from candor.profiles import View, view
from candor.sealing import Vault
from candor.unification import Outcome
from candor.world import World
from cli.policy import compile_policy
from tests.fakes import (
    FakeClock,
    FakeObjects,
    FakeQueue,
    FakeRows,
    FakeSigner,
    FakeSweeper,
    FakeWorkflow,
)

Json = dict[str, Any]

NOW = 1_790_000_000.0
"""2026-09-21, early in the afternoon."""
YAML = Path(__file__).parents[1] / "policy.yaml"
WEB = Source("web", "web shop", "website", "client")
APP = Source("app", "app", "app", "client")
CRM = Source("crm", "CRM", "crm", "server")
GRAPH: Table = "graph"


@cache
def _compiled() -> str:
    return json.dumps(compile_policy(YAML.read_text()))


def policy(change: Callable[[Json], object] = lambda _: None) -> Policy:
    """The shipped policy, compiled; `change` edits its compiled form first."""
    compiled: Json = json.loads(_compiled())
    change(compiled)
    return Policy.of(compiled)


SHIPPED = policy()
SHARED = SHIPPED.identifiers["anonymous_id"].shared_after


def sent(type_: str, id_: str, ago: float = 0, **fields: Any) -> Json:
    """An event as an SDK sends it, which happened `ago` seconds before NOW."""
    stated = datetime.fromtimestamp(NOW - ago, UTC).isoformat()
    return {"type": type_, "messageId": id_, "timestamp": stated, **fields}


def order(id_: str, ago: float = 0, **fields: Any) -> Json:
    """An event that needs no consent."""
    properties = {"order_id": id_, "total": 9}
    return sent("track", id_, ago, event="Order Completed", properties=properties, **fields)


def says(**categories: bool) -> Json:
    """An event's context that carries a consent signal."""
    return {"consent": {"categoryPreferences": categories}}


class Shop:
    """A world over stores in memory."""

    def __init__(
        self,
        rules: Policy = SHIPPED,
        now: float = NOW,
        rows: Callable[[FakeClock], FakeRows] = FakeRows,
    ) -> None:
        self.clock = FakeClock(now)
        self.rows = rows(self.clock)
        self.objects = FakeObjects()
        self.queue = FakeQueue()
        self.workflow = FakeWorkflow()
        self.signer = FakeSigner()
        self.sweeper = FakeSweeper()
        self.policy = rules
        self.world = World(
            self.rows, Vault({1: "m" * 64}), Identifiers(rules, "h" * 64), rules, self.clock
        )
        self.erasure = requests.Erasure(
            self.rows,
            rules,
            self.clock,
            self.objects,
            (self.queue,),
            recovery_days=1,
            vault=lambda: self.world.vault,
        )

    def id(self, text: str) -> Identifier:
        """`user_id:42` as an identifier."""
        type_, _, value = text.partition(":")
        one = self.world.identifiers.make(type_, value)
        assert one is not None
        return one

    def message(
        self, source: Source, *events: Json, keep_unnamed: bool = False, gpc: bool = False
    ) -> Json:
        """What collection puts into the queue, as it comes out of it."""
        now = self.clock()
        body = {"batch": list(events)}
        collected = collection.collect(
            body, "batch", self.policy, now, keep_unnamed=keep_unnamed, sender=source, gpc=gpc
        )
        assert not collected.refused, collected.refused
        message = collection.message(collected, body, source, now)
        taken: Json = json.loads(json.dumps(message))
        return taken

    def unify(self, message: Json) -> list[Outcome]:
        outcomes, left = unification.unify(json.loads(json.dumps(message)), self.world)
        assert not left, "there was time enough"
        return outcomes

    def send(self, source: Source, *events: Json) -> list[Outcome]:
        return self.unify(self.message(source, *events))

    def choose(
        self,
        who: str | tuple[str, ...],
        purposes: dict[str, bool],
        source: Source = CRM,
        *,
        ago: float = 0,
        mechanism: Mechanism = "preference_center",
        evidence: Json | None = None,
        guardian: bool = False,
        minor: bool | None = None,
        language: str | None = None,
        text_version: str | None = None,
    ) -> list[consents.Note]:
        names = (who,) if isinstance(who, str) else who
        choice = consents.Choice(
            ids=tuple(self.id(name) for name in names),
            purposes=purposes,
            at=self.clock() - ago,
            mechanism=mechanism,
            evidence=evidence or ({"verified_by": "letter"} if guardian else {}),
            source=source.id,
            trust=source.trust,
            guardian=guardian,
            minor=minor,
            language=language,
            text_version=text_version,
        )
        return consents.choose(self.world, choice)

    def view(self, who: str, purpose: str = "service") -> View:
        return view(self.world, self.id(who), purpose)

    def read(self, who: str, purpose: str = "service") -> Json:
        """All that a reader learns of a person, but for the evidence of links."""
        person = self.view(who, purpose)
        return {
            "traits": person.traits(verbose=True),
            "events": person.events(limit=500)[0],
            "identifiers": person.identifiers(),
            "consents": person.consents(),
        }

    def read_for_all(self, who: str) -> dict[str, Json]:
        return {purpose: self.read(who, purpose) for purpose in self.policy.purposes}

    def state(self, who: str, purpose: str) -> str:
        state: str = self.view(who).consents()[purpose]["state"]
        return state

    def event_ids(self, who: str, purpose: str = "service") -> list[str]:
        return [event["messageId"] for event in self.view(who, purpose).events(limit=500)[0]]

    def ask(self, who: str, mode: Mode = "erase") -> Json:
        """Write down a request for an erasure, and do nothing for it."""
        asking = requests.Asking("t", "a test")
        return requests.open_erasure(self.erasure, self.world.vault, self.id(who), mode, asking)

    def hold(self, who: str, days: int = 365) -> str:
        """Place a legal hold; returns its id."""
        until = int(self.clock()) + days * DAY
        row = holds.place(self.world, self.id(who), "a court", until, "t")
        holds.keep(self.rows, row)  # as the sweep does that is woken
        placed: str = row["pk"]
        return placed

    def release(self, hold: str) -> None:
        for waiting in holds.release(self.rows, hold, self.clock(), "t"):
            erasure.advance(self.erasure, self.workflow, waiting)
        row = self.rows.get([Key("requests", hold)])[Key("requests", hold)]
        holds.end(self.rows, row, self.clock())

    def request(self, id_: str) -> Json:
        """A privacy request as it lies there."""
        return requests.find(self.rows, id_)

    def acknowledge(self, who: str, mode: Mode = "erase") -> str:
        """Ask for an erasure; returns the request's id. The person is fenced and unreadable."""
        opened = self.ask(who, mode)
        row = erasure.advance(self.erasure, self.workflow, opened["pk"])
        request: str = row["pk"]
        return request

    def erase(self, who: str, mode: Mode = "erase") -> str:
        """Ask for an erasure and do it to its end."""
        request = self.acknowledge(who, mode)
        if self.request(request)["status"] == "completed":
            return request  # done before, and the person is still fenced
        for store in ("graph", "events", "queues"):
            erasure.erase(self.erasure, store, request)
        assert erasure.verify(self.erasure, request)["clean"]
        erasure.certify(self.erasure, self.signer, request)
        return request

    def archive(self) -> None:
        archive.store(self.objects, self.rows.held("events"))

    def expire(self) -> None:
        """What DynamoDB's own expiry does some time after `ttl`."""
        for table in ("keys", "graph", "events", "requests", "audit", "counts"):
            ended = [r for r in self.rows.held(table) if r.get("ttl", NOW * 9) <= self.clock()]
            self.rows.delete([Key(table, row["pk"], row.get("sk")) for row in ended])

    def node(self, who: str) -> Row | None:
        return self.row("NODE", f"I#{self.id(who).key}")

    def row(self, sort: str, partition: str) -> Row | None:
        rows = [r for r in self.rows.held(GRAPH) if (r["pk"], r["sk"]) == (partition, sort)]
        return rows[0] if rows else None

    def profiles(self) -> set[frozenset[str]]:
        """The idkeys of each profile."""
        rows = [row for row in self.rows.held(GRAPH) if row["sk"] == "PROFILE"]
        return {frozenset(row["members"]) for row in rows}

    def people(self, *names: Iterable[str]) -> set[frozenset[str]]:
        """`profiles`, written by names."""
        return {frozenset(self.id(name).key for name in of_one) for of_one in names}


def broken_rules(shop: Shop, erasing: Collection[str] = ()) -> list[str]:
    """What is wrong with the graph as it lies in the table; a sound one answers []. Of the idkeys
    whose erasure is under way there may be any part."""
    now, rows = shop.clock(), shop.rows.held(GRAPH)
    nodes = {row["pk"][2:]: row for row in rows if row["sk"] == "NODE"}
    profiles = {row["pk"][2:]: row for row in rows if row["sk"] == "PROFILE"}
    sealed = {row["pk"][2:]: row for row in rows if row["sk"] == "TRAITS"}
    salts = {row["pk"]: row.get("salt") for row in shop.rows.held("keys")}
    wrong = []
    for idkey, node in nodes.items():
        home = profiles.get(node["profile"])
        if node["due"] <= now or idkey in erasing:
            continue
        if home is None or home["due"] <= now:
            wrong.append("a node names a profile that is not there")
        elif home["members"].get(idkey) != node["type"]:
            wrong.append("a node names a profile that does not list it")
        elif "state" in home:
            wrong.append("a node names a profile that is not active")
        row = sealed.get(idkey)
        if not row or not shop.world.vault.open(salts.get(idkey), row["data"], row["pk"]):
            wrong.append("a node's value does not open")
    for id_, profile in profiles.items():
        living = {i: t for i, t in profile["members"].items() if i in nodes}
        named = {nodes[idkey]["profile"] for idkey in living}
        # Nodes may end before what lists them; whoever comes again has a new profile.
        came_again = id_ not in named and all(other > id_ for other in named)
        if named - {id_} and not came_again:
            wrong.append("a profile lists a node that names another one")
        wrong += _too_much(shop, profile, living)
    told = [row for row in rows if row["sk"].startswith("LINK#") and row["due"] > now]
    links = {(row["pk"][2:], row["sk"][5:]) for row in told}
    if any((b, a) not in links for a, b in links if not {a, b} & {*erasing}):
        wrong.append("a link is told at one end only")
    return wrong


def _too_much(shop: Shop, profile: Row, living: Row) -> Iterator[str]:
    counts = Counter(profile["members"].values())
    if any(shop.policy.identifiers[type_].limit < n for type_, n in counts.items()):
        yield "a profile holds more of a type than the policy allows"
    if len(profile["members"]) > MOST_MEMBERS:
        yield "a profile is too big to merge"
    for idkey in living:
        kept = profile.get("apart", {}).get(idkey, ())
        if living.keys() & set(kept) or (EVERYBODY in kept and len(living) > 1):
            yield "a profile holds who is to be apart"


def permissions(shop: Shop) -> set[tuple[str, str]]:
    """Identifiers with each purpose that what came with them may be used for, by the registers."""
    rows = shop.rows.held(GRAPH)
    nodes = {row["pk"][2:]: row["signals"] for row in rows if row["sk"] == "NODE"}
    return {
        (idkey, purpose)
        for row in rows
        if row["sk"] == "PROFILE"
        for idkey in row["members"]
        for purpose in shop.policy.purposes
        if verdict(shop.policy, purpose, row["choices"], nodes[idkey]).allowed
    }


def unproven(shop: Shop) -> list[str]:
    """Where a consent register is not what the records of its profile give: folded here anew, so
    that it is held against the code and not against itself. A sound world answers []."""
    rows = shop.rows.held(GRAPH)
    nodes = {row["pk"][2:]: row for row in rows if row["sk"] == "NODE"}
    told: dict[str, list[Row]] = {idkey: [] for idkey in nodes}
    for row in rows:
        if row["sk"].startswith("CONSENT#") and row["pk"][2:] in nodes:
            told[row["pk"][2:]].append(row)
    wrong = []
    for profile in (row for row in rows if row["sk"] == "PROFILE"):
        chosen: dict[str, list[int]] = {}
        for idkey in profile["members"]:
            said: dict[str, list[int]] = {}
            # The latest last, and of those of a minute the denials.
            for row in sorted(told[idkey], key=lambda r: (r["at"] // 60, not r["granted"])):
                if row["binds"] == "device":
                    said[row["purpose"]] = [row["at"] // 60 * 60, int(row["granted"])]
                else:
                    for name, granted in _chosen(row):
                        times = chosen.setdefault(name, [0, 0])
                        times[granted] = max(times[granted], row["at"] or 1)
            held = nodes[idkey]["signals"]
            # A denial that is said again has a later time than its record.
            again = {p for p in held.keys() & said if not (held[p][1] or said[p][1])}
            if {p: t for p, t in said.items() if p not in again} != {
                p: t for p, t in held.items() if p not in again
            } or any(held[p] < said[p] for p in again):
                wrong.append(f"signals are {nodes[idkey]['signals']}, by records {said}")
        if chosen != profile["choices"]:
            wrong.append(f"choices are {profile['choices']}, by records {chosen}")
        wrong += _misexplained(shop, profile, nodes, told)
    return wrong


def _chosen(row: Row) -> list[tuple[str, bool]]:
    """What a choice grants and denies: a guardian grants apart, and tells of a minor by it."""
    if row.get("guardian"):
        return [(f"guardian:{row['purpose']}", True), ("(minor)", False)]
    return [(row["purpose"], row["granted"])]


def _misexplained(
    shop: Shop, profile: Row, nodes: dict[str, Row], told: dict[str, list[Row]]
) -> list[str]:
    """Where what holds now is decided by the registers, or explained by the records, otherwise than
    the rules have it; or nothing is said to decide."""
    first = {idkey: nodes[idkey]["first"] for idkey in profile["members"]}
    records = [(idkey, row) for idkey in first for row in told[idkey]]
    choices = [row for _, row in records if row["binds"] == "profile"]
    now, wrong = int(shop.clock()), []
    for purpose, rule in shop.policy.purposes.items():
        account = history.account(shop.policy, purpose, now, records, first)
        for idkey, found in account.identifiers.items():
            held = verdict(shop.policy, purpose, profile["choices"], nodes[idkey]["signals"])
            signals = [row for row in told[idkey] if row["binds"] == "device"]
            if not _may(rule.basis, purpose, choices, signals) == found.allowed == held.allowed:
                wrong.append(f"{purpose} is decided as {held}, and explained as {found}")
        decides = any(not why for *_, why in account.records)
        about = any(row["purpose"] == purpose for row in choices)
        if about and not decides and rule.basis == "consent":
            wrong.append(f"nothing decides on {purpose}")
    return wrong


def _may(basis: str, purpose: str, choices: list[Row], signals: list[Row]) -> bool:
    """Whether data of a device may be used, as docs/consent.md has it."""

    def last(name: str, granted: bool) -> int:
        times = (row["at"] or 1 for row in choices if (name, granted) in _chosen(row))
        return max(times, default=0)

    if basis in ("contract", "legal_obligation"):
        return True
    marked, of_age = last("(minor)", False), last("(minor)", True)
    minor = 0 < marked >= of_age
    denied, granted = last(purpose, False), last(f"guardian:{purpose}" if minor else purpose, True)
    if marked and granted < of_age:
        granted = 0  # a guardian's, now of age; or what was granted as a child
    if denied and denied >= granted:
        return False
    if basis == "legitimate_interest":
        return True
    said = [(row["at"] // 60, not row["granted"]) for row in signals if row["purpose"] == purpose]
    if (minor and not granted) or (said and max(said)[1]):
        return False
    return bool(granted or said)


class Recording:
    """The calls that a tap saw: each with its name, its phase and its detail."""

    def __init__(self, rows: FakeRows) -> None:
        self.calls: list[tuple[str, Any]] = []
        rows.tap = lambda call, detail: self.calls.append((call, detail))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def before(self, *names: str) -> list[Any]:
        """The details of these calls, as they were made."""
        return [detail for call, detail in self.calls if call in [f"{n}:before" for n in names]]


def recorded(shop: Shop, work: Callable[[], object]) -> Recording:
    """The store calls that `work` makes."""
    recording = Recording(shop.rows)
    try:
        work()
    finally:
        shop.rows.tap = None
    return recording


def crash_at(shop: Shop, place: int, work: Callable[[], object]) -> bool:
    """Run `work`; at its store call's `place`-th step the store is gone. False: it has fewer."""
    steps = 0

    def tap(call: str, detail: Any) -> None:
        nonlocal steps
        steps += 1
        if steps > place:
            raise Unavailable(call)

    shop.rows.tap = tap
    try:
        work()
    except Unavailable:
        return True
    finally:
        shop.rows.tap = None
    return False


def after_each_crash(work: Callable[[Shop], object], make: Callable[[], Shop]) -> list[Shop]:
    """What is left of some work that met a store which is gone, at each step of its store calls."""
    left: list[Shop] = []
    while True:
        shop = make()
        if not crash_at(shop, len(left), partial(work, shop)):
            return left
        left.append(shop)
