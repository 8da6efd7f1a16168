"""Destinations of the deployed stack: receivers on this machine that know its public key alone."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from cli.api import Api
from tests.emulator.conftest import await_true
from tests.emulator.installation import Installation
from tests.emulator.reading import ended, profile, shown
from tests.emulator.receiving import receiving
from tests.receiver import Receiver

Json = dict[str, Any]
NAMES = ("mail", "flaky", "ads")


@pytest.fixture
def receiver(api: Api, installation: Installation) -> Iterator[Receiver]:
    with receiving(api, installation, *NAMES, knows=("email", "phone")) as made:
        yield made


def test_an_erasure_is_partial_until_every_destination_has_confirmed(
    api: Api, installation: Installation, receiver: Receiver
) -> None:
    canary = f"dest-{uuid.uuid4().hex[:12]}"
    mail = f"{canary}@example.com"
    body = {"type": "identify", "userId": canary, "traits": {"email": mail}}
    assert api.collect("server", "/identify", body)["success"]
    await_true("she is known", lambda: profile(api, ("email", mail)))
    receiver.says["flaky"] = [500, 302, "erased"]
    receiver.says["ads"] = ["failed", "unknown_person"]

    subject = {"type": "email", "value": mail}
    asked = {"type": "erasure", "subject": subject, "verified_by": f"staff: {canary}"}
    id_ = api.staff("dpo", "POST", "/privacy/requests", asked)["id"]
    assert ended(api, id_)["status"] == "partial"
    assert sorted(receiver.names()) == sorted(NAMES)
    assert receiver.refused == ["flaky", "flaky"]
    assert receiver.told[0]["identifiers"] == [{"type": "email", "value": mail}]
    receipts = {one["store"]: one["left"] for one in ended(api, id_)["receipts"]}
    left = {store: count for store, count in receipts.items() if count and store != "queues"}
    assert left == {"destination:ads": 1}

    assert installation.invoke("Sweep", {})["requests"] >= 1
    await_true("it completes", lambda: shown(api, id_)["status"] == "completed", 120)
    assert receiver.names()[3:] == ["ads"], "the others were not told again"
    done = shown(api, id_)
    document = json.loads(done["certificate"]["document"])
    assert {one["destination"]: one["status"] for one in document["destinations"]} == {
        "mail": "erased",
        "flaky": "erased",
        "ads": "unknown_person",
    }
    used = receiver.told[-1]["callback"]
    again = urllib3.request("POST", f"{api.stack['api_url']}{used}", json={"status": "erased"})
    assert again.status == 404

    assert [where for where, data in installation.everything() if canary.encode() in data] == []
    told = b"".join(data for where, data in installation.executions() if id_.encode() in data)
    assert b"flaky" in told, "the history was read"
