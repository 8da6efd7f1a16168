"""An erasure as the API starts it and the real state machine runs it."""

import base64
import hashlib
import json
from collections import Counter
from typing import Any

import boto3
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from candor import erasure
from candor.ports import Conflict, Unavailable
from candor.requests import Erasure
from candor.stores.stepfunctions import StepFunctionsWorkflow
from tests.moto.conftest import Answer, Cloud, Refuse
from tests.moto.test_journey import CANARY, MAIL, visit

Json = dict[str, Any]
ASKED: Json = {
    "type": "erasure",
    "subject": {"type": "email", "value": MAIL},
    "verified_by": f"staff: {CANARY} at the desk",
}


def ask(cloud: Cloud, **more: Any) -> Answer:
    return cloud.call("POST", "/privacy/requests", ASKED | more, key=cloud.tokens["dpo"])


def shown(cloud: Cloud, id_: str) -> Json:
    answer = cloud.call("GET", f"/privacy/requests/{id_}", key=cloud.tokens["dpo"])
    assert answer.status == 200
    body: Json = answer.body
    return body


def verify(signed: Json) -> None:
    """With the public key only, as anyone could."""
    der = boto3.client("kms").get_public_key(KeyId=signed["key_id"])["PublicKey"]
    key = load_der_public_key(der)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    digest = hashlib.sha256(signed["document"].encode()).digest()
    key.verify(base64.b64decode(signed["signature"]), digest, ec.ECDSA(hashes.SHA256()))


def test_an_erasure_ends_with_a_certificate_that_anyone_can_check(cloud: Cloud) -> None:
    visit(cloud)

    asked = ask(cloud)
    assert asked.status == 202
    assert cloud.call("GET", f"/profiles/email:{MAIL}", key=cloud.tokens["dpo"]).status == 404

    assert cloud.settled(asked.body["id"]) == "SUCCEEDED"
    done = shown(cloud, asked.body["id"])
    assert done["status"] == "completed"
    known = dict.fromkeys(("keys", "graph", "events", "queues"), 0)
    assert {one["store"]: one["left"] for one in done["receipts"]} == known | {"archive": None}
    assert {one["store"] for one in done["receipts"] if one["found"]} == {"keys", "graph", "events"}
    verify(done["certificate"])
    forged = done["certificate"] | {"document": done["certificate"]["document"] + " "}
    with pytest.raises(InvalidSignature):
        verify(forged)
    assert json.loads(done["certificate"]["document"])["identifiers"] == 3
    assert CANARY not in json.dumps(done)
    assert CANARY not in cloud.held()
    assert CANARY not in cloud.said.getvalue()


def test_nothing_is_left_of_the_person_but_fences(cloud: Cloud) -> None:
    visit(cloud)
    cloud.settled(ask(cloud).body["id"])

    dynamodb = boto3.client("dynamodb")
    assert dynamodb.scan(TableName="candor-graph")["Items"] == []
    assert dynamodb.scan(TableName="candor-events")["Items"] == []
    keys = dynamodb.scan(TableName="candor-keys")["Items"]
    fences = [item for item in keys if not item["pk"]["S"].startswith("T#")]
    assert len(fences) == 3
    assert all("mode" in item and "salt" not in item for item in fences)


def test_what_comes_after_it_is_dropped(cloud: Cloud) -> None:
    visit(cloud)
    cloud.settled(ask(cloud).body["id"])
    visit(cloud)
    assert '"reason":"fenced"' in cloud.said.getvalue()
    assert boto3.client("dynamodb").scan(TableName="candor-events")["Count"] == 0


def test_the_execution_knows_a_request_and_no_person(cloud: Cloud) -> None:
    visit(cloud)
    id_ = ask(cloud).body["id"]
    cloud.settled(id_)
    states = boto3.client("stepfunctions")
    machine = cloud.functions["privacy"].variables["ERASURE_MACHINE_ARN"]
    (execution,) = states.list_executions(stateMachineArn=machine)["executions"]
    history = states.get_execution_history(executionArn=execution["executionArn"], maxResults=1000)
    graph = cloud.functions["privacy"].module.wiring.identifiers
    told = json.dumps(history["events"], default=str)
    assert id_ in told
    assert CANARY not in told
    assert graph.make("email", MAIL).key not in told


def test_a_dry_run_counts_and_changes_nothing(cloud: Cloud) -> None:
    visit(cloud)
    before = boto3.client("dynamodb").scan(TableName="candor-keys")["Items"]
    answer = ask(cloud, dry_run=True)
    assert answer.status == 200
    assert all(one["found"] for one in answer.body["receipts"] if one["store"] != "archive")
    assert boto3.client("dynamodb").scan(TableName="candor-keys")["Items"] == before
    assert boto3.client("dynamodb").scan(TableName="candor-requests")["Count"] == 0


def failing(
    monkeypatch: pytest.MonkeyPatch, step: str, store: str = "", times: int = 999
) -> Counter[str]:
    """Make a step fail so many times; it leaves everything as it was."""
    tried: Counter[str] = Counter()
    real = getattr(erasure, step)

    def attempt(work: Erasure, *rest: Any) -> Any:
        if store and rest[0] != store:
            return real(work, *rest)
        tried[step] += 1
        if tried[step] > times:
            return real(work, *rest)
        raise Unavailable(f"{CANARY} is in the way")

    monkeypatch.setattr(erasure, step, attempt)
    return tried


@pytest.mark.parametrize("store", ["graph", "events", "queues"])
def test_a_store_that_always_fails_makes_the_request_partial(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    visit(cloud)
    tried = failing(monkeypatch, "erase", store)
    id_ = ask(cloud).body["id"]
    assert cloud.settled(id_) == "FAILED"

    left = shown(cloud, id_)
    assert left["status"] == "partial"
    assert left["certificate"] is None
    told = {one["store"]: one for one in left["receipts"]}
    kept = {
        name for name in ("graph", "events", "queues") if told[name]["because"] == "not done yet"
    }
    assert kept == {store}, "the other stores went on"
    assert told[store]["left"] != 0
    assert tried["erase"] == 5 * erasure.ROUNDS  # once and four times again, in every round


@pytest.mark.parametrize("step", ["verify", "certify"])
def test_no_step_that_always_fails_leaves_the_request_completed(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    visit(cloud)
    tried = failing(monkeypatch, step)
    id_ = ask(cloud).body["id"]
    assert cloud.settled(id_) == "FAILED"
    assert shown(cloud, id_)["status"] == "partial"
    assert shown(cloud, id_)["certificate"] is None
    assert tried[step] == 5


@pytest.mark.parametrize("times", [2, 5, 12])
def test_a_step_that_fails_for_a_while_is_tried_until_all_is_done(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    visit(cloud)
    tried = failing(monkeypatch, "erase", "events", times)
    id_ = ask(cloud).body["id"]
    assert cloud.settled(id_) == "SUCCEEDED"
    done = shown(cloud, id_)
    assert done["status"] == "completed"
    assert tried["erase"] > times
    rounds = times // 5 + 1  # each round tries five times
    (row,) = boto3.client("dynamodb").scan(TableName="candor-requests")["Items"]
    assert int(row["attempts"]["N"]) == rounds
    verify(done["certificate"])


def test_a_partial_request_that_is_asked_for_again_goes_on(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit(cloud)
    with monkeypatch.context() as broken:
        failing(broken, "erase", "events")
        id_ = ask(cloud).body["id"]
        assert cloud.settled(id_) == "FAILED"
    again = ask(cloud).body
    assert again["id"] == id_
    assert cloud.settled(id_, "-1") == "SUCCEEDED"
    assert shown(cloud, id_)["status"] == "completed"


@pytest.mark.parametrize("step", ["erase", "verify", "certify"])
def test_an_execution_that_is_redriven_goes_on_to_its_end(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """As Step Functions does it, which no emulator does: from the state that failed, with its
    input, under the same name."""
    visit(cloud)
    with monkeypatch.context() as broken:
        failing(broken, step, "events" if step == "erase" else "")
        id_ = ask(cloud).body["id"]
        assert cloud.settled(id_) == "FAILED"
        states = boto3.client("stepfunctions")
        machine = cloud.functions["privacy"].variables["ERASURE_MACHINE_ARN"]
        definition = json.loads(
            states.describe_state_machine(stateMachineArn=machine)["definition"]
        )
        made = states.create_state_machine(
            name="redriven",
            definition=json.dumps(definition | {"StartAt": "Report failure"}),
            roleArn="arn:aws:iam::123456789012:role/states",
        )["stateMachineArn"]

    def redrive(name: str) -> None:
        states.start_execution(stateMachineArn=made, name=name, input=json.dumps({"request": id_}))

    redrive(f"{id_}-7")
    assert cloud.settled(id_, "-7", made) == "FAILED", "of another run than the request's"
    assert shown(cloud, id_)["status"] == "partial"
    redrive(id_)
    assert cloud.settled(id_, machine=made) == "SUCCEEDED"
    assert shown(cloud, id_)["status"] == "completed"


def test_no_certificate_is_made_without_a_clean_verification(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit(cloud)
    monkeypatch.setattr(StepFunctionsWorkflow, "start", lambda *_: None)
    id_ = ask(cloud).body["id"]
    step = cloud.functions["erase"]
    for before in ([], ["verify"]):  # which finds what is not deleted yet
        for name in before:
            assert step({"step": name, "request": id_})["clean"] is False
        with pytest.raises(Conflict):
            step({"step": "certify", "request": id_})
        assert shown(cloud, id_)["status"] == "running"


def test_no_certificate_is_made_without_a_signature(cloud: Cloud, refuse: Refuse) -> None:
    visit(cloud)
    refuse("kms", "Sign", 400, "AccessDeniedException")
    id_ = ask(cloud).body["id"]
    assert cloud.settled(id_) == "FAILED"
    assert shown(cloud, id_)["status"] == "partial"
    assert shown(cloud, id_)["certificate"] is None


def test_an_erasure_whose_machine_never_started_is_taken_up_by_sweep(
    cloud: Cloud, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit(cloud)
    with monkeypatch.context() as broken:
        broken.setattr(StepFunctionsWorkflow, "start", _unavailable)
        assert ask(cloud).status == 503
    (row,) = boto3.client("dynamodb").scan(TableName="candor-requests")["Items"]
    assert row["status"]["S"] == "running"
    assert cloud.call("GET", f"/profiles/email:{MAIL}", key=cloud.tokens["dpo"]).status == 404

    assert cloud.functions["sweep"]({})["requests"] == 0, "too early"
    cloud.later += 2 * 3600
    assert cloud.functions["sweep"]({})["requests"] == 1
    assert cloud.settled(row["pk"]["S"]) == "SUCCEEDED"
    assert shown(cloud, row["pk"]["S"])["status"] == "completed"


def _unavailable(*_: Any) -> None:
    raise Unavailable("StartExecution")
