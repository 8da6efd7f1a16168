"""One customer's way through the real handlers: collected, unified, read, and what may be read."""

import gzip
import json
from typing import Any

from tests.moto.conftest import Cloud

Json = dict[str, Any]
CANARY = "ann-canary"
MAIL = f"{CANARY}@example.com"
YES = {"consent": {"categoryPreferences": {"analytics": True, "marketing": True}}}
VISIT: Json = {
    "batch": [
        {
            "type": "page",
            "anonymousId": f"{CANARY}-device",
            "messageId": "1",
            "timestamp": "2026-01-05T10:00:00Z",
            "context": YES,
            "properties": {"title": CANARY},
        },
        {
            "type": "identify",
            "anonymousId": f"{CANARY}-device",
            "userId": f"{CANARY}-42",
            "messageId": "2",
            "traits": {"email": MAIL, "name": CANARY, "shoe size": CANARY},
        },
        {
            "type": "track",
            "event": "Order Completed",
            "anonymousId": f"{CANARY}-device",
            "userId": f"{CANARY}-42",
            "messageId": "3",
            "properties": {"order_id": CANARY},
        },
    ]
}


def visit(cloud: Cloud) -> None:
    """Ann looks round, signs up and orders."""
    recent = json.loads(json.dumps(VISIT))
    del recent["batch"][0]["timestamp"]
    assert cloud.call("POST", "/batch", recent, key=cloud.write_keys["server"]).status == 200
    cloud.pump()


def read(cloud: Cloud, part: str = "", purpose: str = "privacy_rights", who: str = "dpo") -> Json:
    path = f"/profiles/user_id:{CANARY}-42{part}"
    answer = cloud.call("GET", path, key=cloud.tokens[who], **{"X-Purpose": purpose})
    assert answer.status == 200, answer
    body: Json = answer.body
    return body


def test_what_was_collected_is_one_profile(cloud: Cloud) -> None:
    visit(cloud)

    profile = read(cloud)

    assert profile["traits"] == {"email": MAIL, "name": CANARY}
    named = {(one["type"], one["value"]) for one in profile["identifiers"]["data"]}
    device = ("anonymous_id", f"{CANARY}-device")
    assert named == {("user_id", f"{CANARY}-42"), ("email", MAIL), device}
    told = {(event["event"], *event["properties"].values()) for event in profile["events"]["data"]}
    assert told == {("page", CANARY), ("Order Completed", CANARY)}
    rules = {link["rule"] for link in read(cloud, "/links")["data"]}
    assert rules == {"identify_carries_both"}
    assert '"outcome":"stored"' in cloud.said.getvalue()


def test_nothing_personal_lies_anywhere_in_the_open(cloud: Cloud) -> None:
    recent = json.loads(json.dumps(VISIT))
    del recent["batch"][0]["timestamp"]
    cloud.call("POST", "/batch", recent, key=cloud.write_keys["server"])
    assert CANARY not in cloud.held()  # still in the queue
    cloud.pump()
    read(cloud)
    assert CANARY not in cloud.held()  # in the tables and in the archive
    assert CANARY not in cloud.said.getvalue()


def test_the_answer_says_what_was_not_taken_and_how_to_mend_it(cloud: Cloud) -> None:
    answer = cloud.call("POST", "/batch", VISIT, key=cloud.write_keys["client"])

    assert answer.status == 200
    assert [one["code"] for one in answer.body["refused"]] == ["too_old"]
    assert [one["name"] for one in answer.body["stripped"]] == ["traits.shoe size"]
    assert CANARY not in json.dumps(answer.body)


def test_a_batch_may_come_gzipped_with_its_key_inside(cloud: Cloud) -> None:
    told = {**VISIT, "writeKey": cloud.write_keys["server"]}
    body = gzip.compress(json.dumps(told).encode())
    assert cloud.call("POST", "/b", body).status == 200
    cloud.pump()
    assert read(cloud)["traits"]["name"] == CANARY


def test_a_retried_batch_is_stored_and_archived_once(cloud: Cloud) -> None:
    for expected in (1, 0):
        order = {"batch": VISIT["batch"][2:]}
        cloud.call("POST", "/batch", order, key=cloud.write_keys["server"])
        cloud._queue("EventsQueue", "unify")
        assert len(cloud.stream()) == expected
    assert len(read(cloud, "/events")["data"]) == 1


def test_a_page_that_a_browser_sends_is_answered_to_any_origin(cloud: Cloud) -> None:
    answer = cloud.call("OPTIONS", "/batch")
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


def test_a_withdrawn_consent_withholds_at_once_and_says_why(cloud: Cloud) -> None:
    visit(cloud)
    assert "name" in read(cloud, purpose="marketing")["traits"]

    choice = {"userId": f"{CANARY}-42", "purposes": {"marketing": False}, "evidence": {"f": CANARY}}
    answer = cloud.call("POST", "/consents", choice, key=cloud.write_keys["server"])
    assert answer.status == 200
    assert answer.body == {"success": True}

    profile = read(cloud, purpose="marketing")
    assert profile["traits"] == {}
    assert {one["name"] for one in profile["withheld"]} >= {"name", "email"}
    assert CANARY not in json.dumps(profile["withheld"])
    consents = read(cloud, "/consents")
    assert consents["purposes"]["marketing"]["state"] == "denied"
    (chosen,) = [one for one in consents["data"] if one["mechanism"] == "api"]
    assert chosen["evidence"] == {"f": CANARY}


def test_who_is_unknown_and_who_may_not_ask_get_an_answer_too(cloud: Cloud) -> None:
    path = f"/profiles/user_id:{CANARY}-42"
    assert cloud.call("GET", path, key=cloud.tokens["dpo"]).status == 404
    assert cloud.call("GET", path, key=cloud.tokens["admin"]).status == 403
    assert cloud.call("GET", path, key="tk_nobody").status == 401
    body = {"identifier": {"type": "user_id", "value": f"{CANARY}-42"}}
    assert cloud.call("POST", "/profiles/query", body, key=cloud.tokens["dpo"]).status == 404
    assert cloud.call("POST", "/batch", VISIT, key="wk_nobody").status == 401
    assert cloud.call("POST", "/batch", b"{", key=cloud.write_keys["client"]).status == 400


def test_a_key_is_shown_once_and_can_be_taken_back(cloud: Cloud) -> None:
    admin = cloud.tokens["admin"]
    spec = {"kind": "source", "name": "shop", "source": "server", "trust": "server"}
    made = cloud.call("POST", "/keys", spec, key=admin)
    assert made.status == 201
    key, id_ = made.body["key"], made.body["id"]
    assert cloud.call("POST", "/batch", VISIT, key=key).status == 200

    listed = cloud.call("GET", "/keys", key=admin).body["data"]
    assert id_ in [one["id"] for one in listed]
    assert key not in json.dumps(listed)
    assert key not in cloud.held()

    assert cloud.call("DELETE", f"/keys/{id_}", key=admin).status == 200
    cloud.later += 61  # what a function had cached
    assert cloud.call("POST", "/batch", VISIT, key=key).status == 401
    assert cloud.call("POST", "/keys", spec, key=cloud.tokens["dpo"]).status == 403
