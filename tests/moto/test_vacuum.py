"""The vacuum's machine, with the erase function's own steps."""

import gzip
import json
from typing import Any

import boto3
import pytest

from candor import vacuum
from candor.ports import Unavailable
from tests.moto.conftest import VACUUM, Cloud, Refuse
from tests.moto.test_erasure import ask, shown
from tests.moto.test_journey import visit

Json = dict[str, Any]
DAY = 86_400


class Nights:
    """The machine, and the archive that it goes through."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.bucket = cloud.functions["archive"].variables["ARCHIVE_BUCKET"]
        self.arn = VACUUM

    def run(self, name: str) -> str:
        boto3.client("stepfunctions").start_execution(
            stateMachineArn=self.arn, name=name, input="{}"
        )
        return self.cloud.ended(self.arn, name)

    def described(self, name: str) -> Any:
        execution = self.arn.replace(":stateMachine:", ":execution:") + f":{name}"
        return boto3.client("stepfunctions").describe_execution(executionArn=execution)

    def objects(self, prefix: str) -> dict[str, bytes]:
        s3 = boto3.client("s3")
        listed = s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return {
            one["Key"]: s3.get_object(Bucket=self.bucket, Key=one["Key"])["Body"].read()
            for one in listed
        }

    def lines(self) -> int:
        bodies = self.objects("events/").values()
        return sum(len(gzip.decompress(body).splitlines()) for body in bodies)


@pytest.fixture
def nights(cloud: Cloud) -> Nights:
    return Nights(cloud)


def receipt(cloud: Cloud, id_: str) -> Json:
    found: Json
    (found,) = (one for one in shown(cloud, id_)["receipts"] if one["store"] == "archive")
    return found


def erased(cloud: Cloud) -> str:
    visit(cloud)
    id_: str = ask(cloud).body["id"]
    assert cloud.settled(id_) == "SUCCEEDED"
    return id_


def test_a_night_drops_what_an_erasure_left_and_tells_the_request(
    cloud: Cloud, nights: Nights
) -> None:
    id_ = erased(cloud)
    assert nights.lines() == 2
    assert receipt(cloud, id_)["left"] is None

    assert nights.run("first") == "SUCCEEDED"
    assert nights.objects("events/") == nights.objects("manifests/") == {}
    assert (receipt(cloud, id_)["deleted"], receipt(cloud, id_)["left"]) == (2, None)
    counts = json.loads(nights.described("first")["output"])
    assert counts["records_dropped"] == 2
    assert '"records_dropped":2' in cloud.said.getvalue()

    cloud.later += vacuum.LATE
    assert nights.run("second") == "SUCCEEDED"
    assert (receipt(cloud, id_)["deleted"], receipt(cloud, id_)["left"]) == (2, 0)


def test_a_night_without_work_looks_at_nothing(cloud: Cloud, nights: Nights) -> None:
    visit(cloud)
    before = nights.objects("events/") | nights.objects("manifests/")

    assert nights.run("idle") == "SUCCEEDED"

    assert nights.objects("events/") | nights.objects("manifests/") == before
    history = boto3.client("stepfunctions").get_execution_history(
        executionArn=nights.described("idle")["executionArn"], maxResults=1000
    )["events"]
    assert not [event for event in history if event["type"].startswith("Map")]


def test_an_empty_archive_is_no_failure(cloud: Cloud, nights: Nights) -> None:
    assert nights.run("empty") == "SUCCEEDED"


@pytest.mark.parametrize("step", ["begin", "sweep", "end"])
def test_a_step_that_fails_for_a_while_is_tried_again(
    cloud: Cloud, nights: Nights, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    id_ = erased(cloud)
    real, left = getattr(vacuum, step), iter(range(2))

    def attempt(*given: Any) -> Any:
        if next(left, None) is not None:
            raise Unavailable("a test")
        return real(*given)

    monkeypatch.setattr(vacuum, step, attempt)

    assert nights.run("r") == "SUCCEEDED"
    assert receipt(cloud, id_)["deleted"] == 2


def test_a_run_whose_part_fails_tells_nobody_and_the_next_one_does(
    cloud: Cloud, nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = erased(cloud)
    cloud.later += vacuum.LATE
    real = vacuum.sweep

    def attempt(objects: Any, run: str, group: str, *rest: Any) -> Json:
        if group.startswith("transaction/"):
            raise Unavailable("a test")
        return real(objects, run, group, *rest)

    with monkeypatch.context() as broken:
        broken.setattr(vacuum, "sweep", attempt)
        assert nights.run("broken") == "FAILED"
    assert receipt(cloud, id_)["left"] is None

    assert nights.run("next") == "SUCCEEDED"
    assert receipt(cloud, id_)["left"] == 0
    assert nights.lines() == 0


def test_a_run_that_could_not_read_something_fails(cloud: Cloud, nights: Nights) -> None:
    id_ = erased(cloud)
    cloud.later += vacuum.LATE
    (key, *_) = nights.objects("events/")
    boto3.client("s3").put_object(Bucket=nights.bucket, Key=key, Body=b"x")

    assert nights.run("r") == "FAILED"
    assert nights.described("r")["error"] == "VacuumIncomplete"
    assert receipt(cloud, id_)["left"] is None


def test_an_execution_knows_no_person(cloud: Cloud, nights: Nights) -> None:
    erased(cloud)
    nights.run("r")
    history = boto3.client("stepfunctions").get_execution_history(
        executionArn=nights.described("r")["executionArn"], maxResults=1000
    )["events"]
    rows = boto3.client("dynamodb").scan(TableName="candor-requests")["Items"]
    secret = [idkey for row in rows for idkey in row["members"]["M"]]
    secret += [kid["S"] for row in rows for kid in row["members"]["M"].values()]
    told = json.dumps([history, nights.described("r")], default=str)
    assert not [one for one in secret if one in told]


def test_a_function_that_may_not_read_the_archive_says_no_more(
    cloud: Cloud, nights: Nights, refuse: Refuse
) -> None:
    erased(cloud)
    refuse("s3", "ListObjectsV2", 403, "AccessDenied")
    cloud.functions["erase"].restart()
    assert nights.run("r") == "FAILED"
