"""A file in the deployed drop bucket becomes profiles, and is gone; who is erased stays out."""

import json
import uuid
from typing import Any

import pytest

from cli import privacy
from cli.api import Api
from cli.target import ROOT
from tests.emulator.conftest import QUIET, await_true
from tests.emulator.installation import Installation
from tests.emulator.reading import profile

Json = dict[str, Any]
SAMPLE = (ROOT / "events" / "imports" / "hubspot-contacts.csv").read_text()


class Bucket:
    def __init__(self, installation: Installation) -> None:
        self.s3 = installation.client("s3")
        self.name = installation.outputs["DropBucket"]

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.name, Key=key, Body=body)

    def keys(self, prefix: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", [])]

    def read(self, key: str) -> str:
        text: str = self.s3.get_object(Bucket=self.name, Key=key)["Body"].read().decode()
        return text


@pytest.fixture
def bucket(installation: Installation) -> Bucket:
    return Bucket(installation)


@pytest.fixture
def source(api: Api) -> str:
    spec = {"kind": "source", "name": "drops", "source": "crm", "trust": "server"}
    id_: str = api.staff("admin", "POST", "/keys", spec)["id"]
    return id_


def contacts() -> tuple[str, bytes]:
    """The sample with people of this test's own, and how they begin."""
    begin = f"d{uuid.uuid4().hex[:10]}"
    return begin, SAMPLE.replace("@example.com", f"-{begin}@example.com").replace(
        "\n900", f"\n{begin}-"
    ).replace("+49 30 1234567", "").encode()


def known(api: Api, who: str) -> Json | None:
    """A profile once it has traits, which are written after it."""
    found = profile(api, ("user_id", who))
    return found if found and found["traits"] else None


def test_a_dropped_file_becomes_profiles_and_is_gone(
    api: Api, bucket: Bucket, source: str, installation: Installation
) -> None:
    begin, body = contacts()
    key = f"drop/{source}/hubspot_contacts/contacts of may.csv"
    bucket.put(key, body)
    ann = await_true("the file is read", lambda: known(api, f"{begin}-1"))
    assert ann["traits"]["firstName"] == "Ann"
    assert ann["consents"]["marketing"]["state"] == "granted"
    bo = await_true("the file is read", lambda: known(api, f"{begin}-2"))
    assert bo["consents"]["marketing"]["state"] == "denied"
    await_true("the file is gone", lambda: bucket.keys(f"drop/{source}") == [])
    (report,) = bucket.keys(f"rejected/{source}")
    assert report == key.replace("drop/", "rejected/") + ".ndjson"
    told = bucket.read(report)
    assert [json.loads(line)["line"] for line in told.splitlines()] == [6, 7]
    assert begin not in told

    subject = {"type": "user_id", "value": f"{begin}-1"}
    asked = {"type": "erasure", "subject": subject, "mode": "erase", "verified_by": "a test"}
    request = api.staff("dpo", "POST", "/privacy/requests", asked)
    assert privacy.wait(api, request["id"], QUIET)["status"] == "completed"
    marker = f"{begin}-9"
    again = body + f"{marker},,Zed,,,,,,2026-01-10 09:30,,,\n".encode()
    bucket.put(key, again)
    await_true("the file is read again", lambda: profile(api, ("user_id", marker)))
    assert profile(api, ("user_id", f"{begin}-1")) is None
    assert begin not in "".join(installation.log(f"/aws/lambda/{collect(installation)}"))


def collect(installation: Installation) -> str:
    return installation.outputs["CollectFunction"]


def test_a_file_of_nobody_is_reported_and_not_read(api: Api, bucket: Bucket) -> None:
    begin, body = contacts()
    nobody = uuid.uuid4().hex
    key = f"drop/{nobody}/hubspot_contacts/x.csv"
    bucket.put(key, body)
    (report,) = await_true("it is reported", lambda: bucket.keys(f"rejected/{nobody}"))
    assert json.loads(bucket.read(report))["code"] == "unknown_source"
    assert bucket.keys(f"drop/{nobody}") == [key]
    assert profile(api, ("user_id", f"{begin}-1")) is None
    bucket.s3.delete_object(Bucket=bucket.name, Key=key)
