"""Signed webhooks, through the collect function's own handler over stores in memory."""

import base64
import gzip
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import credentials, outcomes
from candor.webhooks import Form, Path
from cli.target import ROOT
from tests.served import Served
from tests.worlds import NOW, SHIPPED, order

Json = dict[str, Any]
HOUR = 3600
SECRET = "an app secret of 32 characters.."
SAMPLE = json.loads((ROOT / "events/webhooks/lead-form.json").read_text())
HOOK = {
    "kind": "source",
    "name": "Lead ads",
    "source": "webhook",
    "trust": "server",
    "mapping": "lead_form",
}
LEA = "email:lea@example.com"


def lead(id_: str = "1", ago: float = 0, **fields: str) -> bytes:
    """A lead that was made `ago` seconds before NOW."""
    body = json.loads(json.dumps(SAMPLE))
    value = body["entry"][0]["changes"][0]["value"]
    value |= {"leadgen_id": id_, "created_time": int(NOW - ago)}
    for name, text in fields.items():
        (pair,) = (one for one in value["field_data"] if one["name"] == name)
        pair["values"] = [text]
    return json.dumps(body).encode()


def signed(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Hooked:
    """A shop with a webhook."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, secret: str | None = SECRET) -> None:
        self.served = Served(monkeypatch)
        self.shop = self.served.shop
        self.id, self.key = credentials.issue(self.shop.rows, HOOK, NOW)
        self.token = ""
        if secret:
            rows, vault = self.shop.rows, self.shop.world.vault
            self.token = credentials.share_secret(rows, vault, self.id, secret)["verify_token"]

    def post(self, body: bytes, signature: str | None, key: str | None = None) -> tuple[int, Json]:
        headers = {"Content-Type": "application/json"}
        if signature is not None:
            headers["X-Hub-Signature-256"] = signature
        event = {
            "resource": "/webhooks/{key}",
            "httpMethod": "POST",
            "pathParameters": {"key": key or self.key},
            "headers": headers,
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }
        answer = self.served.invoke("collect", event)
        return answer["statusCode"], json.loads(answer["body"])

    def send(self, body: bytes) -> Json:
        """A body that is taken, as its sender signs it."""
        status, answer = self.post(body, signed(body))
        assert status == 200, answer
        return answer

    def handshake(self, key: str | None = None, **query: str) -> Json:
        whole = {"mode": "subscribe", "challenge": "1158201444", "verify_token": self.token}
        named = {f"hub.{name}": value for name, value in (whole | query).items()}
        event = {
            "resource": "/webhooks/{key}",
            "httpMethod": "GET",
            "pathParameters": {"key": key or self.key},
            "queryStringParameters": named,
        }
        answer: Json = self.served.invoke("collect", event)
        return answer


@pytest.fixture
def hooked(monkeypatch: pytest.MonkeyPatch) -> Hooked:
    return Hooked(monkeypatch)


def test_a_lead_becomes_a_profile_with_its_choice(hooked: Hooked) -> None:
    assert hooked.send(lead()) == {"success": True}
    hooked.served.unify()
    read = hooked.shop.read(LEA)
    assert {name: one["value"] for name, one in read["traits"].items()} == {
        "email": "lea@example.com",
        "name": "Lea Example",
        "phone": "+49 30 7654321",
    }
    (event,) = read["events"]
    assert (event["event"], event["source"]) == ("Lead Submitted", hooked.id)
    assert event["properties"] == {"form_id": "825500", "campaign_id": "6300"}
    assert hooked.shop.state(LEA, "marketing") == "granted"
    assert hooked.shop.node("phone:+49307654321")


def test_what_the_mapping_does_not_name_never_reaches_the_queue(hooked: Hooked) -> None:
    hooked.send(lead())
    (body,) = hooked.shop.queue.bodies
    assert "shoe_size" not in json.dumps(hooked.served.wiring.transit.open(body))


def test_a_gzipped_body_is_signed_as_it_is_sent(hooked: Hooked) -> None:
    hooked.send(gzip.compress(lead()))
    assert len(hooked.shop.queue.bodies) == 1


# The signature


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "sha256=",
        "sha256=" + "0" * 64,
        signed(lead(), "another secret of 32 characters."),
        signed(lead("2")),
        signed(lead())[:-1],
        signed(lead()) + "0",
        signed(lead()) + "\n",
        signed(lead()).removeprefix("sha256="),
        "sha1=" + hmac.new(SECRET.encode(), lead(), hashlib.sha1).hexdigest(),
        "SHA256=" + signed(lead()).removeprefix("sha256="),
        "sha256=" + "é" * 64,
        "sha256=" + "١" * 64,
    ],
)
def test_a_body_without_its_signature_is_refused(hooked: Hooked, signature: str | None) -> None:
    status, answer = hooked.post(lead(), signature)
    assert (status, answer["code"]) == (401, "bad_signature")
    assert events_queued(hooked) == []


def events_queued(hooked: Hooked) -> list[Json]:
    told = map(hooked.served.wiring.transit.open, hooked.shop.queue.bodies)
    return [event for message in told for event in message["events"]]


def counted(hooked: Hooked) -> dict[str, int]:
    hooked.served.unify()
    told = outcomes.listing(hooked.shop.rows, 30, hooked.shop.clock())
    return {name: count for one in told for name, count in one["outcomes"].items()}


def test_bad_signatures_are_counted_once_a_minute(hooked: Hooked) -> None:
    """So that they show, and a flood of them is no flood of messages."""
    for seconds in (0, 30, 29, 1, 30):
        hooked.shop.clock.advance(seconds)
        hooked.post(lead(), signed(lead("2")))

    assert counted(hooked) == {"request_refused:bad_signature": 2}


def test_a_body_of_which_nothing_is_read_is_told_and_counted(hooked: Hooked) -> None:
    body = lead().replace(b'"leadgen"', b'"feed"')

    (said,) = hooked.send(body)["refused"]

    assert said["code"] == "no_item"
    assert counted(hooked) == {"refused:no_item": 1}


def test_hex_has_no_case(hooked: Hooked) -> None:
    scheme, _, digest = signed(lead()).partition("=")
    assert hooked.post(lead(), f"{scheme}={digest.upper()}")[0] == 200


@given(st.data())
def test_one_changed_bit_of_body_or_signature_is_enough(data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        hooked, body = Hooked(monkeypatch), lead()
        digest = bytes.fromhex(signed(body).removeprefix("sha256="))
        whole = bytearray(digest + body)
        bit = data.draw(st.integers(0, len(whole) * 8 - 1))
        whole[bit // 8] ^= 1 << bit % 8
        signature = f"sha256={bytes(whole[:32]).hex()}"
        assert hooked.post(bytes(whole[32:]), signature)[0] == 401
        assert events_queued(hooked) == []


def test_a_source_without_a_secret_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hooked = Hooked(monkeypatch, secret=None)
    for signature in (None, signed(lead(), ""), signed(lead())):
        status, answer = hooked.post(lead(), signature)
        assert (status, answer["code"]) == (401, "no_secret")
    assert hooked.handshake()["statusCode"] == 401


@pytest.mark.parametrize("kind", ["unknown", "revoked", "server", "token"])
def test_only_a_living_webhooks_key_is_one(hooked: Hooked, kind: str) -> None:
    keys = {
        "unknown": "wk_unknown",
        "revoked": hooked.key,
        "server": hooked.served.write_key("server"),
        "token": hooked.served.token("admin"),
    }
    if kind == "revoked":
        credentials.revoke(hooked.shop.rows, hooked.id, NOW)
    status, answer = hooked.post(lead(), signed(lead()), keys[kind])
    assert (status, answer["code"]) == (401, "unknown_key")
    assert hooked.handshake(keys[kind])["statusCode"] == 401


def test_a_webhooks_key_opens_nothing_else(hooked: Hooked) -> None:
    """Because it stands in addresses, and what signs a body is the secret."""
    basic = base64.b64encode(f"{hooked.key}:".encode()).decode()
    for headers, body in (
        ({"Authorization": f"Bearer {hooked.key}"}, {}),
        ({"Authorization": f"Basic {basic}"}, {}),
        ({}, {"writeKey": hooked.key}),
    ):
        sent = json.dumps({"batch": [order("1", userId="42")]} | body)
        event = {"resource": "/batch", "httpMethod": "POST", "headers": headers, "body": sent}
        answer = hooked.served.invoke("collect", event)
        assert answer["statusCode"] == 401
    choice = {"userId": "42", "purposes": {"marketing": True}, "writeKey": hooked.key}
    event = {"resource": "/consents", "httpMethod": "POST", "body": json.dumps(choice)}
    assert hooked.served.invoke("api", event)["statusCode"] == 401


# The handshake


def test_the_challenge_is_answered_as_it_came(hooked: Hooked) -> None:
    answer = hooked.handshake()
    assert (answer["statusCode"], answer["body"]) == (200, "1158201444")
    assert answer["headers"]["Content-Type"].startswith("text/plain")
    assert answer["headers"]["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"verify_token": "wrong"}, 401),
        ({"verify_token": ""}, 401),
        ({"verify_token": "é"}, 401),
        ({"verify_token": SECRET}, 401),
        ({"mode": "unsubscribe"}, 400),
        ({"challenge": ""}, 400),
        ({"challenge": "<script>alert(1)</script>"}, 400),
        ({"challenge": "1" * 257}, 400),
    ],
)
def test_no_other_handshake_is_answered(hooked: Hooked, query: Json, status: int) -> None:
    answer = hooked.handshake(**query)
    assert answer["statusCode"] == status
    assert json.loads(answer["body"])["success"] is False


def test_the_token_of_one_webhook_is_not_anothers(hooked: Hooked) -> None:
    rows, vault = hooked.shop.rows, hooked.shop.world.vault
    other, key = credentials.issue(rows, HOOK, NOW)
    credentials.share_secret(rows, vault, other, "x" * 32)
    assert hooked.handshake(key)["statusCode"] == 401


def test_a_request_without_a_query_is_no_handshake(hooked: Hooked) -> None:
    event = {
        "resource": "/webhooks/{key}",
        "httpMethod": "GET",
        "pathParameters": {"key": hooked.key},
        "queryStringParameters": None,
    }
    assert hooked.served.invoke("collect", event)["statusCode"] == 401


# Replays


def test_a_replay_stores_nothing_twice(hooked: Hooked) -> None:
    body = lead(ago=HOUR)
    for later in (0, 60, 2 * HOUR):
        hooked.shop.clock.now = NOW + later
        hooked.send(body)
        hooked.served.unify()
    assert len(hooked.shop.rows.held("events")) == 1
    assert len(hooked.shop.event_ids(LEA)) == 1


def test_a_lead_that_comes_again_among_others_is_one_event(hooked: Hooked) -> None:
    """As a sender may bundle differently what it sends again."""
    one, two = json.loads(lead("1")), json.loads(lead("2"))
    both = {"object": "page", "entry": one["entry"] + two["entry"]}
    hooked.send(lead("1"))
    hooked.send(json.dumps(both).encode())
    hooked.served.unify()
    assert len(hooked.shop.event_ids(LEA)) == 2


@pytest.mark.parametrize(("ago", "taken"), [(36, True), (36.01, False), (-0.05, True), (-1, False)])
def test_a_lead_from_outside_the_window_is_refused(hooked: Hooked, ago: float, taken: bool) -> None:
    """As long ago as Meta tries again; and a clock may be a little fast."""
    answer = hooked.send(lead(ago=ago * HOUR))
    hooked.served.unify()
    assert (hooked.shop.node(LEA) is not None) == taken
    assert [one["code"] for one in answer.get("refused", [])] == [
        *([] if taken else ["outside_window"])
    ]


def test_a_replay_after_the_window_is_refused_and_counted(hooked: Hooked) -> None:
    body = lead()
    hooked.shop.clock.advance(37 * HOUR)
    assert [one["code"] for one in hooked.send(body)["refused"]] == ["outside_window"]
    (queued,) = hooked.shop.queue.bodies
    message = hooked.served.wiring.transit.open(queued)
    assert message["events"] == []
    assert message["counts"] == {"refused:outside_window": 1}


def test_a_replay_after_the_erasure_meets_the_fence(hooked: Hooked) -> None:
    body = lead(ago=60)
    hooked.send(body)
    hooked.served.unify()
    hooked.shop.erase(LEA)
    hooked.send(body)
    hooked.served.unify()
    assert hooked.shop.rows.held("events") == []
    assert hooked.shop.node(LEA) is None


@pytest.mark.parametrize(
    "time", [None, "", "soon", True, [1], {"t": 1}, -1, 1e999, "9" * 400, "0001-01-01"]
)
def test_a_lead_without_a_signed_time_is_refused(hooked: Hooked, time: Any) -> None:
    body = json.loads(lead())
    body["entry"][0]["changes"][0]["value"]["created_time"] = time
    text = json.dumps(body).replace("Infinity", "1e308").encode()
    (refused,) = hooked.send(text)["refused"]
    assert refused["code"] in {"no_timestamp", "outside_window"}


@pytest.mark.parametrize("id_", [None, "", " ", True, ["1"], {}])
def test_a_lead_without_an_id_is_refused(hooked: Hooked, id_: Any) -> None:
    body = json.loads(lead())
    body["entry"][0]["changes"][0]["value"]["leadgen_id"] = id_
    (refused,) = hooked.send(json.dumps(body).encode())["refused"]
    assert refused["code"] == "no_id"


def test_what_is_wrong_is_told_of_the_item_and_takes_no_other_along(hooked: Hooked) -> None:
    leads = [
        lead("1", ago=40 * HOUR),
        lead("2", email="", phone_number=""),
        lead("3", newsletter="perhaps"),
        lead("4", email="max@example.com", phone_number=""),
    ]
    entries = [entry for one in leads for entry in json.loads(one)["entry"]]
    answer = hooked.send(json.dumps({"entry": entries}).encode())
    assert [(one["index"], one["code"]) for one in answer["refused"]] == [
        (0, "outside_window"),
        (1, "no_identifier"),
        (2, "bad_boolean"),
    ]
    hooked.served.unify()
    assert hooked.shop.event_ids("email:max@example.com")


# Hostile bodies


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b'{"entry": NaN}', 400),
        (b'{"a":' * 20_000, 400),
        (b"x" * 600_000, 400),
        (gzip.compress(b" " * 600_000), 400),
        (b'{"entry": [' + b'{"changes": [{"field": "leadgen"}]},' * 1001 + b"0]}", 400),
        (b"{}", 200),
        (b'{"entry": null}', 200),
        (b'{"entry": [{"changes": {"field": "leadgen"}}, 1, [], null]}', 200),
        (b'{"entry": [{"changes": [{"field": "feed"}]}]}', 200),
    ],
)
def test_a_signed_body_may_hold_anything(hooked: Hooked, body: bytes, status: int) -> None:
    assert hooked.post(body, signed(body))[0] == status


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["entry", "changes", "field", "value", "field_data", "name", "values"]),
            inner | st.just("leadgen"),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_whatever_a_body_holds_is_read_or_refused(tree: Any) -> None:
    form = Form.of(SHIPPED.webhooks["lead_form"])
    changes = {"field": "leadgen", "value": tree}
    for body in ({"entry": tree}, {"entry": [{"changes": [changes, tree]}]}):
        items = form.items(body, NOW)
        assert len(items.events) == len(items.places)


def test_a_body_is_refused_when_its_mapping_is_gone(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, vault = hooked.shop.rows, hooked.shop.world.vault
    hooked.id, hooked.key = credentials.issue(rows, HOOK | {"mapping": "gone"}, NOW)
    credentials.share_secret(rows, vault, hooked.id, SECRET)
    status, answer = hooked.post(lead(), signed(lead()))
    assert (status, answer["code"]) == (400, "unknown_mapping")


# Paths and keys


def test_a_path_finds_what_is_there() -> None:
    tree = {"a": [{"b": [1, 2]}, {"b": [3]}, {}], "c": {"d": None}}
    assert list(Path.of("a[].b[]").all(tree)) == [1, 2, 3]
    assert list(Path.of("a[].b[1]").all(tree)) == [2]
    assert Path.of("a[1].b").one(tree) == [3]
    assert Path.of("c.d.e").one(tree) is None
    assert list(Path.of("c.d").all(tree)) == [None]


@pytest.mark.parametrize("text", ["", ".", "a..b", "a[", "a]", "a[x]", "[]", "a[-1]", "a[]b"])
def test_a_path_that_is_none_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        Path.of(text)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"mapping": None}, "unknown_mapping"),
        ({"mapping": "other"}, "unknown_mapping"),
        ({"trust": "client"}, "bad_trust"),
        ({"source": "crm"}, "unknown_mapping"),
    ],
)
def test_a_webhook_is_made_with_a_mapping_and_no_other_source_is(
    hooked: Hooked, change: Json, code: str
) -> None:
    spec = {name: value for name, value in (HOOK | change).items() if value}
    event = {
        "resource": "/keys",
        "httpMethod": "POST",
        "headers": {"Authorization": f"Bearer {hooked.served.token('admin')}"},
        "body": json.dumps(spec),
    }
    answer = hooked.served.invoke("privacy", event)
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (400, code)
    event["body"] = json.dumps(HOOK)
    made = json.loads(hooked.served.invoke("privacy", event)["body"])
    assert made["mapping"] == "lead_form"
