"""The demo's journey on every endpoint, through sam, the deployed template and the HTTP API."""

import json
import time
from typing import Any

import pytest

from cli import certificate, journey, privacy, profile, running
from cli.api import Api
from cli.aws import Clients
from cli.problem import Problem
from cli.tail import FUNCTIONS, Reader
from cli.target import ROOT, Target
from tests.emulator.conftest import QUIET

FOLDER = ROOT / "events" / "journey"
MARKETING = "marketing"


@pytest.fixture
def person(api: Api) -> journey.Person:
    """Somebody whose journey was played and unified."""
    made = journey.new_person(journey.now())
    steps = journey.steps(FOLDER, made)
    list(journey.play(api, steps))
    with QUIET.progress("") as progress:
        found, missing = journey.await_profile(api, made, steps, progress)
    assert not missing
    assert journey.event_ids(found) == journey.sent(steps)
    return made


def marketing_sees(api: Api, person: journey.Person) -> dict[str, Any]:
    return profile.read(api, person.identifier, "marketer", MARKETING)


def choose(api: Api, person: journey.Person, granted: bool) -> None:
    body = {
        "userId": person.name,
        "purposes": {MARKETING: granted},
        "timestamp": journey.now().isoformat(),
    }
    assert api.collect("server", "/consents", body)["success"] is True


def test_a_visitor_a_customer_an_app_and_a_crm_entry_become_one_profile(
    api: Api, person: journey.Person
) -> None:
    seen = journey.look(api, person)
    assert journey.identifiers_of(seen) == person.expected()
    evidence = profile.links(api, person.identifier, "dpo", "privacy_rights")
    joined = {f"{link[end]['type']}:{link[end]['value']}" for link in evidence for end in "ab"}
    assert joined == person.expected()
    assert not [link for link in evidence if link.get("refused")]


def test_the_journey_played_twice_is_stored_once(api: Api, person: journey.Person) -> None:
    before = journey.look(api, person)
    list(journey.play(api, journey.steps(FOLDER, person)))
    marker = {
        "userId": person.name,
        "messageId": f"{person.name}-marker",
        "event": "Signed In",
        "properties": {"method": "marker"},
    }
    api.collect("server", "/track", marker)
    deadline = time.monotonic() + 30
    ids: list[str] = []
    while f"{person.name}-marker" not in ids and time.monotonic() < deadline:
        ids = [event["messageId"] for event in (journey.look(api, person) or {})["events"]["data"]]
    assert before is not None
    earlier = [event["messageId"] for event in before["events"]["data"]]
    assert sorted(ids) == sorted([*earlier, f"{person.name}-marker"])


def test_consent_opens_and_closes_what_marketing_sees(api: Api, person: journey.Person) -> None:
    first = marketing_sees(api, person)
    assert not first["traits"]
    assert "email" in {one["name"] for one in first["withheld"]}
    choose(api, person, granted=True)
    assert marketing_sees(api, person)["traits"]["email"] == f"{person.name}@example.com"
    choose(api, person, granted=False)
    last = marketing_sees(api, person)
    assert not last["traits"]
    assert not last["events"]["data"]


def test_an_erased_person_is_gone_and_the_certificate_says_so(
    api: Api, stack: dict[str, Any], person: journey.Person
) -> None:
    subject = {"type": "email", "value": f"{person.name}@example.com"}
    body = {"type": "erasure", "subject": subject, "mode": "erase", "verified_by": "test"}
    asked = api.staff("dpo", "POST", "/privacy/requests", body)
    assert journey.look(api, person) is None
    ended = privacy.wait(api, asked["id"], QUIET)
    assert ended["status"] == "completed"
    assert {receipt["store"] for receipt in ended["receipts"]} >= {"keys", "graph", "events"}
    assert certificate.check(ended["certificate"], stack).good is True
    told = json.dumps(ended)
    assert person.name not in told
    assert person.phone.lstrip("+") not in told
    with pytest.raises(Problem, match="There is no profile"):
        profile.read(api, person.identifier, "dpo", "privacy_rights")


def test_tail_tells_what_became_of_every_event(
    stack: dict[str, Any], person: journey.Person
) -> None:
    groups = [f"/aws/lambda/{stack['outputs'][each]}" for each in FUNCTIONS]
    lines = Reader(Clients(stack["endpoint_url"]), groups).new(0)
    assert {line["outcome"] for line in lines} >= {"stored"}
    assert "(unnamed)" in {line.get("name") for line in lines}
    assert person.name not in json.dumps(lines)


def test_a_second_up_deploys_nothing_and_keeps_the_keys(
    target: Target, stack: dict[str, Any]
) -> None:
    log = target.local / f"deploy-{target.name}.log"
    said = log.read_text()
    assert running.up(target, QUIET).stack == stack
    assert log.read_text() == said
