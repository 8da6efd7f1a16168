"""openapi.json says what the code, the template and real answers say."""

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import validate

from candor import erasure
from candor.web import Routes
from cli import openapi
from functions.api import api_function
from functions.collect import collect_function
from functions.privacy import privacy_function
from tests import lint_template
from tests.served import Served
from tests.worlds import CRM, NOW, WEB, order, says, sent

Json = dict[str, Any]
SERVING: dict[str, Routes] = {
    "Collect": collect_function.ROUTES,
    "Api": api_function.ROUTES,
    "Privacy": privacy_function.ROUTES,
}


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


class Caller:
    """Calls the functions, and holds what is sent and answered against the document."""

    def __init__(self, served: Served, document: Json) -> None:
        self.served = served
        self.document = document
        components = json.loads(json.dumps(document["components"]))
        _close(components)
        self.components = components

    def __call__(
        self, method: str, path: str, body: Json | None = None, *, key: str = "", **more: Any
    ) -> Json:
        """The answer's body. `more` are `status`, `query` and `purpose`."""
        function, resource = self._route(method, path)
        names = re.findall(r"{(\w+)}", resource)
        values = re.fullmatch(re.sub(r"{\w+}", "([^/]+)", resource), path)
        assert values is not None
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if "purpose" in more:
            headers["X-Purpose"] = more["purpose"]
        event = {
            "httpMethod": method,
            "resource": resource,
            "headers": headers,
            "pathParameters": {n: quote(v) for n, v in zip(names, values.groups(), strict=True)},
            "queryStringParameters": more.get("query"),
            "requestContext": {"domainName": "api.example", "path": f"/v1{path}"},
            "body": None if body is None else json.dumps(body),
        }
        answer = self.served.invoke(function.lower(), event)
        status, given = answer["statusCode"], json.loads(answer["body"])
        assert status == more.get("status", 200), given
        described = self.document["paths"][resource][method.lower()]
        self._check_parameters(described, {*names, *headers, *(more.get("query") or {})})
        if status < 400 and body is not None:
            self._hold(body, described["requestBody"])
        response = described["responses"][str(status)]
        if "$ref" in response:
            response = self.components["responses"][str(status)]
        self._hold(given, response)
        answered: Json = given
        return answered

    def _route(self, method: str, path: str) -> tuple[str, str]:
        """The function and the resource of a call; a resource without variables goes first."""
        routes = [
            (r.count("{"), name, r) for name in SERVING for m, r in SERVING[name] if m == method
        ]
        for _, name, resource in sorted(routes):
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", resource), path):
                return name, resource
        raise LookupError(path)

    def _check_parameters(self, described: Json, used: set[str]) -> None:
        declared = {
            one.get("name") or self.components["parameters"][one["$ref"].split("/")[-1]]["name"]
            for one in described.get("parameters", [])
        }
        assert used - {"Authorization"} <= declared

    def _hold(self, value: Json, described: Json) -> None:
        schema = described["content"]["application/json"]["schema"]
        whole = schema | {"components": self.components}
        OAS31Validator(whole, format_checker=oas31_format_checker).validate(value)


def _close(node: Any) -> None:
    """Let no object hold a field that its schema does not name."""
    if isinstance(node, dict):
        if "properties" in node and node.get("type") == "object":
            node.setdefault("additionalProperties", False)
        for value in node.values():
            _close(value)
    elif isinstance(node, list):
        for value in node:
            _close(value)


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
    shop.choose(("user_id:42", "anonymous_id:d"), choices, evidence={"form": "v3"})
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
    call("GET", "/profiles/user_id:43", key=reader, status=404)
    call("GET", "/profiles/user_id:42", key=reader, purpose="profiling", status=403)
    call("GET", "/profiles/user_id:42", status=401)


def test_answers_to_browsers_are_as_described(call: Caller) -> None:
    call("GET", f"/projects/{call.served.write_key('client')}/settings")
    call("GET", f"/projects/{call.served.write_key('server')}/settings", status=404)


def test_answers_to_privacy_requests_are_as_described(call: Caller) -> None:
    shop, dpo = call.served.shop, call.served.token("dpo")
    shop.send(CRM, order("o", userId="42"))
    subject = {"type": "user_id", "value": "42"}
    body = {"type": "erasure", "subject": subject, "verified_by": "staff: passport"}
    call("POST", "/privacy/requests", body | {"dry_run": True}, key=dpo)
    id_ = call("POST", "/privacy/requests", body, key=dpo, status=202)["id"]
    for store in ("graph", "events", "archive", "queues"):
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
