"""What two do with one person's request or hold at the same moment: whatever the order, nobody who
is held is destroyed, nobody whose request ended is left hidden, and what is destroyed is destroyed
to the end.

Every schedule is exact (tests/interleaving.py). For each of `SCENES`, the one stops anywhere, the
other anywhere after that, the one ends, and the other; and either dies anywhere, before or behind
the other. Then time passes: the hourly sweep runs, and the machine where it was started. Any number
of them, in any order, is by chance. All orders of all scenes take minutes: that is the long run,
and else it is some hundreds of each.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candor import erasure, holds, requests
from candor.errors import Clash, NotFound
from candor.policy import DAY
from candor.ports import Conflict, Key, Row, Table
from candor.retention import sweep
from tests.interleaving import Stage, Worker
from tests.worlds import CRM, Shop, order, policy, sent

ANN, MAIL, BOB = "user_id:42", "email:ann@example.com", "user_id:43"
HOUR = 3600
ENOUGH = None if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 250
"""Orders of each scene."""
SHARED: tuple[Table, ...] = ("keys", "graph", "requests")
MARKS = frozenset({"state", "request", "version", "hold", "ttl", "due", "last"})
"""What hiding, holding, showing again and an event may change of a row."""
OVER = ("cancelled", "refused")


class Office(Shop):
    """Where requests about Ann are handled, and where Bob is, whom none of it concerns."""

    def __init__(self, **erasing: Any) -> None:
        super().__init__(policy(lambda compiled: compiled["erasure"].update(erasing)))
        for user, mail in (("42", "ann"), ("43", "bob")):
            traits = {"email": f"{mail}@example.com"}
            self.send(CRM, sent("identify", f"i{user}", userId=user, traits=traits))
            self.send(CRM, order(f"o{user}", userId=user, anonymousId=f"a{user}"))
        self.names = [self.id(one).key for one in (ANN, MAIL, "anonymous_id:a42")]
        self.before = {ANN: self._rows_of(ANN), BOB: self._rows_of(BOB)}
        self.stage = Stage()
        self.stage.matters = _shared
        self.stored: set[str] = set()
        self._beginning: Any = None

    def begins_here(self) -> None:
        self._beginning = dict(self.rows._rows), self.clock.now, dict(self.workflow.started)
        self._states = dict(self.workflow._states)

    def again(self) -> None:
        rows, now, started = self._beginning
        self.rows._rows, self.clock.now = dict(rows), now
        self.workflow.started, self.workflow._states = dict(started), dict(self._states)
        self.rows.tap = self.workflow.tap = self.stage.tap
        self.stored.clear()

    def worker(self, work: Callable[["Office"], Any]) -> Worker:
        def told() -> str:
            try:
                work(self)
            except (Clash, Conflict, NotFound) as error:
                return type(error).__name__
            return "done"

        return Worker(self.stage, told)

    def found(self, *types: str) -> list[Row]:
        rows = [row for key, row in self.rows._rows.items() if key.table == "requests"]
        return sorted((row for row in rows if row["type"] in types), key=lambda row: row["pk"])

    def one(self, type_: str = "erasure") -> str:
        return str(next((row["pk"] for row in self.found(type_)), "nobody"))

    # What follows by itself

    def pass_time(self) -> None:
        """Until nothing changes any more: the machine first where it is started."""
        for _ in range(4):
            for name, state in [*self.workflow._states.items()]:
                if state == "running":
                    self.run_machine(name)
            self.clock.advance(2 * HOUR)
            swept(self)

    def run_machine(self, name: str) -> None:
        """statemachines/erasure.asl.json, one time."""
        id_ = self.workflow.started[name]["request"]
        try:
            erasure.plan(self.erasure, id_)
            for store in ("graph", "events", "queues"):
                erasure.erase(self.erasure, store, id_)
            if erasure.verify(self.erasure, id_)["clean"]:
                erasure.certify(self.erasure, self.signer, id_)
                return self.workflow.end(name, "succeeded")
        except (Clash, Conflict):
            pass
        with suppress(erasure.ErasureFailed):
            erasure.give_up(self.erasure, id_, name)
        return self.workflow.end(name, "failed")

    # What must hold

    def wrong(self) -> list[str]:
        found, keys = [], {row["pk"]: row for row in self.rows.held("keys")}
        asked = self.found("erasure")
        statuses = {row["status"] for row in asked}
        ended = {row["pk"] for row in asked if row["status"] in OVER}
        marked = [row for row in self.rows.held() if "mode" in row or "state" in row]
        if any(row.get("request") in ended for row in marked):
            found.append("hidden for a request that has ended")
        salts = [idkey for idkey in self.names if "salt" in keys.get(idkey, {})]
        kept = any(holds.lasts(row, self.clock()) for row in self.found("hold"))
        if statuses & {"running", "partial"}:
            found.append(f"it stays {statuses}")
        if "completed" in statuses:
            found += ["a held person was erased"] if kept else []
            found += ["something is left"] if salts or self._rows_of(ANN) else []
        else:
            found += [f"keys are lost: {statuses}"] if len(salts) < len(self.names) else []
            lost = self.before[ANN].items() - self._rows_of(ANN).items()
            found += [f"lost: {sorted(lost)}"] if lost else []
            if not any(row["status"] in requests.ACTIVE for row in asked):
                found += [] if self.read_ids() >= {"o42", *self.stored} else ["not shown again"]
        if self._rows_of(BOB) != self.before[BOB]:
            found.append("Bob is not whole")
        return found

    def read_ids(self) -> set[str]:
        with suppress(NotFound):
            return set(self.event_ids(ANN))
        return set()

    def _rows_of(self, who: str) -> dict[Key, str]:
        idkey = self.id(who).key
        return {
            key: repr({n: v for n, v in row.items() if n not in MARKS})
            for key, row in self.rows._rows.items()
            if idkey in key.pk and key.table != "keys"
        }


def _shared(call: str, detail: Any) -> bool:
    if call == "workflow.start:before":
        return True
    if not call.startswith("rows."):
        return False
    if isinstance(detail, Key) or call in ("rows.query:before", "rows.scan:before"):
        return detail[0] in SHARED
    each = detail if isinstance(detail, list | tuple) else [detail]
    keys: list[Any] = [getattr(one, "key", one) for one in each]
    return any(key.table in SHARED for key in keys)


def swept(shop: Shop) -> None:
    """What sweep does with requests and holds; there is no time for the rest."""
    sweep(shop.erasure, shop.world, shop.workflow, lambda: False)


# What somebody does


def ask(office: Office) -> None:
    office.acknowledge(MAIL)


def cancel(office: Office) -> None:
    erasure.cancel(office.erasure, office.one())


def refuse(office: Office) -> None:
    erasure.refuse(office.erasure, office.one(), "excessive")


def approve(office: Office) -> None:
    requests.approve(office.erasure, office.one(), "another")
    erasure.advance(office.erasure, office.workflow, office.one())


def hold(office: Office) -> None:
    office.hold(ANN)


def release(office: Office) -> None:
    office.release(office.one("hold"))


def event(office: Office) -> None:
    outcomes = office.send(CRM, order("o9", userId="42"))
    office.stored |= {"o9"} if outcomes[0].outcome == "stored" else set()


def device(office: Office) -> None:
    """Which is new, and named together with Ann."""
    outcomes = office.send(CRM, order("o8", userId="42", anonymousId="new"))
    office.stored |= {"o8"} if outcomes[0].outcome == "stored" else set()


def machine(office: Office) -> None:
    for name in [*office.workflow.started]:
        office.run_machine(name)


ACTS: dict[str, Callable[[Office], Any]] = {
    one.__name__: one
    for one in (ask, cancel, refuse, approve, hold, release, event, device, machine)
} | {"sweep": swept}


@dataclass(frozen=True, slots=True)
class Scene:
    """What was, and who does what beside whom."""

    before: tuple[str, ...]
    one: str
    other: str
    waits: bool = False
    second: bool = False
    passes: int = 0
    """Seconds between."""
    breaks: bool = False
    """Whether the machine failed before."""
    then: str = ""
    """What somebody does behind the two."""

    def set(self) -> Office:
        office = Office(waiting_days=7 if self.waits else 0, second_person=self.second)
        for name in self.before:
            ACTS[name](office)
        office.clock.advance(self.passes)
        if self.breaks:
            erasure.fail(office.erasure, office.one())
            office.workflow.end(office.one(), "failed")
        office.begins_here()
        return office


DUE = 8 * DAY
SCENES = {
    "ask, ask": Scene((), "ask", "ask"),
    "ask, hold": Scene((), "ask", "hold"),
    "ask and wait, hold": Scene((), "ask", "hold", waits=True),
    "ask and wait, an event": Scene((), "ask", "event", waits=True),
    "ask and wait, an event, cancel": Scene((), "ask", "event", waits=True, then="cancel"),
    "ask and wait, a new device": Scene((), "ask", "device", waits=True, then="cancel"),
    "ask again, cancel": Scene(("ask",), "ask", "cancel", waits=True),
    "cancel, an event": Scene(("ask",), "cancel", "event", waits=True),
    "cancel, hold": Scene(("ask",), "cancel", "hold", waits=True),
    "cancel, refuse": Scene(("ask",), "cancel", "refuse", waits=True),
    "cancel, the sweep when it is due": Scene(("ask",), "cancel", "sweep", waits=True, passes=DUE),
    "hold, the sweep when it is due": Scene(("ask",), "hold", "sweep", waits=True, passes=DUE),
    "approve, cancel": Scene(("ask",), "approve", "cancel", second=True),
    "approve, refuse": Scene(("ask",), "approve", "refuse", second=True),
    "approve, hold": Scene(("ask",), "approve", "hold", second=True),
    "approve, the sweep": Scene(("ask",), "approve", "sweep", second=True, passes=2 * HOUR),
    "release, the sweep": Scene(("hold", "ask"), "release", "sweep", passes=2 * HOUR),
    "release, the sweep, cancel": Scene(
        ("hold", "ask"), "release", "sweep", passes=2 * HOUR, then="cancel"
    ),
    "release, cancel": Scene(("hold", "ask"), "release", "cancel"),
    "release, hold": Scene(("hold", "ask"), "release", "hold"),
    "release, ask": Scene(("hold",), "release", "ask"),
    "the machine, hold": Scene(("ask",), "machine", "hold"),
    "the machine, cancel": Scene(("ask",), "machine", "cancel"),
    "the machine, the sweep": Scene(("ask",), "machine", "sweep", passes=2 * HOUR),
    "the machine, ask": Scene(("ask",), "machine", "ask"),
    "the machine, an event": Scene(("ask",), "machine", "event"),
    "the sweep of what failed, cancel": Scene(("ask",), "sweep", "cancel", breaks=True),
    "the sweep of what failed, hold": Scene(("ask",), "sweep", "hold", breaks=True),
    "the sweep of what failed, ask": Scene(("ask",), "sweep", "ask", breaks=True),
}


def ended(office: Office, *workers: Worker, then: str = "") -> list[str]:
    for worker in workers:
        worker.run()
    office.rows.tap = office.workflow.tap = None
    if then:
        with suppress(Clash, NotFound):
            ACTS[then](office)
    office.pass_time()
    told = [str(worker.result) for worker in workers]
    return [f"{one} ({told})" for one in office.wrong()]


def places(office: Office, act: str) -> int:
    """How many one has by itself."""
    office.again()
    worker, count = office.worker(ACTS[act]), 0
    while not worker.run(1):
        count += 1
    return count


def orders(office: Office, scene: Scene) -> Iterator[tuple[str, list[str]]]:
    all_ = 2 * places(office, scene.one) * places(office, scene.other)
    step = all_ // ENOUGH + 1 if ENOUGH else 1
    for first, second in ((scene.one, scene.other), (scene.other, scene.one)):
        i, more = 0, True
        while more:
            j, rest = i % step, True
            while rest:
                office.again()
                one, other = office.worker(ACTS[first]), office.worker(ACTS[second])
                more = not one.run(i)
                rest = not other.run(j)
                yield f"{first} first: {i}, {j}", ended(office, one, other, then=scene.then)
                j += step
            i += 1


@pytest.mark.parametrize("name", SCENES)
def test_no_order_of_two_loses_leaves_or_destroys_what_it_must_not(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    office, seen = SCENES[name].set(), 0
    for schedule, wrong in orders(office, SCENES[name]):
        assert not wrong, schedule
        seen += 1
    record_property("orders", seen)
    assert seen > 20, "there were hardly any orders"


@pytest.mark.parametrize("name", SCENES)
def test_nor_does_either_that_dies(name: str) -> None:
    scene = SCENES[name]
    office = scene.set()
    for dying, living in ((scene.one, scene.other), (scene.other, scene.one)):
        place, died = 0, True
        while died:
            for first in (dying, living):
                office.again()
                one, other = office.worker(ACTS[dying]), office.worker(ACTS[living])
                if first == living:
                    other.run()
                one.run(place, kill=True)
                wrong = ended(office, other, one, then=scene.then)
                assert not wrong, f"{dying} dies at {place}, {first} first"
                died = one.killed
            place += 1


MOVES = st.lists(
    st.tuples(st.sampled_from([*ACTS]), st.integers(0, 25), st.booleans()), min_size=2, max_size=20
)
"""Who goes on, by how many places, and whether it dies there."""
START = {
    "nothing": Scene((), "ask", "ask"),
    "somebody waits": Scene(("ask",), "ask", "ask", waits=True, passes=DUE),
    "somebody is held": Scene(("hold", "ask"), "ask", "ask", second=True, passes=2 * HOUR),
    "somebody is broken": Scene(("ask",), "ask", "ask", breaks=True),
}


@pytest.fixture(scope="module")
def offices() -> dict[str, Office]:
    return {name: scene.set() for name, scene in START.items()}


@settings(max_examples=3 * settings().max_examples)
@given(start=st.sampled_from([*START]), moves=MOVES)
def test_nor_any_order_of_many_that_die_at_any_time(
    offices: dict[str, Office], start: str, moves: list[tuple[str, int, bool]]
) -> None:
    office = offices[start]
    office.again()
    running: dict[str, Worker] = {}
    for name, count, dies in moves:
        if name not in running or running[name].done:
            running[name] = office.worker(ACTS[name])
        running[name].run(count, kill=dies)
    assert not ended(office, *running.values())
