"""Requests and answers as API Gateway's Lambda proxy integration shapes them.

API Gateway has routed already: `resource` and method name the operation. The one place where a
failure becomes a status.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from candor.errors import Busy, NotFound, Refused
from candor.ports import Unavailable
from candor.strict_json import read_json

Json = dict[str, Any]
RETRY_SECONDS = 2
MOST_BYTES = 16_384
"""Of a call's JSON body; collection has its own bounds."""
EXPOSED = "Access-Control-Expose-Headers"
"""Names what a page of another origin may read."""
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Retry-Count",
    "Access-Control-Max-Age": "86400",
}


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    resource: str
    """As in the template: `/profiles/{identifier}`."""
    path: Mapping[str, str]
    """The path's parameters, decoded."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    context: Mapping[str, Any] = field(default_factory=dict)
    """The gateway's `requestContext`: facts that the caller does not choose."""

    def json(self) -> Any:
        if len(self.body) > MOST_BYTES:
            raise Refused("body_too_large", f"A body may have {MOST_BYTES} bytes.")
        return read_json(self.body or b"{}")


@dataclass(frozen=True, slots=True)
class Answer:
    body: Json | str | bytes
    """JSON, or something else that says in `headers` what it is; bytes go as base64."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Operation = Callable[[Request], Answer]
Routes = Mapping[tuple[str, str], Operation]


def serve(event: Mapping[str, Any], routes: Routes, failed: Callable[[Exception], None]) -> Json:
    """Run the operation of an event's route; `failed` is told of what is nobody's fault."""
    try:
        request = _request(event)
        operation = routes.get((request.method, request.resource))
        if operation is None:
            raise NotFound("unknown_path", "There is no such method and path.")
        answer = operation(request)
        return _response(answer.status, answer.body, answer.headers)
    except Refused as refused:
        return _refusal(refused)
    except Unavailable as cause:
        failed(cause)
        message = "Nothing was taken. Send the same request again."
        return _refusal(Busy("unavailable", message, retry_after=RETRY_SECONDS))
    except Exception as defect:  # noqa: BLE001  the runtime would log its text, which may be personal
        failed(defect)
        body = {"success": False, "code": "internal", "message": "Something failed here."}
        return _response(500, body)


def preflight(_: Request) -> Answer:
    """What a browser may send from any page (Fetch standard, "CORS protocol")."""
    return Answer({}, headers=PREFLIGHT)


def prefers_html(accept: str) -> bool:
    """Whether an Accept header would rather have HTML than JSON (RFC 9110, section 12.5.1)."""
    weights: dict[str, float] = {}
    for one in accept.lower().split(","):
        media, *parameters = (part.strip() for part in one.split(";"))
        stated = [part[2:] for part in parameters if part.startswith("q=")]
        try:
            weights[media] = float(stated[0]) if stated else 1.0
        except ValueError:
            continue

    def weight(*ranges: str) -> float:
        return next((weights[one] for one in ranges if one in weights), 0.0)

    html = weight("text/html", "text/*", "*/*")
    return html > weight("application/json", "application/*", "*/*")


def _request(event: Mapping[str, Any]) -> Request:
    body = (event.get("body") or "").encode(errors="surrogatepass")
    if event.get("isBase64Encoded"):
        try:
            body = base64.b64decode(body)
        except binascii.Error:
            raise Refused("bad_body", "The body did not arrive whole.") from None
    headers = event.get("headers") or {}
    return Request(
        event["httpMethod"],
        event["resource"],
        {name: unquote(value) for name, value in (event.get("pathParameters") or {}).items()},
        event.get("queryStringParameters") or {},
        {name.lower(): value for name, value in headers.items()},
        body,
        event.get("requestContext") or {},
    )


def _refusal(refused: Refused) -> Json:
    wait = refused.retry_after
    extra = {} if wait is None else {"Retry-After": str(wait), EXPOSED: "Retry-After"}
    body = {"success": False, "code": refused.code, "message": refused.message}
    return _response(refused.status, body, extra)


def _response(status: int, body: Json | str | bytes, extra: Mapping[str, str] = {}) -> Json:
    if isinstance(body, bytes):
        written = base64.b64encode(body).decode()
    else:
        written = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    return {
        "statusCode": status,
        "headers": {
            "Content-Type": "application/json",
            "Access-Control-Allow-Origin": "*",
            "Cache-Control": "no-store",
            **extra,
        },
        "body": written,
        "isBase64Encoded": isinstance(body, bytes),
    }
