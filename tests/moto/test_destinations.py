"""Destinations as the real state machine tells them, with receivers that know the public key."""

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.moto.conftest import DEADLINE_SECONDS, Cloud
from tests.moto.test_erasure import ask, shown, verify
from tests.moto.test_journey import CANARY, MAIL, visit
from tests.receiver import Receiver

Json = dict[str, Any]
FUNCTIONS = ("privacy", "erase", "sweep")


@pytest.fixture
def receiver(cloud: Cloud) -> Iterator[Receiver]:
    key = cloud.call("GET", "/signing-key").body

    def answer(path: str, body: Json) -> None:
        assert cloud.call("POST", path.removeprefix("/v1"), body).status == 200

    with Receiver(key.encode(), answer) as made:
        told(cloud, made.destinations("mail", "ads"))
        visit(cloud)
        yield made
    assert not [repr(fault) for fault in made.faults]


def told(cloud: Cloud, destinations: str) -> None:
    for name in FUNCTIONS:
        cloud.functions[name].variables["LOCAL_DESTINATIONS"] = destinations
        cloud.functions[name].restart()


def receipt(request: Json, name: str) -> Json:
    (found,) = (one for one in request["receipts"] if one["store"] == f"destination:{name}")
    return dict(found)


def history(cloud: Cloud) -> str:
    states = boto3.client("stepfunctions")
    machine = cloud.functions["privacy"].variables["ERASURE_MACHINE_ARN"]
    found: list[Any] = []
    for execution in states.list_executions(stateMachineArn=machine)["executions"]:
        arn = execution["executionArn"]
        found.append(states.describe_execution(executionArn=arn))
        found.append(states.get_execution_history(executionArn=arn, maxResults=1000)["events"])
    return json.dumps(found, default=str)


def test_an_erasure_completes_when_all_have_confirmed(cloud: Cloud, receiver: Receiver) -> None:
    receiver.says["ads"] = ["unknown_person"]
    id_ = ask(cloud).body["id"]
    assert cloud.settled(id_) == "SUCCEEDED"

    done = shown(cloud, id_)
    assert done["status"] == "completed"
    assert sorted(receiver.names()) == ["ads", "mail"]
    assert receiver.told[0]["identifiers"] == [{"type": "email", "value": MAIL}]
    assert receipt(done, "mail")["deleted"] == 1
    assert receipt(done, "ads")["because"].startswith("it says that it knows nobody")
    verify(done["certificate"])
    confirmed = json.loads(done["certificate"]["document"])["destinations"]
    assert [one["destination"] for one in confirmed] == ["ads", "mail"]
    for places in (history(cloud), cloud.held(), cloud.said.getvalue(), json.dumps(done)):
        assert CANARY not in places
    assert "token" in history(cloud), "the history was read"


def test_one_that_fails_makes_it_partial_and_is_the_only_one_that_is_told_again(
    cloud: Cloud, receiver: Receiver
) -> None:
    receiver.says["ads"] = ["failed", "erased"]
    id_ = ask(cloud).body["id"]
    assert cloud.settled(id_) == "FAILED"
    left = shown(cloud, id_)
    assert left["status"] == "partial"
    assert left["certificate"] is None
    assert receipt(left, "ads")["left"] == 1
    assert receipt(left, "mail")["left"] == 0

    assert cloud.functions["sweep"]({})["requests"] == 1
    assert cloud.settled(id_, "-1") == "SUCCEEDED"
    assert shown(cloud, id_)["status"] == "completed"
    assert sorted(receiver.names()) == ["ads", "ads", "mail"]
    assert receiver.names()[-1] == "ads"


def test_one_that_does_not_take_the_notice_is_asked_again_for_a_while(
    cloud: Cloud, receiver: Receiver
) -> None:
    receiver.says["mail"] = [500, 302, 404, "erased"]
    id_ = ask(cloud).body["id"]
    assert cloud.settled(id_) == "SUCCEEDED"
    assert receiver.refused == ["mail"] * 3
    assert sorted(receiver.names()) == ["ads", "mail"]


def test_one_that_never_takes_it_makes_it_partial_and_says_why(
    cloud: Cloud, receiver: Receiver
) -> None:
    receiver.says["mail"] = [503]
    id_ = ask(cloud).body["id"]
    assert cloud.settled(id_) == "FAILED"
    left = shown(cloud, id_)
    assert left["status"] == "partial"
    assert receipt(left, "mail")["because"] == "it could not be told: it answered 503"
    assert receiver.refused == ["mail"] * 9
    receiver.says["mail"] = ["erased"]
    assert ask(cloud).body["id"] == id_
    assert cloud.settled(id_, "-1") == "SUCCEEDED"


def test_one_that_never_answers_is_waited_for_as_long_as_the_policy_says(
    cloud: Cloud, receiver: Receiver
) -> None:
    given = json.loads(receiver.destinations("mail", "ads"))
    given["mail"]["answer_within_hours"] = 1 / 3600  # no policy may; a test cannot wait for more
    told(cloud, json.dumps(given))
    receiver.says["mail"] = [""]
    id_ = ask(cloud).body["id"]
    assert cloud.settled(id_) == "FAILED"
    left = shown(cloud, id_)
    assert left["status"] == "partial"
    assert receipt(left, "mail")["because"].endswith("and has not answered")
    assert receipt(left, "ads")["left"] == 0
    callback = receiver.told[receiver.names().index("mail")]["callback"].removeprefix("/v1")
    assert cloud.call("POST", callback, {"status": "erased"}).status == 200  # late
    assert cloud.functions["sweep"]({})["requests"] == 1
    assert cloud.settled(id_, "-1") == "SUCCEEDED"
    assert sorted(receiver.names()) == ["ads", "mail"], "nobody was told again"


def test_a_callback_takes_one_answer_of_one_form(cloud: Cloud, receiver: Receiver) -> None:
    receiver.says["mail"] = [""]
    id_ = ask(cloud).body["id"]
    deadline = time.monotonic() + DEADLINE_SECONDS
    while "mail" not in receiver.names():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (mail,) = (one for one in receiver.told if one["destination"] == "mail")
    path = mail["callback"].removeprefix("/v1")
    more = {"status": "erased", "more": 1}
    bodies: list[Any] = [{}, {"status": "done"}, more, [], {"status": None}]
    for body in bodies:
        assert cloud.call("POST", path, body).status == 400
    assert cloud.call("POST", path, {"status": "erased" + " " * 17_000}).status == 400
    for unknown in (f"{path}0", path[:-1], "/privacy/callbacks/x", path.replace(id_, "0" * 28)):
        answer = cloud.call("POST", unknown, {"status": "erased"})
        assert (answer.status, answer.body["code"]) == (404, "not_found")
    assert shown(cloud, id_)["status"] == "running"
    assert cloud.call("POST", path, {"status": "erased"}).status == 200
    assert cloud.settled(id_) == "SUCCEEDED"
    used = cloud.call("POST", path, {"status": "erased"})
    assert (used.status, used.body["code"]) == (404, "not_found")
