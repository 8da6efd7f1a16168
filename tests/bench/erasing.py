"""What an erasure costs, how soon its person is unreadable, and how soon that is certified.

Times are of the deployed stack, over HTTP, beside ordinary traffic. Units and dollars are counted
in this process, in tables with few and with many other people, through the steps that an execution
was seen to take.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from statistics import median
from threading import Event
from typing import Any

import urllib3

from candor import holds
from candor.policy import ErasureRule, Policy
from candor.ports import Key
from candor.ports import Rows as KeyedRows
from tests.bench import costs, population
from tests.bench.freshness import A_SECOND, Reader
from tests.bench.meter import Counts, Meter
from tests.bench.population import Rows
from tests.bench.stack import Stack
from tests.bench.traffic import Shape, Traffic
from tests.bench.way import GRANTED, body_of
from tests.functions import Function

Json = dict[str, Any]
TIMED = {10: 3, 1_000: 3, 100_000: 1}
"""People who are erased over HTTP, by how many events they have."""
EVENTS = tuple(TIMED)
FLUSHED = Shape(20, 1)
"""How their events came: an order lies in a bundle of its own."""
BESIDES = 1_000
"""Events of who is held, waits, and comes back with a restored table."""
OTHERS = {1_000: EVENTS, 10_000: EVENTS[:-1]}
"""Others in the store, and for how many events it is counted beside them."""
WARM = "erased-first"
"""Who is erased before the measured ones, because cold starts are told by themselves."""
APART = 4.0
"""Seconds between two of them, so that an emulator's cold starts do not meet."""
PATIENCE = 300.0
PAUSE = 0.25


def measure(stack: Stack, tick: Callable[[str], None]) -> Json:
    """`stack` has its mappings on; they are off when this returns."""
    names = {f"erased-{n}-{events}": events for events in EVENTS for n in range(TIMED[events])}
    tick(f"erasure, {sum(names.values()):,} events of {len(names)} people")
    rows = population.histories(stack, names | {WARM: 1}, FLUSHED)
    timed, states = _timed(stack, names, rows, tick)
    stack.switch(on=False)
    found: Json = {}
    besides: Json = {}
    for others, some in OTHERS.items():
        store = _Store(stack, others, states, tick)
        # Before there are other requests for a replay to go through.
        besides = besides or store.beside(*_one(rows, BESIDES))
        for events in some:
            tick(f"erasure, counting {events:,} events beside {others:,} people")
            found.setdefault(str(others), {})[str(events)] = store.erased(*_one(rows, events))
    return {
        "seconds": timed,
        "states_entered": len(states),
        "erasing_beside_people": found,
        "besides": besides,
    }


def _one(rows: dict[str, Rows], events: int) -> tuple[Json, Rows]:
    """Somebody with so many events: who they are, and what is kept of them."""
    name = f"erased-0-{events}"
    return {"type": "user_id", "value": name}, rows[name]


def _timed(
    stack: Stack, names: dict[str, int], rows: dict[str, Rows], tick: Callable[[str], None]
) -> tuple[Json, list[Json]]:
    """Seconds by how many events there are, and the states that an execution entered."""
    deployed = {
        f"{table.upper()}_TABLE": stack.outputs[f"{table.capitalize()}Table"]
        for table in population.TABLES
    }
    for of_one in rows.values():
        population.write(stack, deployed, of_one)
    staff, found = _Staff(stack), dict[str, tuple[float, float]]()
    with _traffic(stack) as sent, ThreadPoolExecutor(len(names)) as pool:
        tick("erasure, over HTTP")
        staff.certified(staff.erase(WARM)[1])
        began, before = time.monotonic(), len(sent)
        waiting = {}
        for name in names:
            answered, id_ = staff.erase(name)
            waiting[name] = (answered, id_, pool.submit(staff.certified, id_))
            time.sleep(APART)
        for name, (answered, _, certified) in waiting.items():
            found[name] = (answered, certified.result())
        load = (len(sent) - before) / (time.monotonic() - began)
    told: Json = {"requests_a_second": load, "settling": _settling(stack), "by_events": {}}
    for events in EVENTS:
        both = [found[name] for name, count in names.items() if count == events]
        answered_, certified_ = zip(*both, strict=True)
        told["by_events"][str(events)] = {
            "people": len(both),
            "answered": median(answered_),
            "answered_at_most": max(answered_),
            "certified": median(certified_),
            "certified_at_most": max(certified_),
        }
    return told, _entered(stack, next(iter(waiting.values()))[1])


class _Staff:
    """Who asks for erasures, and looks."""

    def __init__(self, stack: Stack) -> None:
        self._http = urllib3.PoolManager(maxsize=2 * sum(TIMED.values()), retries=False)
        self._url = f"{stack.facts['api_url']}/v1"
        self._tokens: dict[str, str] = stack.facts["tokens"]

    def erase(self, person: str) -> tuple[float, str]:
        """Seconds until the request was answered, and its id. Who was read before is read no more
        by whoever looks right after that."""
        began = time.monotonic()
        while self._profile(person) != 200:  # what was written just now keeps the emulator busy
            if time.monotonic() > began + PATIENCE:
                raise TimeoutError("somebody is never there to be erased")
        body = {"type": "erasure", "subject": {"type": "user_id", "value": person}}
        text = json.dumps(body | {"verified_by": "the bench"}).encode()
        began = time.monotonic()
        status, answer = self._call("POST", "/privacy/requests", "dpo", body=text)
        answered = time.monotonic() - began
        looked = self._profile(person)
        if status != 202 or looked == 200:
            raise ValueError(f"an erasure was answered {status}, and a read after it {looked}")
        return answered, str(answer["id"])

    def certified(self, id_: str) -> float:
        """Seconds from now until the request has its certificate."""
        began = time.monotonic()
        while time.monotonic() < began + PATIENCE:
            if self._call("GET", f"/privacy/requests/{id_}", "dpo")[1].get("certificate"):
                return time.monotonic() - began
            time.sleep(PAUSE)
        raise TimeoutError("an erasure is never certified")

    def _profile(self, person: str) -> int:
        return self._call("GET", f"/profiles/user_id:{person}", "analyst")[0]

    def _call(
        self, method: str, path: str, role: str, body: bytes | None = None
    ) -> tuple[int, Json]:
        headers = {
            "Authorization": f"Bearer {self._tokens[role]}",
            "Content-Type": "application/json",
            "X-Purpose": "analytics",
        }
        answer = self._http.request(method, f"{self._url}{path}", body=body, headers=headers)
        return answer.status, json.loads(answer.data)


@contextmanager
def _traffic(stack: Stack) -> Iterator[list[float]]:
    """A shop's server that sends an event, so many times a second. Yields when it was answered."""
    reader, over, sent = Reader(stack), Event(), list[float]()
    traffic = Traffic("server", "", [f"visitor-{n}" for n in range(200)])

    def send() -> None:
        start = time.monotonic()
        while not over.wait(max(0.0, start + len(sent) / A_SECOND - time.monotonic())):
            body = body_of(traffic.request(Shape(1, 1), time.time(), **GRANTED))
            sent.append(reader.send(body))

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        try:
            yield sent
        finally:
            over.set()
        sending.result()


class _Store:
    """Tables with so many other people, and the functions that work on them."""

    def __init__(
        self, stack: Stack, others: int, states: list[Json], tick: Callable[[str], None]
    ) -> None:
        self._stack, self._meter = stack, Meter(stack.client("dynamodb"))
        names = (*population.TABLES, "requests")
        self._tables = population.tables(stack, f"beside-{others}", names)
        people = [f"other-{n:06d}" for n in range(others)]
        population.known(stack, self._tables, people, tick)
        self._privacy, self._waiting = self._function("privacy"), self._function("privacy")
        rule = ErasureRule(waiting_days=7, second_person=True)
        policy = replace(Policy.load(), erasure=rule)
        self._waiting.module.wiring.__dict__["policy"] = policy
        self._erase = self._function("erase")
        self._entered = len(states)
        self._steps = [state["Parameters"]["step"] for state in states if "Parameters" in state]

    def erased(self, subject: Json, rows: Rows) -> Json:
        """What erasing somebody asks for, and costs."""
        self._put(rows)
        asked, done = Counts(), Counts()
        with self._meter.counting(asked):
            answer = self._ask(subject)
        with self._meter.counting(done):
            self._run(json.loads(answer["body"])["id"])
        self._put(rows)  # once more, for the times: counting takes some
        began = time.process_time()
        id_ = json.loads(self._ask(subject)["body"])["id"]
        between = time.process_time()
        self._run(id_)
        ended = time.process_time()
        works = {
            "privacy": costs.Work(1, between - began, asked),
            "erase": costs.Work(len(self._steps), ended - between, done),
        }
        dollars = costs.summed(
            costs.gateway(1, len(answer["body"])),
            *(costs.compute(name, work) for name, work in works.items()),
            {
                "step functions": costs.price("state_transition", self._entered),
                "kms": costs.price("kms_sign", done.calls["kms Sign"]),
            },
        )
        return {
            "rows": sum(table != "KEYS_TABLE" for table, _ in rows),
            **_told(asked, done),
            "billed_ms": {
                name: work.billed_ms(costs.memory_of(name)) * work.invocations
                for name, work in works.items()
            },
            "dollars": {"total": sum(dollars.values()), **dollars},
        }

    def beside(self, subject: Json, rows: Rows) -> Json:
        """What a hold, a waiting request, and an erasure that is done again ask for."""
        self._put(rows)
        found = {}
        until = "2999-01-01T00:00:00Z"
        hold = {"subject": subject, "reason": "the bench", "until": until}
        found["a hold is placed"], answer = self._counted("POST", "/holds", hold)
        id_ = json.loads(answer["body"])["id"]
        found["and its rows are kept by the sweep"] = self._swept(holds.keep, id_)
        found["it is released"], _ = self._counted("DELETE", "/holds/{id}", id_=id_)
        ends = partial(holds.end, now=time.time())
        found["and its rows end again"] = self._swept(ends, id_)
        with self._meter.counting(counts := Counts()):
            id_ = json.loads(self._ask(subject, self._waiting)["body"])["id"]
        found["a request that waits"] = _told(counts)
        path = "/privacy/requests/{id}"
        found["and is taken back"], _ = self._counted("DELETE", path, id_=id_)
        self._run(json.loads(self._ask(subject)["body"])["id"])
        found["a replay, nothing had come back"] = self._replayed(again=0)
        self._put(rows)
        found["a replay, all had come back"] = self._replayed(again=1)
        return found

    def _swept(self, work: Callable[[KeyedRows, Json], None], id_: str) -> Json:
        """What the sweep does for a hold."""
        rows: KeyedRows = self._privacy.module.wiring.rows
        key = Key("requests", id_)
        row = rows.get([key])[key]
        with self._meter.counting(counts := Counts()):
            work(rows, row)
        return _told(counts)

    def _replayed(self, again: int) -> Json:
        with self._meter.counting(counts := Counts()):
            told = self._function("sweep")({"replay": ""})
        # The one that was taken back is gone through, too.
        if (told["requests"], told["again"]) != (2, again):
            raise ValueError(f"a replay did not meet what was to be done again: {told}")
        return _told(counts)

    def _counted(
        self, method: str, resource: str, body: Json | None = None, id_: str = ""
    ) -> tuple[Json, Json]:
        with self._meter.counting(counts := Counts()):
            answer = self._called(self._privacy, method, resource, body, id_)
        return _told(counts), answer

    def _ask(self, subject: Json, privacy: Function | None = None) -> Json:
        body = {"type": "erasure", "subject": subject, "verified_by": "the bench"}
        return self._called(privacy or self._privacy, "POST", "/privacy/requests", body)

    def _called(
        self, privacy: Function, method: str, resource: str, body: Json | None, id_: str = ""
    ) -> Json:
        answer: Json = privacy(
            {
                "httpMethod": method,
                "resource": resource,
                "headers": {"Authorization": f"Bearer {self._stack.facts['tokens']['dpo']}"},
                "pathParameters": {"id": id_},
                "queryStringParameters": None,
                "requestContext": {"resourcePath": resource, "stage": "v1"},
                "body": json.dumps(body) if body else None,
            }
        )
        if answer["statusCode"] >= 400:
            raise ValueError(f"{method} {resource} was answered {answer}")
        return answer

    def _run(self, id_: str) -> None:
        """The machine's steps, one after another."""
        for step in self._steps:
            self._erase({"step": step, "request": id_})

    def _put(self, rows: Rows) -> None:
        population.write(self._stack, self._tables, rows)

    def _function(self, name: str) -> Function:
        """Whose secrets are read already, and which starts no machine."""
        made = self._stack.function(name, **self._tables)
        wiring = made.module.wiring
        wiring.__dict__.update(workflow=_Nothing(), vacuum=_Nothing(), sweeper=_Nothing())
        if name == "privacy":
            assert wiring.vault
            assert wiring.identifiers
            self._called(made, "GET", "/holds", None)
        return made


class _Nothing:
    """`candor.ports.Workflow`, without any."""

    def start(self, name: str, payload: Json) -> None:
        """The bench runs the steps itself."""

    def wake(self) -> None:
        """And what a sweep does."""


def _told(*every: Counts) -> Json:
    return {
        "calls": sum(counts.calls.total() for counts in every),
        "read_units": sum(counts.read_units for counts in every),
        "write_units": sum(counts.write_units for counts in every),
    }


def _settling(stack: Stack) -> int:
    states = _states(stack).values()
    return sum(state["Seconds"] for state in states if state["Type"] == "Wait")


def _states(stack: Stack) -> Json:
    """The erasure machine's states, by name."""
    arn = stack.outputs["ErasureMachineArn"]
    machine = stack.client("stepfunctions").describe_state_machine(stateMachineArn=arn)
    states: Json = json.loads(machine["definition"])["States"]
    return states


def _entered(stack: Stack, id_: str) -> list[Json]:
    """The states that a request's execution entered; MiniStack's history leaves out those of
    branches, in which nothing failed."""
    machine, states = stack.outputs["ErasureMachineArn"], _states(stack)
    arn = f"{machine.replace(':stateMachine:', ':execution:', 1)}:{id_}"
    pages = stack.client("stepfunctions").get_paginator("get_execution_history")
    names = [
        event["stateEnteredEventDetails"]["name"]
        for page in pages.paginate(executionArn=arn)
        for event in page["events"]
        if "stateEnteredEventDetails" in event
    ]
    found = []
    for state in (states[name] for name in names if name in states):
        found += [state, *chain.from_iterable(map(_way, state.get("Branches", ())))]
    return found


def _way(branch: Json) -> Iterator[Json]:
    name = branch["StartAt"]
    while name:
        yield branch["States"][name]
        name = branch["States"][name].get("Next")
