"""The OWASP API Security Top 10 of 2023, each item with a test that is named after it, against the
whole API as it is deployed: what an attacker would try, and that it fails.

https://owasp.org/API-Security/editions/2023/en/0x11-t10/
"""

import hashlib
import hmac
import json
import re
import socket
import time
import tracemalloc
from typing import Any

import boto3
import pytest

from candor import audit, credentials, proofs
from cli import openapi
from tests import hostile
from tests.moto.conftest import TEMPLATE, Cloud, Json, sqs_record
from tests.moto.test_erasure import ASKED, ask, shown
from tests.moto.test_journey import CANARY, MAIL, read, visit

ANN = f"{CANARY}-42"
ID = "0" * 32
SOURCES = ("client", "server")
PARTS = ("", "/traits", "/events", "/identifiers", "/links", "/consents")
OPEN = {
    "/policy",
    "/signing-key",
    "/openapi.json",
    "/docs",
    "/projects/{writeKey}/settings",
    "/webhooks/{key}",
    "/privacy/callbacks/{callback}",
}
"""What needs no key in a header. A webhook's key is in its path, and its body is signed; the path
of a callback is given to one destination, for one answer."""
STAFF = {
    **{f"/profiles/{{identifier}}{part}": {"dpo", "analyst", "marketer"} for part in PARTS},
    "/profiles/{identifier}/why": {"dpo", "analyst", "marketer"},
    "/profiles/{identifier}/consents/receipt": {"dpo", "analyst", "marketer"},
    "/profiles/{identifier}/consents/explain": {"dpo", "analyst", "marketer"},
    "/profiles/{identifier}/consents/rebuild": {"dpo"},
    **{f"/profiles/{{identifier}}/{part}": {"dpo"} for part in ("unlink", "relink", "quarantine")},
    "/quarantine": {"dpo"},
    "/profiles/query": {"dpo", "analyst", "marketer"},
    "/outcomes": {"admin", "dpo"},
    "/privacy/requests": {"dpo"},
    "/privacy/requests/{id}": {"dpo"},
    "/privacy/requests/{id}/approve": {"dpo"},
    "/privacy/requests/{id}/refuse": {"dpo"},
    "/privacy/bulk": {"dpo"},
    "/privacy/bulk/{id}": {"dpo"},
    "/holds": {"dpo"},
    "/holds/{id}": {"dpo"},
    "/fences/{identifier}": {"dpo"},
    "/retention": {"admin", "dpo"},
    "/keys": {"admin"},
    "/keys/{id}": {"admin"},
    "/keys/{id}/secret": {"admin"},
}
"""Who may what. Everything else is for sources, and `/consents` for both."""


@pytest.fixture
def keys(cloud: Cloud) -> dict[str, str]:
    """Everybody's, by who they are."""
    rows = cloud.functions["privacy"].module.wiring.rows
    spec = {"kind": "token", "name": "m", "role": "marketer", "purposes": ["marketing"]}
    marketer = credentials.issue(rows, spec, time.time())[1]
    return {**cloud.write_keys, **cloud.tokens, "marketer": marketer}


def closed(cloud: Cloud) -> list[tuple[str, str]]:
    """Methods and resources that need a key."""
    return [(m, p) for m, p, _ in cloud.routes if m != "OPTIONS" and p not in OPEN]


def may(resource: str) -> set[str]:
    if resource == "/consents":
        return {*SOURCES, "dpo"}
    return STAFF.get(resource, {*SOURCES})


def path_of(resource: str) -> str:
    filled = resource.replace("{identifier}", f"user_id:{ANN}").replace("{id}", ID)
    return filled.replace("{type}", "track?data=e30")


def body_of(method: str) -> Any:
    """As short as it gets, so that whoever may is told what is wrong with it."""
    return {} if method == "POST" else None


def consents(cloud: Cloud, purpose: str) -> str:
    state: str = read(cloud)["consents"][purpose]["state"]
    return state


def test_api1_broken_object_level_authorization(cloud: Cloud, keys: dict[str, str]) -> None:
    """Objects are people, keys and requests: no key reaches one that is not its own to reach."""
    visit(cloud)
    request = ask(cloud).body["id"]
    key = cloud.call("GET", "/keys", key=keys["admin"]).body["data"][0]["id"]
    for who in ("", "client", "server", "admin"):
        for part in PARTS:
            answer = cloud.call("GET", f"/profiles/user_id:{ANN}{part}", key=keys.get(who, ""))
            assert answer.status in (401, 403), (who, part)
        body = {"identifier": {"type": "email", "value": MAIL}}
        answer = cloud.call("POST", "/profiles/query", body, key=keys.get(who, ""))
        assert answer.status in (401, 403), who
    for path, who in (
        (f"/privacy/requests/{key}", "dpo"),
        (f"/privacy/requests/{ID}", "dpo"),
        (f"/privacy/requests/{request}", "admin"),
    ):
        answer = cloud.call("GET", path, key=keys[who])
        assert answer.status in (403, 404), path
    for path in (f"/keys/{request}", f"/keys/{ID}"):
        assert cloud.call("DELETE", path, key=keys["admin"]).status == 404
    token = next(
        one["id"]
        for one in cloud.call("GET", "/keys", key=keys["admin"]).body["data"]
        if one["kind"] == "token"
    )
    answer = cloud.call("POST", f"/keys/{token}/secret", {}, key=keys["admin"])
    assert answer.status == 404, "only sources share secrets"


def test_api1_broken_object_level_authorization_of_writes(
    cloud: Cloud, keys: dict[str, str]
) -> None:
    """A public key names anybody it likes, and changes nothing of them."""
    ann = {"type": "identify", "userId": ANN, "traits": {"email": MAIL, "name": CANARY}}
    cloud.call("POST", "/batch", {"batch": [ann]}, key=keys["server"])
    cloud.pump()
    grant = {"userId": ANN, "anonymousId": "mallory", "purposes": {"marketing": True}}
    assert cloud.call("POST", "/consents", grant, key=keys["client"]).status == 200
    mallory = {"userId": ANN, "anonymousId": "mallory"}
    lies = {"name": "Mallory", "email": "mallory@example.com"}
    yes = {"consent": {"categoryPreferences": {"marketing": True}}}
    batch = [
        {"type": "identify", **ids, "traits": lies, "context": yes}
        for ids in (mallory, {"userId": ANN})
    ]
    batch += [{"type": "alias", "userId": ANN, "previousId": "mallory-2"}]
    assert cloud.call("POST", "/batch", {"batch": batch}, key=keys["client"]).status == 200
    cloud.pump()

    after = read(cloud)
    assert after["traits"] == {"name": CANARY, "email": MAIL}
    mails = [one["value"] for one in after["identifiers"]["data"] if one["type"] == "email"]
    assert mails == [MAIL]
    assert CANARY not in json.dumps(read(cloud, purpose="marketing")["traits"])


def test_api2_broken_authentication(cloud: Cloud, keys: dict[str, str]) -> None:
    """No call is answered without a key that is valid now, nor with one of the other kind."""
    listed = cloud.call("GET", "/keys", key=keys["admin"]).body["data"]
    (gone,) = (one["id"] for one in listed if one["name"] == "marketer" or one["name"] == "m")
    assert cloud.call("DELETE", f"/keys/{gone}", key=keys["admin"]).status == 200
    cloud.later += credentials.CACHED_SECONDS + 1
    for method, resource in closed(cloud):
        if resource == "/consents":  # whose body may hold the key, so that it comes first
            assert cloud.call(method, resource, {"x": 1}, key="").status == 400
            assert cloud.call(method, resource, {}, key="").status == 401
            continue
        wrong = ["", "x", "wk_", "tk_", keys["marketer"], keys["client"][:-1]]
        wrong += [keys[who] for who in SOURCES if resource in STAFF]
        wrong += [keys["analyst"]] if resource not in STAFF else []
        for key in wrong:
            answer = cloud.call(method, path_of(resource), body_of(method), key=key)
            assert answer.status == 401, (method, resource, key[:3])
    held = cloud.held() + cloud.said.getvalue()
    assert not [who for who, key in keys.items() if key in held], "keys are nowhere kept"


@pytest.mark.parametrize(
    "proof",
    [
        lambda secret: proofs.make(secret, ANN, int(time.time()) - 1),
        lambda secret: proofs.make(secret, "mallory", int(time.time()) + 60),
        lambda secret: proofs.make(secret[:-1], ANN, int(time.time()) + 60),
        lambda secret: proofs.make(secret, ANN, int(time.time()) + 10 * 365 * 86_400),
        lambda secret: proofs.make("", ANN, int(time.time()) + 60),
        lambda secret: proofs.make(secret, ANN, int(time.time()) + 60).partition(".")[0] + ".",
    ],
)
def test_api2_broken_authentication_by_proofs(
    cloud: Cloud, keys: dict[str, str], proof: Any
) -> None:
    """A browser is nobody's on the word of a proof that is old, another's or made up."""
    visit(cloud)
    listed = cloud.call("GET", "/keys", key=keys["admin"]).body["data"]
    (source,) = (one["id"] for one in listed if one.get("trust") == "client")
    shared = cloud.call("POST", f"/keys/{source}/secret", {}, key=keys["admin"]).body["secret"]
    cloud.later += credentials.CACHED_SECONDS + 1

    def called(name: str, proven: str) -> Json:
        context = {"identityProof": proven}
        event = {"type": "identify", "userId": ANN, "traits": {"name": name}, "context": context}
        answer = cloud.call("POST", "/batch", {"batch": [event]}, key=keys["client"])
        cloud.pump()
        body: Json = answer.body
        return body

    told = called("Mallory", proof(shared))
    assert told["notes"][0]["code"] == "bad_identity_proof"
    assert read(cloud)["traits"]["name"] == CANARY
    # And with a good one it is hers.
    assert "notes" not in called("Ann", proofs.make(shared, ANN, int(time.time()) + 600))
    assert read(cloud)["traits"]["name"] == "Ann"


CHOICE = {"userId": ANN, "purposes": {"marketing": True}}


def source_spec(**more: Any) -> Json:
    return {"kind": "source", "name": "s", "source": "website", "trust": "client", **more}


@pytest.mark.parametrize(
    ("path", "who", "body"),
    [
        ("/keys", "admin", source_spec(role="admin")),
        ("/keys", "admin", source_spec(trust="verified")),
        ("/keys", "admin", source_spec(secret="0123456789abcdef")),
        ("/keys", "admin", source_spec(created=0)),
        ("/keys", "admin", {"kind": "token", "name": "t", "role": "root", "purposes": ["service"]}),
        ("/privacy/requests", "dpo", {**ASKED, "status": "completed"}),
        ("/privacy/requests", "dpo", {**ASKED, "members": {}}),
        ("/consents", "client", {**CHOICE, "trust": "server"}),
        ("/consents", "client", {**CHOICE, "binds": "profile"}),
        ("/profiles/query", "dpo", {"identifier": {"type": "email", "value": MAIL, "x": 1}}),
    ],
)
def test_api3_broken_object_property_level_authorization(
    cloud: Cloud, keys: dict[str, str], path: str, who: str, body: Json
) -> None:
    """Nobody sets a property that is not theirs to set."""
    answer = cloud.call("POST", path, body, key=keys[who])
    assert (answer.status, answer.body["code"]) == (400, "bad_body")


def test_api3_broken_object_property_level_authorization_of_events(
    cloud: Cloud, keys: dict[str, str]
) -> None:
    """What our own messages say of an event is not taken from who sends it."""
    visit(cloud)
    own = {"trust": "verified", "source": {"trust": "server"}, "ids": [["user_id", ANN]], "by": ANN}
    event = {"type": "identify", "userId": ANN, "traits": {"name": "Mallory"}, **own}
    answer = cloud.call("POST", "/batch", {"batch": [event], **own}, key=keys["client"])
    cloud.pump()

    assert {one["name"] for one in answer.body["stripped"]} == {"trust", "source", "ids", "by"}
    assert read(cloud)["traits"]["name"] == CANARY


def test_api3_excessive_data_exposure(cloud: Cloud, keys: dict[str, str]) -> None:
    """A reader gets the properties that its purpose may have; lists tell no secrets."""
    visit(cloud)
    headers = {"X-Purpose": "analytics"}
    answer = cloud.call("GET", f"/profiles/user_id:{ANN}", key=keys["marketer"], **headers)
    assert (answer.status, answer.body["code"]) == (403, "purpose_not_allowed")
    seen = read(cloud, purpose="analytics", who="analyst")
    assert MAIL not in json.dumps(seen)
    assert {"email", "name"} <= {one["name"] for one in seen["withheld"]}

    id_ = ask(cloud).body["id"]
    said = json.dumps([shown(cloud, id_), cloud.call("GET", "/keys", key=keys["admin"]).body])
    assert CANARY not in said
    assert not re.search(r'"(salt|secret|key|members|subject|verified_by)":', said)


def test_api4_unrestricted_resource_consumption(cloud: Cloud, keys: dict[str, str]) -> None:
    """Bodies, batches, events, pages and rates are all bounded; so is what one sender leaves."""
    bombs = [one for one in hostile.bodies() if "bomb" in one[0]]
    assert len(bombs) == 3
    for name, body, _ in bombs:
        tracemalloc.start()
        assert cloud.call("POST", "/batch", body, key=keys["client"]).status == 400, name
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20 * len(body) + 20_000_000, f"{name} was unpacked"
    for limit in ("501", "1000000000", "-1", "0", "x", "1e9"):
        path = f"/profiles/user_id:{ANN}/events?limit={limit}"
        answer = cloud.call("GET", path, key=keys["dpo"])
        assert answer.status == 400, limit
    big = {"identifier": {"type": "email", "value": "x" * 20_000}}
    assert cloud.call("POST", "/profiles/query", big, key=keys["dpo"]).status == 400

    names = [
        {**hostile.EVENT, "properties": {f"n{n}x{m}": 1 for m in range(100)}} for n in range(30)
    ]
    answer = cloud.call("POST", "/batch", {"batch": names}, key=keys["client"])
    assert len(answer.body["stripped"]) == 200
    assert answer.body["untold"]["stripped"] == 2_800
    flood = [{**hostile.EVENT, "anonymousId": f"flood-{n}"} for n in range(60)]
    cloud.call("POST", "/batch", {"batch": flood}, key=keys["server"])
    cloud.pump()
    listed = cloud.call("GET", "/outcomes", key=keys["admin"]).body["data"]
    assert max(len(one["names"]) for one in listed) == 200
    found = cloud.call("GET", "/profiles/user_id:mallory/identifiers", key=keys["dpo"]).body
    assert len(found["data"]) == 51, "the user and as many browsers as the policy allows"

    (settings,) = TEMPLATE["Resources"]["Api"]["Properties"]["MethodSettings"]
    assert settings["ResourcePath"] == "/*"
    assert 0 < settings["ThrottlingRateLimit"] <= settings["ThrottlingBurstLimit"]


def test_api5_broken_function_level_authorization(cloud: Cloud, keys: dict[str, str]) -> None:
    """Each function is for those whom the table above names, and for nobody else."""
    for method, resource in closed(cloud):
        for who, key in keys.items():
            answer = cloud.call(method, path_of(resource), body_of(method), key=key)
            refused = answer.status in (401, 403)
            assert refused != (who in may(resource)), (method, resource, who, answer.body)


def test_api6_unrestricted_access_to_sensitive_business_flows(
    cloud: Cloud, keys: dict[str, str]
) -> None:
    """To be forgotten, to come back and to agree are flows that a script with a public key could
    drive for others: it erases nobody, brings nobody back, and every step of staff is on record."""
    visit(cloud)
    for who in ("client", "server", "analyst", "admin"):
        assert cloud.call("POST", "/privacy/requests", ASKED, key=keys[who]).status in (401, 403)
    assert read(cloud)["traits"]["name"] == CANARY
    id_ = ask(cloud).body["id"]
    assert cloud.settled(id_) == "SUCCEEDED"
    cloud.later += 3600
    for choice in ({"userId": ANN}, {"subject": {"type": "email", "value": MAIL}}):
        body = {**choice, "anonymousId": "mallory", "purposes": {"marketing": True}}
        assert cloud.call("POST", "/consents", body, key=keys["client"]).status == 200
    event = {**hostile.EVENT, "userId": ANN}
    cloud.call("POST", "/batch", {"batch": [event]}, key=keys["client"])
    cloud.pump()
    answer = cloud.call("GET", f"/profiles/user_id:{ANN}", key=keys["dpo"])
    assert answer.status == 404, "a public key brings nobody back"

    rows = cloud.functions["audit"].module.wiring.rows
    told = [one["action"] for block in rows.query("audit", audit.LOG) for one in block["entries"]]
    assert told.count("privacy.requested") == 1


URLS = (
    *("http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:9/", "file:///etc/passwd"),
    *("gopher://localhost:6379/_", "https://example.com/x.json", "//example.com/x"),
)


def test_api7_server_side_request_forgery(
    cloud: Cloud, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is sent is ever fetched: no field of any call makes a connection."""
    tried = []

    def connect(*address: Any, **_: Any) -> None:
        tried.append(address)
        raise OSError("no connection in this test")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    for url in URLS:
        page = {"url": url, "referrer": url, "path": url}
        context = {"page": page, "campaign": {"source": url}, **hostile.SHARED["context"]}
        properties = {"url": url, "image_url": url, "products": [{"image_url": url}]}
        event = {**hostile.EVENT, "userId": url, "properties": properties, "context": context}
        traits = {"avatar": url, "website": url}
        batch = [event, {"type": "identify", "userId": url, "traits": traits}]
        cloud.call("POST", "/batch", {"batch": batch}, key=keys["server"], Host=url, Referer=url)
        cloud.call("POST", "/consents", {"userId": url, "purposes": {"marketing": True}}, key=url)
        body = {"identifier": {"type": "user_id", "value": url}}
        cloud.call("POST", "/profiles/query", body, key=keys["dpo"])
    cloud.pump()
    assert tried == []


def test_api8_security_misconfiguration(
    cloud: Cloud, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers are cached by nobody, show no insides, and open no browser's session to others."""
    visit(cloud)
    for method, resource in closed(cloud):
        for key in ("", keys["dpo"], keys["admin"], keys["client"]):
            answer = cloud.call(method, path_of(resource), body_of(method), key=key)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            assert headers["cache-control"] == "no-store"
            assert "access-control-allow-credentials" not in headers
            assert not {"server", "x-powered-by", "set-cookie"} & headers.keys()

    def defect(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"{CANARY} in /var/task/candor.py")

    monkeypatch.setattr(cloud.functions["api"].module.profiles, "view", defect)
    answer = cloud.call("GET", f"/profiles/user_id:{ANN}", key=keys["dpo"])
    assert answer.status == 500
    assert answer.body == {
        "success": False,
        "code": "internal",
        "message": "Something failed here.",
    }
    resources = TEMPLATE["Resources"]
    api = resources["Api"]["Properties"]
    assert all(not one["DataTraceEnabled"] for one in api["MethodSettings"])
    # Neither the path nor the query, which name people, nor where the caller is.
    logged = set(re.findall(r"\$context\.(\w+)", api["AccessLogSetting"]["Format"]))
    assert not logged & {"path", "identity", "requestOverride", "authorizer"}
    for name, one in resources.items():
        if one["Type"] == "AWS::S3::Bucket":
            assert all(one["Properties"]["PublicAccessBlockConfiguration"].values()), name
        if one["Type"] in ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy"):
            for statement in one["Properties"]["PolicyDocument"]["Statement"]:
                assert statement["Principal"].keys() == {"Service"}, name
                assert "aws:SourceAccount" in statement["Condition"]["StringEquals"], name
        assert "FunctionUrlConfig" not in one.get("Properties", {}), name


def test_api9_improper_inventory_management(cloud: Cloud) -> None:
    """What is deployed, what the code answers and what the document tells are the same."""
    told = {
        (method.upper(), path)
        for path, methods in openapi.document()["paths"].items()
        for method in methods
    }
    answered = {
        route
        for name in ("collect", "api", "privacy")
        for route in cloud.functions[name].module.ROUTES
    }
    deployed = {(method, path) for method, path, _ in cloud.routes}
    assert deployed == answered
    assert told == {route for route in deployed if route[0] != "OPTIONS"}
    assert TEMPLATE["Resources"]["Api"]["Properties"]["StageName"] == "v1"
    stages = [n for n, one in TEMPLATE["Resources"].items() if "Stage" in one["Type"]]
    assert stages == [], "one version, and no other that is forgotten"


def lead(now: float, **more: Any) -> Json:
    fields = [{"name": "email", "values": ["lead@example.com"]}]
    value = {"leadgen_id": "77", "created_time": int(now), "field_data": fields, **more}
    return {"object": "page", "entry": [{"changes": [{"field": "leadgen", "value": value}]}]}


def test_api10_unsafe_consumption_of_apis(cloud: Cloud, keys: dict[str, str]) -> None:
    """What others' systems send us is as hostile as any: a webhook's body counts by its signature
    only, is read as strictly, and cannot stop what comes after it."""
    spec = source_spec(source="webhook", trust="server", mapping="lead_form")
    made = cloud.call("POST", "/keys", spec, key=keys["admin"]).body
    path = f"/webhooks/{made['key']}"
    shared = cloud.call("POST", f"/keys/{made['id']}/secret", {}, key=keys["admin"]).body["secret"]

    def post(body: Any, secret: str = shared) -> tuple[int, Json]:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
        answer = cloud.call("POST", path, text, **{"X-Hub-Signature-256": f"sha256={signed}"})
        return answer.status, answer.body

    assert post(lead(time.time()), "another secret")[0] == 401
    assert cloud.call("POST", path, lead(time.time())).status == 401
    cloud.drain()
    assert boto3.client("dynamodb").scan(TableName="candor-graph")["Count"] == 0
    for _, body, _ in hostile.bodies():
        status, told = post(body)
        assert status in (200, 400)
        assert hostile.undocumented(status, told) == []
    for value in hostile.VALUES:
        for more in ({"field_data": value}, {"leadgen_id": value}, {"created_time": value}):
            status, told = post(lead(time.time(), **more))
            assert hostile.undocumented(status, told) == [], more
        assert post({"entry": value})[0] in (200, 400)
    assert post(lead(time.time()))[0] == 200
    cloud.pump()
    found = cloud.call("GET", "/profiles/email:lead@example.com", key=keys["dpo"])
    assert found.status == 200, "whatever came before it"


def test_api10_unsafe_consumption_of_apis_of_aws(cloud: Cloud, keys: dict[str, str]) -> None:
    """Nor is a queue believed: who can write into it, and has no transit key, says nothing."""
    forged = {"v": 1, "received": 1, "source": {"id": "x", "kind": "crm", "trust": "server"}}
    forged["events"] = [{"type": "identify", "ids": [["user_id", "mallory"]]}]
    bodies = [json.dumps(forged), f"{int(time.time()) // 3600 * 3600}.{json.dumps(forged)}", "x"]
    cloud.call("POST", "/batch", {"batch": [hostile.EVENT]}, key=keys["server"])
    url = cloud.outputs["EventsQueueUrl"]
    (real,) = boto3.client("sqs").receive_message(QueueUrl=url)["Messages"]
    records = [sqs_record(body, f"m{n}") for n, body in enumerate([*bodies, real["Body"]])]
    failed = cloud.functions["unify"]({"Records": records})["batchItemFailures"]

    assert [one["itemIdentifier"] for one in failed] == ["m0", "m1", "m2"]
    found = cloud.call("GET", "/profiles/user_id:mallory/events", key=keys["dpo"])
    assert len(found.body["data"]) == 1, "the real one alone"
