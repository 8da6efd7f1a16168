"""A file in the drop bucket, from S3 through the template's queue to a profile."""

import json
from typing import Any

import boto3

from candor import credentials
from cli.target import ROOT
from tests.moto.conftest import Cloud

Json = dict[str, Any]
SAMPLE = ROOT / "events" / "imports" / "orders.ndjson"
CRM = {"kind": "source", "name": "CRM", "source": "crm", "trust": "server"}


def drop(cloud: Cloud, body: bytes) -> str:
    """Put a file into the bucket for a source of ours; its key."""
    rows = cloud.functions["privacy"].module.wiring.rows
    source, _ = credentials.issue(rows, CRM, cloud.clock())
    key = f"drop/{source}/ndjson/orders of may.ndjson"
    boto3.client("s3").put_object(Bucket=cloud.outputs["DropBucket"], Key=key, Body=body)
    return key


def keys(cloud: Cloud) -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket=cloud.outputs["DropBucket"])
    return [entry["Key"] for entry in listed.get("Contents", [])]


def test_a_file_is_read_and_gone_and_its_lines_are_somebodys(cloud: Cloud) -> None:
    key = drop(cloud, SAMPLE.read_bytes())
    cloud.pump()
    report = key.replace("drop/", "rejected/") + ".ndjson"
    assert keys(cloud) == [report]
    told = boto3.client("s3").get_object(Bucket=cloud.outputs["DropBucket"], Key=report)["Body"]
    assert [json.loads(line)["line"] for line in told.read().splitlines()] == [3, 4, 5]
    answer = cloud.call("GET", "/profiles/email:ann@example.com/events", key=cloud.tokens["dpo"])
    assert [one["properties"]["order_id"] for one in answer.body["data"]] == ["1001"]
    held = cloud.held()
    assert "ann@example.com" not in held
    assert "9001" not in held
