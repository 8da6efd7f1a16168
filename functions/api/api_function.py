"""Reading profiles, each read with a purpose and an audit event; and explicit consent choices."""

import hashlib
import json
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any

from candor import (
    audit,
    bodies,
    consents,
    credentials,
    explanation,
    outcomes,
    pages,
    profiles,
    registers,
    separation,
)
from candor.consent import is_minor
from candor.credentials import Principal, Source
from candor.errors import NotFound, Refused
from candor.identifiers import Identifier
from candor.identity import Graph, insist
from candor.profiles import View
from candor.telemetry import Telemetry
from candor.web import Answer, Request, prefers_html, serve
from candor.wiring import Wiring

wiring = Wiring()
telemetry = Telemetry(tail=wiring.tail)


def read(request: Request) -> Answer:
    """Read a person, or a part of what is known of them, for a purpose."""
    type_, _, value = request.path["identifier"].partition(":")
    return _read(request, _reader(request), type_, value)


def query(request: Request) -> Answer:
    """Read a person whose identifier is better not in a URL."""
    principal = _reader(request)
    body = bodies.parse(bodies.Query, request.json())
    return _read(request, principal, body.identifier.type, body.identifier.value)


def _reader(request: Request) -> Principal:
    """Asked for before a stranger's body costs anything, or is told what is wrong with it."""
    principal = wiring.credentials.principal(request.headers)
    principal.needs("read")
    return principal


def _read(request: Request, principal: Principal, type_: str, value: str) -> Answer:
    purpose = principal.purpose(request.headers.get("x-purpose"))
    limit = profiles.limited(request.query.get("limit"))
    one = wiring.identifiers.make(type_, value)
    part = request.resource.removeprefix("/profiles/{identifier}").strip("/")
    audit.tell(
        wiring.audit_queue,
        at=wiring.clock(),
        actor=principal.id,
        action=f"profile.read.{part.replace('profiles/query', '') or 'all'}",
        purpose=purpose,
        about=[wiring.identifiers.pseudonym(one.key)] if one else [],
    )
    view = profiles.view(wiring.world, one, purpose)
    return Answer(_part(view, part, request, limit))


def _part(view: View, part: str, request: Request, limit: int) -> dict[str, Any]:
    verbose = request.query.get("verbose") == "true"
    cursor = request.query.get("cursor")
    if part == "traits":
        answer: dict[str, Any] = {"traits": view.traits(verbose=verbose)}
    elif part == "events":
        answer = _page(*view.events(limit, cursor))
    elif part == "identifiers":
        answer = _page(view.identifiers())
    elif part == "links":
        answer = _page(view.links()) | {"separations": view.separations()}
    elif part == "consents":
        minor = is_minor(view.profile.choices)
        told = {"purposes": view.consents(), "minor": minor} | view.signals()
        return told | _page(view.consent_records())
    else:
        answer = {
            "profile": view.profile.id,
            "traits": view.traits(verbose=verbose),
            "events": _page(*view.events(limit, cursor)),
            "identifiers": _page(view.identifiers()),
            "consents": view.consents(),
        }
    return {"purpose": view.purpose} | answer | {"withheld": view.withheld()}


def _page(data: list[Any], following: str | None = None) -> dict[str, Any]:
    return {"data": data, "next": following}


def why(request: Request) -> Answer:
    """Explain why two identifiers, `a` and `b` as type:value, are one person's or are not."""
    principal = _reader(request)
    purpose = principal.purpose(request.headers.get("x-purpose"))
    a, b = (_identifier(request.query.get(name, "")) for name in ("a", "b"))
    if a is None or b is None:
        raise Refused("bad_identifier", "`a` and `b` are identifiers, as type:value.")
    _tell(principal, "profile.read.why", a, b, purpose=purpose)
    view = profiles.view(wiring.world, _identifier(request.path["identifier"]), purpose)
    told = explanation.why(view, a, b)
    return Answer({"purpose": purpose} | told | {"withheld": view.withheld()})


def unlink(request: Request) -> Answer:
    """Separate two identifiers until it is lifted; `dry_run` only tells what would become of it."""
    principal = _steward(request)
    body = bodies.parse(bodies.Unlink, request.json())
    one, other = _both(request, body.identifier)
    purpose = principal.purpose(request.headers.get("x-purpose"))
    action = "identity.tried" if body.dry_run else "identity.separated"
    _tell(principal, action, one, other, purpose=purpose)
    view = profiles.view(wiring.world, one, purpose)
    graph = Graph(wiring.world)
    load = partial(graph.load, [one.key, other.key])
    load()
    split = insist(lambda: separation.plan(graph, one, other), load)
    parts = explanation.parts(view, split) if split else []
    if not body.dry_run:
        separation.separate(wiring.world, one, other, principal.id, body.reason)
    told = {"success": True, "dry_run": body.dry_run, "parts": parts, "purpose": purpose}
    return Answer(told | {"withheld": view.withheld()})


def relink(request: Request) -> Answer:
    """Lift a separation: the two are joined again when evidence of it is seen again."""
    principal = _steward(request)
    one, other = _both(request, bodies.parse(bodies.Relink, request.json()).identifier)
    _tell(principal, "identity.lifted", one, other)
    separation.lift(wiring.world, one, other, principal.id)
    return Answer({"success": True})


def quarantine(request: Request) -> Answer:
    """Let an identifier that many share be with nobody, until it is released."""
    principal = _steward(request)
    reason = bodies.parse(bodies.Quarantine, request.json()).reason
    one = _known(request.path["identifier"])
    _tell(principal, "identity.quarantined", one)
    separation.quarantine(wiring.world, one, principal.id, {"reason": reason})
    return Answer({"success": True})


def release(request: Request) -> Answer:
    """Let a quarantined identifier join others again."""
    principal = _steward(request)
    one = _known(request.path["identifier"])
    _tell(principal, "identity.released", one)
    separation.release(wiring.world, one, principal.id)
    return Answer({"success": True})


def list_quarantine(request: Request) -> Answer:
    """What many share and therefore joins nobody, newest first, and how that was found."""
    _tell(_steward(request), "identity.listed")
    return Answer(_page(separation.quarantined(wiring.world)))


def explain_consent(request: Request) -> Answer:
    """Explain whether a `purpose` was allowed, `at` a time, and which records decided."""
    from candor import history

    principal = _reader(request)
    purpose = principal.purpose(request.headers.get("x-purpose"))
    at = _moment(request.query.get("at"))
    one = _identifier(request.path["identifier"])
    about = [one] if one else []
    _tell(principal, "profile.read.consents.explain", *about, purpose=purpose)
    view = profiles.view(wiring.world, one, purpose)
    told = history.explained(view, request.query.get("purpose", ""), at)
    return Answer({"purpose": purpose} | told | {"withheld": view.withheld()})


def rebuild(request: Request) -> Answer:
    """Compare consent registers with the records behind them, and mend them; or a `dry_run`."""
    principal = wiring.credentials.principal(request.headers)
    principal.needs("consent")
    body = bodies.parse(bodies.Rebuild, request.json())
    purpose = principal.purpose(request.headers.get("x-purpose"))
    one = _known(request.path["identifier"])
    action = "consent.compared" if body.dry_run else "consent.rebuilt"
    _tell(principal, action, one, purpose=purpose)
    view = profiles.view(wiring.world, one, purpose)
    found = registers.rebuild(wiring.world, one, dry_run=body.dry_run)
    told = {"success": True, "dry_run": body.dry_run, "purpose": purpose}
    shown = [registers.shown(each, view.named) for each in found]
    return Answer(told | {"differences": shown, "withheld": view.withheld()})


def _moment(stated: str | None) -> float:
    """Epoch seconds; without a time, now."""
    if stated is None:
        return wiring.clock()
    text = "`at` is a time with its zone, as ISO 8601 writes it: 2026-03-31T12:00:00Z."
    try:
        found = datetime.fromisoformat(stated)
    except ValueError:
        raise Refused("bad_time", text) from None
    if found.tzinfo is None:
        raise Refused("bad_time", text)
    return found.timestamp()


def _steward(request: Request) -> Principal:
    principal = wiring.credentials.principal(request.headers)
    principal.needs("identity")
    return principal


def _identifier(text: str) -> Identifier | None:
    type_, _, value = text.partition(":")
    return wiring.identifiers.make(type_, value)


def _known(text: str) -> Identifier:
    """Raises NotFound for what can be nobody's, as for who is unknown."""
    one = _identifier(text)
    if one is None:
        raise NotFound("not_found", "There is no profile with this identifier.")
    return one


def _both(request: Request, subject: bodies.Subject) -> tuple[Identifier, Identifier]:
    return _known(request.path["identifier"]), _known(f"{subject.type}:{subject.value}")


def _tell(
    principal: Principal, action: str, *about: Identifier, purpose: str | None = None
) -> None:
    audit.tell(
        wiring.audit_queue,
        at=wiring.clock(),
        actor=principal.id,
        action=action,
        purpose=purpose,
        about=[wiring.identifiers.pseudonym(one.key) for one in about],
    )


def receipt(request: Request) -> Answer:
    """Hand out a signed receipt of a person's choices, which anybody can check offline."""
    from candor import receipts

    principal = _reader(request)
    purpose = principal.purpose(request.headers.get("x-purpose"))
    one = _identifier(request.path["identifier"])
    _tell(principal, "profile.read.receipt", *([one] if one else []), purpose=purpose)
    view = profiles.view(wiring.world, one, purpose)
    subject = wiring.identifiers.pseudonym(one.key) if one else ""  # whom nobody has a view of
    chosen = request.query.get("purpose")
    return Answer({**receipts.issue(view, subject, wiring.signer, chosen)})


def tell_key(_: Request) -> Answer:
    """Tell the public key that checks receipts, certificates and checkpoints, as PEM."""
    from candor.signatures import pem

    headers = pages.CACHE | {"Content-Type": "text/plain; charset=us-ascii"}
    return Answer(pem(wiring.signer.public_key()), headers=headers)


def count(request: Request) -> Answer:
    """What became of the events of each source in the last week, by day, and unknown names."""
    wiring.credentials.principal(request.headers).needs("outcomes")
    return Answer(_page(outcomes.listing(wiring.rows, COUNTED_DAYS, wiring.clock())))


def choose(request: Request) -> Answer:
    """Record a person's choices; they bind when this answers."""
    sender = _chooser(request) if credentials.presented(request.headers) else None
    body = bodies.parse(bodies.Choice, request.json())
    sender = sender or wiring.credentials.source({}, body.write_key)
    trust, notes = body.trust(sender, wiring.identifiers, wiring.clock())
    heard = body.heard(wiring.policy)
    choice = body.choice(wiring.identifiers, wiring.clock(), sender.id, trust, heard)
    notes += [*map(asdict, heard.notes), *consents.choose(wiring.world, choice)]
    audit.tell(
        wiring.audit_queue,
        at=wiring.clock(),
        actor=sender.id,
        action="consent.recorded",
        about=[wiring.identifiers.pseudonym(one.key) for one in choice.ids],
    )
    return Answer({"success": True} | ({"notes": notes} if notes else {}))


def _chooser(request: Request) -> Source:
    """Who speaks for the person: staff, believed like a shop's server, or a source."""
    if str(credentials.presented(request.headers)).startswith(credentials.TOKEN):
        principal = wiring.credentials.principal(request.headers)
        principal.needs("consent")
        return Source(principal.id, principal.name, "staff", "server")
    return wiring.credentials.source(request.headers)


def show_policy(request: Request) -> Answer:
    """What is kept about people, why and how long: for anyone, as JSON or as a page."""
    policy = wiring.policy
    if prefers_html(request.headers.get("accept", "")):
        from candor import notice

        written = notice.page(policy.document)
        headers = pages.headers(written)
    else:
        written = json.dumps(policy.document, separators=(",", ":"))
        headers = dict(pages.CACHE)
    headers["Vary"] = "Accept"
    # The hash alone would keep a page that was written differently from being noticed.
    headers["ETag"] = f'"{policy.hash}-{hashlib.sha256(written.encode()).hexdigest()[:8]}"'
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Answer("", 304, headers)
    return Answer(written, headers=headers)


def describe(_: Request) -> Answer:
    """Describe this API to programs, as OpenAPI 3.1."""
    return Answer(pages.built("openapi.json"), headers=pages.CACHE)


def explain(_: Request) -> Answer:
    """Describe this API to people."""
    page = pages.built("docs.html")
    return Answer(page, headers=pages.headers(page))


"""How long anybody may go on showing the policy that was."""
COUNTED_DAYS = 7
READS = ("", "/traits", "/events", "/identifiers", "/links", "/consents")
ROUTES = {("GET", f"/profiles/{{identifier}}{part}"): read for part in READS} | {
    ("POST", "/profiles/query"): query,
    ("GET", "/profiles/{identifier}/why"): why,
    ("GET", "/profiles/{identifier}/consents/receipt"): receipt,
    ("GET", "/profiles/{identifier}/consents/explain"): explain_consent,
    ("POST", "/profiles/{identifier}/consents/rebuild"): rebuild,
    ("POST", "/profiles/{identifier}/unlink"): unlink,
    ("POST", "/profiles/{identifier}/relink"): relink,
    ("POST", "/profiles/{identifier}/quarantine"): quarantine,
    ("DELETE", "/profiles/{identifier}/quarantine"): release,
    ("GET", "/quarantine"): list_quarantine,
    ("GET", "/outcomes"): count,
    ("POST", "/consents"): choose,
    ("GET", "/policy"): show_policy,
    ("GET", "/signing-key"): tell_key,
    ("GET", "/openapi.json"): describe,
    ("GET", "/docs"): explain,
}


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return serve(event, ROUTES, telemetry.fault)
