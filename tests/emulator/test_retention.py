"""Retention on a deployed stack: staff begin a renewal, the sweep that this wakes does it, and the
archive's bucket is told to end what is old."""

from typing import Any

from cli.api import Api
from tests.emulator.conftest import await_true
from tests.emulator.installation import Installation

Json = dict[str, Any]


def test_a_renewal_is_done_by_the_sweep_that_it_wakes(api: Api, installation: Installation) -> None:
    before = {row["pk"] + row["sk"]: row["due"] for row in installation.rows("Events")}

    begun = api.staff("dpo", "POST", "/retention", {"dry_run": False})

    assert begun["status"] in ("running", "done")
    told = await_true("it is done", lambda: _done(api, begun["id"]))
    assert told["looked"] > 0
    assert told["changes"] == [], "all of it came under this policy"
    assert told["unknown"] == []
    after = {row["pk"] + row["sk"]: row["due"] for row in installation.rows("Events")}
    assert {key: after[key] for key in before.keys() & after.keys()} == {
        key: before[key] for key in before.keys() & after.keys()
    }


def _done(api: Api, id_: str) -> Json | None:
    told = api.staff("dpo", "GET", "/retention")
    assert told["id"] == id_
    return told if told["status"] == "done" else None


def test_the_archives_bucket_has_a_rule_for_each_class_and_no_other(
    api: Api, installation: Installation
) -> None:
    installation.invoke("Sweep", {})

    bucket = installation.outputs["ArchiveBucket"]
    told = installation.client("s3").get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    policy = api.anyone("/policy")
    by_age = [one for one in told if "NoncurrentVersionExpiration" not in one]
    assert len(by_age) == len(told) - 1, "one ends older versions, should there be any"
    assert {one["Filter"]["Prefix"]: one["Expiration"]["Days"] for one in by_age} == {
        f"{top}/{class_}/": days + spare
        for top, spare in (("events", 2), ("manifests", 3))
        for class_, days in policy["retention"].items()
    }
