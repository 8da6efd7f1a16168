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
from tests.emulator.reading import profile
from tests.receiver import Receiver

Json = dict[str, Any]
FUNCTIONS = ("Privacy", "Erase", "Sweep")
NAMES = ("mail", "flaky", "ads")


@pytest.fixture
def receiver(api: Api, installation: Installation) -> Iterator[Receiver]:
    base = api.stack["api_url"]
    key = urllib3.request("GET", f"{base}/v1/signing-key").data

    def answer(path: str, body: Json) -> None:
        # As many at once as there are destinations, each may need a new environment first.
        given = urllib3.request("POST", f"{base}{path}", json=body, timeout=30)
        assert given.status == 200, given.data

    with Receiver(key, answer) as made:
        tell(installation, made.destinations(*NAMES, knows=("email", "phone")))
        try:
            yield made
        finally:
            tell(installation, "")
    assert not [repr(fault) for fault in made.faults]


def tell(installation: Installation, destinations: str) -> None:
    """Set the variable that the parameter LocalDestinations sets."""
    functions = installation.client("lambda")
    for function in FUNCTIONS:
        name = installation.outputs[f"{function}Function"]
        now = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        changed = {"Variables": now | {"LOCAL_DESTINATIONS": destinations}}
        functions.update_function_configuration(FunctionName=name, Environment=changed)
        functions.get_waiter("function_updated_v2").wait(FunctionName=name)


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
    left = {one["store"]: one["left"] for one in ended(api, id_)["receipts"] if one["left"]}
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


def shown(api: Api, id_: str) -> Json:
    found: Json = api.staff("dpo", "GET", f"/privacy/requests/{id_}")
    return found


def ended(api: Api, id_: str) -> Json:
    def over() -> Json | None:
        found = shown(api, id_)
        return found if found["status"] not in ("pending", "running") else None

    found: Json = await_true("the erasure ends", over, 120)
    return found
