"""A lead form's signed webhook against the deployed API, its secret shared as a shop would."""

import hashlib
import hmac
import time
import uuid
from typing import Any

import pytest
import urllib3

from cli import privacy
from cli.api import Api
from cli.target import ROOT
from tests.emulator.conftest import QUIET, await_true
from tests.emulator.installation import Installation
from tests.emulator.reading import Who, profile

Json = dict[str, Any]
SAMPLE = (ROOT / "events" / "webhooks" / "lead-form.json").read_text()
SECRET = "f" * 32
HOOK = {
    "kind": "source",
    "name": "Lead ads",
    "source": "webhook",
    "trust": "server",
    "mapping": "lead_form",
}


class Hook:
    def __init__(self, api: Api) -> None:
        self.made = api.staff("admin", "POST", "/keys", HOOK)
        self.id = self.made["id"]
        path = f"/keys/{self.id}/secret"
        self.token = api.staff("admin", "POST", path, {"secret": SECRET})["verify_token"]
        self.url = f"{api.stack['api_url']}/v1/webhooks/{self.made['key']}"

    def post(self, body: bytes, secret: str = SECRET) -> tuple[int, Json]:
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={signature}", "Content-Type": "application/json"}
        answer = urllib3.request("POST", self.url, headers=headers, body=body)
        return answer.status, answer.json()

    def handshake(self, token: str) -> tuple[int, str, str]:
        fields = {"hub.mode": "subscribe", "hub.challenge": "115820", "hub.verify_token": token}
        answer = urllib3.request("GET", self.url, fields=fields)
        return answer.status, answer.headers.get("Content-Type", ""), answer.data.decode()


@pytest.fixture
def hook(api: Api) -> Hook:
    return Hook(api)


def lead(who: str) -> bytes:
    """A lead of now with characters that signers may get wrong."""
    text = SAMPLE.replace("1790000000", str(int(time.time())))
    text = text.replace("444444444444", uuid.uuid4().hex).replace("+49 30 7654321", "")
    return text.replace("lea@", f"{who}@").replace("Lea Example", "Zoë \\u00fc 🎈").encode()


def person(who: str) -> Who:
    return "email", f"{who}@example.com"


def events(api: Api, who: str) -> int:
    return len((profile(api, person(who)) or {"events": {"data": []}})["events"]["data"])


def test_the_handshake_is_answered_to_who_knows_the_token(hook: Hook) -> None:
    status, kind, body = hook.handshake(hook.token)
    assert (status, body) == (200, "115820")
    assert kind.startswith("text/plain")
    assert hook.handshake("x" * 40)[0] == 401


def test_a_lead_is_stored_once_and_stays_out_when_it_is_erased(
    api: Api, hook: Hook, installation: Installation
) -> None:
    who = f"lead-{uuid.uuid4().hex[:10]}"
    body = lead(who)
    assert hook.post(body, "wrong" * 8)[0] == 401
    assert hook.post(body[:-9])[0] == 400
    assert hook.post(body) == (200, {"success": True})
    await_true("the lead is unified", lambda: events(api, who))  # which are written last
    read = profile(api, person(who))
    assert read is not None
    assert read["traits"]["name"] == "Zoë ü 🎈"
    assert read["consents"]["marketing"]["state"] == "granted"
    assert read["events"]["data"][0]["source"] == hook.id

    assert hook.post(body)[0] == 200  # the replay
    assert hook.post(lead(who))[0] == 200  # another lead, behind it in the queue
    await_true("both are unified", lambda: events(api, who) == 2)
    assert events(api, who) == 2

    subject = {"type": "email", "value": f"{who}@example.com"}
    asked = {"type": "erasure", "subject": subject, "mode": "erase", "verified_by": "a test"}
    request = api.staff("dpo", "POST", "/privacy/requests", asked)
    assert privacy.wait(api, request["id"], QUIET)["status"] == "completed"
    marker = f"{who}-marker"
    assert hook.post(body)[0] == 200
    assert hook.post(lead(marker))[0] == 200
    await_true(
        "what came after the replay is unified",
        lambda: profile(api, person(marker)),
    )
    await_true("nothing waits", lambda: not installation.depth("EventsQueue"))
    assert profile(api, person(who)) is None
    key = hook.made["key"]
    for group in ("/aws/lambda/" + installation.outputs["CollectFunction"], "/aws/apigateway/"):
        logs = [body for where, body in installation.logs() if group in where]
        assert not [body for body in logs if key.encode() in body or who.encode() in body]
