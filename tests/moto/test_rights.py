"""Privacy requests that wait or act at once, and legal holds, as the API serves them."""

import json
from dataclasses import replace
from typing import Any

import pytest

from candor.policy import DAY, ErasureRule
from tests.moto.conftest import Answer, Cloud
from tests.moto.test_erasure import ask, shown
from tests.moto.test_journey import CANARY, MAIL, read, visit

SUBJECT = {"type": "email", "value": MAIL}


def request(cloud: Cloud, type_: str, **more: Any) -> Answer:
    body = {"type": type_, "subject": SUBJECT, "verified_by": f"{CANARY} by letter", **more}
    return cloud.call("POST", "/privacy/requests", body, key=cloud.tokens["dpo"])


def hold(cloud: Cloud, until: str = "2031-01-01T00:00:00Z") -> Answer:
    body = {"subject": SUBJECT, "reason": f"{CANARY} against the shop", "until": until}
    return cloud.call("POST", "/holds", body, key=cloud.tokens["dpo"])


@pytest.fixture
def waiting(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Where an erasure waits a week."""
    for name in ("privacy", "erase", "sweep"):
        wiring = cloud.functions[name].module.wiring
        slow = replace(wiring.policy, erasure=ErasureRule(7, second_person=False))
        monkeypatch.setattr(wiring, "policy", slow)
    return cloud


def test_a_held_person_is_hidden_and_erased_after_the_release(cloud: Cloud) -> None:
    visit(cloud)
    placed = hold(cloud)
    assert placed.status == 201
    assert placed.body["reason"] == f"{CANARY} against the shop"
    assert CANARY not in cloud.held()

    asked = ask(cloud)
    assert asked.body["status"] == "held"
    assert cloud.call("GET", f"/profiles/email:{MAIL}", key=cloud.tokens["dpo"]).status == 404
    cloud.call("DELETE", f"/privacy/requests/{asked.body['id']}", key=cloud.tokens["dpo"])
    assert read(cloud)["traits"]["name"] == CANARY

    asked = ask(cloud)
    (listed,) = cloud.call("GET", "/holds", key=cloud.tokens["dpo"]).body["data"]
    assert listed == placed.body
    released = cloud.call("DELETE", f"/holds/{listed['id']}", key=cloud.tokens["dpo"])
    assert released.body == {"success": True}
    assert cloud.settled(asked.body["id"]) == "SUCCEEDED"
    assert shown(cloud, asked.body["id"])["status"] == "completed"
    assert CANARY not in cloud.said.getvalue()


def test_who_is_restricted_is_withheld_until_it_is_lifted(cloud: Cloud) -> None:
    visit(cloud)
    asked = request(cloud, "restriction")
    assert (asked.status, asked.body["status"]) == (202, "running")
    told = read(cloud, purpose="service")
    assert told["traits"] == {}
    because = {one["name"]: one["because"] for one in told["withheld"]}
    assert because["name"].startswith("processing is restricted")
    cloud.later += 1
    lifted = cloud.call("DELETE", f"/privacy/requests/{asked.body['id']}", key=cloud.tokens["dpo"])
    assert lifted.body["status"] == "completed"
    assert read(cloud, purpose="service")["traits"]


def test_what_is_corrected_is_read_at_once(cloud: Cloud) -> None:
    visit(cloud)
    asked = request(cloud, "rectification", traits={"name": "Ann"})
    assert asked.body["status"] == "completed"
    assert read(cloud)["traits"]["name"] == "Ann"
    refused = request(cloud, "rectification", traits={CANARY: 1})
    assert refused.status == 400
    assert CANARY not in json.dumps(refused.body)


def test_an_objection_binds_at_once(cloud: Cloud) -> None:
    visit(cloud)
    asked = request(cloud, "objection", purposes=["marketing"])
    assert asked.body["status"] == "completed"
    assert read(cloud, purpose="marketing")["traits"] == {}


def test_a_request_says_what_is_wrong_with_it(cloud: Cloud) -> None:
    for type_, more in (("erasing", {}), ("rectification", {}), ("restriction", {"mode": "erase"})):
        answer = request(cloud, type_, **more)
        assert answer.status == 400
        assert CANARY not in json.dumps(answer.body)
    assert hold(cloud).status == 404
    visit(cloud)
    for until in ("2001-01-01T00:00:00Z", "soon", "2031-01-01T00:00:00"):
        assert hold(cloud, until).status == 400


def test_who_waits_is_taken_back_refused_or_erased_by_the_sweep(waiting: Cloud) -> None:
    visit(waiting)
    dpo = waiting.tokens["dpo"]
    first = ask(waiting).body
    assert first["status"] == "pending"
    path = f"/privacy/requests/{first['id']}"
    refused = waiting.call("POST", f"{path}/refuse", {"ground": "legal_claims"}, key=dpo)
    assert (refused.body["status"], refused.body["ground"]) == ("refused", "legal_claims")
    assert read(waiting)["traits"]
    assert waiting.call("POST", f"{path}/approve", {}, key=dpo).status == 409

    second = ask(waiting).body
    waiting.later += 8 * DAY
    waiting.functions["sweep"]({})
    assert waiting.settled(second["id"]) == "SUCCEEDED"
    assert shown(waiting, second["id"])["status"] == "completed"


def test_a_fence_is_lifted_by_a_dpo(cloud: Cloud) -> None:
    visit(cloud)
    path = f"/fences/email:{MAIL}"
    assert cloud.call("DELETE", path, key=cloud.tokens["dpo"]).status == 404
    cloud.settled(ask(cloud, mode="erase_and_suppress").body["id"])
    cloud.later += 1
    assert cloud.call("DELETE", path, key=cloud.tokens["dpo"]).status == 200
    assert cloud.call("DELETE", path, key=cloud.tokens["dpo"]).status == 404
    assert CANARY not in cloud.said.getvalue()


def test_many_are_erased_at_once(cloud: Cloud) -> None:
    visit(cloud)
    dpo = cloud.tokens["dpo"]
    others = [{"type": "user_id", "value": f"{CANARY}-{n}"} for n in range(9)]
    nobody = {"type": "user_id", "value": "null"}
    body = {"subjects": [SUBJECT, nobody, *others, SUBJECT], "verified_by": f"{CANARY} by letter"}

    asked = cloud.call("POST", "/privacy/bulk", body, key=dpo)

    assert (asked.status, asked.body["total"], asked.body["nobody"]) == (202, 10, [1])
    machine = cloud.functions["privacy"].variables["BULK_MACHINE_ARN"]
    assert cloud.ended(machine, asked.body["id"]) == "SUCCEEDED"
    listed = cloud.call("GET", "/privacy/requests?limit=4", key=dpo).body
    for one in listed["data"]:
        assert cloud.settled(one["id"]) == "SUCCEEDED"
    rest = cloud.call("GET", f"/privacy/requests?cursor={listed['next']}", key=dpo).body
    assert (len(listed["data"]), len(rest["data"]), rest["next"]) == (4, 6, None)
    for one in rest["data"]:
        assert cloud.settled(one["id"]) == "SUCCEEDED"
    told = cloud.call("GET", f"/privacy/bulk/{asked.body['id']}", key=dpo).body
    assert (told["statuses"], told["attention"]) == ({"completed": 10}, [])
    assert CANARY not in cloud.held()
    assert CANARY not in cloud.said.getvalue()
    assert cloud.call("GET", f"/privacy/bulk/{rest['data'][0]['id']}", key=dpo).status == 404
