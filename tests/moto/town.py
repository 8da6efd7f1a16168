"""Who is erased, who is not, and what people and machines do, each of whose calls of AWS can fail.

`everywhere` lets acts fail at each place that `tests.moto.failing` lists, and sees to what must
hold meanwhile and in the end.
"""

import json
import os
from collections.abc import Callable, Iterable
from copy import deepcopy
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from moto.dynamodb.models import dynamodb_backends

from candor import credentials, erasure, holds
from candor.ports import Conflict, Row, Table, Unavailable
from candor.stores.dynamo import unpack
from tests.emulators import REGION
from tests.moto.conftest import Cloud, Json
from tests.moto.failing import Failing
from tests.moto.test_erasure import ASKED
from tests.moto.test_journey import CANARY, MAIL, visit
from tests.worlds import order

ANN = {"type": "email", "value": MAIL}
TRIES = 5
"""Of a task of the state machine: once, and four times again."""
GIVES_UP = 2
"""Tries of a task whose call is never answered; more would show nothing more."""
HOUR, DAY = 3600, 86_400
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
Then = Literal["asked again", "given up", "never answered"]
Ways = Callable[[str, int, str], list[Then]]
"""What follows where an act fails at the place of this number and name."""
TASKS = ("plan", "graph", "events", "queues", "destinations", "verify", "certify")
ALL = ("cancel", "refuse", "fail", *TASKS)
"""The acts of which every call fails in every run; of the others it is each fourth, but for the
long run, which has all calls in all ways."""


class Failed(Exception):
    """An act that was not done."""


class Town:
    """The deployed functions, with Ann and with Bob. Executions are noted, and run task by task."""

    def __init__(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cloud = cloud
        visit(cloud)
        body = {"batch": [order("bob", userId="bob", anonymousId="bob-device")]}
        assert cloud.call("POST", "/batch", body, key=cloud.write_keys["server"]).status == 200
        cloud.pump()
        self._dynamodb = dynamodb_backends["123456789012"][REGION]
        make = cloud.functions["privacy"].module.wiring.identifiers.make
        self.ann = [make("email", MAIL).key, make("user_id", f"{CANARY}-42").key]
        self.ann.append(make("anonymous_id", f"{CANARY}-device").key)
        self.bob = [make("user_id", "bob").key, make("anonymous_id", "bob-device").key]
        self.was = {idkey: self._rows_of(idkey) for idkey in (*self.ann, *self.bob)}
        assert all(self.was.values())
        rows = cloud.functions["privacy"].module.wiring.rows
        another = {"kind": "token", "name": "another", "role": "dpo", "purposes": []}
        cloud.tokens["another"] = credentials.issue(rows, another, cloud.clock())[1]
        self.failing = Failing(monkeypatch)
        self.executions: dict[str, str] = {}
        """How each is, by machine and name."""
        # As generally as the recorder, or botocore would ask for this answer first.
        made = self.failing.client("stepfunctions")
        made.meta.events.register("before-call", self._answer_for_step_functions)
        self.backup, self.restored = deepcopy(self._dynamodb.tables), False
        """Tables, and whether they were put back and nothing was done again since."""
        self.beginning = self.kept()

    def _answer_for_step_functions(self, model: Any, params: Json, **_: Any) -> Any:
        return self.machines(model.name, json.loads(params["body"]))

    def machines(self, operation: str, asked: Json) -> Any:
        """What Step Functions answers."""
        answers = {"StartExecution": self._started, "DescribeExecution": self._described}
        return answers[operation](asked)

    def _started(self, asked: Json) -> Any:
        name = f"{asked['stateMachineArn'].rpartition(':')[2]}:{asked['name']}"
        if name in self.executions:
            return answered(400, {"Error": {"Code": "ExecutionAlreadyExists", "Message": ""}})
        self.executions[name] = "RUNNING"
        return answered(200, {"executionArn": name})

    def _described(self, asked: Json) -> Any:
        name = ":".join(asked["executionArn"].split(":")[-2:])
        if name not in self.executions:
            return answered(400, {"Error": {"Code": "ExecutionDoesNotExist", "Message": ""}})
        return answered(200, {"status": self.executions[name]})

    def kept(self) -> Any:
        tables = deepcopy(self._dynamodb.tables)
        return tables, self.cloud.later, dict(self.executions), self.restored

    def again(self, kept: Any) -> None:
        tables, self.cloud.later, executions, self.restored = kept
        self._dynamodb.tables, self.executions = deepcopy(tables), dict(executions)
        for name in ("privacy", "erase", "sweep"):
            self.cloud.functions[name].restart()

    def found(self, *types: str) -> list[Row]:
        rows = [row for row in self.all("requests") if row["type"] in types]
        return sorted(rows, key=lambda row: row["pk"])

    def one(self, type_: str = "erasure") -> str:
        return str(self.found(type_)[0]["pk"])

    # What somebody does, once

    def does(self, act: str) -> None:
        """Raises Failed."""
        ACTS[act](self)

    def call(self, method: str, path: str, body: Any = None, by: str = "dpo") -> Json:
        """Raises Failed where it is to be asked again."""
        answer = self.cloud.call(method, path, body, key=self.cloud.tokens[by])
        if answer.status == 503:
            raise Failed(path)
        assert answer.status < 300, answer
        told: Json = answer.body
        return told

    def step(self, step: str) -> Json:
        """A task of the erasure machine."""
        name = self._execution(self.one())
        event = {"step": step, "request": self.one(), "execution": name}
        told: Json = self.invoke("erase", event)
        return told

    def invoke(self, function: str, event: Json) -> Any:
        """Raises Failed where the machine, or the schedule, tries again."""
        try:
            return self.cloud.functions[function](event)
        except Unavailable as error:
            raise Failed(function) from error

    def back_up(self) -> None:
        self.backup = deepcopy(self._dynamodb.tables)

    def restore(self) -> None:
        """All tables but that of the requests."""
        now, self.restored = self._dynamodb.tables["candor-requests"], True
        self._dynamodb.tables = deepcopy(self.backup) | {"candor-requests": now}

    def replay(self) -> None:
        """The command."""
        told = {"after": "", "more": True}
        while told["more"]:
            told = self.invoke("sweep", {"replay": told["after"]})
        self.restored = False

    def _execution(self, id_: str) -> str:
        (row,) = [row for row in self.found("erasure") if row["pk"] == id_]
        return f"{id_}-{row['runs']}" if "runs" in row else id_

    # What follows by itself

    def goes_on(self, behind: str) -> None:
        """Until nothing changes any more, with nothing in the way: the machine behind a task that
        was done, and from its beginning where it is begun."""
        if self.restored:
            self.replay()
            behind = "replay"
        if behind == "replay":  # which leaves nothing to the sweep
            return
        tasks = TASKS[TASKS.index(behind) + 1 :] if behind in TASKS else TASKS
        for _ in range(3):
            for name, state in [*self.executions.items()]:
                machine, _, id_ = name.partition(":")
                if state == "RUNNING" and machine.endswith("erasure"):
                    self.executions[name] = self.machine(id_, tasks)
                    tasks = TASKS
            if {row["status"] for row in self.found("erasure")} == {"completed"}:
                return
            before = self.found("erasure", "hold"), dict(self.executions)
            self.cloud.later += 2 * HOUR
            self.invoke("sweep", {})
            if before == (self.found("erasure", "hold"), self.executions):
                return

    def machine(self, name: str, tasks: tuple[str, ...]) -> str:
        """statemachines/erasure.asl.json, with nothing in the way."""
        event = {"request": name.partition("-")[0], "execution": name}
        try:
            for step in tasks:
                self.done(event["request"], step, self.invoke("erase", {"step": step, **event}))
        except Conflict:
            with pytest.raises(erasure.ErasureFailed):
                self.invoke("erase", {"step": "fail", **event})
            return "FAILED"
        return "SUCCEEDED"

    def done(self, _request: str, step: str, told: Json) -> None:
        """What the machine does by what a task told it."""
        assert step != "verify" or told["clean"]

    # What must hold

    def false(self) -> list[str]:
        """What is said, and is not so."""
        completed = any(row["status"] == "completed" for row in self.found("erasure"))
        said = completed and not self.restored
        return [f"completed, and there is {one}" for one in self.left()] if said else []

    def left(self) -> list[str]:
        """What there is of Ann."""
        keys = {row["pk"]: row for row in self.all("keys")}
        found = ["a key" for idkey in self.ann if "salt" in keys[idkey]]
        found += ["no fence" for idkey in self.ann if "mode" not in keys[idkey]]
        told = [*self.all("graph"), *self.all("events")]
        found += [f"{row['sk']}, which names her" for row in told if self._names_ann(row)]
        plain = [row for table in TABLES for row in self.all(table)]
        return found + (["her name"] if CANARY in repr(plain) else [])

    def _names_ann(self, row: Row) -> bool:
        return any(idkey in repr(row) for idkey in self.ann)

    def wrong(self) -> list[str]:
        statuses = {row["status"] for row in self.found("erasure")}
        found = self.false()
        held = any(holds.lasts(row, self.cloud.clock()) for row in self.found("hold"))
        found += ["a hold is lost"] if held and not self._on_a_profile("hold") else []
        if statuses & {"running", "partial"}:
            found.append(f"it stays {statuses}")
        if "completed" in statuses:
            found += ["a held person was erased"] if held else []
        else:
            salts = {row["pk"] for row in self.all("keys") if "salt" in row}
            found += ["a key is lost"] if not salts.issuperset(self.ann) else []
            found += ["rows are lost" for one in self.ann if not self._is_there(one)]
            shown = self.cloud.call("GET", f"/profiles/email:{MAIL}", key=self.cloud.tokens["dpo"])
            hidden = bool(statuses & {"pending", "held"})
            found += [] if shown.status == (404 if hidden else 200) else ["hidden, or not"]
        return found + ["Bob is not whole" for one in self.bob if not self._is_there(one)]

    def _on_a_profile(self, name: str) -> bool:
        return any(name in row for row in self.all("graph") if row["sk"] == "PROFILE")

    def _is_there(self, idkey: str) -> bool:
        return self.was[idkey].items() <= self._rows_of(idkey).items()

    def _rows_of(self, idkey: str) -> dict[str, Row]:
        told = [*self.all("graph"), *self.all("events")]
        rows = [row for row in told if row["pk"].removeprefix("I#") == idkey]
        return {row["sk"]: {n: row[n] for n in row if n not in ("ttl", "due")} for row in rows}

    def all(self, table: Table) -> list[Row]:
        """As it lies in moto, because a scan for each look takes longer than what it looks for."""
        items = self._dynamodb.tables[f"candor-{table}"].all_items()
        return [unpack(item.to_json()["Attributes"]) for item in items]


TABLES: tuple[Table, ...] = ("keys", "graph", "events", "requests", "counts")


def answered(status: int, parsed: Json) -> Any:
    parsed["ResponseMetadata"] = {"HTTPStatusCode": status}
    return SimpleNamespace(status_code=status), parsed


Act = Callable[[Town], object]
ACTS: dict[str, Act] = {
    "ask": lambda town: town.call("POST", "/privacy/requests", ASKED),
    "approve": lambda town: town.call(
        "POST", f"/privacy/requests/{town.one()}/approve", by="another"
    ),
    "cancel": lambda town: town.call("DELETE", f"/privacy/requests/{town.one()}"),
    "refuse": lambda town: town.call(
        "POST", f"/privacy/requests/{town.one()}/refuse", {"ground": "excessive"}
    ),
    "hold": lambda town: town.call(
        "POST", "/holds", {"subject": ANN, "reason": "a court", "until": "2099-01-01T00:00:00Z"}
    ),
    "release": lambda town: town.call("DELETE", f"/holds/{town.one('hold')}"),
    "ask for many": lambda town: town.call(
        "POST", "/privacy/bulk", {"subjects": [ANN], "mode": "erase", "verified_by": "a test"}
    ),
    "list": lambda town: town.invoke("sweep", {"step": "list", "bulk": town.one("bulk")}),
    "take up": lambda town: town.invoke("sweep", {"step": "advance", "request": town.one()}),
    "sweep": lambda town: town.invoke("sweep", {}),
    "time passes": lambda town: setattr(town.cloud, "later", town.cloud.later + 8 * DAY),
    "back up": Town.back_up,
    "restore": Town.restore,
    "replay": Town.replay,
    **{task: lambda town, task=task: town.step(task) for task in TASKS},  # type: ignore[misc]
}


def fail(town: Town) -> None:
    """The machine's last task, which fails the execution, or lets it go on."""
    try:
        town.step("fail")
    except erasure.ErasureFailed:
        town.executions = dict.fromkeys(town.executions, "FAILED")


ACTS["fail"] = fail


def everywhere(town: Town, acts: Iterable[str], ways: Ways) -> int:
    """Let each act fail at each of its places; returns how many points that were."""
    points = 0
    for act in acts:
        town.again(kept := town.kept())
        town.failing.heal()
        town.does(act)
        places, following = town.failing.heal(), town.kept()
        for number, place in enumerate(places):
            for then in ways(act, number, place):
                town.again(kept)
                wrong = fails(town, act, number, place, then)
                town.goes_on(act if then == "asked again" else "")
                wrong += town.wrong()
                assert not wrong, f"{act}, {number}: {place}, {then}: {wrong}"
                points += 1
        town.again(following)
    return points


def ways(act: str, number: int, _place: str) -> list[Then]:
    """All of them, in the long run; else mostly the quicker one, for a task."""
    all_: list[Then] = ["asked again", "given up"]
    if act in TASKS:
        all_ = ["asked again", "never answered"]
    if LONG:
        return all_
    if act not in ALL and number // 2 % 4 != len(act) % 4:
        return []
    return all_[1:] if number // 2 % (6 if act in TASKS else 2) == 1 else all_[:1]


def both_ways(_act: str, number: int, place: str) -> list[Then]:
    """Where a call only reads, which is the same before and after it, each of them once."""
    all_: list[Then] = ["asked again", "given up"]
    reads = place.partition(".")[2].startswith(("BatchGet", "Get", "List", "Query", "Scan"))
    return [all_[number % 2]] if reads and not LONG else all_


def fails(town: Town, act: str, number: int, place: str, then: Then) -> list[str]:
    """Returns what was false meanwhile; nothing is in the way any more."""
    if then == "never answered":
        town.failing.down = place
    else:
        town.failing.fail(place.rpartition(":")[2], number)  # type: ignore[arg-type]
    tries = {"asked again": TRIES, "given up": 1, "never answered": GIVES_UP}[then]
    wrong: list[str] = []
    for _ in range(tries):
        try:
            town.does(act)
        except Failed:
            wrong += town.false()
            continue
        town.failing.heal()
        return wrong + town.false()
    assert then != "asked again", "it fails for ever"
    town.failing.heal()
    if act in TASKS:
        town.does("fail")
    elif act == "fail":
        town.executions = dict.fromkeys(town.executions, "FAILED")
    return wrong + town.false()
