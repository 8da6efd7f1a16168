"""After everything else here has run (files run in the order of their names): the log of audits
still is a chain, the sweep has nothing to mend, and nothing failed on the way."""

import json
from base64 import b64decode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from candor import audit
from candor.ports import Table
from candor.stores.dynamo import DynamoRows
from cli.api import Api
from tests.emulator.conftest import await_true
from tests.emulator.installation import FUNCTIONS, Installation
from tests.emulators import MiniStack


@pytest.fixture
def rows(installation: Installation) -> DynamoRows:
    names: dict[Table, str] = {"audit": installation.outputs["AuditTable"]}
    return DynamoRows(installation.client("dynamodb"), names)


def test_every_entry_is_in_an_unbroken_chain(
    installation: Installation, api: Api, rows: DynamoRows
) -> None:
    api.staff("dpo", "GET", "/privacy/requests")
    await_true("the audit log is written", lambda: not installation.depth("AuditQueue"))
    assert audit.broken(rows) is None
    blocks = list(rows.query("audit", audit.LOG))
    ids = [entry["id"] for block in blocks for entry in block["entries"]]
    assert len(ids) == len(set(ids)) > 0
    assert "privacy.listed" in {entry["action"] for entry in blocks[-1]["entries"]}


def test_a_checkpoint_is_signed_and_names_the_head_of_the_chain(
    installation: Installation, rows: DynamoRows
) -> None:
    name = installation.invoke("Audit", {"step": "checkpoint"})["checkpoint"]
    (body,) = (body for where, body in installation.objects() if where.endswith(name))
    signed = json.loads(body)
    told = json.loads(signed["document"])
    head = audit.head(rows)
    assert head is not None
    assert (told["seq"], told["hash"]) == (int(head["sk"]), head["hash"])
    kms = installation.client("kms")
    answer = kms.get_public_key(KeyId=installation.outputs["SigningKeyArn"])
    key = load_der_public_key(answer["PublicKey"])
    assert isinstance(key, ec.EllipticCurvePublicKey)
    digest = sha256(signed["document"].encode()).digest()
    key.verify(b64decode(signed["signature"]), digest, ec.ECDSA(SHA256()))


def test_a_sweep_leaves_what_lives_alone(installation: Installation) -> None:
    nodes = {
        row["pk"].removeprefix("I#") for row in installation.rows("Graph") if row["sk"] == "NODE"
    }
    assert nodes
    swept = installation.invoke("Sweep", {})
    assert swept["requests"] == 0
    assert swept["objects"] == 0
    assert nodes <= {row["pk"] for row in installation.rows("Keys") if "salt" in row}


def test_nothing_failed_on_the_way(
    installation: Installation, own_emulator: MiniStack | None
) -> None:
    for queue in ("EventsDlq", "AuditDlq", "ArchiveDlq", "DropDlq"):
        assert installation.depth(queue) == 0, queue
    bad = ('"fault"', '"ERROR"', "Traceback")
    names = [installation.outputs[f"{function}Function"] for function in FUNCTIONS]
    lines = [(name, line) for name in names for line in installation.log(f"/aws/lambda/{name}")]
    told = [each for each in lines if any(word in each[1] for word in bad)]
    if own_emulator is None:
        # LocalStack's DynamoDB fails where others write while a transaction copies its tables; who
        # called comes again.
        told = [each for each in told if "TransactWriteItems: InternalError" not in each[1]]
    # An erasure that a destination did not confirm fails its execution, as it should: on LocalStack
    # that is one line, and on MiniStack the lines of a traceback, one by one.
    given_up = [line for _, line in lines if line.startswith("candor.erasure.ErasureFailed")]
    tracebacks = [each for each in told if each[1].startswith("Traceback")][: len(given_up)]
    assert {name for name, _ in tracebacks} <= {installation.outputs["EraseFunction"]}
    rest = [each for each in told if each not in tracebacks and "ErasureFailed" not in each[1]]
    assert rest == []
    assert len([each for each in told if each[1].startswith("Traceback")]) == len(given_up)
    assert installation.outputs["UnifyFunction"] in {name for name, _ in lines}
