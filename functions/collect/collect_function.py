"""POST /v1/batch and the other collection calls: check, strip, one message to the queue, answer."""

from typing import Any

from candor import analytics_js, collection, credentials
from candor.telemetry import Telemetry
from candor.unification import Outcome
from candor.web import Answer, Request, preflight, serve
from candor.wiring import Wiring

wiring = Wiring()
telemetry = Telemetry(tail=wiring.tail)


def collect(request: Request) -> Answer:
    """Take events, and tell what became of each."""
    kind = collection.PATHS[request.resource.removeprefix("/")]
    if credentials.presented(request.headers):  # before a stranger's body costs anything
        wiring.credentials.source(request.headers)
    body = collection.parse(request.body)
    source = wiring.credentials.source(request.headers, body.get("writeKey"))
    now = wiring.clock()
    keep = wiring.keep_unnamed
    collected = collection.collect(body, kind, wiring.policy, now, keep_unnamed=keep)
    if collected.events:
        message = collection.message(collected.events, source, now)
        wiring.events_queue.send(wiring.transit.seal(message))
    telemetry.outcomes(
        Outcome("event", "(refused)", source.id, "refused", refusal["code"])
        for refusal in collected.refused
    )
    return Answer(collected.answer())


def settings(request: Request) -> Answer:
    """Tell analytics.js where to send what a browser's write key collects."""
    key = request.path["writeKey"]
    source = wiring.credentials.known(key)
    found = analytics_js.settings(source, key, request.context, request.headers, wiring.local)
    return Answer(found, headers=analytics_js.CACHE)


ROUTES = {("POST", f"/{path}"): collect for path in collection.PATHS} | {
    ("OPTIONS", f"/{path}"): preflight for path in (*collection.PATHS, "consents")
}
ROUTES["GET", "/projects/{writeKey}/settings"] = settings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return serve(event, ROUTES, telemetry.fault)
