"""Privacy requests, and the keys of sources and staff."""

import re
from contextlib import suppress
from typing import Any

from candor import (
    audit,
    bodies,
    credentials,
    destinations,
    erasure,
    holds,
    profiles,
    renewal,
    requests,
    rights,
)
from candor.credentials import Principal
from candor.errors import NotFound, Refused
from candor.identifiers import Identifier
from candor.ports import Unavailable
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


def make_request(request: Request) -> Answer:
    """Ask for a person's right: erasure, restriction, objection or rectification.

    It binds when this answers: who is to be erased is unreadable, who is restricted is not used.
    """
    principal = _principal(request, "privacy")
    body = bodies.parse(bodies.PrivacyRequest, request.json()).root
    subject = _subject(body.subject)
    about = [wiring.identifiers.pseudonym(subject.key)]
    if isinstance(body, bodies.ErasureRequest) and body.dry_run:
        _tell(principal, "privacy.dry_run", about=about)
        receipts = erasure.forecast(wiring.erasure, subject)
        return Answer({"dry_run": True, "type": body.type, "receipts": receipts})
    _tell(principal, "privacy.requested", about=about)
    asking = requests.Asking(principal.id, body.verified_by, body.law)
    work = wiring.erasure
    if isinstance(body, bodies.ErasureRequest):
        row = requests.open_erasure(work, wiring.vault, subject, body.mode, asking)
        row = erasure.advance(work, wiring.workflow, row["pk"])
    elif isinstance(body, bodies.Restriction):
        row = rights.restrict(work, wiring.world, subject, asking)
    elif isinstance(body, bodies.Objection):
        row = rights.object_(work, wiring.world, subject, body.purposes, asking)
    else:
        row = rights.rectify(work, wiring.world, subject, body.traits, asking)
    return Answer(requests.shown(row), 202)


def _subject(stated: bodies.Subject) -> Identifier:
    subject = wiring.identifiers.make(stated.type, stated.value)
    if subject is None:
        raise Refused("bad_identifier", "`subject` is not an identifier that names somebody.")
    return subject


def approve_request(request: Request) -> Answer:
    """Approve a request that waits for a second person."""
    principal = _principal(request, "privacy")
    id_ = _id(request)
    _tell(principal, "privacy.approved", request=id_)
    requests.approve(wiring.erasure, id_, principal.id)
    return Answer(requests.shown(erasure.advance(wiring.erasure, wiring.workflow, id_)))


def refuse_request(request: Request) -> Answer:
    """Refuse a request of which nothing is destroyed yet, and say on what ground."""
    principal = _principal(request, "privacy")
    id_ = _id(request)
    ground = bodies.parse(bodies.Refusal, request.json()).ground
    _tell(principal, "privacy.refused", request=id_)
    return Answer(requests.shown(erasure.refuse(wiring.erasure, id_, ground)))


def cancel_request(request: Request) -> Answer:
    """Take back a request of which nothing is destroyed yet, or lift a restriction."""
    principal = _principal(request, "privacy")
    id_ = _id(request)
    _tell(principal, "privacy.cancelled", request=id_)
    row = requests.find(wiring.rows, id_)
    if row["type"] == "restriction":
        return Answer(requests.shown(rights.lift(wiring.erasure, wiring.world, row, principal.id)))
    return Answer(requests.shown(erasure.cancel(wiring.erasure, id_)))


def request_many(request: Request) -> Answer:
    """Ask for the erasure of many people; each gets a request of its own.

    What names nobody is told by its index, and the others are asked for all the same.
    """
    principal = _principal(request, "privacy")
    body = bodies.parse(bodies.Bulk, request.json())
    made = [wiring.identifiers.make(one.type, one.value) for one in body.subjects]
    subjects = [one for one in made if one]
    if not subjects:
        raise Refused("bad_identifier", "None of `subjects` is an identifier that names somebody.")
    _tell(principal, "privacy.requested_many")  # of whom, is told as each is taken up
    asking = requests.Asking(principal.id, body.verified_by, body.law)
    row = requests.open_many(wiring.erasure, wiring.vault, subjects, body.mode, asking)
    wiring.bulk.start(row["pk"], {"bulk": row["pk"]})
    nobody = [index for index, one in enumerate(made) if one is None]
    return Answer(requests.progress(wiring.erasure, row) | {"nobody": nobody}, 202)


def show_many(request: Request) -> Answer:
    """How far many erasures that were asked for at once are."""
    principal = _principal(request, "privacy")
    id_ = _id(request)
    _tell(principal, "privacy.read", request=id_)
    return Answer(requests.progress(wiring.erasure, requests.many(wiring.rows, id_)))


def show_request(request: Request) -> Answer:
    """How far a privacy request is, with its receipts and its certificate."""
    principal = _principal(request, "privacy")
    id_ = _id(request)
    _tell(principal, "privacy.read", request=id_)
    return Answer(requests.shown(requests.find(wiring.rows, id_)))


def list_requests(request: Request) -> Answer:
    """Privacy requests, newest first."""
    _tell(_principal(request, "privacy"), "privacy.listed")
    limit = profiles.limited(request.query.get("limit"))
    after = request.query.get("cursor", "g")  # which no id begins with
    rows = (row for row in wiring.rows.scan("requests") if row["type"] in requests.TYPES)
    older = sorted((row for row in rows if row["pk"] < after), key=lambda row: row["pk"])
    page = older[-limit:][::-1]
    following = page[-1]["pk"] if len(older) > limit else None
    return Answer({"data": [requests.shown(row) for row in page], "next": following})


def place_hold(request: Request) -> Answer:
    """Keep a person's data from ending, until a time or a release: a legal hold."""
    principal = _principal(request, "privacy")
    body = bodies.parse(bodies.Hold, request.json())
    subject = _subject(body.subject)
    _tell(principal, "hold.placed", about=[wiring.identifiers.pseudonym(subject.key)])
    until = int(body.until.timestamp())
    row = holds.place(wiring.world, subject, body.reason, until, principal.id)
    with suppress(Unavailable):  # it is in force, and what these do is done hourly and nightly, too
        wiring.sweeper.wake()
        wiring.vacuum.start(f"hold-{row['pk']}", {})  # which copies what is archived of them
    return Answer(holds.shown(wiring.vault, row), 201)


def list_holds(request: Request) -> Answer:
    """All legal holds, newest first, with who placed them and why."""
    _tell(_principal(request, "privacy"), "hold.listed")
    return Answer({"data": holds.listing(wiring.world), "next": None})


def release_hold(request: Request) -> Answer:
    """Release a legal hold: what fell due meanwhile goes, and erasures that waited for it go on."""
    principal = _principal(request, "privacy")
    id_ = _id(request)
    _tell(principal, "hold.released", request=id_)
    for waiting in holds.release(wiring.rows, id_, wiring.clock(), principal.id):
        erasure.advance(wiring.erasure, wiring.workflow, waiting)
    with suppress(Unavailable):
        wiring.sweeper.wake()
    return Answer({"success": True})


def lift_fence(request: Request) -> Answer:
    """Accept data of an identifier again that an erasure keeps out."""
    principal = _principal(request, "privacy")
    type_, _, value = request.path["identifier"].partition(":")
    subject = wiring.identifiers.make(type_, value)
    if subject is None:
        raise NotFound("not_found", "There is no fence around this identifier.")
    _tell(principal, "fence.lifted", about=[wiring.identifiers.pseudonym(subject.key)])
    rights.lift_fence(wiring.erasure, subject)
    return Answer({"success": True})


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


def renew(request: Request) -> Answer:
    """Let the policy's times of today reach what is stored, or say what that would change."""
    principal = _principal(request, "retention")
    body = bodies.parse(bodies.Renew, request.json())
    _tell(principal, "retention.dry_run" if body.dry_run else "retention.renewed")
    renewal.start(wiring.world, principal.id, dry_run=body.dry_run)
    wiring.sweeper.wake()
    return Answer(renewal.shown(wiring.world), 202)


def show_renewal(request: Request) -> Answer:
    """How far the latest renewal is, and what it changed or would change."""
    _tell(_principal(request, "retention"), "retention.read")
    return Answer(renewal.shown(wiring.world))


ROUTES = {
    ("POST", "/privacy/requests"): make_request,
    ("GET", "/privacy/requests"): list_requests,
    ("GET", "/privacy/requests/{id}"): show_request,
    ("DELETE", "/privacy/requests/{id}"): cancel_request,
    ("POST", "/privacy/requests/{id}/approve"): approve_request,
    ("POST", "/privacy/requests/{id}/refuse"): refuse_request,
    ("POST", "/privacy/bulk"): request_many,
    ("GET", "/privacy/bulk/{id}"): show_many,
    ("POST", "/holds"): place_hold,
    ("GET", "/holds"): list_holds,
    ("DELETE", "/holds/{id}"): release_hold,
    ("DELETE", "/fences/{identifier}"): lift_fence,
    ("POST", "/retention"): renew,
    ("GET", "/retention"): show_renewal,
    ("POST", "/privacy/callbacks/{callback}"): take_answer,
    ("POST", "/keys"): create_key,
    ("GET", "/keys"): list_keys,
    ("POST", "/keys/{id}/secret"): share_secret,
    ("DELETE", "/keys/{id}"): revoke_key,
}


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return serve(event, ROUTES, telemetry.fault)
