"""Calls of the functions, held against what openapi.json says of them."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from openapi_schema_validator import OAS31Validator, oas31_format_checker

from candor.web import Routes
from functions.api import api_function
from functions.collect import collect_function
from functions.privacy import privacy_function
from tests.served import Served

Json = dict[str, Any]
JSON = "application/json"
SERVING: dict[str, Routes] = {
    "Collect": collect_function.ROUTES,
    "Api": api_function.ROUTES,
    "Privacy": privacy_function.ROUTES,
}


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
    ) -> Any:
        """The answer's body. `more` are `status` (None: any success), `query`, `purpose` and
        other `headers`."""
        resource = self.route(method, path)
        names = re.findall(r"{(\w+)}", resource)
        values = re.fullmatch(re.sub(r"{\w+}", "([^/]+)", resource), path)
        assert values is not None
        inside = dict(zip(names, values.groups(), strict=True))
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= more.get("headers", {})
        if "purpose" in more:
            headers["X-Purpose"] = more["purpose"]
        query = more.get("query") or {}
        status, given = self.answer(
            method, resource, inside, query=query, headers=headers, body=body
        )
        wanted = more.get("status", 200)
        assert status < 400 if wanted is None else status == wanted, given
        described = self.document["paths"][resource][method.lower()]
        self._check_parameters(described, {*names, *headers, *query})
        if status < 400 and body is not None:
            self._hold(body, described["requestBody"])
        return given

    def answer(
        self,
        method: str,
        resource: str,
        inside: Mapping[str, str],
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Any,
    ) -> tuple[int, Any]:
        """Status and body of an answer that is described. `inside` are the path's parameters."""
        event = {
            "httpMethod": method,
            "resource": resource,
            "headers": headers,
            "pathParameters": {name: quote(value) for name, value in inside.items()},
            "queryStringParameters": query,
            "requestContext": {"domainName": "api.example", "path": f"/v1{resource}"},
            "body": None if body is None else json.dumps(body),
        }
        (function,) = (name for name in SERVING if (method, resource) in SERVING[name])
        answer = self.served.invoke(function.lower(), event)
        status, media = answer["statusCode"], answer["headers"]["Content-Type"].partition(";")[0]
        given = json.loads(answer["body"]) if media == JSON else answer["body"]
        response = self.document["paths"][resource][method.lower()]["responses"][str(status)]
        if "$ref" in response:
            response = self.components["responses"][str(status)]
        self._hold(given, response, media)
        return status, given

    def route(self, method: str, path: str) -> str:
        """The resource of a call; one without variables goes first."""
        served = {
            resource for routes in SERVING.values() for verb, resource in routes if verb == method
        }
        for resource in sorted(served, key=lambda one: (one.count("{"), one)):
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", resource), path):
                return resource
        raise LookupError(path)

    def _check_parameters(self, described: Json, used: set[str]) -> None:
        declared = {
            one.get("name") or self.components["parameters"][one["$ref"].split("/")[-1]]["name"]
            for one in described.get("parameters", [])
        }
        assert used - {"Authorization"} <= declared

    def _hold(self, value: Any, described: Json, media: str = JSON) -> None:
        schema = described["content"][media]["schema"]
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
