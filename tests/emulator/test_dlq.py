"""What failed for good and is redriven meets the fence: it brings nobody back."""

import json
import time
from typing import Any

import pytest

from candor.ports import Table
from candor.sealing import Vault
from candor.stores.dynamo import DynamoRows
from candor.transit import LIFE_SECONDS, Transit
from cli import dlq
from cli.api import Answered, Api
from cli.main import main
from cli.privacy import ENDED
from cli.tail import outcome
from tests.emulator.conftest import await_true, paused
from tests.emulator.installation import Installation

Json = dict[str, Any]
ANN, BOB = "dlq-ann", "dlq-bob"


@pytest.fixture
def ours(stack: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands are about this test's stack."""
    monkeypatch.setattr(dlq, "load_stack", lambda *_: stack)


def candor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Json]:
    """A command's exit code and answer."""
    capsys.readouterr()
    code = main([*words, "--json"])
    answer: Json = json.loads(capsys.readouterr().out)
    return code, answer


def buy(api: Api, user: str, order: str) -> None:
    properties = {"order_id": order, "total": 9}
    event = {"type": "track", "event": "Order Completed", "properties": properties}
    sent = {**event, "userId": user, "messageId": f"{order}-message"}
    api.collect("server", "/batch", {"batch": [sent]})


def fail_for_good(installation: Installation, count: int) -> None:
    """Take what waits in the events queue too often, until SQS itself moves it away."""
    sqs, url = installation.client("sqs"), installation.outputs["EventsQueueUrl"]

    def moved() -> bool:
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return installation.depth("EventsDlq") == count

    await_true("SQS has given the messages up", moved)


def put_one_that_outlived_its_key(installation: Installation) -> None:
    """As collect sealed it when its hour was, and the hour's key has ended since."""
    names: dict[Table, str] = {"keys": installation.outputs["KeysTable"]}
    vault = Vault({version: text.decode() for version, text in installation.masters.items()})
    rows = DynamoRows(installation.client("dynamodb"), names)
    transit = Transit(rows, vault, lambda: time.time() - LIFE_SECONDS - 3600)
    body = transit.seal({"v": 1, "source": {}, "events": []})
    url = installation.outputs["EventsDlqUrl"]
    installation.client("sqs").send_message(QueueUrl=url, MessageBody=body)


def dropped(installation: Installation, reason: str) -> int:
    group = f"/aws/lambda/{installation.outputs['UnifyFunction']}"
    lines = [outcome(line) or {} for line in installation.log(group)]
    return sum(line.get("reason") == reason for line in lines)


def orders(api: Api, user: str) -> list[str]:
    try:
        found = api.staff("dpo", "GET", f"/profiles/user_id:{user}/events", purpose="service")
    except Answered as refused:
        if refused.status != 404:
            raise
        return []
    return [event["properties"]["order_id"] for event in found["data"]]


def erase(api: Api, user: str) -> Json:
    subject = {"type": "user_id", "value": user}
    body = {"type": "erasure", "subject": subject, "mode": "erase", "verified_by": "a test"}
    id_ = api.staff("dpo", "POST", "/privacy/requests", body)["id"]

    def ended() -> Json | None:
        found = api.staff("dpo", "GET", f"/privacy/requests/{id_}")
        return found if found["status"] in ENDED else None

    found: Json = await_true("the erasure has ended", ended, 180)
    return found


def test_who_was_erased_while_a_message_lay_in_the_dlq_stays_erased(
    api: Api, installation: Installation, ours: None, capsys: pytest.CaptureFixture[str]
) -> None:
    buy(api, ANN, "ann-before")
    await_true("Ann is known", lambda: orders(api, ANN) == ["ann-before"])
    with paused(installation, "EventsQueue"):
        buy(api, ANN, "ann-late")
        buy(api, BOB, "bob-late")
        fail_for_good(installation, 2)
    put_one_that_outlived_its_key(installation)
    assert erase(api, ANN)["status"] == "completed"
    fenced, sealed = dropped(installation, "fenced"), dropped(installation, "key_destroyed")

    _, told = candor(capsys, "dlq", "list")
    (events,) = (one for one in told["queues"] if one["queue"] == "events")
    assert (events["waiting"], len(events["messages"])) == (3, 3)
    assert min(one["received"] for one in events["messages"]) == 1, "the one put there by itself"
    assert max(one["received"] for one in events["messages"]) >= 9, "eight times, and this look"
    assert ANN not in json.dumps(told)

    _, forecast = candor(capsys, "dlq", "redrive", "--dry-run")
    assert (forecast["would_move"], installation.depth("EventsDlq")) == (3, 3)

    code, moved = candor(capsys, "dlq", "redrive", "--limit", "2", "--wait", "0")
    assert (code, moved["moved"], installation.depth("EventsDlq")) == (0, 2, 1)

    code, moved = candor(capsys, "dlq", "redrive", "--wait", "120")
    assert (code, moved["moved"], moved["failed_since"], moved["waiting"]) == (0, 1, 0, 0)
    await_true("Bob's event is stored", lambda: orders(api, BOB) == ["bob-late"])
    await_true("Ann's was dropped", lambda: dropped(installation, "fenced") == fenced + 1)
    await_true("the old one, too", lambda: dropped(installation, "key_destroyed") == sealed + 1)
    assert orders(api, ANN) == []
    assert installation.depth("EventsDlq") == 0
