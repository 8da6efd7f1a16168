"""An erasure as the API starts it and the real state machine runs it."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from candor import erasure
from candor.erasure import Erasure
from candor.ports import Unavailable
from tests.moto.conftest import Answer, Cloud, Logs, Refuse
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


def test_an_erasure_ends_with_a_certificate_that_anyone_can_check(cloud: Cloud, logs: Logs) -> None:
    visit(cloud)

    asked = ask(cloud)
    assert asked.status == 202
    assert cloud.call("GET", f"/profiles/email:{MAIL}", key=cloud.tokens["dpo"]).status == 404

    assert cloud.settled(asked.body["id"]) == "SUCCEEDED"
    done = shown(cloud, asked.body["id"])
    assert done["status"] == "completed"
    assert {one["store"]: one["left"] for one in done["receipts"]} == dict.fromkeys(
        ("keys", "graph", "events", "archive", "queues"), 0
    )
    assert {one["store"] for one in done["receipts"] if one["found"]} == {
        *("keys", "graph", "events", "archive")
    }
    verify(done["certificate"])
    forged = done["certificate"] | {"document": done["certificate"]["document"] + " "}
    with pytest.raises(InvalidSignature):
        verify(forged)
    assert json.loads(done["certificate"]["document"])["identifiers"] == 3
    assert CANARY not in json.dumps(done)
    assert CANARY not in cloud.held()
    assert CANARY not in logs()


def test_nothing_is_left_of_the_person_but_fences(cloud: Cloud) -> None:
    visit(cloud)
    cloud.settled(ask(cloud).body["id"])

    dynamodb, s3 = boto3.client("dynamodb"), boto3.client("s3")
    assert dynamodb.scan(TableName="candor-graph")["Items"] == []
    assert dynamodb.scan(TableName="candor-events")["Items"] == []
    keys = dynamodb.scan(TableName="candor-keys")["Items"]
    fences = [item for item in keys if not item["pk"]["S"].startswith("T#")]
    assert len(fences) == 3
    assert all("mode" in item and "salt" not in item for item in fences)
    environ = cloud.functions["archive"].module.wiring._environ
    assert s3.list_objects_v2(Bucket=environ["ARCHIVE_BUCKET"])["KeyCount"] == 0


def test_what_comes_after_it_is_dropped(cloud: Cloud, logs: Logs) -> None:
    visit(cloud)
    cloud.settled(ask(cloud).body["id"])
    visit(cloud)
    assert '"reason":"fenced"' in logs()
    assert boto3.client("dynamodb").scan(TableName="candor-events")["Count"] == 0


def test_the_execution_knows_a_request_and_no_person(cloud: Cloud) -> None:
    visit(cloud)
    id_ = ask(cloud).body["id"]
    cloud.settled(id_)
    states = boto3.client("stepfunctions")
    machine = cloud.functions["privacy"].module.wiring._environ["ERASURE_MACHINE_ARN"]
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
    assert all(one["found"] for one in answer.body["receipts"] if one["store"] != "queues")
    assert boto3.client("dynamodb").scan(TableName="candor-keys")["Items"] == before
    assert boto3.client("dynamodb").scan(TableName="candor-requests")["Count"] == 0


Sabotage = Callable[[Callable[[], Any]], None]


def failing(monkeypatch: pytest.MonkeyPatch, name: str, store: str = "") -> Counter[str]:
    """Make one step of the machine fail, always; counts how often each was tried."""
    tried: Counter[str] = Counter()
    real = getattr(erasure, name)

    def step(work: Erasure, *rest: Any) -> Any:
        tried[store or name] += store in ("", rest[0])
        if store in ("", rest[0]):
            raise Unavailable(f"{CANARY} is in the way")
        return real(work, *rest)

    monkeypatch.setattr(erasure, name, step)
    return tried


@pytest.mark.parametrize("store", ["graph", "events", "archive"])
def test_a_store_that_fails_makes_the_request_partial(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    visit(cloud)
    tried = failing(monkeypatch, "erase", store)
    id_ = ask(cloud).body["id"]
    assert cloud.settled(id_) == "FAILED"

    left = shown(cloud, id_)
    assert left["status"] == "partial"
    assert left["certificate"] is None
    receipts = {one["store"]: one for one in left["receipts"]}
    for name in ("graph", "events", "archive"):
        assert name not in receipts or (receipts[name]["left"] > 0) == (name == store)
    assert tried[store] == 5 * erasure.ROUNDS  # once and four times again, in each round

    monkeypatch.undo()


@pytest.mark.parametrize("step", ["fence", "verify", "certify"])
def test_no_step_that_fails_leaves_the_request_completed(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    visit(cloud)
    asked = ask(cloud) if step != "fence" else None
    tried = failing(monkeypatch, step)
    id_ = asked.body["id"] if asked else ask(cloud).body.get("id")
    if id_ is None:  # the fence is the request's own first step
        (row,) = boto3.client("dynamodb").scan(TableName="candor-requests")["Items"]
        assert row["status"]["S"] == "pending"
        return
    assert cloud.settled(id_) == "FAILED"
    assert shown(cloud, id_)["status"] == "partial"
    assert shown(cloud, id_)["certificate"] is None
    assert tried[step] >= 5
