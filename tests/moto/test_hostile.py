"""Hostile input to collection, through the real handlers: always an honest answer, never a 5xx, and
whoever sends after it is heard."""

import base64
import json
from typing import Any

import pytest

from tests import hostile
from tests.moto.conftest import Answer, Cloud, Json


class Hostility:
    """Sends what it is given, and a good event after it."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.good = cloud, 0

    def send(self, name: str, body: bytes, right: set[int]) -> Answer:
        print(name)  # pytest shows it where what follows fails
        answer = self.cloud.call("POST", "/batch", body, key=self.cloud.write_keys["client"])
        self.check(name, answer, right)
        return answer

    def check(self, name: str, answer: Answer, right: set[int]) -> None:
        assert answer.status in right, (name, answer.body)
        assert hostile.undocumented(answer.status, answer.body) == [], name
        self.good += 1
        properties = {"order_id": str(self.good)}
        event = {**hostile.EVENT, "userId": "good", "properties": properties}
        sent = {"batch": [{**event, "messageId": str(self.good)}]}
        good = self.cloud.call("POST", "/batch", sent, key=self.cloud.write_keys["server"])
        assert (good.status, good.body) == (200, {"success": True})
        self.cloud.drain()  # which sees that no message fails

    def all_arrived(self) -> bool:
        path, key, found = "/profiles/user_id:good/events?limit=500", self.cloud.tokens["dpo"], []
        answer = self.cloud.call("GET", path, key=key)
        while True:
            found += answer.body["data"]
            if answer.body["next"] is None:
                break
            answer = self.cloud.call("GET", f"{path}&cursor={answer.body['next']}", key=key)
        return {event["messageId"] for event in found} == {*map(str, range(1, self.good + 1))}


@pytest.fixture
def hostility(cloud: Cloud) -> Hostility:
    return Hostility(cloud)


def test_no_body_is_too_odd_for_an_answer_and_none_stops_the_next(hostility: Hostility) -> None:
    wrong = []
    for name, body, right in hostile.bodies():
        try:
            hostility.send(name, body, right)
        except AssertionError as error:
            wrong.append(str(error)[:200])
    assert not wrong, "\n".join(wrong)
    assert hostility.all_arrived()


def test_no_field_of_any_call_takes_a_value_that_stops_it(hostility: Hostility) -> None:
    events = list(hostile.misfits())
    assert len(events) > 2_000
    for start in range(0, len(events), 200):
        body = json.dumps({"batch": events[start : start + 200]}).encode()
        answer = hostility.send(f"misfits from {start}", body, {200})
        assert len(answer.body.get("refused", [])) < 200, "one does not keep the others out"
    assert hostility.all_arrived()


@pytest.mark.parametrize("path", ["/identify", "/t", "/page", "/screen", "/g", "/alias"])
def test_single_calls_are_as_hard_to_break(hostility: Hostility, path: str) -> None:
    for value in hostile.VALUES:
        body = {"userId": "mallory", "event": value, "traits": value, "properties": value}
        answer = hostility.cloud.call("POST", path, body, key=hostility.cloud.write_keys["client"])
        hostility.check(f"{path} of {value!r:.20}", answer, {200})


LIES: list[tuple[Any, bool]] = [
    (json.dumps({"batch": [hostile.EVENT]}), True),
    (base64.b64encode(json.dumps({"batch": [hostile.EVENT]}).encode()).decode(), False),
    ("é", True),
    ("a", True),
    ("\ud83d", False),
    ("====", True),
    (None, True),
    (None, False),
    ("", True),
]


@pytest.mark.parametrize(("body", "encoded"), LIES)
def test_a_body_that_is_not_encoded_as_it_says_is_refused(
    hostility: Hostility, body: Any, encoded: bool
) -> None:
    answer = invoke(hostility.cloud, body=body, isBase64Encoded=encoded)
    hostility.check(f"{body!r:.20}", answer, {400})


HEADERS = [
    *("", "Basic", "Basic \0", "Basic ====", "Basic /w==", "Bearer", "Bearer \ud83d", "Digest x"),
    *("Bearer " + "x" * 10_000, "Basic " + base64.b64encode(b"\xff:").decode(), "Bearer wk_é"),
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_key_that_is_none_is_refused(hostility: Hostility, header: str) -> None:
    answer = invoke(hostility.cloud, headers={"Authorization": header})
    hostility.check(f"{header!r:.20}", answer, {401})


@pytest.mark.parametrize("data", ["", "%", "bnVsbA", "W10", "\ud83d", "A" * 9_001])
def test_a_pixel_is_as_hard_to_break(hostility: Hostility, data: str) -> None:
    event = {"resource": "/pixel/{type}", "httpMethod": "GET", "pathParameters": {"type": "track"}}
    query = {"data": data, "writeKey": "x"}
    answer = invoke(hostility.cloud, **event, queryStringParameters=query, body=None)
    hostility.check(f"{data!r:.20}", answer, {400})


def test_what_was_stripped_leaves_no_trace_of_anybody(hostility: Hostility, cloud: Cloud) -> None:
    (names,) = (body for name, body, _ in hostile.bodies() if name.endswith("people's"))
    hostility.send("names", names, {200})

    assert "mallory.number" not in cloud.held()
    assert "mallory.number" not in cloud.said.getvalue()
    listed = cloud.call("GET", "/outcomes", key=cloud.tokens["admin"]).body["data"]
    assert {name: n for one in listed for name, n in one["outcomes"].items()} == {
        "stripped:not_in_policy": 300
    }


def invoke(cloud: Cloud, **more: Any) -> Answer:
    """A request as no gateway of ours would pass it on."""
    event: Json = {
        "resource": "/batch",
        "httpMethod": "POST",
        "headers": {"Authorization": f"Bearer {cloud.write_keys['client']}"},
        "body": json.dumps({"batch": [hostile.EVENT]}),
        "isBase64Encoded": False,
    }
    answer = cloud.functions["collect"](event | more)
    return Answer(answer["statusCode"], answer["headers"], json.loads(answer["body"]))
