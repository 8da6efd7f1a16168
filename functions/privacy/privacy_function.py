"""Privacy requests, and the keys of sources and staff."""

import re
from typing import Any

from candor import audit, bodies, credentials, destinations, erasure
from candor.credentials import Principal
from candor.errors import NotFound, Refused
from candor.telemetry import Telemetry
from candor.web import Answer, Request, serve
from candor.wiring import Wiring

wiring = Wiring()
telemetry = Telemetry()
ID = re.compile("[0-9a-f]{28,32}")


def _principal(request: Request, right: str) -> Principal:
    principal = wiring.credentials.principal(request.headers)
    principal.needs(right)
    return principal


def _tell(principal: Principal, action: str, **more: Any) -> None:
    audit.tell(wiring.audit_queue, at=wiring.clock(), actor=principal.id, action=action, **more)


def _id(request: Request) -> str:
    """The path's id. What cannot be one of ours may be anything, so it enters no log."""
    id_ = request.path["id"]
    if not ID.fullmatch(id_):
        raise NotFound("not_found", "There is nothing with this id.")
    return id_


def request_erasure(request: Request) -> Answer:
    """Erase a person: unreadable when this answers, then deleted, verified and certified."""
    principal = _principal(request, "privacy")
    body = bodies.parse(bodies.PrivacyRequest, request.json())
    subject = wiring.identifiers.make(body.subject.type, body.subject.value)
    if subject is None:
        raise Refused("bad_identifier", "`subject` is not an identifier that names somebody.")
    about = [wiring.identifiers.pseudonym(subject.key)]
    if body.dry_run:
        _tell(principal, "privacy.dry_run", about=about)
        receipts = erasure.forecast(wiring.erasure, subject)
        return Answer({"dry_run": True, "type": body.type, "receipts": receipts})
    _tell(principal, "privacy.requested", about=about)
    work = wiring.erasure
    row = erasure.open_request(
        work,
        wiring.vault,
        subject,
        body.mode,
        verified_by=body.verified_by,
        principal=principal.id,
    )
    return Answer(erasure.shown(erasure.advance(work, wiring.workflow, row["pk"])), 202)


def show_request(request: Request) -> Answer:
    """How far a privacy request is, with its receipts and its certificate."""
    principal = _principal(request, "privacy")
    id_ = _id(request)
    _tell(principal, "privacy.read", request=id_)
    return Answer(erasure.shown(erasure.request(wiring.erasure, id_)))


def list_requests(request: Request) -> Answer:
    """All privacy requests, newest first."""
    _tell(_principal(request, "privacy"), "privacy.listed")
    found = sorted(wiring.rows.scan("requests"), key=lambda row: row["pk"], reverse=True)
    return Answer({"data": [erasure.shown(row) for row in found], "next": None})


def take_answer(request: Request) -> Answer:
    """Take the answer of a destination that was told of an erasure."""
    status = bodies.parse(bodies.DestinationAnswer, request.json()).status
    work, callback = wiring.erasure, request.path["callback"]
    id_, name = destinations.answer(work, wiring.workflow, callback, status)
    actor, action = f"destination:{name}", f"erasure.{status}"
    audit.tell(wiring.audit_queue, at=wiring.clock(), actor=actor, action=action, request=id_)
    return Answer({"success": True})


def create_key(request: Request) -> Answer:
    """Issue a write key to a source, or a token to staff; it is shown this once."""
    principal = _principal(request, "keys")
    spec = bodies.parse(bodies.Credential, request.json()).root.model_dump(exclude_none=True)
    credentials.check(spec, wiring.policy)
    id_, key = credentials.issue(wiring.rows, spec, wiring.clock())
    _tell(principal, "key.created", request=id_)
    return Answer({"id": id_, **spec, "key": key}, 201)


def share_secret(request: Request) -> Answer:
    """Share a secret with a source, for its proofs or signatures; it is shown this once."""
    principal = _principal(request, "keys")
    id_ = _id(request)
    given = bodies.parse(bodies.Secret, request.json()).secret
    _tell(principal, "key.secret", request=id_)
    shared = credentials.share_secret(wiring.rows, wiring.vault, id_, given)
    return Answer({"id": id_, **shared}, 201)


def list_keys(request: Request) -> Answer:
    """All keys and tokens, oldest first, without their secrets."""
    _tell(_principal(request, "keys"), "key.listed")
    return Answer({"data": credentials.listing(wiring.rows), "next": None})


def revoke_key(request: Request) -> Answer:
    """Refuse a key or token from now on."""
    principal = _principal(request, "keys")
    id_ = _id(request)
    _tell(principal, "key.revoked", request=id_)
    credentials.revoke(wiring.rows, id_, wiring.clock())
    return Answer({"success": True})


ROUTES = {
    ("POST", "/privacy/requests"): request_erasure,
    ("GET", "/privacy/requests"): list_requests,
    ("GET", "/privacy/requests/{id}"): show_request,
    ("POST", "/privacy/callbacks/{callback}"): take_answer,
    ("POST", "/keys"): create_key,
    ("GET", "/keys"): list_keys,
    ("POST", "/keys/{id}/secret"): share_secret,
    ("DELETE", "/keys/{id}"): revoke_key,
}


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return serve(event, ROUTES, telemetry.fault)
