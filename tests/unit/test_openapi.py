"""openapi.json says what the code, the template and real answers say."""

import argparse
import hmac
import json
import re
import shlex
from base64 import b64encode
from typing import Any
from urllib.parse import parse_qsl

import pytest
from openapi_spec_validator import validate

from candor import erasure, holds, requests, separation
from candor.ports import Key, Update
from cli import docs, openapi
from functions.api import api_function
from tests import lint_template
from tests.described import SERVING, Caller
from tests.served import Served
from tests.worlds import CRM, NOW, WEB, Shop, order, says, sent

Json = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Json:
    written: Json = json.loads(openapi.OUT.read_text())
    return written


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    return Served(monkeypatch)


def template_routes(name: str) -> set[tuple[str, str]]:
    """Methods and paths that the template hands to a function."""
    function = lint_template.template()["Resources"][f"{name}Function"]["Properties"]
    events = [event for event in function["Events"].values() if event["Type"] == "Api"]
    return {(one["Properties"]["Method"].upper(), one["Properties"]["Path"]) for one in events}


def test_the_committed_file_is_what_the_code_makes() -> None:
    assert openapi.OUT.read_text() == openapi.text(), "run `make openapi` and commit openapi.json"


def test_it_is_valid_openapi(document: Json) -> None:
    validate(document)


@pytest.mark.parametrize("name", SERVING)
def test_each_function_serves_what_the_template_sends_it(name: str) -> None:
    assert set(SERVING[name]) == template_routes(name)


def test_it_describes_every_route_of_the_template(document: Json) -> None:
    routes = {route for name in SERVING for route in template_routes(name)}
    described = {
        (verb.upper(), path) for path, verbs in document["paths"].items() for verb in verbs
    }
    assert described == {(method, path) for method, path in routes if method != "OPTIONS"}


def test_it_names_the_gateways_codes() -> None:
    gateway = lint_template.template()["Resources"]["Api"]["Properties"]["GatewayResponses"]
    raised = set(re.findall(r'"code":"(\w+)"', json.dumps(gateway).replace("\\", "")))
    assert raised == {*openapi.GATEWAY.values(), "internal"}


def test_every_call_is_described_once(document: Json) -> None:
    operations = [one for verbs in document["paths"].values() for one in verbs.values()]
    assert all(one["summary"] for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert set(openapi.PARTS) == {part.strip("/") for part in api_function.READS}


@pytest.fixture
def call(served: Served, document: Json) -> Caller:
    return Caller(served, document)


def test_answers_to_sources_are_as_described(call: Caller) -> None:
    key = call.served.write_key()
    new = {"type": "track", "event": "Never Named", "userId": "42", "messageId": "n"}
    seen = sent("track", "p", 5, event="Product Viewed", anonymousId="d", properties={"shoe": 43})
    bought = order("o", 9, userId="42")
    told = call("POST", "/batch", {"batch": [bought, seen, new, {"type": "page"}]}, key=key)
    assert told.keys() == {"success", "refused", "stripped", "notes"}
    many = {"batch": [new] * 201}
    assert call("POST", "/import", many, key=key)["untold"] == {"refused": 1}
    assert call("POST", "/i", {"userId": "42", "traits": {"name": "Ann"}}, key=key)
    choice = {"userId": "42", "purposes": {"marketing": True}, "evidence": {"form": "v3"}}
    choice |= {"language": "zh-Hant-TW", "text_version": "2026-03/b"}
    assert call("POST", "/consents", choice, key=key) == {"success": True}
    call("POST", "/track", new | {"writeKey": key}, status=200)
    call("POST", "/track", new, status=401)
    call("POST", "/batch", {}, key=key, status=400)


def test_answers_to_readers_are_as_described(call: Caller) -> None:
    shop, reader = call.served.shop, call.served.token("dpo")
    choices = {"analytics": True, "marketing": False}
    shop.send(WEB, sent("page", "p", 90, anonymousId="d", context=says(analytics=True)))
    shop.send(CRM, *(order(f"o{n}", n, userId="42", anonymousId="d") for n in range(3)))
    traits = {"name": "Ann", "email": "ann@example.com"}
    shop.send(CRM, sent("identify", "i", 5, userId="42", traits=traits))
    both = ("user_id:42", "anonymous_id:d")
    shop.choose(both, choices, evidence={"form": "v3"}, language="de", text_version="v3")
    for purpose in ("service", "marketing", "privacy_rights"):
        for part in api_function.READS:
            call("GET", f"/profiles/user_id:42{part}", key=reader, purpose=purpose)
    verbose = call("GET", "/profiles/user_id:42", key=reader, query={"verbose": "true"})
    assert verbose["traits"]["name"]["value"] == "Ann"
    page = call("GET", "/profiles/user_id:42/events", key=reader, query={"limit": "2"})
    rest = {"limit": "2", "cursor": page["next"]}
    assert call("GET", "/profiles/user_id:42/events", key=reader, query=rest)["next"] is None
    body = {"identifier": {"type": "email", "value": "ann@example.com"}}
    assert call("POST", "/profiles/query", body, key=reader)["profile"] == verbose["profile"]
    explain = "/profiles/user_id:42/consents/explain"
    for about, at in (("analytics", None), ("marketing", "2026-09-21T00:00:00+02:00")):
        told = {"purpose": about} | ({"at": at} if at else {})
        assert call("GET", explain, key=reader, query=told)["about"] == about
    for wrong in ({"purpose": "none"}, {"purpose": "analytics", "at": "2026-09-21"}):
        call("GET", explain, key=reader, query=wrong, status=400)
    call("GET", "/profiles/user_id:43", key=reader, status=404)
    call("GET", "/profiles/user_id:42", key=reader, purpose="profiling", status=403)
    call("GET", "/profiles/user_id:42", status=401)


def test_receipts_and_the_key_for_them_are_as_described(call: Caller) -> None:
    shop, reader = call.served.shop, call.served.token("dpo")
    shop.send(CRM, order("o", userId="42"))
    path = "/profiles/user_id:42/consents/receipt"
    for query in ({}, {"purpose": "marketing"}):
        told = call("GET", path, key=reader, purpose="privacy_rights", query=query)
        assert told.keys() == {"document", "signature", "key_id", "key_sha256"}
    call("GET", path, key=reader, purpose="marketing", status=403)
    call("GET", path, key=reader, purpose="privacy_rights", query={"purpose": "x"}, status=400)
    call("GET", path.replace("42", "43"), key=reader, purpose="privacy_rights", status=404)
    call("GET", path, status=401)
    assert call("GET", "/signing-key").startswith("-----BEGIN PUBLIC KEY-----")


def test_answers_about_registers_are_as_described(call: Caller) -> None:
    shop, dpo = call.served.shop, call.served.token("dpo")
    shop.send(WEB, sent("page", "p", 90, anonymousId="d", context=says(analytics=True)))
    shop.choose("anonymous_id:d", {"marketing": False})
    node = shop.node("anonymous_id:d") or {}
    for key, lost in (
        (Key("graph", node["pk"], "NODE"), {"signals": {"profiling": [0, 0]}}),
        (Key("graph", f"P#{node['profile']}", "PROFILE"), {"choices": {"service": [0, 60]}}),
    ):
        shop.rows.update(Update(key, set=lost))
    path = "/profiles/anonymous_id:d/consents/rebuild"
    tried = call("POST", path, {"dry_run": True}, key=dpo)["differences"]
    assert len(tried) == 4
    assert call("POST", path, {}, key=dpo, purpose="privacy_rights")["differences"] == tried
    call("POST", path, {}, key=call.served.token("steward"), status=403)
    call("POST", "/profiles/anonymous_id:e/consents/rebuild", {}, key=dpo, status=404)


def test_answers_to_browsers_are_as_described(call: Caller) -> None:
    call("GET", f"/projects/{call.served.write_key('client')}/settings")
    call("GET", f"/projects/{call.served.write_key('server')}/settings", status=404)


def test_the_description_itself_is_as_described(call: Caller, document: Json) -> None:
    assert call("GET", "/openapi.json") == document
    assert call("GET", "/docs").startswith("<!DOCTYPE html>")


def test_answers_to_privacy_requests_are_as_described(call: Caller) -> None:
    shop, dpo = call.served.shop, call.served.token("dpo")
    shop.send(CRM, order("o", userId="42"))
    subject = {"type": "user_id", "value": "42"}
    body = {"type": "erasure", "subject": subject, "verified_by": "staff: passport"}
    call("POST", "/privacy/requests", body | {"dry_run": True}, key=dpo)
    id_ = call("POST", "/privacy/requests", body, key=dpo, status=202)["id"]
    for store in ("graph", "events", "queues"):
        erasure.erase(shop.erasure, store, id_)
    erasure.verify(shop.erasure, id_)
    erasure.certify(shop.erasure, shop.signer, id_)
    told = call("GET", f"/privacy/requests/{id_}", key=dpo)
    assert told["certificate"]
    assert call("GET", "/privacy/requests", key=dpo)["data"] == [told]
    call("GET", "/privacy/requests/none", key=dpo, status=404)
    call("GET", "/privacy/requests", key=call.served.token("analyst"), status=403)


def test_the_policy_is_as_described(call: Caller) -> None:
    assert call("GET", "/policy") == call.served.shop.policy.document


def test_answers_about_keys_are_as_described(call: Caller) -> None:
    admin = call.served.token("admin")
    source = {"kind": "source", "name": "shop", "source": "website", "trust": "client"}
    token = {"kind": "token", "name": "Kim", "role": "dpo", "purposes": ["service"]}
    id_ = call("POST", "/keys", source, key=admin, status=201)["id"]
    call("POST", "/keys", token, key=admin, status=201)
    call("POST", "/keys", {"kind": "door"}, key=admin, status=400)
    call("DELETE", f"/keys/{id_}", key=admin)
    listed = call("GET", "/keys", key=admin)["data"]
    assert [one["revoked"] for one in listed if "revoked" in one] == [int(NOW)]
    call("DELETE", "/keys/none", key=admin, status=404)


def test_every_example_works(call: Caller, document: Json) -> None:
    """What the page gives people to paste, read as a shell and curl would read it."""
    dpo, admin = call.served.token("dpo"), call.served.token("admin")
    shop = call.served.shop
    shop.send(CRM, sent("identify", "i", anonymousId="ann-before", **openapi.EVENTS["identify"]))
    subject = {"type": "user_id", "value": "another"}
    body = {"type": "erasure", "subject": subject, "verified_by": "staff: passport"}
    call("POST", "/privacy/requests", body, key=dpo, status=202)
    source = {"kind": "source", "name": "shop", "source": "website", "trust": "client"}
    hook = {"kind": "source", "name": "leads", "source": "webhook", "trust": "server"}
    hook |= {"mapping": "lead_form"}
    mail = {"anonymousId": "d", "event": "Product Viewed", "context": says(analytics=True)}
    for path, verbs in document["paths"].items():
        if path.startswith(("/webhooks", "/privacy/callbacks")):
            continue  # called by machines that sign what they send, or were given the path
        for verb, operation in verbs.items():
            if verb == "delete" and path.endswith("quarantine"):
                separation.quarantine(shop.world, shop.id("user_id:42"), "staff", {})
            if path.endswith("relink"):
                one, other = shop.id("user_id:42"), shop.id("anonymous_id:ann-before")
                separation.separate(shop.world, one, other, "staff", "a reason")
            named = waiting(shop, path, verb)
            spec = hook if path.startswith("/webhooks") else source
            made = call("POST", "/keys", spec, key=admin, status=201)
            shared = call("POST", f"/keys/{made['id']}/secret", {}, key=admin, status=201)
            variables = {
                "$KEY": made["key"],
                "$VERIFY_TOKEN": shared.get("verify_token", ""),
                "$SIGNATURE": signature(operation, shared["secret"]),
                "$API_URL/v1": "",
                "$WRITE_KEY": made["key"],
                "$TOKEN": admin if "admin" in operation.get("description", "") else dpo,
                "$DATA": b64encode(json.dumps(mail | {"writeKey": made["key"]}).encode()).decode(),
                "$ID": named or made["id"],
            }
            written = docs.curl(document, f"{verb.upper()} {path}", operation).replace("\\\n", "")
            for variable, value in variables.items():
                written = written.replace(variable, value)
            paste(call, written)


def waiting(shop: Shop, path: str, verb: str) -> str:
    """The id of what a call is about, made such that it can be answered."""
    if path.startswith("/fences"):
        key = Key("keys", shop.id("user_id:42").key)
        shop.rows.update(Update(key, set={"mode": "erase", "since": 1, "request": "gone"}))
    if path.startswith("/holds/"):
        who = shop.id("user_id:42")
        placed: str = holds.place(shop.world, who, "a court", int(NOW) + 9, "staff")["pk"]
        return placed
    if path.startswith("/privacy/bulk/"):
        subjects, asking = [shop.id("user_id:1")], requests.Asking("staff", "a test")
        many = requests.open_many(shop.erasure, shop.world.vault, subjects, "erase", asking)
        return str(many["pk"])
    if not path.startswith("/privacy/requests/"):
        return ""
    id_: str = shop.ask(f"user_id:{verb}{len(path)}")["pk"]
    if path.endswith("approve"):
        shop.rows.update(Update(Key("requests", id_), set={"second_person": True}))
    return id_


def signature(operation: Json, secret: str) -> str:
    """Of an operation's example as it is sent here."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return hmac.new(
        secret.encode(), json.dumps(content.get("example")).encode(), "sha256"
    ).hexdigest()


def paste(call: Caller, written: str) -> None:
    """Make the call that a curl command makes. All of it must succeed."""
    curl = argparse.ArgumentParser("curl")
    curl.add_argument("path")
    for option, default in (("-X", "GET"), ("-u", ""), ("-d", None)):
        curl.add_argument(option, default=default)
    curl.add_argument("-H", action="append", default=[])
    program, *words = shlex.split(written)
    given = curl.parse_args(words)
    headers = dict(header.split(": ") for header in given.H)
    assert program == "curl"
    assert ("Content-Type" in headers) == (given.d is not None)
    bearer = headers.get("Authorization", "").removeprefix("Bearer ")
    purpose = {"purpose": headers["X-Purpose"]} if "X-Purpose" in headers else {}
    body = given.d and json.loads(given.d)
    path, _, query = given.path.partition("?")
    more: Json = purpose | ({"query": dict(parse_qsl(query))} if query else {})
    plain = {"Authorization", "Content-Type", "X-Purpose"}
    more["headers"] = {name: value for name, value in headers.items() if name not in plain}
    told = call(given.X, path, body, key=bearer or given.u.rstrip(":"), status=None, **more)
    assert not isinstance(told, dict) or not {"refused", "stripped"} & told.keys()
