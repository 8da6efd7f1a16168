"""Erasure, retention and holds against a model of their rules, in any order and with crashes."""

import gzip
import itertools
import json
from base64 import b64decode
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from candor import (
    bundles,
    erasure,
    holds,
    renewal,
    requests,
    restore,
    retention,
    rights,
    separation,
    vacuum,
)
from candor.consent import RESTRICTED
from candor.credentials import Source
from candor.errors import Clash, NotFound, Refused
from candor.keyring import Mode
from candor.policy import DAY
from candor.ports import Key, Put, Row, Table, Unavailable
from candor.sealing import key_id
from tests.fakes import FakeObjects
from tests.privacy_model import ENDED, OPEN, Hold, Lives, Model, Request, Said
from tests.recorder import Recorder
from tests.worlds import CRM, NOW, WEB, Json, Shop, broken_rules, policy, says, sent

KNOWN = ["user_id:u0", "user_id:u1", "email:e0@example.com"]
DEVICES = ["anonymous_id:a0", "anonymous_id:a1"]
NAMES = [*KNOWN, *DEVICES]
"""The strongest first."""
WHO = st.sampled_from(NAMES)
PARTY = st.lists(WHO, min_size=1, max_size=3, unique_by=lambda one: one.partition(":")[0])
AGO = st.sampled_from([0, 0.4, 90, 3600, 20 * DAY, -400 * DAY])
PLACE = st.none() | st.integers(0, 60)
TABLES: tuple[Table, ...] = ("keys", "graph", "events")
SURE = {"Order Completed", "name", "avatar"}
"""What the contract allows to keep, whatever anybody chooses."""
BACKUP_DAYS = 35
"""DynamoDB's own go back so far."""
PURPOSES = ["analytics", "personalization", "marketing"]
CHOICES = st.dictionaries(st.sampled_from(PURPOSES), st.booleans(), min_size=1, max_size=2)
MOVES = {
    "pending": {"held", "running", "cancelled", "refused"},
    "held": {"running", "cancelled", "refused"},
    "running": {"held", "partial", "completed"},
    "partial": {"held", "running", "completed"},
}


class Crash(Exception):
    pass


def always() -> bool:
    return True


def rules_of(
    days: dict[str, int], waiting: int = 0, *, second_person: bool = False
) -> Callable[[Json], object]:
    def change(compiled: Json) -> None:
        compiled["hash"] = json.dumps([days, waiting, second_person])
        compiled["purposes"]["personalization"]["basis"] = "legitimate_interest"
        compiled["erasure"] = {"waiting_days": waiting, "second_person": second_person}
        for name, count in days.items():
            compiled["records" if name in compiled["records"] else "retention"][name] = count
        for rule_ in compiled["identifiers"].values():
            rule_["shared_after"] = 99  # quarantines have a model of their own

    return change


def is_restriction(row: Row) -> bool:
    """Whether it is one that is in force."""
    return row["type"] == "restriction" and row["status"] in rights.IN_FORCE


class Privacy(RuleBasedStateMachine):
    """Each rule does the same to the shop and to the model. What becomes of requests is read from
    their rows, and held to be what may become of them."""

    def __init__(self) -> None:
        super().__init__()
        # Ids decide the order of scans, which a failure has to be found again by.
        tokens = itertools.count()
        self.random = patch("secrets.token_hex", lambda n: f"{next(tokens):0{2 * n}x}")
        self.random.start()
        self.shop = Shop(policy(rules_of({})))
        self.model = Model(self.shop.policy)
        self.name = {self.shop.id(one).key: one for one in NAMES}
        self.count = 0
        self.sent: list[tuple[Json, Source, list[str], list[tuple[Said, list[Said]]]]] = []
        self.saved: list[tuple[float, list[tuple[Key, Row]], Lives]] = []
        self.objects: dict[str, bytes] = {}
        """All that the archive ever held."""
        self.held: dict[str, dict[tuple[str, str, str], Any]] = {}
        """By hold: the rows of the people when they were held, and what was in them."""
        self.ever: dict[str, tuple[str, int]] = {}
        self.asked: set[str] = set()
        self.people: dict[str, set[str]] = {}
        self.left_out: set[frozenset[str]] = set()
        self.vacuums = 0

    @property
    def now(self) -> float:
        return self.shop.clock()

    # Doing things

    def crashing(self, work: Callable[[], Any], place: int | None) -> Any:
        """Do it; where a place is given, crash there first, and repeat it."""
        if place is not None:
            try:
                return self.until(work, place)
            except Crash:
                pass
        return work()

    def until(self, work: Callable[[], Any], place: int) -> Any:
        """Do it, and crash at a place of its calls of the stores."""
        recorder, shop = Recorder(), self.shop
        recorder.fail(place, Crash)
        stores = (shop.rows, shop.objects, shop.workflow, shop.signer)
        try:
            for store in stores:
                store.tap = recorder.tap
            return work()
        finally:
            for store in stores:
                store.tap = None

    def sweep(self, more: Callable[[], bool] = always) -> None:
        shop = self.shop
        retention.sweep(shop.erasure, shop.world, shop.workflow, more)

    # What happens

    @initialize()
    def people_are_known(self) -> None:
        kinds, both = ["order", "identify", "view"], {"analytics": True, "marketing": True}
        for who in (["user_id:u0", "anonymous_id:a0"], ["user_id:u1", "anonymous_id:a1"]):
            self.a_message_arrives(
                source=CRM, who=who, kinds=kinds, ago=90, said=both, place=None, later=False
            )
        self.a_person_chooses(
            source=CRM,
            who=["user_id:u1"],
            chosen={"personalization": False},
            ago=0,
            place=None,
            back=False,
        )
        self.the_stream_is_archived()
        self.tables_are_backed_up()

    @rule(
        source=st.sampled_from([WEB, CRM, CRM]),
        who=PARTY,
        kinds=st.lists(
            st.sampled_from(["order", "identify", "page", "view"]), min_size=1, max_size=3
        ),
        ago=AGO,
        said=st.dictionaries(st.sampled_from(["analytics", "marketing"]), st.booleans()),
        place=PLACE,
        later=st.booleans(),
    )
    def a_message_arrives(
        self,
        source: Source,
        who: list[str],
        kinds: list[str],
        ago: float,
        said: dict[str, bool],
        place: int | None,
        later: bool,
    ) -> None:
        events, told = [], []
        ranked = sorted(who, key=NAMES.index)
        home = ranked[-1] if source is WEB and ranked[-1] in DEVICES else ranked[0]
        at = int(min(self.now - ago, self.now))
        for kind in kinds:
            self.count += 1
            id_ = f"m{self.count}"
            events.append(self.event(id_, kind, who, ago, said))
            name = {"order": "Order Completed", "page": "page", "view": "Product Viewed"}.get(kind)
            one = Said(id_, "event", name or "identify", home, at)
            facts = {"name": f"n{id_}", "avatar": f"v{id_}", "gender": f"g{id_}"}
            traits = [Said(value, "trait", name, home, at) for name, value in facts.items()]
            told.append((one, traits if kind == "identify" else []))
        try:
            message = self.shop.message(source, *events)
        except AssertionError:
            return  # too old for what it is
        self.sent.append((message, source, who, told))
        if not later:
            self.deliver(self.sent[-1], place)

    def event(self, id_: str, kind: str, who: list[str], ago: float, said: dict[str, bool]) -> Json:
        of = dict(one.split(":") for one in who)
        mail = {"email": of["email"]} if "email" in of else {}
        context: Json = says(**said) if said else {}
        fields: Json = {"userId": of.get("user_id"), "anonymousId": of.get("anonymous_id")}
        ago += NOW - self.now
        if kind == "identify":
            traits = {"name": f"n{id_}", "avatar": f"v{id_}", "gender": f"g{id_}"} | mail
            return sent("identify", id_, ago, traits=traits, context=context, **fields)
        context |= {"traits": mail}
        if kind == "page":
            return sent("page", id_, ago, context=context, **fields)
        named = "Order Completed" if kind == "order" else "Product Viewed"
        return sent("track", id_, ago, event=named, context=context, **fields)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), place=PLACE)
    def one_comes_again(self, data: st.DataObject, place: int | None) -> None:
        self.deliver(data.draw(st.sampled_from(self.sent)), place)

    def deliver(
        self,
        delivery: tuple[Json, Source, list[str], list[tuple[Said, list[Said]]]],
        place: int | None,
    ) -> None:
        message, source, who, told = delivery
        doubtful = any(map(self.model.doubtful, who))
        for one, traits in told:
            if not self.model.refuses(who, one.at):  # a crash may leave a part of it
                for each in (one, *traits):
                    self.take(each, sure=False, stored=False)
        try:
            outcomes = self.crashing(lambda: self.shop.unify(message), place)
        except Unavailable:  # it comes again when the sweep has taken up what stopped halfway
            assert doubtful
            return
        for (one, traits), outcome in zip(told, outcomes, strict=True):
            refused = outcome.reason == "fenced"
            if not doubtful:
                assert refused == self.model.refuses(who, one.at), outcome
            if outcome.outcome != "stored":
                continue
            dropped = [why for what, why in outcome.also if what == "trait_dropped"]
            for each in (one, *traits):
                if one.name != "identify" or each.kind == "trait":
                    # What a server said of a trait stands, though it ends before what a page says.
                    sure = each.name in SURE and not dropped and (each is one or source is CRM)
                    self.take(each, sure=sure, stored=not dropped)
            self.model.see(who, self.now)

    def take(self, said: Said, *, sure: bool, stored: bool) -> None:
        self.model.take(said, self.now, sure=sure, stored=stored)
        self.ever[said.id] = (said.home, self.model.now.life[said.home])

    @rule(
        source=st.sampled_from([WEB, CRM, CRM]),
        who=PARTY,
        chosen=CHOICES,
        ago=AGO.filter(lambda ago: ago >= 0),
        place=PLACE,
        back=st.booleans(),
    )
    def a_person_chooses(
        self,
        source: Source,
        who: list[str],
        chosen: dict[str, bool],
        ago: float,
        place: int | None,
        back: bool,
    ) -> None:
        self.count += 1
        if back and (fenced := sorted(self.model.now.fenced)):
            who, ago = fenced[:1], 0
            self.shop.clock.advance(60)
        told = f"c{self.count}"
        known = sorted(set(who) & set(KNOWN), key=NAMES.index)
        devices = set(who) & set(DEVICES)
        counts = any(chosen.values()) and (source is CRM or bool(devices))
        at = self.now - ago
        try:
            self.crashing(
                lambda: self.shop.choose(
                    tuple(who), chosen, source, ago=ago, evidence={"told": told}
                ),
                place,
            )
        except Refused:
            assert all(chosen.values())
            assert not counts
            return
        if counts:
            keys = {row["pk"]: row for row in self.shop.rows.held("keys")}
            free = {one for one in who if "mode" not in keys.get(self.shop.id(one).key, {})}
            self.model.register_anew(set(who) if source is CRM else devices, at, free)
        person = known[0] if known and source is CRM else None
        kept_out = [one for one in who if self.model.refuses([one], int(at))]
        here = [one for one in who if at >= self.model.now.lifted.get(one, 0)]
        for one in here:
            said = Said(f"{told} {one}", "record", "choice", one, int(self.now))
            self.take(said, sure=False, stored=False)
        said_of = {p: granted for p, granted in chosen.items() if counts or not granted}
        if kept_out:
            person, said_of = None, {p: False for p, granted in said_of.items() if not granted}
            here = [one for one in here if self.shop.node(one)]
        self.model.choose(here, person, said_of, max(1, int(at)))
        if not kept_out:
            self.model.see(who, self.now)

    @rule(one=WHO, other=WHO, place=PLACE, lift=st.booleans())
    def two_are_separated(self, one: str, other: str, place: int | None, lift: bool) -> None:
        a, b = self.shop.id(one), self.shop.id(other)
        with suppress(NotFound, Refused, Clash):
            if lift:
                separation.lift(self.shop.world, a, b, "staff")
            else:
                self.crashing(
                    lambda: separation.separate(self.shop.world, a, b, "staff", "why"), place
                )

    # Requests

    @rule(
        who=WHO,
        mode=st.sampled_from(["erase", "erase", "erase_and_suppress"]),
        place=PLACE,
        again=st.booleans(),
        run=st.booleans(),
    )
    def a_person_asks(
        self, who: str, mode: Mode, place: int | None, again: bool, run: bool
    ) -> None:
        def ask() -> str:
            return self.shop.acknowledge(who, mode)

        try:
            if place is None:
                id_ = ask()
            else:
                try:
                    id_ = self.until(ask, place)
                except Crash:
                    if not again:
                        return
                    id_ = ask()
        except Clash:
            return  # another request has one of them
        row = self.shop.request(id_)
        named = {self.name[idkey] for idkey in row["members"]}
        assert {who} | self.people.get(who, set()) <= named
        self.asked.add(id_)
        if run:
            self.look()
            self.run_machine(self.execution(id_), None)

    def execution(self, id_: str) -> str:
        return requests.execution(self.shop.request(id_))

    @precondition(lambda self: self.running())
    @rule(data=st.data(), place=PLACE, told=st.booleans())
    def the_machine_runs(self, data: st.DataObject, place: int | None, told: bool) -> None:
        name = data.draw(st.sampled_from(self.running()))
        try:
            self.run_machine(name, place)
        except Crash:
            if told:
                erasure.fail(self.shop.erasure, name.partition("-")[0])
            self.shop.workflow.end(name, "failed")

    def running(self) -> list[str]:
        flow = self.shop.workflow
        return [name for name in flow.started if flow.state(name) == "running"]

    def run_machine(self, name: str, place: int | None) -> None:
        work, id_ = self.shop.erasure, name.partition("-")[0]

        def run() -> None:
            erasure.plan(work, id_)
            while True:
                for store in ("graph", "events", "queues"):
                    erasure.erase(work, store, id_)
                found = erasure.verify(work, id_)
                if found["clean"] or found["last"]:
                    break
            assert found["clean"]
            erasure.certify(work, self.shop.signer, id_)

        if self.shop.workflow.state(name) == "running":
            run() if place is None else self.until(run, place)
            self.shop.workflow.end(name, "succeeded")

    @precondition(lambda self: self.open())
    @rule(
        data=st.data(),
        what=st.sampled_from(["cancel", "refuse", "approve", "advance"]),
        place=PLACE,
    )
    def staff_decides(self, data: st.DataObject, what: str, place: int | None) -> None:
        id_ = data.draw(st.sampled_from(self.open()))
        work = self.shop.erasure

        def decide() -> object:
            if what == "cancel":
                return erasure.cancel(work, id_)
            if what == "refuse":
                return erasure.refuse(work, id_, "excessive")
            if what == "approve":
                requests.approve(work, id_, "another one")
            return erasure.resume(work, self.shop.workflow, requests.find(self.shop.rows, id_))

        with suppress(Clash):
            self.crashing(decide, place)

    @rule(who=WHO, place=PLACE)
    def a_person_is_restricted(self, who: str, place: int | None) -> None:
        shop, asking = self.shop, requests.Asking("staff", "a test")
        one = shop.id(who)
        with suppress(NotFound):
            self.crashing(lambda: rights.restrict(shop.erasure, shop.world, one, asking), place)
            self.model.restrict(who, self.people[who], self.now, on=True)

    @rule(who=WHO, place=PLACE)
    def a_restriction_is_lifted(self, who: str, place: int | None) -> None:
        shop = self.shop
        for row in shop.rows.held("requests"):
            if is_restriction(row) and row["subject"] == shop.id(who).key:
                lift = partial(rights.lift, shop.erasure, shop.world, row, "staff")
                self.crashing(lift, place)
                left = {row["subject"] for row in shop.rows.held("requests") if is_restriction(row)}
                person = self.people.get(who, set())
                still = left & {shop.id(one).key for one in person}
                if who in person and not self.model.kept_out(who) and not still:
                    self.model.restrict(who, person, self.now, on=False)

    @rule(who=WHO, purpose=st.sampled_from(["marketing", "profiling"]), place=PLACE)
    def a_person_objects(self, who: str, purpose: str, place: int | None) -> None:
        shop, asking = self.shop, requests.Asking("staff", "a test")
        one, at = shop.id(who), int(self.now)
        fenced = who in self.model.now.fenced
        self.crashing(
            lambda: rights.object_(shop.erasure, shop.world, one, [purpose], asking), place
        )
        if not fenced or self.shop.node(who):
            self.model.choose([who], None, {purpose: False}, at)
        if fenced:
            self.model.remember(who, purpose, at)
        if not self.model.kept_out(who):
            self.model.see([who], self.now)

    def open(self) -> list[str]:
        there = {row["pk"] for row in self.shop.rows.held("requests")}
        return [i for i, one in self.model.requests.items() if one.status in OPEN and i in there]

    @rule(who=WHO)
    def a_dpo_lifts_a_fence(self, who: str) -> None:
        over = self.model.over(who)
        try:
            rights.lift_fence(self.shop.erasure, self.shop.id(who))
        except (NotFound, Clash):
            assert not over
        else:
            assert over is not False or self.model.doubtful(who)
            self.model.lift(who, int(self.now))

    # Holds

    @rule(who=WHO, days=st.sampled_from([1, 40, 1500, 4000]), place=PLACE)
    def a_person_is_held(self, who: str, days: int, place: int | None) -> None:
        with suppress(NotFound, Clash):
            self.crashing(lambda: self.shop.hold(who, days), place)

    @precondition(lambda self: self.lasting())
    @rule(data=st.data(), place=PLACE)
    def a_hold_is_released(self, data: st.DataObject, place: int | None) -> None:
        id_ = data.draw(st.sampled_from(self.lasting()))
        self.model.holds[id_].released = True
        self.crashing(lambda: self.shop.release(id_), place)

    def lasting(self) -> list[str]:
        found = self.model.holds.items()
        return [id_ for id_, one in found if one.until > self.now and not one.released]

    # Time

    @rule(
        seconds=st.sampled_from([0.4, 30, 60, 3601, DAY, 8 * DAY, 40 * DAY, 400 * DAY, 1200 * DAY]),
        does=st.sampled_from(["", "sweep", "expire", "both", "sweep in parts"]),
        place=PLACE,
    )
    def time_passes(self, seconds: float, does: str, place: int | None) -> None:
        until = self.now + seconds
        if seconds >= DAY and self.lasting():  # what was written since they were held is held, too
            self.shop.clock.advance(3601)
            self.sweep()
            self.look()
        for one in sorted(self.model.holds.values(), key=lambda one: one.until):
            if self.now < one.until < until:  # it is swept each hour, and a hold ends by that
                self.shop.clock.now = one.until
                self.sweep()
                self.look()
        self.shop.clock.now = until
        if does == "sweep in parts":
            left = iter(range(3))
            self.sweep(lambda: next(left, None) is not None)
        elif does in ("sweep", "both"):
            self.crashing(self.sweep, place)
        if does in ("expire", "both"):
            self.shop.expire()
        if does == "both":
            self.look()
            self.shop.clock.advance(3 * DAY)
            self.sweep()
            self.shop.expire()
            self.nothing_else_is_kept()

    def nothing_else_is_kept(self) -> None:
        """What ended days ago and nobody holds is gone."""
        held = {self.shop.id(one).key for one in NAMES if self.is_held(one)}
        for table in ("graph", "events"):
            for row in self.shop.rows.held(table):
                idkey = row["pk"].removeprefix("I#")
                if idkey in self.name and idkey not in held:
                    waits = self.model.hidden(self.name[idkey]) or self.doubt(self.name[idkey])
                    ended = row.get("due", self.now) < self.now - 3 * DAY
                    assert waits or not ended, (self.name[idkey], row.get("sk"))

    def doubt(self, who: str) -> bool:
        return any(map(self.model.doubtful, {who} | self.people.get(who, set())))

    def is_held(self, who: str) -> bool:
        return any(self.model.held(one, self.now) for one in {who} | self.people.get(who, set()))

    @rule(
        days=st.dictionaries(
            st.sampled_from(
                ["account", "transaction", "brief", "identifier", "consent", "request"]
            ),
            st.sampled_from([10, 400, 1095, 2000]),
            max_size=2,
        ).map(
            # A backup is younger than the requests that are to be done again.
            lambda days: days | {"request": max(days.get("request", 1095), 400)}
        ),
        waiting=st.sampled_from([0, 0, 7]),
        second_person=st.sampled_from([False, False, True]),
        applied=st.booleans(),
        place=PLACE,
    )
    def the_policy_changes(
        self,
        days: dict[str, int],
        waiting: int,
        second_person: bool,
        applied: bool,
        place: int | None,
    ) -> None:
        shop, rules = self.shop, policy(rules_of(days, waiting, second_person=second_person))
        shop.policy = self.model.policy = rules
        shop.world = replace(shop.world, policy=rules)
        shop.erasure = replace(shop.erasure, policy=rules)
        if applied:
            self.crashing(self.renew, place)
            self.model.renew(self.now)

    def renew(self) -> None:
        renewal.start(self.shop.world, "staff", dry_run=False)
        while renewal.shown(self.shop.world)["status"] != "done":
            renewal.go_on(self.shop.world, always)

    # The archive, and backups

    @rule()
    def the_stream_is_archived(self) -> None:
        self.shop.archive()
        self.note_objects()
        there = self.opened(self.shop.rows.held("events"))
        for id_ in there:
            if id_ in self.model.now.kept:
                self.model.now.kept[id_].archived = True

    @precondition(lambda self: self.objects)
    @rule(data=st.data())
    def an_object_is_put_back(self, data: st.DataObject) -> None:
        objects = self.shop.objects.objects
        gone = sorted(key for key in self.objects if key not in objects)
        if gone:
            key = data.draw(st.sampled_from(gone))
            objects[key] = self.objects[key]

    @rule(place=PLACE)
    def the_vacuum_runs(self, place: int | None) -> None:
        self.vacuums += 1
        shop, name = self.shop, f"r{self.vacuums}"

        def run() -> None:
            held = holds.held(shop.rows, self.now)
            if vacuum.begin(shop.rows, shop.objects, name, self.now, held)["work"]:
                for one in json.loads(shop.objects.objects[f"vacuum/{name}/groups.json"]):
                    vacuum.sweep(shop.objects, one["run"], one["group"], "", always)
            vacuum.end(shop.rows, shop.objects, name, self.now, held)

        self.crashing(run, place)
        self.note_objects()

    def note_objects(self) -> None:
        there = self.shop.objects.objects.items()
        self.objects |= {key: body for key, body in there if not key.startswith("vacuum/")}

    @rule()
    def tables_are_backed_up(self) -> None:
        rows = [(t, row) for t in TABLES for row in self.shop.rows.held(t)]
        saved = [(Key(t, row["pk"], row.get("sk")), row) for t, row in rows]
        self.saved.append((self.now, saved, self.model.backup()))

    def recent(self) -> list[tuple[float, list[tuple[Key, Row]], Lives]]:
        """Backups that are there still."""
        return [one for one in self.saved if one[0] > self.now - BACKUP_DAYS * DAY]

    @precondition(lambda self: self.recent())
    @rule(latest=st.booleans(), place=PLACE)
    def tables_are_restored(self, latest: bool, place: int | None) -> None:
        _, saved, model = self.recent()[-1 if latest else 0]
        rows = self.shop.rows
        for table in TABLES:
            rows.delete([Key(table, row["pk"], row.get("sk")) for row in rows.held(table)])
        rows.put(
            Put(key, {n: v for n, v in row.items() if n not in ("pk", "sk")}) for key, row in saved
        )
        self.model.restore(model)
        lives = self.model.now.life
        there = self.contents()
        self.look_at_people()
        for id_, held in self.held.items():  # a hold needs a profile
            self.held[id_] = {
                key: there[key]
                for key in held
                if key in there and lives[key[0]] == model.life[key[0]] and key[0] in self.people
            }
        waiting = [r for r in self.model.requests.items() if r[1].status in ("pending", "held")]
        for id_, one in waiting:  # asked for twice, and a crash between: the sweep hides again
            if any(one is not other and one.members & other.members for _, other in waiting):
                one.acknowledged = False
                self.asked.discard(id_)
        self.rights_are_said_again()
        self.crashing(lambda: restore.replay(self.shop.erasure, self.shop.world, "", always), place)

    def rights_are_said_again(self) -> None:
        """Of who is there, and nobody is erasing."""
        model = self.model
        for row in self.shop.rows.held("requests"):
            who = self.name.get(row.get("subject", ""), "")
            if row.get("status") not in ("running", "completed") or model.kept_out(who):
                continue
            if row["type"] == "objection":
                for purpose in row["purposes"]:
                    if who in self.people:
                        model.choose([who], None, {purpose: False}, row["created"])
                    else:
                        model.remember(who, purpose, row["created"])
            elif row["type"] == "restriction" and who in self.people:
                for name, granted in (("at", False), ("lifted", True)):
                    if row.get(name, 0) > model.now.lifted.get(who, 0):
                        for one in self.people[who] if granted else [who]:
                            model.choose([one], one, {RESTRICTED: granted}, row[name])

    # What is read

    def opened(self, rows: Collection[Row]) -> dict[str, str]:
        """The ids of events that live keys open, and whose they are."""
        salts = {row["pk"]: row.get("salt") for row in self.shop.rows.held("keys")}
        vault = self.shop.world.vault
        return {
            event["id"]: self.name[row["pk"]]
            for row in rows
            for event in bundles.opened(vault, salts.get(row["pk"]), row["pk"], row)
        }

    def archived(self) -> dict[str, str]:
        objects: FakeObjects = self.shop.objects
        rows = []
        for key, body in objects.objects.items():
            if key.startswith(("events/", "holds/")):
                for line in gzip.decompress(body).splitlines():
                    row = json.loads(line)
                    rows.append(row | {"data": b64decode(row["data"])})
        return self.opened(rows)

    def traits_of(self) -> dict[str, dict[str, list[Any]]]:
        salts = {row["pk"]: row.get("salt") for row in self.shop.rows.held("keys")}
        found = {}
        for row in self.shop.rows.held("graph"):
            idkey = row["pk"].removeprefix("I#")
            if row["sk"] == "TRAITS" and idkey in self.name:
                opened = self.shop.world.vault.open(salts.get(idkey), row["data"], row["pk"])
                if opened:
                    found[self.name[idkey]] = opened["traits"]
        return found

    def contents(self) -> dict[tuple[str, str, str], Any]:
        """Rows of people, by whose they are, with what is in them that a live key opens."""
        traits, found = self.traits_of(), dict[tuple[str, str, str], Any]()
        for table in ("graph", "events"):
            for row in self.shop.rows.held(table):
                idkey = row["pk"].removeprefix("I#")
                if idkey in self.name:
                    who = self.name[idkey]
                    inside: Any = None
                    if table == "events":
                        inside = frozenset(self.opened([row]))
                    elif row["sk"] == "TRAITS":
                        inside = {name: fact[1] for name, fact in traits.get(who, {}).items()}
                    found[who, table, row["sk"]] = inside
        for row in self.shop.rows.held("keys"):
            if row["pk"] in self.name and "salt" in row:
                found[self.name[row["pk"]], "keys", key_id(row["salt"]).hex()] = None
        return found

    # What has to hold

    def look_at_people(self) -> None:
        rows = self.shop.rows.held("graph")
        self.people = {}
        for row in rows:
            if row["sk"] == "PROFILE":
                group = {self.name[idkey] for idkey in row["members"]}
                self.people |= dict.fromkeys(group, group)
        self.left_out = {
            frozenset((self.name[row["pk"][2:]], self.name[row["sk"][5:]]))
            for row in rows
            if row["sk"].startswith("LINK#") and row.get("refused", "").startswith("limit:")
        }

    def look(self) -> None:
        """Learn from the rows what became of requests and holds, and see that it may."""
        model = self.model
        for row in self.shop.rows.held("requests"):
            if row["type"] == "hold" and row["pk"] not in model.holds:
                named = {self.name[idkey] for idkey in row["members"]}
                model.holds[row["pk"]] = Hold(row["until"], named)
                there = self.contents()
                self.held[row["pk"]] = {key: there[key] for key in there if key[0] in named}
            elif row["type"] == "erasure":
                self.look_at(row)
        for one in model.holds.values():
            for who in [*one.members]:
                one.members |= self.people.get(who, set())
        self.look_at_people()
        for one in model.holds.values():
            for who in [*one.members]:
                one.members |= self.people.get(who, set())
        for who in NAMES:
            if who not in self.people or model.now.ends.get(who, 0) <= self.now:
                model.end(who, self.now)

    def look_at(self, row: Row) -> None:
        model, id_ = self.model, row["pk"]
        if id_ not in model.requests:
            subject = self.name[row["subject"]]
            model.requests[id_] = Request(row["mode"], row["created"], subject, "pending")
        one = model.requests[id_]
        if row["status"] != one.status:
            assert row["status"] in self.reach(one.status), (one.status, row["status"])
        named = frozenset(self.name[idkey] for idkey in row["members"])
        self.nobody_else_is_asked_about(one, named - one.members)
        before, one.status, one.members = one.status, row["status"], named
        one.acknowledged |= id_ in self.asked or row["status"] not in ("pending", *ENDED)
        if row["status"] in ("cancelled", "refused"):
            assert not one.shredded
            if before != row["status"]:
                model.show(id_)
            return
        begun = any(name.partition("-")[0] == id_ for name in self.shop.workflow.started)
        if begun and not one.shredded:
            one.acknowledged = True
            model.shred(id_, self.objected(named))
        elif one.acknowledged and not one.shredded:
            keys = self.shop.rows.held("keys")
            theirs = {self.name[k["pk"]]: k["request"] for k in keys if "request" in k}
            model.hide(id_, theirs)
        if row["status"] == "completed" != before:
            one.over = self.now
            assert "certificate" in row
            there = self.contents()
            assert not [key for key in there if key[0] in named]

    def reach(self, status: str) -> set[str]:
        """The statuses that a request may get to from another."""
        found, new = set[str](), {status}
        while new:
            found |= new
            new = set().union(*(MOVES.get(one, set()) for one in new)) - found
        return found

    def objected(self, named: frozenset[str]) -> dict[str, int]:
        told: dict[str, int] = {}
        # A restriction is of what is kept, and ends with it. Of who is not here the key remembers.
        for who in named & self.people.keys():
            for purpose, at in self.model.standing(self.people[who]).items():
                if purpose != RESTRICTED:
                    told[purpose] = max(at, told.get(purpose, 0))
        return told

    def nobody_else_is_asked_about(self, one: Request, new: Collection[str]) -> None:
        fenced = [r.members for r in self.model.requests.values() if one.subject in r.members]
        asked = {one.subject} | self.people.get(one.subject, set()) | set().union(*fenced)
        asked |= set().union(*(self.people.get(who, set()) for who in asked))
        for who in set(new) - asked:
            theirs = self.people.get(who, set())
            assert not theirs & set(KNOWN), f"{who} was not asked about"
            links = [pair for pair in self.left_out if pair & theirs]
            assert any(pair & asked for pair in links), f"{who} was not asked about"

    @invariant()
    def all_is_as_it_may_be(self) -> None:
        self.look()
        erasing = {
            m for one in self.model.requests.values() if one.status in OPEN for m in one.members
        }
        wrong = broken_rules(self.shop, {self.shop.id(who).key for who in erasing})
        assert wrong == [], wrong
        self.only_what_may_be_is_shown()
        self.what_has_to_be_is_there()
        self.what_is_held_is_there()

    def only_what_may_be_is_shown(self) -> None:
        purposes = [*self.shop.policy.purposes]
        for who in NAMES:
            for purpose in {"privacy_rights", purposes[self.count % len(purposes)]}:
                with suppress(NotFound):
                    self.shows_only(who, purpose)
        for id_ in self.opened(self.shop.rows.held("events")):
            kept = self.model.now.kept[id_]
            assert self.model.lives(kept), f"{id_} came back"
        for id_ in self.archived():
            home, life = self.ever[id_]
            assert self.model.now.life[home] == life, f"{id_} came back in the archive"

    def shows_only(self, who: str, purpose: str) -> None:
        view, model, now = self.shop.view(who, purpose), self.model, self.now
        assert not model.kept_out(who), f"{who} is kept out"
        found = view.events(limit=500)[0]
        told = {name: one["value"] for name, one in view.traits(verbose=True).items()}
        shown = [event["messageId"] for event in found]
        shown += [value for name, value in told.items() if name in ("name", "avatar", "gender")]
        for record in view.consent_records():
            if record.get("evidence") and record["identifier"]["value"]:
                of = f"{record['identifier']['type']}:{record['identifier']['value']}"
                shown.append(f"{record['evidence']['told']} {of}")
        assert [id_ for id_ in shown if not model.may_show(id_, now)] == []
        if RESTRICTED in model.standing(self.people[who]) and purpose != "privacy_rights":
            assert (found, told, view.identifiers()) == ([], {}, [])
        links = [one[end] for one in view.links() for end in ("a", "b")]
        for named in (*view.identifiers(), *links):
            if named["value"]:
                assert not model.kept_out(f"{named['type']}:{named['value']}")
        for one in self.people[who]:
            for denied, at in model.now.objected.get(one, {}).items():
                granted = [
                    model.now.chosen.get(other, {}).get(denied, [0, 0])[1]
                    for other in self.people[who]
                ]
                assert at < max(granted) or not view.may(denied).allowed

    def what_has_to_be_is_there(self) -> None:
        events, traits = self.opened(self.shop.rows.held("events")), self.traits_of()
        archive, shown = self.archived(), dict[str, list[str]]()
        for id_, kept in self.model.now.kept.items():
            if not self.model.has_to_be(kept, self.now):
                continue
            home = kept.said.home
            if kept.said.kind == "trait":
                assert kept.said.name in traits[home], f"{kept.said} is lost"
                continue
            assert id_ in events, f"{kept.said} is lost"
            assert not kept.archived or id_ in archive, f"{kept.said} is not in the archive"
            if not (self.model.hidden(home) or self.doubt(home)):
                if home not in shown:
                    shown[home] = self.shop.event_ids(home, "privacy_rights")
                assert id_ in shown[home], f"{kept.said} is not shown"

    def what_is_held_is_there(self) -> None:
        there = self.contents()
        for id_ in self.lasting():
            for key, inside in self.held[id_].items():
                if self.tells_of_erased(key[2]):
                    continue
                assert key in there, f"{key} was held"
                if isinstance(inside, frozenset):
                    assert inside <= there[key], f"{key} was held"
                elif inside:
                    assert inside.keys() <= there[key].keys(), f"{key} was held"

    def tells_of_erased(self, sort: str) -> bool:
        """Whether a row is of two people, one of whom was erased, and was not held."""
        other = self.name.get(sort.partition("#")[2], "")
        return any(other in one.members and one.shredded for one in self.model.requests.values())

    def teardown(self) -> None:
        try:
            self.all_comes_to_its_end()
        finally:
            self.random.stop()

    def all_comes_to_its_end(self) -> None:
        """Whatever happened: everybody tries to come back, what is held outlasts its time, and in
        the end nothing is waited for and nothing is left."""
        self.everybody_comes_again()
        if self.count % 2 and self.recent():
            self.tables_are_restored(latest=False, place=None)
            self.all_is_as_it_may_be()
        for id_ in self.open():
            with suppress(Clash):
                requests.approve(self.shop.erasure, id_, "another one")
        self.requests_go_on()
        self.everybody_comes_again()
        for _ in range(2):
            self.time_passes(seconds=700 * DAY, does="both", place=None)
            self.all_is_as_it_may_be()
        for id_ in self.lasting():
            self.model.holds[id_].released = True
            self.shop.release(id_)
        self.requests_go_on()
        assert not {i: one.status for i, one in self.model.requests.items() if one.status in OPEN}
        self.time_passes(seconds=2100 * DAY, does="both", place=None)
        self.all_is_as_it_may_be()

    def everybody_comes_again(self) -> None:
        """By what they sent, then by a choice of before, then by one of now; and with all again."""
        for ago in (DAY, 0):
            for delivery in self.sent:
                self.deliver(delivery, None)
            for who in sorted(self.model.now.fenced):
                self.shop.clock.advance(60)
                self.a_person_chooses(
                    source=CRM,
                    who=[who],
                    chosen={"analytics": True},
                    ago=ago,
                    place=None,
                    back=False,
                )
            self.all_is_as_it_may_be()
        for delivery in self.sent:
            self.deliver(delivery, None)
        self.all_is_as_it_may_be()

    def requests_go_on(self) -> None:
        for _ in range(4):
            self.shop.clock.advance(8 * DAY)
            self.sweep()
            self.look()
            for name in self.running():
                self.run_machine(name, None)
            self.all_is_as_it_may_be()


TestPrivacy = Privacy.TestCase
TestPrivacy.settings = settings(
    max_examples=min(settings().max_examples * 3, 500),
    stateful_step_count=settings().stateful_step_count * 2,
)
