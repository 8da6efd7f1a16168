"""What `candor dlq` makes of failed messages: it takes none away, shows no content, loses none."""

import json
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from cli import dlq, status
from cli.aws import Clients
from cli.main import main
from cli.problem import Problem
from cli.screen import Progress
from tests.moto.conftest import Cloud, Json, sqs_record
from tests.moto.test_journey import CANARY
from tests.recorder import Recorder

SILENT = Progress("", None)


@pytest.fixture
def outputs(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The stack's, as `make up` writes them; the commands are about this stack."""
    outputs = {**cloud.outputs, "UnifyFunction": "candor-unify"}
    stack = {"endpoint_url": None, "api_url": "", "outputs": outputs}
    monkeypatch.setattr(dlq, "load_stack", lambda *_: stack)
    return outputs


def waiting(url: str) -> list[str]:
    """The bodies in a queue, which wait on."""
    sqs = boto3.client("sqs")
    found: dict[str, str] = {}
    while True:
        taken = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        fresh = {one["MessageId"]: one["Body"] for one in taken.get("Messages", [])}
        if fresh.keys() <= found.keys():
            return sorted(found.values())
        found |= fresh


def test_list_says_why_and_takes_nothing(
    cloud: Cloud, outputs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    event = {"type": "track", "event": "Order Completed", "userId": CANARY}
    cloud.call("POST", "/batch", {"batch": [event]}, key=cloud.write_keys["server"])
    (body,) = waiting(outputs["EventsQueueUrl"])
    damaged = body[:-8] + "AAAAAAAA"
    sent = boto3.client("sqs").send_message(QueueUrl=outputs["EventsDlqUrl"], MessageBody=damaged)
    id_ = sent["MessageId"]
    cloud.functions["unify"]({"Records": [sqs_record(damaged, id_)]})
    _log(cloud.said.getvalue())

    for look in (1, 2):
        capsys.readouterr()
        assert main(["dlq", "list", "--json"]) == 0
        text = capsys.readouterr().out
        told = {one["queue"]: one for one in json.loads(text)["queues"]}
        assert sorted(told) == ["archive", "audit", "drop", "events"]
        assert not told["archive"]["redrivable"]
        (message,) = told["events"]["messages"]
        assert told["events"]["waiting"] == 1
        assert (message["id"], message["bytes"]) == (id_, len(body))
        assert message["received"] >= look
        assert message["because"].startswith("Damaged at sealing.py:")
        assert body[:40] not in text

    assert main(["dlq", "list"]) == 0
    assert "Damaged at" in " ".join(capsys.readouterr().out.split())


def _log(said: str) -> None:
    """What the function said, where Lambda puts it."""
    logs, group = boto3.client("logs"), "/aws/lambda/candor-unify"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    now = time.time_ns() // 1_000_000
    events = [{"timestamp": now, "message": line} for line in said.splitlines() if line]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)  # type: ignore[arg-type]


def failing(recorder: Recorder) -> Clients:
    clients = Clients(None)

    def called(phase: str) -> Callable[..., None]:
        return lambda model, **_: recorder.tap(f"{model.name}:{phase}")

    for phase in ("before", "after"):
        clients.sqs.meta.events.register(f"{phase}-call.sqs", called(phase))
    return clients


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, lambda call: EndpointConnectionError(endpoint_url=call)]
)
def test_a_redrive_that_breaks_off_anywhere_loses_nothing(
    cloud: Cloud, error: Callable[[str], BaseException]
) -> None:
    recorder, sqs = Recorder(), boto3.client("sqs")
    clients = failing(recorder)

    def made(name: str) -> dlq.DeadLetters:
        """Three messages in a queue of this name, and none in that they go back to."""
        urls = [sqs.create_queue(QueueName=f"{part}-{name}")["QueueUrl"] for part in ("d", "s")]
        for body in "abc":
            sqs.send_message(QueueUrl=urls[0], MessageBody=body)
        return dlq.DeadLetters("events", *urls)

    assert dlq.by_hand(clients, made("whole"), 3, SILENT) == 3
    places = recorder.places
    assert len(places) == 2 * (1 + 3 + 3), "received together; each sent and deleted"

    for number, place in enumerate(places):
        queue = made(str(number))
        recorder.fail(number, error)
        with pytest.raises((KeyboardInterrupt, EndpointConnectionError)):
            dlq.by_hand(clients, queue, 3, SILENT)
        if place == "ReceiveMessage:after":  # they are hidden for a minute
            assert status.depth(clients, queue.url) == 3
        else:
            assert {*waiting(queue.url), *waiting(str(queue.source))} == {*"abc"}, place


def test_audit_entries_go_back_in_order_and_are_no_duplicates_of_themselves(
    cloud: Cloud, outputs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    sqs = boto3.client("sqs")
    for number in range(4):
        # The queue has had it too, within the time in which SQS drops what it has had.
        for name in ("AuditDlqUrl", "AuditQueueUrl"):
            sqs.send_message(
                QueueUrl=outputs[name],
                MessageBody=str(number),
                MessageGroupId="log",
                MessageDeduplicationId=f"once-{number}",
            )
    sqs.purge_queue(QueueUrl=outputs["AuditQueueUrl"])

    assert main(["dlq", "redrive", "audit", "--limit", "9", "--wait", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["moved"] == 4

    taken = sqs.receive_message(QueueUrl=outputs["AuditQueueUrl"], MaxNumberOfMessages=10)
    assert [one["Body"] for one in taken["Messages"]] == ["0", "1", "2", "3"]


def test_what_failed_meanwhile_is_not_said_to_have_come_back(
    cloud: Cloud,
    outputs: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sqs = boto3.client("sqs")
    sqs.send_message(QueueUrl=outputs["EventsDlqUrl"], MessageBody="moved")

    def meanwhile(*_: Any) -> int:
        for number in range(3):
            sqs.send_message(QueueUrl=outputs["EventsDlqUrl"], MessageBody=f"other {number}")
        return 0

    monkeypatch.setattr(dlq, "settled", meanwhile)
    assert main(["dlq", "redrive", "--limit", "9"]) == 1
    said = " ".join(capsys.readouterr().err.split())

    assert "1 moved back to events" in said
    assert "3 failed since then: what came back, or others that failed meanwhile" in said


def test_what_came_from_no_queue_has_none_to_go_back_to(
    outputs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dlq", "redrive", "archive"]) == 1
    assert "did not come from a queue" in capsys.readouterr().err
    assert main(["dlq", "redrive", "nothing"]) == 1
    assert "archive, audit, drop, events" in capsys.readouterr().err


# Neither moto nor MiniStack has message move tasks. These are checked against botocore's model.

ARNS = {name: f"arn:aws:sqs:us-east-1:123456789012:{name}" for name in ("dead", "alive")}


@pytest.fixture
def tasks() -> Any:
    clients = Clients(None)
    with Stubber(clients.sqs) as stubber:
        for name, arn in ARNS.items():
            answer = {"Attributes": {"QueueArn": arn}}
            asked = {"QueueUrl": name, "AttributeNames": ["QueueArn"]}
            stubber.add_response("get_queue_attributes", answer, asked)
        asked = {"SourceArn": ARNS["dead"], "DestinationArn": ARNS["alive"]}
        stubber.add_response("start_message_move_task", {"TaskHandle": "h"}, asked)
        yield clients, stubber


def at(status: str, moved: int, **more: Any) -> tuple[str, Json, Json]:
    result = {"Status": status, "ApproximateNumberOfMessagesMoved": moved, **more}
    asked = {"SourceArn": ARNS["dead"], "MaxResults": 1}
    return "list_message_move_tasks", {"Results": [result]}, asked


DEAD = dlq.DeadLetters("events", "dead", "alive")


def test_a_task_of_sqs_is_watched_to_its_end(tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clients, stubber = tasks
    monkeypatch.setattr(dlq, "POLL_SECONDS", 0)
    stubber.add_response(*at("RUNNING", 3))
    stubber.add_response(*at("COMPLETED", 7))

    assert dlq.by_task(clients, DEAD, SILENT) == 7
    stubber.assert_no_pending_responses()


def test_a_task_that_fails_is_a_problem(tasks: Any) -> None:
    clients, stubber = tasks
    stubber.add_response(*at("FAILED", 2, FailureReason="CouldNotDetermineMessageSource"))

    with pytest.raises(Problem, match="FAILED, with 2 messages moved: CouldNot"):
        dlq.by_task(clients, DEAD, SILENT)


def test_a_task_that_is_broken_off_is_cancelled(
    tasks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients, stubber = tasks
    stubber.add_response(*at("RUNNING", 3))
    stubber.add_response("cancel_message_move_task", {}, {"TaskHandle": "h"})

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        dlq.by_task(clients, DEAD, SILENT)
    stubber.assert_no_pending_responses()
