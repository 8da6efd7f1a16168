"""What is kept of what was done: the audit log and its checkpoints, and the archive."""

import base64
import gzip
import json
from typing import Any

import boto3
import pytest

from candor import audit
from candor.stores.clients import StoreError
from candor.stores.dynamo import DynamoRows
from tests.moto.conftest import TEMPLATE, Cloud, Refuse, sqs_record
from tests.moto.test_erasure import ask, shown, verify
from tests.moto.test_journey import CANARY, read, visit


def log(cloud: Cloud) -> DynamoRows:
    rows: DynamoRows = cloud.functions["audit"].module.wiring.rows
    return rows


def entries(cloud: Cloud) -> list[dict[str, Any]]:
    return [entry for block in log(cloud).query("audit", audit.LOG) for entry in block["entries"]]


def test_every_read_and_every_step_of_an_erasure_is_in_the_log(cloud: Cloud) -> None:
    visit(cloud)
    read(cloud)
    id_ = ask(cloud).body["id"]
    cloud.settled(id_)
    shown(cloud, id_)
    cloud.pump()

    told = [entry["action"] for entry in entries(cloud)]
    assert told[:2] == ["profile.read.all", "privacy.requested"]
    assert told[2:] == ["erasure.plan", "erasure.certify", "privacy.read"]
    assert audit.broken(log(cloud)) is None
    assert all(entry["request"] == id_ for entry in entries(cloud) if "erasure." in entry["action"])
    first = entries(cloud)[0]
    assert first["purpose"] == "privacy_rights"
    seen = [row["sk"] for row in log(cloud).query("audit", f"A#{first['about'][0]}")]
    assert seen, "who saw me"
    assert CANARY not in repr(list(log(cloud).scan("audit")))


def test_an_entry_that_comes_twice_is_written_once(cloud: Cloud) -> None:
    entry = {"id": "e1", "at": 1, "actor": "a", "action": "b", "purpose": None, "about": ["p"]}
    record = sqs_record(json.dumps(entry | {"request": None}))
    for _ in range(2):
        answer = cloud.functions["audit"]({"Records": [record]})
        assert answer == {"batchItemFailures": []}
    assert [one["id"] for one in entries(cloud)] == ["e1"]


def test_a_change_of_the_log_shows(cloud: Cloud) -> None:
    visit(cloud)
    for _ in range(3):
        read(cloud)
        cloud.pump()
    assert audit.broken(log(cloud)) is None
    key = {"pk": {"S": audit.LOG}, "sk": {"S": f"{1:012d}"}}
    change = {":x": {"S": "forged"}}
    boto3.client("dynamodb").update_item(
        TableName="candor-audit",
        Key=key,
        UpdateExpression="SET entries[0].actor = :x",
        ExpressionAttributeValues=change,
    )
    assert audit.broken(log(cloud)) == 1


def test_the_schedule_signs_how_far_the_log_has_come(cloud: Cloud) -> None:
    (event,) = cloud._events("audit")
    told = json.loads(event["Properties"]["Input"])
    assert cloud.functions["audit"](told) == {"checkpoint": None}

    visit(cloud)
    read(cloud)
    cloud.pump()
    name = cloud.functions["audit"](told)["checkpoint"]

    bucket = cloud.functions["audit"].variables["AUDIT_BUCKET"]
    body = boto3.client("s3").get_object(Bucket=bucket, Key=name)["Body"].read()
    signed = json.loads(body)
    verify(signed)
    head = audit.head(log(cloud))
    assert head is not None
    assert json.loads(signed["document"])["hash"] == head["hash"]


def test_the_archive_holds_sealed_bundles_and_who_is_in_them(cloud: Cloud) -> None:
    visit(cloud)
    bucket = cloud.functions["archive"].variables["ARCHIVE_BUCKET"]
    s3 = boto3.client("s3")
    names = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    objects = {name: s3.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}

    events = [name for name in names if name.startswith("events/")]
    assert len(events) == 2  # two classes of retention
    vault = cloud.functions["unify"].module.wiring.vault
    rows = cloud.functions["unify"].module.wiring.rows
    found = []
    for name in events:
        manifest = name.replace("events/", "manifests/", 1).removesuffix(".gz") + ".json"
        held = json.loads(objects[manifest])
        assert sum(held.values()) == 1
        (row,) = map(json.loads, gzip.decompress(objects[name]).splitlines())
        assert CANARY not in json.dumps(row)
        (key,) = (item for item in rows.scan("keys") if item["pk"] == row["pk"])
        place = f"events/{row['pk']}/{row['sk']}"
        found += vault.open(key["salt"], base64.b64decode(row["data"]), place)
    assert {event["name"] for event in found} == {"page", "Order Completed"}
    assert '"objects":2' in cloud.said.getvalue()


def test_the_archive_ends_by_date(cloud: Cloud) -> None:
    visit(cloud)
    bucket = cloud.functions["archive"].variables["ARCHIVE_BUCKET"]
    cloud.later += 92 * 86_400
    assert cloud.functions["sweep"]({})["objects"] == 1, "behaviour lasts 90 days"
    left = boto3.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert len(left) == 2  # the order and its manifest


def test_the_bucket_ends_the_archive_by_age_should_nobody_else(cloud: Cloud) -> None:
    days = cloud.functions["sweep"].module.wiring.policy.retention
    bucket, s3 = cloud.functions["archive"].variables["ARCHIVE_BUCKET"], boto3.client("s3")
    theirs: Any = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "holds/x"}}
    theirs |= {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [theirs]})

    cloud.functions["sweep"]({})

    told = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [one["ID"] for one in told].count("theirs") == 1
    (older,) = (one for one in told if "NoncurrentVersionExpiration" in one)
    assert older["Filter"]["Prefix"] == ""
    assert older["NoncurrentVersionExpiration"]["NoncurrentDays"] == 1
    ours = {
        one["Filter"]["Prefix"]: one["Expiration"]["Days"]
        for one in told
        if one["ID"] not in ("theirs", older["ID"])
    }
    assert ours == {
        f"{top}/{class_}/": count + spare
        for top, spare in (("events", 2), ("manifests", 3))
        for class_, count in days.items()
    }


def removed(cloud: Cloud) -> list[dict[str, Any]]:
    """What the stream tells once DynamoDB's expiry has removed what was inserted."""
    service = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    return [
        {
            "eventName": "REMOVE",
            "userIdentity": service,
            "dynamodb": {
                "Keys": one["dynamodb"]["Keys"],
                "OldImage": one["dynamodb"]["NewImage"],
            },
        }
        for one in cloud.inserted()
    ]


def test_what_dynamodb_removes_in_its_time_is_counted_by_day_and_class_and_not_archived(
    cloud: Cloud,
) -> None:
    visit(cloud)
    bucket = cloud.functions["archive"].variables["ARCHIVE_BUCKET"]
    before = boto3.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"]

    for _ in range(2):  # the stream tells again what failed
        cloud.functions["archive"]({"Records": removed(cloud)})

    assert boto3.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == before
    told = cloud.call("GET", "/outcomes", key=cloud.tokens["admin"]).body["data"]
    counts = {name: n for one in told for name, n in one["outcomes"].items() if "expired" in name}
    assert counts == {"expired:behaviour": 1, "expired:transaction": 1}


def test_only_what_expired_reaches_the_archive_of_all_that_is_removed() -> None:
    mapping = TEMPLATE["Resources"]["EventsToArchive"]["Properties"]
    patterns = [json.loads(one["Pattern"]) for one in mapping["FilterCriteria"]["Filters"]]
    assert patterns == [
        {"eventName": ["INSERT"]},
        {"eventName": ["REMOVE"], "userIdentity": {"principalId": ["dynamodb.amazonaws.com"]}},
    ]
    stream = TEMPLATE["Resources"]["EventsTable"]["Properties"]["StreamSpecification"]
    assert stream == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_what_has_ended_inside_rows_goes_with_the_sweep(cloud: Cloud) -> None:
    visit(cloud)
    cloud.later += 800 * 86_400

    swept = cloud.functions["sweep"]({})

    assert swept["traits"] == 2, "an account's last two years"
    cloud.later += 400 * 86_400
    swept = cloud.functions["sweep"]({})
    assert swept["identifiers"] == swept["keys"] == 3
    rows = cloud.functions["sweep"].module.wiring.rows
    assert [row["sk"] for row in rows.scan("graph", expired=True) if row["sk"] == "NODE"] == []


def test_a_renewal_is_begun_by_staff_and_done_by_the_sweep(cloud: Cloud) -> None:
    visit(cloud)
    answer = cloud.call("POST", "/retention", {"dry_run": False}, key=cloud.tokens["dpo"])
    assert (answer.status, answer.body["status"]) == (202, "running")
    assert cloud.sweeper.woken == 1
    policy = cloud.functions["sweep"].module.wiring.policy
    policy.retention["behaviour"], before = 10, policy.retention["behaviour"]
    try:
        cloud.functions["sweep"]({})
    finally:
        policy.retention["behaviour"] = before

    told = cloud.call("GET", "/retention", key=cloud.tokens["dpo"]).body
    assert told["status"] == "done"
    moved = {"kind": "bundles", "class": "behaviour", "sooner": 1, "later": 0, "at_once": 0}
    assert moved in told["changes"]


@pytest.mark.parametrize(
    ("name", "service", "operation"),
    [
        ("archive", "s3", "PutObject"),
        ("audit", "dynamodb", "Query"),
        ("sweep", "dynamodb", "Scan"),
        ("erase", "dynamodb", "GetItem"),
    ],
)
def test_a_function_that_may_not_do_its_work_says_no_more_than_that(
    cloud: Cloud, refuse: Refuse, name: str, service: str, operation: str
) -> None:
    visit(cloud)
    entry = json.dumps({"id": "e", "about": [], "actor": "a"})
    events: dict[str, dict[str, Any]] = {
        "archive": {"Records": cloud.inserted()},
        "audit": {"Records": [sqs_record(entry)]},
        "sweep": {},
        "erase": {"step": "plan", "request": "r"},
    }
    refuse(service, operation, 403, "AccessDenied")
    cloud.functions[name].restart()
    with pytest.raises(StoreError, match=f"{operation}: AccessDenied"):
        cloud.functions[name](events[name])
    assert "AccessDenied" in cloud.said.getvalue()
    assert CANARY not in cloud.said.getvalue()
