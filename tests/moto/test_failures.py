"""What handlers do when something fails: say so in JSON, log no personal data, lose nothing."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from candor import audit, collection, consents, credentials, profiles, requests
from tests.moto.conftest import Answer, Cloud, Refuse, sqs_record
from tests.moto.test_erasure import ASKED
from tests.moto.test_journey import CANARY, VISIT, visit

Json = dict[str, Any]


def get_profile(cloud: Cloud) -> Answer:
    return cloud.call("GET", f"/profiles/user_id:{CANARY}-42", key=cloud.tokens["dpo"])


def query_profile(cloud: Cloud) -> Answer:
    body = {"identifier": {"type": "user_id", "value": f"{CANARY}-42"}}
    return cloud.call("POST", "/profiles/query", body, key=cloud.tokens["dpo"])


def send_batch(cloud: Cloud) -> Answer:
    return cloud.call("POST", "/batch", VISIT, key=cloud.write_keys["client"])


def send_choice(cloud: Cloud) -> Answer:
    choice = {"userId": f"{CANARY}-42", "purposes": {"marketing": False}}
    return cloud.call("POST", "/consents", choice, key=cloud.write_keys["server"])


def ask_erasure(cloud: Cloud) -> Answer:
    return cloud.call("POST", "/privacy/requests", ASKED, key=cloud.tokens["dpo"])


def list_keys(cloud: Cloud) -> Answer:
    return cloud.call("GET", "/keys", key=cloud.tokens["admin"])


@pytest.mark.parametrize(
    ("request_", "module", "function"),
    [
        (send_batch, collection, "collect"),
        (send_batch, collection, "parse"),
        (get_profile, profiles, "view"),
        (query_profile, audit, "tell"),
        (send_choice, consents, "choose"),
        (ask_erasure, requests, "open_erasure"),
        (list_keys, credentials, "listing"),
    ],
)
def test_what_nobody_expected_is_a_500_that_tells_nothing(
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    request_: Callable[[Cloud], Answer],
    module: Any,
    function: str,
) -> None:
    def defect(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"{CANARY} could not be parsed")

    monkeypatch.setattr(module, function, defect)
    answer = request_(cloud)

    assert answer.status == 500
    assert answer.body["success"] is False
    assert answer.body["code"] == "internal"
    assert CANARY not in json.dumps(answer.body)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    said = cloud.said.getvalue()
    assert '"error":"RuntimeError"' in said
    assert CANARY not in said


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "AccessDeniedException"), (503, "ServiceUnavailable"), (400, "ThrottlingException")],
)
def test_collect_takes_nothing_and_says_come_back_when_its_queue_refuses(
    cloud: Cloud, refuse: Refuse, status: int, code: str
) -> None:
    refuse("sqs", "SendMessage", status, code)
    answer = send_batch(cloud)

    assert answer.status == 503
    assert answer.body["code"] == "unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    queue = cloud.outputs["EventsQueueUrl"]
    waiting = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
    assert waiting["Attributes"]["ApproximateNumberOfMessages"] == "0"
    assert CANARY not in cloud.said.getvalue()


def test_a_read_that_cannot_be_told_to_the_audit_log_is_not_answered(
    cloud: Cloud, refuse: Refuse
) -> None:
    visit(cloud)
    refuse("sqs", "SendMessage", 503, "ServiceUnavailable")
    cloud.functions["api"].restart()
    answer = get_profile(cloud)
    assert answer.status == 503
    assert CANARY not in json.dumps(answer.body)


def test_messages_that_there_is_no_time_for_wait_their_turn_anew(cloud: Cloud) -> None:
    sqs, url = boto3.client("sqs"), cloud.outputs["EventsQueueUrl"]
    bodies = []
    for _ in range(3):
        send_batch(cloud)
        (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        bodies.append(message["Body"])
    records = [sqs_record(body, f"m{n}") for n, body in enumerate(bodies)]
    records[2]["attributes"]["ApproximateReceiveCount"] = "2"

    answer = cloud.functions["unify"].module.handler({"Records": records}, NoTime())

    failed = [one["itemIdentifier"] for one in answer["batchItemFailures"]]
    assert failed == ["m0", "m2"], "the first was begun, and the last has failed before"
    assert '"message":"fault"' not in cloud.said.getvalue(), "slow starts are none"
    (again,) = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert again["Body"] == bodies[1], "under its own key, which ends when certificates say"

    for times, faults in ((4, 0), (5, 1)):
        records[0]["attributes"]["ApproximateReceiveCount"] = str(times)
        cloud.functions["unify"].module.handler({"Records": records[:1]}, NoTime())
        assert cloud.said.getvalue().count('"message":"fault"') == faults


class NoTime:
    """What Lambda tells a function whose time is all but up."""

    def get_remaining_time_in_millis(self) -> int:
        return 1


def test_one_bad_message_takes_none_of_its_neighbours_along(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = []
    for _ in range(3):
        send_batch(cloud)
        url = cloud.outputs["EventsQueueUrl"]
        (message,) = boto3.client("sqs").receive_message(QueueUrl=url)["Messages"]
        bodies.append(message["Body"])
    unify = cloud.functions["unify"]
    real, calls = unify.module.unify, iter(range(9))

    def sometimes(*message: Any, apart: bool) -> Any:
        if next(calls) == 1:
            raise ValueError(f"{CANARY} is odd")
        return real(*message, apart=apart)

    monkeypatch.setattr(unify.module, "unify", sometimes)
    damaged = bodies[0][:-8] + "AAAAAAAA"
    records = [sqs_record(body, f"m{n}") for n, body in enumerate([*bodies, damaged, "rubbish"])]
    answer = unify({"Records": records})

    failed = [one["itemIdentifier"] for one in answer["batchItemFailures"]]
    assert failed == ["m1", "m3", "m4"]
    assert CANARY not in cloud.said.getvalue()
    assert cloud.said.getvalue().count('"Faults":[1.0]') == 3, "an alarm can see them"


def test_a_message_whose_key_was_destroyed_is_dropped_and_counted(cloud: Cloud) -> None:
    send_batch(cloud)
    cloud.later += 5 * 86_400
    cloud.pump()
    assert '"reason":"key_destroyed"' in cloud.said.getvalue()
    assert boto3.client("dynamodb").scan(TableName="candor-graph")["Count"] == 0


def test_a_message_that_meets_a_broken_table_comes_again(cloud: Cloud, refuse: Refuse) -> None:
    send_batch(cloud)
    url = cloud.outputs["EventsQueueUrl"]
    (message,) = boto3.client("sqs").receive_message(QueueUrl=url)["Messages"]
    event = {"Records": [sqs_record(message["Body"])]}
    unify = cloud.functions["unify"]
    refuse("dynamodb", "TransactWriteItems", 400, "AccessDeniedException")
    assert unify(event)["batchItemFailures"] == [{"itemIdentifier": "m"}]
    said = cloud.said.getvalue()
    assert '"error":"StoreError"' in said
    assert CANARY not in said

    refuse("dynamodb", "none", 200, "")
    unify.restart()
    assert unify(event)["batchItemFailures"] == []
