"""Calls of the functions, held against what openapi.json says of them."""

import json
import re
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
        """The answer's body. `more` are `status` (None: any success), `query` and `purpose`."""
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
        status, media = answer["statusCode"], answer["headers"]["Content-Type"].partition(";")[0]
        given = json.loads(answer["body"]) if media == JSON else answer["body"]
        wanted = more.get("status", 200)
        assert status < 400 if wanted is None else status == wanted, given
        described = self.document["paths"][resource][method.lower()]
        self._check_parameters(described, {*names, *headers, *(more.get("query") or {})})
        if status < 400 and body is not None:
            self._hold(body, described["requestBody"])
        response = described["responses"][str(status)]
        if "$ref" in response:
            response = self.components["responses"][str(status)]
        self._hold(given, response, media)
        return given

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
