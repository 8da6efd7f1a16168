"""The fence: whatever unify, consent and erasure do beside each other, nothing readable outlives
the certificate.

Every schedule is exact (tests/interleaving.py): a worker stops just before a store call, or between
two rows of one that is not atomic, and another goes on. The bound:

- every order of a worker and an erasure with one and with two switches, for each of `SCENES`: the
  worker stops anywhere, the erasure goes on to anywhere, the worker ends, the erasure ends; and the
  same with their parts exchanged. Left out are places before calls on what only one of the two
  uses, because no order there can make a difference, and between the rows of the erasure's reads;
- either of them killed at every place (those too), then delivered or taken up again;
- any number of switches, workers, crashes and late deliveries, by chance.

Where the erasure waits, it only hides first, and destroys after days: for that a share of the
orders, beside the one and the other. tests/unit/test_request_races.py has what may come between.

Settling gives this, and no more: the deletion waits for workers that had started when the plan was
made. One that starts later may run at any time, beside the deletion and after the certificate.
"""

import base64
import gzip
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candor import archive, collection, consents, erasure, requests
from candor.consents import Choice
from candor.credentials import Source
from candor.errors import NotFound
from candor.identifiers import Identifier, Identifiers
from candor.policy import DAY, Policy
from candor.ports import Key, Row
from candor.profiles import View, view
from candor.requests import Erasure, Store
from candor.sealing import Damaged, Vault, key_id, key_id_of
from candor.unification import unify
from candor.world import World
from cli.policy import compile_policy
from tests.fakes import FakeClock, FakeObjects, FakeQueue, FakeRows, FakeSigner, FakeWorkflow
from tests.interleaving import Stage, Worker

POLICY = Policy.of(compile_policy(Path(__file__).parents[2].joinpath("policy.yaml").read_text()))
NOW = 1_700_000_000.0
SHOP = Source("shop", "shop", "server", "server")
WEB = Source("web", "web", "website", "client")
HOUR = 3600
WAITING_STEP = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 9

Json = dict[str, Any]
Late = Literal["at once", "at the deletion", "after the certificate"]
"""When the stream hands an INSERT to the archive function."""
LATE: tuple[Late, ...] = ("at once", "at the deletion", "after the certificate")

# All that is of Ann says so, whatever its form; likewise Bob and Carl, whom nobody asks to forget
# (Carl used Ann's account once, which was refused as a link), and Eve, whom nobody knows yet.
ANN, BOB, CARL, EVE = "ann-canary", "bob-canary", "carl-canary", "eve-canary"
YES = {"consent": {"categoryPreferences": {"analytics": True, "marketing": True}}}
NO = {"consent": {"categoryPreferences": {"analytics": True, "marketing": False}}}


def page(who: str, **ids: str) -> Json:
    return {"type": "page", "context": YES, "properties": {"title": who}} | ids


def identify(who: str, mail: str, **ids: str) -> Json:
    return {"type": "identify", "context": YES, "traits": {"email": mail, "name": who}} | ids


def order(who: str, **ids: str) -> Json:
    return {"type": "track", "event": "Order Completed", "properties": {"order_id": who}} | ids


def message(source: Source, *events: Json, at: float = NOW) -> Json:
    """What collect would put into the queue."""
    time = datetime.fromtimestamp(at, UTC).isoformat()
    batch = [{"messageId": f"{at}-{n}", "timestamp": time, **sent} for n, sent in enumerate(events)]
    body: Json = {"batch": batch}
    collected = collection.collect(body, "batch", POLICY, at, keep_unnamed=False)
    assert not collected.refused
    return collection.message(collected, body, source, at)


class Town:
    """One installation in memory, in which Ann, Bob and Carl are known."""

    def __init__(self, waits: int = 0) -> None:
        self.waits, self.stage = waits, Stage()
        tap = self.stage.tap
        self.clock = FakeClock(NOW - 10 * DAY)
        self.rows, self.objects = FakeRows(self.clock, tap), FakeObjects(tap)
        self.signer, self.queue, self.workflow = FakeSigner(tap), FakeQueue(tap), FakeWorkflow(tap)
        self.vault = Vault({1: "a master secret"})
        self._opened: dict[bytes, str] = {}
        self.identifiers = Identifiers(POLICY, "an hmac secret")
        self.world = World(self.rows, self.vault, self.identifiers, POLICY, self.clock)
        rules = replace(POLICY, erasure=replace(POLICY.erasure, waiting_days=self.waits))
        self.work = Erasure(self.rows, rules, self.clock, self.objects, (self.queue,))
        self._people()
        self._before = dict(self.rows._rows), dict(self.objects.objects)
        self._inserted_before = {Key("events", r["pk"], r["sk"]) for r in self.rows.held("events")}
        self._kids_before = [key_id_of(data).hex() for data, _ in self._archived()]
        people = (ANN, BOB, CARL)
        self._read_before = {who: self.read(f"{who}-device") for who in people}
        self._rows_before = {who: self._rows_of(who) for who in people}
        self._telling_before = {who: telling(who, self.texts()) for who in people}
        self.again()

    def _people(self) -> None:
        """All in the tables, and together in one archive object."""
        ids = {"userId": f"{ANN}-42", "anonymousId": f"{ANN}-device"}
        known = identify(ANN, f"{ANN}@example.com", **ids), order(ANN, **ids), page(ANN, **ids)
        unify(message(SHOP, *known, at=self.clock()), self.world)
        self.clock.advance(DAY)
        for who in (BOB, CARL):
            ids = {"anonymousId": f"{who}-device"}
            unify(message(WEB, page(who, **ids), order(who, **ids), at=self.clock()), self.world)
        ids["userId"] = f"{CARL}-7"
        unify(message(WEB, page(CARL, **ids), at=self.clock()), self.world)
        conflict = order(ANN, userId=f"{ANN}-42", anonymousId=f"{CARL}-device")
        (outcome,), _ = unify(message(WEB, conflict, at=self.clock()), self.world)
        assert outcome.reason == "identity_conflict"
        self.clock.now = NOW
        archive.store(self.objects, self.rows.held("events"))

    def again(self, late: Late = "at once") -> None:
        """Everything as it was at the beginning."""
        self.rows._rows, self.objects.objects = dict(self._before[0]), dict(self._before[1])
        self.clock.now = NOW
        self.workflow.started.clear()
        self.stage.watch, self.stage.running = self._watch, None
        self.stage.matters = lambda call, detail: True
        self.late = late
        self.workers: list[Worker] = []
        self._stream: list[tuple[Late, Row]] = []
        self._inserted = set(self._inserted_before)
        self._steps_done = 0
        self.outlived: set[str] = set()

    def one(self, type_: str, value: str) -> Identifier:
        made = self.identifiers.make(type_, value)
        assert made is not None
        return made

    def read(self, device: str) -> Any:
        """What is read of somebody; None where nobody is found."""
        try:
            view = self.view("anonymous_id", device)
        except NotFound:
            return None
        return view.traits(), view.events(), {one["value"] for one in view.identifiers()}

    def view(self, type_: str, value: str) -> View:
        return view(self.world, self.one(type_, value), "privacy_rights")

    # The workers

    def worker(self, work: Callable[[], Any]) -> Worker:
        worker = Worker(self.stage, work)
        self.workers.append(worker)
        return worker

    def erasing(self, subject: Identifier) -> Worker:
        """A request, from the call that makes it to its end; from where the last one died."""
        self.eraser = self.worker(lambda: self._erase(subject))
        return self.eraser

    def _erase(self, subject: Identifier) -> None:
        work = self.work
        told = next(iter(self.rows.held("requests")), None) or requests.open_erasure(
            work, self.vault, subject, "erase", requests.Asking("dpo", ANN)
        )
        id_ = told["pk"]
        while not self.workflow.started:
            erasure.advance(work, self.workflow, id_)
            self.clock.now = told["acts_at"]
        self._machine(id_)

    def _machine(self, id_: str) -> None:
        """statemachines/erasure.asl.json. A task that died is tried again, and no other one."""
        stores: tuple[Store, ...] = ("graph", "events", "queues")
        deletes = [lambda s=s: erasure.erase(self.work, s, id_) for s in stores]
        steps: list[Callable[[], Any]] = [lambda: self._plan(id_), self._settle]
        for _ in range(erasure.ROUNDS):
            steps += [*deletes, lambda: self._verify(id_)]
        steps.append(lambda: erasure.fail(self.work, id_))
        while self._steps_done < len(steps) and not self.certified:
            steps[self._steps_done]()
            self._steps_done += 1

    def _plan(self, id_: str) -> None:
        erasure.plan(self.work, id_)
        self._in_flight = [
            worker
            for worker in self.workers
            if worker.started and not worker.done and worker is not self.eraser
        ]

    def _settle(self) -> None:
        self.eraser.wait(lambda: all(worker.done for worker in self._in_flight))
        self.deliver("at the deletion")

    def _verify(self, id_: str) -> None:
        if erasure.verify(self.work, id_)["clean"]:
            erasure.certify(self.work, self.signer, id_)

    # The stream and the archive function

    def _watch(self, call: str, detail: Any) -> None:
        if call == "rows.put:row" and detail.key.table == "events":
            if detail.key not in self._inserted:
                self._inserted.add(detail.key)
                image = detail.row | {"pk": detail.key.pk, "sk": detail.key.sk}
                self._stream.append((self.late, image))
                self.deliver("at once")
        elif call == "rows.delete:row":
            self._inserted.discard(detail.key)
        if call in WRITES and self.certified:
            self.outlived |= set(telling(self.canary, self.texts()))

    def deliver(self, when: Late) -> None:
        due = [row for late, row in self._stream if late == when]
        self._stream = [one for one in self._stream if one[0] != when]
        before, self.stage.running = self.stage.running, None
        archive.store(self.objects, due)
        self.stage.running = before

    # What must hold

    canary = ANN

    @property
    def certified(self) -> bool:
        return any("certificate" in row for row in self._held("requests"))

    def _held(self, *tables: str) -> list[Row]:
        """As `FakeRows.held`, without the copies: this is looked at many thousand times."""
        return [row for key, row in self.rows._rows.items() if not tables or key.table in tables]

    def texts(self) -> list[str]:
        """Everything that is plain, or opens under any key there is."""
        held = self._held()
        salts = {key_id(row["salt"]): row["salt"] for row in held if "salt" in row}
        found = [repr(held), *self.objects.objects, *self.queue.bodies]
        for envelope, places in [*self._sealed(held), *self._archived()]:
            if salt := salts.get(key_id_of(envelope)):
                if envelope not in self._opened:
                    self._opened[envelope] = self._open(salt, envelope, places)
                found.append(self._opened[envelope])
        return found

    def _open(self, salt: bytes, envelope: bytes, places: tuple[str, ...]) -> str:
        for place in places:
            try:
                return json.dumps(self.vault.open(salt, envelope, place))
            except Damaged:
                continue
        raise AssertionError("an envelope whose key exists opens at none of its places")

    @staticmethod
    def _sealed(held: list[Row]) -> Iterator[tuple[bytes, tuple[str, ...]]]:
        """Every envelope in the tables, and the places that it could be bound to."""
        for row in held:
            pk, sk = row["pk"], row.get("sk", "")
            for name, value in row.items():
                if isinstance(value, bytes) and name != "salt":
                    yield value, (pk, f"{pk}/{sk}", f"events/{pk}/{sk}", f"requests/{pk}")

    def _archived(self) -> Iterator[tuple[bytes, tuple[str, ...]]]:
        for name, body in self.objects.objects.items():
            if name.startswith(archive.EVENTS):
                yield from lines(body)

    def _rows_of(self, who: str) -> dict[Key, Row]:
        """All under the identifiers and the profile of somebody."""
        device = self.one("anonymous_id", f"{who}-device").key
        profiles = [row for row in self._held("graph") if device in row.get("members", ())]
        of = {name for row in profiles for name in (row["pk"], *row["members"])}
        return {key: row for key, row in self.rows._rows.items() if key.pk.removeprefix("I#") in of}

    def _changed(self, who: str) -> bool:
        """Whether anything else is read of somebody; only rows that differ can make it so."""
        if self._rows_of(who) == self._rows_before[who]:
            return False
        return bool(self.read(f"{who}-device") != self._read_before[who])

    def wrong(self) -> list[str]:
        """What does not hold, now that everything has ended."""
        (request,) = self._held("requests")
        if request["status"] != "completed":
            return [f"the request is {request['status']}"]
        members = set(request["members"])
        texts = self.texts()
        found = [f"readable: {text}" for text in {*self.outlived, *telling(self.canary, texts)}]
        found += self._left(members)
        fenced = {row["pk"] for row in self._held("keys") if row.keys() >= {"mode", "since"}}
        found += [f"not fenced: {idkey}" for idkey in members - fenced]
        document = json.loads(request["certificate"]["document"])
        if self.canary == ANN and self._kids_before[0] not in document["shredded_key_ids"]:
            found.append("the certificate does not name the key")
        for who in {ANN, BOB, CARL} - {self.canary}:
            if self.one("anonymous_id", f"{who}-device").key in members:
                found += telling(who, texts)
            elif telling(who, texts) != self._telling_before[who]:
                found.append(f"of {who} there is too much or too little")
            elif self._changed(who):
                found.append(f"{who} is not whole")
        return found

    def _left(self, members: set[str]) -> list[str]:
        """Rows of members, but for their fences, and rows that name them."""
        found = []
        for row in self._held():
            pk, sk = row["pk"], row.get("sk", "")
            if pk in members and "mode" in row and "salt" not in row:
                continue
            if pk.removeprefix("I#") in members or sk.removeprefix("LINK#") in members:
                found.append(f"left: {sk or 'a key'} of or naming a member")
            if sk == "PROFILE" and members & row["members"].keys():
                found.append("left: a profile that lists a member")
        return found


def telling(canary: str, texts: list[str]) -> list[str]:
    return sorted(text[:200] for text in texts if canary in text)


@cache
def lines(body: bytes) -> list[tuple[bytes, tuple[str, ...]]]:
    """The envelopes of an archive object, and the place that each is bound to."""
    rows = [json.loads(line) for line in gzip.decompress(body).decode().splitlines()]
    return [(base64.b64decode(r["data"]), (f"events/{r['pk']}/{r['sk']}",)) for r in rows]


WRITES = ("rows.put:row", "rows.update:after", "rows.commit:after", "objects.put:after")
SHARED = ("keys", "graph", "events")


def shared(town: Town, call: str, detail: Any) -> bool:
    """Whether unify and erasure both use what this call is about."""
    if not call.startswith("rows."):
        return False
    if call == "rows.get:row" and town.stage.running is town.eraser:
        return False
    if call in ("rows.query:before", "rows.scan:before") or isinstance(detail, Key):
        return detail[0] in SHARED
    each = detail if isinstance(detail, list | tuple) else [detail]
    keys: list[Any] = [getattr(one, "key", one) for one in each]
    return any(key.table in SHARED for key in keys)


@dataclass(frozen=True, slots=True)
class Scene:
    """Who is erased, and what arrives beside it."""

    subject: tuple[str, str]
    work: Callable[[Town], Any]
    canary: str = ANN

    def set(self, town: Town, late: Late) -> tuple[Worker, Worker]:
        town.again(late)
        town.canary = self.canary
        return town.worker(lambda: self.work(town)), town.erasing(town.one(*self.subject))


def sent(source: Source, *events: Json, at: float = NOW) -> Callable[[Town], Any]:
    told = message(source, *events, at=at)
    return lambda town: unify(told, town.world)


def chosen(
    *ids: tuple[str, str], at: float = NOW - 60, note: str = ANN, **purposes: bool
) -> Callable[[Town], Any]:
    def work(town: Town) -> None:
        people = tuple(town.one(*one) for one in ids)
        told = Choice(people, purposes, at, "preference_center", {"form": note}, "shop", "server")
        consents.choose(town.world, told)

    return work


USER, DEVICE = ("user_id", f"{ANN}-42"), ("anonymous_id", f"{ANN}-device")
IDS = {"userId": USER[1], "anonymousId": DEVICE[1]}
SCENES = {
    "traits, events and signals of someone known": Scene(
        USER,
        sent(SHOP, identify(ANN, f"{ANN}@example.com", **IDS) | {"context": NO}, order(ANN, **IDS)),
    ),
    "a new device and a new address, by the shop": Scene(
        USER,
        sent(
            SHOP,
            identify(ANN, f"{ANN}-2@example.com", userId=USER[1], anonymousId=f"{ANN}-phone"),
            order(ANN, userId=USER[1], anonymousId=f"{ANN}-phone"),
        ),
    ),
    "a new device, by itself": Scene(
        USER, sent(WEB, page(ANN, userId=USER[1], anonymousId=f"{ANN}-tablet"))
    ),
    "a merge with somebody else": Scene(
        DEVICE, sent(SHOP, order(ANN, userId=USER[1], anonymousId=f"{BOB}-device"))
    ),
    "a merge with somebody who was there before": Scene(
        ("anonymous_id", f"{BOB}-device"),
        sent(SHOP, order(ANN, userId=USER[1], anonymousId=f"{BOB}-device")),
        BOB,
    ),
    "a link that is refused": Scene(
        USER, sent(WEB, identify(ANN, f"{ANN}@example.com", anonymousId=f"{CARL}-device"))
    ),
    "someone unknown": Scene(
        ("email", f"{EVE}@example.com"),
        sent(SHOP, identify(EVE, f"{EVE}@example.com", userId=f"{EVE}-7")),
        EVE,
    ),
    "an explicit choice": Scene(
        USER, chosen(USER, DEVICE, ("anonymous_id", f"{ANN}-tv"), marketing=False, analytics=True)
    ),
}


@pytest.fixture(scope="module")
def town() -> Town:
    return Town()


def ended(town: Town, *workers: Worker) -> list[str]:
    """Run all to their ends, the first one first where it can, and say what is wrong then."""
    while not all(worker.done for worker in workers):
        for worker in workers:
            worker.run()
    town.deliver("after the certificate")
    return town.wrong()


def orders(town: Town, scene: Scene, step: int = 1) -> Iterator[tuple[str, list[str], Worker]]:
    """One of the two stops anywhere, the other anywhere after that, or at each `step`-th place;
    then the one ends, and the other. Each schedule with what is wrong in the end, and the worker.
    """
    lates = cycle(LATE)
    for first in ("worker", "erasure"):
        i, more = 0, True
        while more:
            j, rest = i % step, True
            while rest:
                worker, eraser = scene.set(town, next(lates))
                town.stage.matters = partial(shared, town)
                one, other = (worker, eraser) if first == "worker" else (eraser, worker)
                more = not one.run(i)
                rest = not other.run(j)
                yield f"{first} first: {i}, {j}", ended(town, one, other), worker
                j += step
            i += 1


@pytest.fixture(scope="module")
def waiting_town() -> Town:
    return Town(waits=7)


@pytest.mark.parametrize("name", SCENES)
def test_nor_where_the_erasure_hides_first_and_destroys_later(
    waiting_town: Town, name: str
) -> None:
    count = 0
    for schedule, wrong, _ in orders(waiting_town, SCENES[name], WAITING_STEP):
        assert not wrong, schedule
        count += 1
    assert count > 50, "there were hardly any orders"


@pytest.mark.parametrize("name", SCENES)
def test_in_no_order_does_anything_readable_outlive_the_certificate(town: Town, name: str) -> None:
    seen: Counter[str] = Counter()
    for schedule, wrong, worker in orders(town, SCENES[name]):
        assert not wrong, schedule
        seen[repr(worker.result)] += 1
    assert seen.total() > 300, "there were hardly any orders"
    assert len(seen) > 1 or "choice" in name, "the order made no difference"


@pytest.mark.parametrize("name", SCENES)
def test_nor_where_the_worker_dies_and_its_message_comes_again(town: Town, name: str) -> None:
    scene = SCENES[name]
    lates, places, died = cycle(LATE), 0, True
    while died:
        for moment in ("before", "beside", "after"):
            worker, eraser = scene.set(town, next(lates))
            worker.run(places, kill=True)
            again = town.worker(lambda: scene.work(town))
            first = {"before": again, "after": eraser}
            if moment == "beside":
                eraser.run(3 * places)
                again.run(places // 2)
            wrong = ended(town, *sorted((eraser, again), key=lambda w: w is not first.get(moment)))
            assert not wrong, f"killed at {places}, again {moment}"
            died = worker.killed
        places += 1


@pytest.mark.parametrize("name", SCENES)
def test_nor_where_the_erasure_dies_and_is_taken_up_again(town: Town, name: str) -> None:
    scene = SCENES[name]
    lates, places, died = cycle(LATE), 0, True
    while died:
        for moment in ("between", "in flight before", "in flight between"):
            worker, eraser = scene.set(town, next(lates))
            if moment == "in flight before":
                worker.run(1 + places % 20)
            eraser.run(places, kill=True)
            again = town.erasing(town.one(*scene.subject))
            if moment == "between":
                worker.run()
            elif moment == "in flight between":
                worker.run(1 + places % 20)
            wrong = ended(town, again, worker)
            assert not wrong, f"killed at {places}, the worker {moment}"
            died = eraser.killed
        places += 1


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["the erasure", *(name for name in SCENES if SCENES[name].canary == ANN)]),
        st.integers(0, 25),
        st.booleans(),
        st.sampled_from(LATE),
    ),
    max_size=30,
)
"""Who goes on, by how many places, whether it dies there, and when the stream delivers."""


@settings(max_examples=5 * settings().max_examples)
@given(moves=MOVES)
def test_nor_in_any_order_of_many_that_die_at_any_time(
    town: Town, moves: list[tuple[str, int, bool, Late]]
) -> None:
    town.again()
    town.canary = ANN

    def begin(name: str) -> Worker:
        if name == "the erasure":
            return town.erasing(town.one(*USER))
        return town.worker(lambda: SCENES[name].work(town))

    running: dict[str, Worker] = {"the erasure": begin("the erasure")}
    for name, places, dies, late in moves:
        town.late = late
        if name not in running or running[name].killed:
            running[name] = begin(name)
        running[name].run(places, kill=dies)
    again = [begin(name) for name, worker in running.items() if worker.killed]
    assert not ended(town, *running.values(), *again)


def erase(town: Town) -> None:
    """Ann, with nothing beside."""
    town.again()
    town.canary = ANN
    assert not ended(town, town.erasing(town.one(*USER)))


def held(town: Town) -> list[Row]:
    """Every row but those that count what was dropped."""
    counts = town.rows.held("counts")
    return [row for row in town.rows.held() if row not in counts]


@pytest.mark.parametrize("name", [name for name in SCENES if SCENES[name].canary == ANN])
def test_a_message_that_comes_again_after_the_certificate_changes_nothing(
    town: Town, name: str
) -> None:
    erase(town)
    before = held(town)
    SCENES[name].work(town)
    assert held(town) == before


@pytest.mark.parametrize(
    "lesser",
    [
        chosen(USER, at=NOW + HOUR, marketing=False),
        chosen(USER, at=NOW - 1, marketing=True),
        chosen(USER, at=NOW, marketing=True),
        sent(SHOP, identify(ANN, f"{ANN}@example.com", **IDS), at=NOW + HOUR),
        sent(WEB, page(ANN, anonymousId=DEVICE[1]), at=NOW + HOUR),
    ],
    ids=["a denial", "an older grant", "a grant of that second", "an event", "a signal"],
)
def test_nothing_less_than_a_later_grant_lets_the_person_in_again(
    town: Town, lesser: Callable[[Town], Any]
) -> None:
    erase(town)
    before = held(town)
    town.clock.advance(HOUR)
    lesser(town)
    assert held(town) == before


def test_who_registers_again_is_new_and_nothing_old_comes_back(town: Town) -> None:
    erase(town)
    with pytest.raises(NotFound):
        town.view(*USER)
    town.clock.advance(HOUR)
    chosen(USER, DEVICE, at=town.clock(), note="anew", marketing=True, analytics=True)(town)
    town.clock.advance(60)
    sent(SHOP, identify("anew", "anew@example.com", **IDS), order("anew", **IDS), at=town.clock())(
        town
    )

    for scene in SCENES.values():
        if scene.canary == ANN:
            scene.work(town)
    town.deliver("after the certificate")

    view = town.view(*USER)
    assert view.traits() == {"email": "anew@example.com", "name": "anew"}
    assert [event["properties"] for event in view.events()[0]] == [{"order_id": "anew"}]
    found = [one["value"] for one in view.identifiers()]
    assert found == [USER[1], "anew@example.com", DEVICE[1]]
    assert not telling(f'"{ANN}"', town.texts())
    assert not telling(f"{ANN}@example.com", town.texts())


def test_a_grant_while_the_erasure_runs_lifts_nothing(town: Town) -> None:
    grant = chosen(USER, at=NOW + 1, note="anew", marketing=True)
    scene = Scene(USER, grant)
    again = json.dumps({"value": USER[1], "traits": {}})
    returns = 0
    for schedule, _, _ in orders(town, scene):
        assert town.certified, schedule
        assert {*town.outlived, *telling(ANN, town.texts())} <= {again}, schedule
        if telling(again, town.texts()):
            returns += 1
            assert town.view(*USER).traits() == {}, schedule
    assert returns > 1
