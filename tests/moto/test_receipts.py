"""Consent receipts through the real handlers, signed by KMS."""

import json
from typing import Any

import boto3

from candor.receipts import SCHEMA
from candor.signatures import fingerprint
from cli import signature
from tests.moto.conftest import Cloud, Refuse
from tests.moto.test_journey import CANARY, visit

Json = dict[str, Any]
WHO = f"/profiles/user_id:{CANARY}-42/consents/receipt"
WHOLE = {"X-Purpose": "privacy_rights"}


def choose(cloud: Cloud, granted: bool) -> None:
    body = {"userId": f"{CANARY}-42", "purposes": {"marketing": granted}}
    assert cloud.call("POST", "/consents", body, key=cloud.write_keys["server"]).status == 200


def key(cloud: Cloud) -> bytes:
    answer = cloud.call("GET", "/signing-key")
    assert answer.headers["Content-Type"].startswith("text/plain")
    return signature.public_key(answer.body.encode())


def test_a_receipt_is_checked_with_the_key_that_anyone_can_have(cloud: Cloud) -> None:
    visit(cloud)
    choose(cloud, True)
    cloud.later += 60
    choose(cloud, False)
    answer = cloud.call("GET", WHO, key=cloud.tokens["dpo"], **WHOLE)
    assert answer.status == 200
    receipt = answer.body
    arn = cloud.functions["api"].variables["SIGNING_KEY_ARN"]
    public = boto3.client("kms").get_public_key(KeyId=arn)["PublicKey"]
    assert key(cloud) == public
    assert (receipt["key_id"], receipt["key_sha256"]) == (arn, fingerprint(public))
    assert signature.verify(receipt, public).finding == "valid"
    document = json.loads(receipt["document"])
    assert document["dct:conformsTo"]["dct:identifier"] == SCHEMA
    records = {
        one["dpv:hasPurpose"]["dct:identifier"]: one for one in document["dpv:hasRecordOfActivity"]
    }
    assert records["marketing"]["dpv:hasStatus"]["@type"] == "dpv:ConsentWithdrawn"
    assert records["analytics"]["dpv:hasStatus"]["@type"] == "dpv:ConsentGiven"
    assert CANARY not in receipt["document"]
    forged = receipt | {"document": receipt["document"].replace("Withdrawn", "Given")}
    assert signature.verify(forged, public).finding == "altered"
    assert CANARY not in cloud.said.getvalue()


def test_a_receipt_is_a_read_that_is_on_record(cloud: Cloud) -> None:
    visit(cloud)
    dpo = cloud.tokens["dpo"]
    assert cloud.call("GET", WHO, key=dpo, **WHOLE).status == 200
    cloud.drain()
    rows = boto3.client("dynamodb").scan(TableName="candor-audit")["Items"]
    told = [
        {name: next(iter(value.values())) for name, value in entry["M"].items()}
        for row in rows
        for entry in row.get("entries", {}).get("L", [])
    ]
    (entry,) = [one for one in told if one["action"] == "profile.read.receipt"]
    assert entry["purpose"] == "privacy_rights"
    receipt = cloud.call("GET", WHO, key=dpo, **WHOLE).body
    subject = json.loads(receipt["document"])["dpv:hasDataSubject"]["dct:identifier"]
    assert entry["about"] == [{"S": subject}], "so that the controller finds whose it is"


def test_it_is_refused_to_who_may_not_see_everything(cloud: Cloud) -> None:
    visit(cloud)
    assert cloud.call("GET", WHO, **WHOLE).status == 401
    assert cloud.call("GET", WHO, key=cloud.tokens["admin"], **WHOLE).status == 403
    partly = cloud.call("GET", WHO, key=cloud.tokens["dpo"], **{"X-Purpose": "marketing"})
    assert (partly.status, partly.body["code"]) == (403, "needs_whole_view")
    for query, code in (("service", "not_a_choice"), ("nonsense", "unknown_purpose")):
        answer = cloud.call("GET", f"{WHO}?purpose={query}", key=cloud.tokens["dpo"], **WHOLE)
        assert (answer.status, answer.body["code"]) == (400, code)
    for nobody in ("user_id:nobody", "user_id:null", "x:y"):
        path = f"/profiles/{nobody}/consents/receipt"
        assert cloud.call("GET", path, key=cloud.tokens["dpo"], **WHOLE).status == 404


def test_nothing_is_handed_out_without_a_signature(cloud: Cloud, refuse: Refuse) -> None:
    visit(cloud)
    refuse("kms", "Sign", 400, "AccessDeniedException")
    cloud.functions["api"].restart()
    answer = cloud.call("GET", WHO, key=cloud.tokens["dpo"], **WHOLE)
    assert answer.status == 503
    assert "document" not in answer.body
