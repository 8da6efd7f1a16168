"""The API's description, openapi.json (OpenAPI 3.1), made from the code: `python -m cli.openapi`.

Methods and paths are the functions' ROUTES, summaries their operations' docstrings, bodies the
models of `candor.bodies`, the codes of errors those that the code raises.
"""

import ast
import json
import tomllib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from candor import bodies, collection, errors, profiles
from candor.credentials import MAY
from candor.web import Operation, preflight
from cli import answers
from cli.target import ROOT
from functions.api import api_function as api
from functions.collect import collect_function as collect
from functions.privacy import privacy_function as privacy

Json = dict[str, Any]
Model = type[BaseModel]
OUT = ROOT / "openapi.json"
SCHEMA = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Call:
    """What an operation's code does not say in a form that can be read off."""

    answers: dict[int, Model | str]
    """What an answer holds: JSON of a model, or of this content type."""
    body: Model | None = None
    parameters: tuple[str, ...] = ()
    keys: tuple[str, ...] = ("token",)
    fails: tuple[int, ...] = (403,)
    page: bool = False
    """Whether it answers HTML to who prefers it."""
    right: str = ""
    """What staff need; a key of the roles' rights in `candor.credentials`."""
    example: Json | None = None
    """A body that works."""


WRITE_KEY = ("writeKey", "writeKeyBearer", "")
ANYBODY = ("",)
WHOLE = ("purpose", "limit", "cursor", "verbose")


def read(answer: Model, *parameters: str, body: Model | None = None) -> Call:
    return Call(
        {200: answer},
        body,
        parameters or ("purpose",),
        fails=(403, 404),
        right="read",
        example={"identifier": {"type": "email", "value": "ann@example.com"}} if body else None,
    )


EVENTS: dict[str, Json] = {
    "identify": {"userId": "42", "traits": {"email": "ann@example.com", "name": "Ann"}},
    "track": {
        "userId": "42",
        "event": "Order Completed",
        "properties": {"order_id": "1001", "total": 89.0, "currency": "EUR"},
    },
    "page": {"userId": "42", "name": "Start", "properties": {"path": "/"}},
    "screen": {"userId": "42", "name": "Start"},
    "group": {"userId": "42", "groupId": "friends"},
    "alias": {"userId": "42", "previousId": "ann-before"},
}
"""An example of each type."""
BATCH = {"batch": [{"type": kind, **EVENTS[kind]} for kind in ("identify", "track")]}

OTHER = {"identifier": {"type": "anonymous_id", "value": "ann-before"}}

CALLS: dict[Operation, Call] = {
    collect.collect: Call({200: answers.Collected}, answers.Call, (), WRITE_KEY, ()),
    collect.subscribe: Call(
        {200: "text/plain"},
        None,
        ("hub.mode", "hub.verify_token", "hub.challenge"),
        ANYBODY,
        (401,),
    ),
    collect.receive: Call(
        {200: answers.Collected},
        answers.Signed,
        ("signature",),
        ANYBODY,
        (401,),
        example=json.loads((ROOT / "events/webhooks/lead-form.json").read_text()),
    ),
    collect.settings: Call({200: answers.Settings}, keys=ANYBODY, fails=(404,)),
    collect.pixel: Call({200: "image/gif"}, None, ("data",), ANYBODY, (401, 404)),
    api.show_policy: Call({200: answers.Policy}, keys=ANYBODY, fails=(), page=True),
    api.describe: Call({200: answers.Document}, keys=ANYBODY, fails=()),
    api.explain: Call({200: "text/html"}, keys=ANYBODY, fails=()),
    api.receipt: Call(
        {200: answers.ConsentReceipt}, None, ("whole", "only"), fails=(403, 404), right="read"
    ),
    api.tell_key: Call({200: "text/plain"}, keys=ANYBODY, fails=()),
    api.count: Call({200: answers.Outcomes}, right="outcomes"),
    api.query: read(answers.Profile, *WHOLE, body=bodies.Query),
    api.why: Call({200: answers.Why}, None, ("purpose", "a", "b"), fails=(403, 404), right="read"),
    api.explain_consent: Call(
        {200: answers.ExplainedConsent},
        None,
        ("purpose", "about", "at"),
        fails=(403, 404),
        right="read",
    ),
    api.rebuild: Call(
        {200: answers.Rebuilt},
        bodies.Rebuild,
        ("purpose",),
        fails=(403, 404),
        right="consent",
        example={"dry_run": True},
    ),
    api.unlink: Call(
        {200: answers.Unlinked},
        bodies.Unlink,
        ("purpose",),
        fails=(403, 404),
        right="identity",
        example=OTHER | {"reason": "the tablet was sold", "dry_run": True},
    ),
    api.relink: Call(
        {200: answers.Done}, bodies.Relink, fails=(403, 404, 409), right="identity", example=OTHER
    ),
    api.quarantine: Call(
        {200: answers.Done},
        bodies.Quarantine,
        fails=(403, 404),
        right="identity",
        example={"reason": "shared_device"},
    ),
    api.release: Call({200: answers.Done}, fails=(403, 404, 409), right="identity"),
    api.list_quarantine: Call({200: answers.InQuarantine}, right="identity"),
    api.choose: Call(
        {200: answers.Chosen},
        bodies.Choice,
        (),
        (*WRITE_KEY, "token"),
        right="consent",
        example={
            "userId": "42",
            "anonymousId": "ann-before",
            "purposes": {"marketing": True, "analytics": False},
            "mechanism": "preference_center",
            "language": "de-DE",
            "text_version": "2026-03",
        },
    ),
    privacy.make_request: Call(
        {202: answers.Request, 200: answers.Forecast},
        bodies.PrivacyRequest,
        fails=(403, 404, 409),
        right="privacy",
        example={
            "type": "erasure",
            "subject": {"type": "email", "value": "ann@example.com"},
            "verified_by": "staff: passport at the desk",
            "dry_run": True,
        },
    ),
    privacy.take_answer: Call(
        {200: answers.Done},
        bodies.DestinationAnswer,
        keys=ANYBODY,
        fails=(404,),
        example={"status": "erased"},
    ),
    privacy.show_request: Call({200: answers.Request}, fails=(403, 404), right="privacy"),
    privacy.list_requests: Call(
        {200: answers.Requests}, parameters=("limit", "cursor"), right="privacy"
    ),
    privacy.request_many: Call(
        {202: answers.ManyAsked},
        bodies.Bulk,
        fails=(403,),
        right="privacy",
        example={
            "subjects": [{"type": "user_id", "value": "1"}, {"type": "user_id", "value": "2"}],
            "verified_by": "staff: closed the accounts",
        },
    ),
    privacy.show_many: Call({200: answers.Many}, fails=(403, 404), right="privacy"),
    privacy.cancel_request: Call({200: answers.Request}, fails=(403, 404, 409), right="privacy"),
    privacy.approve_request: Call({200: answers.Request}, fails=(403, 404, 409), right="privacy"),
    privacy.refuse_request: Call(
        {200: answers.Request},
        bodies.Refusal,
        fails=(403, 404, 409),
        right="privacy",
        example={"ground": "manifestly_unfounded"},
    ),
    privacy.place_hold: Call(
        {201: answers.LegalHold},
        bodies.Hold,
        fails=(403, 404, 409),
        right="privacy",
        example={
            "subject": {"type": "email", "value": "ann@example.com"},
            "reason": "court order 12 O 34/26",
            "until": "2027-12-31T00:00:00Z",
        },
    ),
    privacy.list_holds: Call({200: answers.LegalHolds}, right="privacy"),
    privacy.release_hold: Call({200: answers.Done}, fails=(403, 404, 409), right="privacy"),
    privacy.lift_fence: Call({200: answers.Done}, fails=(403, 404, 409), right="privacy"),
    privacy.renew: Call(
        {202: answers.Renewal},
        bodies.Renew,
        fails=(403, 409),
        right="retention",
        example={"dry_run": True},
    ),
    privacy.show_renewal: Call({200: answers.Renewal}, right="retention"),
    privacy.create_key: Call(
        {201: answers.Issued},
        bodies.Credential,
        right="keys",
        example={"kind": "source", "name": "web shop", "source": "website", "trust": "client"},
    ),
    privacy.list_keys: Call({200: answers.Keys}, right="keys"),
    privacy.share_secret: Call(
        {201: answers.Shared}, bodies.Secret, fails=(403, 404), right="keys", example={}
    ),
    privacy.revoke_key: Call({200: answers.Done}, fails=(403, 404), right="keys"),
}
PARTS: dict[str, Call] = {
    "": read(answers.Profile, *WHOLE),
    "traits": read(answers.Traits, "purpose", "verbose"),
    "events": read(answers.Events, "purpose", "limit", "cursor"),
    "identifiers": read(answers.Identifiers),
    "links": read(answers.Links),
    "consents": read(answers.Consents),
}
"""Of `api.read`, which serves them all."""

LIMIT = {"type": "integer", "minimum": 1, "maximum": profiles.MOST_LISTED}
HANDSHAKE = {
    "hub.mode": "subscribe",
    "hub.verify_token": "$VERIFY_TOKEN",
    "hub.challenge": "1158201444",
}
PARAMETERS: dict[str, Json] = {
    "purpose": {
        "name": "X-Purpose",
        "in": "header",
        "description": "Why this is read; without it, the token's first purpose",
        "schema": {"type": "string"},
    },
    "whole": {
        "name": "X-Purpose",
        "in": "header",
        "description": "Why this is read: a purpose that sees everything",
        "schema": {"type": "string"},
        "example": "privacy_rights",
    },
    "only": {
        "name": "purpose",
        "in": "query",
        "description": "The one purpose to tell of; without it, all that can be chosen",
        "schema": {"type": "string"},
    },
    "limit": {"name": "limit", "in": "query", "schema": LIMIT | {"default": profiles.LISTED}},
    "cursor": {"name": "cursor", "in": "query", "schema": {"type": "string"}},
    "data": {
        "name": "data",
        "in": "query",
        "required": True,
        "description": "The event as JSON with its `writeKey`, in base64",
        "schema": {"type": "string"},
    },
    "signature": {
        "name": "X-Hub-Signature-256",
        "in": "header",
        "required": True,
        "description": "`sha256=` and the body's HMAC-SHA256 under the shared secret, in hex",
        "schema": {"type": "string"},
        "example": "sha256=$SIGNATURE",
    },
    **{
        name: {
            "name": name,
            "in": "query",
            "required": True,
            "schema": {"type": "string"},
            "example": example,
        }
        for name, example in HANDSHAKE.items()
    },
    **{
        name: {
            "name": name,
            "in": "query",
            "required": True,
            "description": "An identifier, as type:value",
            "schema": {"type": "string"},
            "example": example,
        }
        for name, example in (("a", "user_id:42"), ("b", "anonymous_id:ann-before"))
    },
    "about": {
        "name": "purpose",
        "in": "query",
        "required": True,
        "description": "The purpose that is explained",
        "schema": {"type": "string"},
        "example": "marketing",
    },
    "at": {
        "name": "at",
        "in": "query",
        "description": "As of when, as ISO 8601 with a zone; without it, now",
        "schema": {"type": "string", "format": "date-time"},
    },
    "verbose": {
        "name": "verbose",
        "in": "query",
        "description": "`true` tells each trait's source, time, purposes and end",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
}
INSIDE: dict[str, Json] = {
    "type": {
        "schema": {"type": "string", "enum": sorted(collection.TYPES)},
        "example": "track",
    },
    "id": {"schema": {"type": "string"}},
    "writeKey": {"schema": {"type": "string"}},
    "key": {"schema": {"type": "string"}, "description": "The write key of a webhook"},
    "identifier": {"schema": {"type": "string"}, "example": "user_id:42"},
    "callback": {
        "schema": {"type": "string"},
        "description": "The end of the `callback` that the destination was given",
    },
}
KEYS: dict[str, Json] = {
    "writeKey": {
        "type": "http",
        "scheme": "basic",
        "description": "A source's write key as user name; or `writeKey` in the body",
    },
    "writeKeyBearer": {"type": "http", "scheme": "bearer", "description": "A source's write key"},
    "token": {"type": "http", "scheme": "bearer", "description": "The token of staff"},
}
API_URL = {
    "default": "http://127.0.0.1:4566/_aws/execute-api/API_ID",
    "description": "`api_url` of .local/stack.json, or the stack's output ApiUrl",
}

# Failures

GATEWAY = {400: "bad_request", 404: "unknown_path", 413: "too_large", 429: "throttled"}
"""Codes of the gateway's own answers, as the template has them."""
MEANINGS = {
    400: "The request is wrong",
    401: "The key is missing, unknown or revoked",
    403: "The role or the token does not allow it",
    404: "There is no such thing",
    409: "It contradicts what is there",
    413: "The body is too large",
    429: "Too many requests at once",
    500: "A defect here",
    503: "Nothing was taken; send it again",
}
ANY_CALL = (400, 401, 413, 429, 500, 503)
RETRY_AFTER = {"headers": {"Retry-After": {"schema": {"type": "integer"}}}}


def codes() -> dict[int, set[str]]:
    """The codes that the code raises, by the status of their exceptions."""
    found: dict[int, set[str]] = {status: {code} for status, code in GATEWAY.items()}
    found[500] = {"internal"}
    for folder in ("layers/candor/python/candor", "functions"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(ast.Name(name), [ast.Constant(str(code)), *_]):
                        raised = getattr(errors, name, None)
                        if raised is not None:
                            found.setdefault(raised.status, set()).add(code)
    return found


def event_codes() -> dict[str, set[str]]:
    """The codes that answers tell of single events, by the model of the list they stand in."""
    told: dict[str, set[str]] = {"refused": set(), "said": set()}
    for module in ("collection", "conversion", "naming", "preferences", "webhooks"):
        tree = ast.parse((ROOT / f"layers/candor/python/candor/{module}.py").read_text())
        for node in ast.walk(tree):
            match node:
                case ast.Call(ast.Name("_Refusal" | "Unfit"), [ast.Constant(str(code)), *_]):
                    told["refused"].add(code)
                case ast.Call(
                    ast.Attribute(attr="said") | ast.Name("tell"), [ast.Constant(str(code)), *_]
                ):
                    told["said"].add(code)
    return {"RefusedEvent": told["refused"], "Stripped": told["said"], "Note": told["said"]}


def failure(status: int, known: set[str]) -> Json:
    fields = {
        "success": {"const": False},
        "code": {"type": "string", "enum": sorted(known)},
        "message": {"type": "string"},
    }
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    content = {"content": {"application/json": {"schema": schema}}}
    retry = RETRY_AFTER if status in (429, 503) else {}
    return {"description": MEANINGS[status], **retry, **content}


# The document


def document() -> Json:
    called = [*CALLS.values(), *PARTS.values()]
    said = {one for call in called for one in (*call.answers.values(), call.body)}
    models = {one for one in said if one and not isinstance(one, str)}
    ordered = sorted(models | {answers.Batch}, key=lambda model: model.__name__)
    schemas = models_json_schema([(m, "validation") for m in ordered], ref_template=SCHEMA)[1]
    failures = {str(status): failure(status, known) for status, known in sorted(codes().items())}
    for model, told in event_codes().items():
        schemas["$defs"][model]["properties"]["code"]["enum"] = sorted(told)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Candor",
            "version": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
            "description": "Made from the code (`make openapi`). Fields may come, none is renamed.",
        },
        "tags": [{"name": name, "description": said} for name, (said, _) in TAGS.items()],
        "servers": [{"url": "{api_url}/v1", "variables": {"api_url": API_URL}}],
        "paths": paths(),
        "components": {
            "securitySchemes": KEYS,
            "parameters": PARAMETERS,
            "responses": failures,
            "schemas": _plain(schemas["$defs"]),
        },
    }


TAGS: dict[str, tuple[str, ModuleType]] = {
    "sources": ("What websites, apps and servers send, with a write key", collect),
    "profiles": ("What is known of people, and what they chose", api),
    "privacy": ("Privacy requests, and the keys of sources and staff", privacy),
}
"""Tags of operations: what they are about, and the function that serves them."""


def paths() -> Json:
    found: Json = {}
    for tag, (_, function) in TAGS.items():
        for method, path in sorted(function.ROUTES, key=lambda route: (route[1], route[0])):
            operation = function.ROUTES[method, path]
            if operation is not preflight:
                described = _operation(method, path, operation)
                found.setdefault(path, {})[method.lower()] = {"tags": [tag], **described}
    return found


def _operation(method: str, path: str, operation: Operation) -> Json:
    names = [part.strip("{}") for part in path.split("/") if part]
    summary = (operation.__doc__ or "").partition("\n")[0].rstrip(".")
    if operation is api.read:
        part = path.partition("}")[2].strip("/")
        call = PARTS[part]
        summary = f"Read a person's {part}, for a purpose" if part else summary
    else:
        call = CALLS[operation]
    kind = collection.PATHS.get(names[0], "")
    body = answers.Batch if kind == "batch" else call.body
    example = BATCH if kind == "batch" else EVENTS.get(kind, call.example)
    roles = ", ".join(role for role in sorted(MAY) if call.right in MAY[role])
    parameters = [
        {"name": name, "in": "path", "required": True, **INSIDE[name]}
        for name in names
        if f"{{{name}}}" in path
    ]
    parameters += [{"$ref": f"#/components/parameters/{name}"} for name in call.parameters]
    never = (set() if body else {413}) | ({401} if call.keys == ANYBODY else set())
    failing = sorted(({*ANY_CALL} - never) | {*call.fails})
    described: Json = {
        "operationId": "_".join([method.lower(), *names]).replace(".", "_"),
        "summary": summary,
        "description": f"Of staff, the roles that may: {roles}." if roles else "",
        "security": [{key: []} if key else {} for key in call.keys],
        "parameters": parameters,
        "requestBody": {"required": True, **_content(body, example)} if body else None,
        "responses": {
            str(status): {
                "description": getattr(one, "__name__", one),
                **_content(one, page=call.page),
            }
            for status, one in call.answers.items()
        }
        | {str(status): {"$ref": f"#/components/responses/{status}"} for status in failing},
    }
    return {name: value for name, value in described.items() if value}


def _content(model: Model | str, example: Json | None = None, *, page: bool = False) -> Json:
    if isinstance(model, str):
        encoded = {} if model.startswith("text/") else {"contentEncoding": "base64"}
        return {"content": {model: {"schema": {"type": "string", **encoded}}}}
    shown = {} if example is None else {"example": example}
    schema = {"$ref": SCHEMA.format(model=model.__name__)}
    html = {"text/html": {"schema": {"type": "string"}}} if page else {}
    return {"content": {"application/json": {"schema": schema, **shown}, **html}}


def _plain(node: Any) -> Any:
    """Without the titles and empty defaults that pydantic adds."""
    if isinstance(node, list):
        return [_plain(one) for one in node]
    if not isinstance(node, dict):
        return node
    noise = {"title": isinstance(node.get("title"), str), "default": not node.get("default", True)}
    return {name: _plain(value) for name, value in node.items() if not noise.get(name)}


def text() -> str:
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OUT.write_text(text())
