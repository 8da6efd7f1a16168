"""POST /v1/batch and the other collection calls: check, strip, one message to the queue, answer.

So become files in the drop bucket, of which a queue of its own tells.
"""

import base64
from dataclasses import replace
from typing import Any

from candor import analytics_js, collection, credentials
from candor.credentials import Source
from candor.errors import NotFound, Refused, Unauthenticated
from candor.telemetry import Telemetry
from candor.web import Answer, Request, preflight, serve
from candor.wiring import Wiring

wiring = Wiring()
telemetry = Telemetry(tail=wiring.tail)
IMAGE = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A transparent GIF of one pixel."""
RESERVE_MS = 10_000
"""Go on with a file by another message when there is less time left."""
UNPROVEN_SECONDS = 60
unproven_told: dict[tuple[str, str], float] = {}
"""When this process last had it counted that a webhook's body was not proven to be its sender's."""


def collect(request: Request) -> Answer:
    """Take events, and tell what became of each."""
    kind = collection.PATHS[request.resource.removeprefix("/")]
    return Answer(_take(request, kind, request.body))


def pixel(request: Request) -> Answer:
    """Take one event from where no script runs, such as an email: `data` is its JSON in base64."""
    kind = request.path["type"]
    if kind not in collection.TYPES:
        raise NotFound("unknown_path", "There is no such method and path.")
    _take(request, kind, b"data=" + request.query.get("data", "").encode(errors="replace"))
    return Answer(IMAGE, headers={"Content-Type": "image/gif"})


def settings(request: Request) -> Answer:
    """Tell analytics.js where to send what a browser's write key collects."""
    key = request.path["writeKey"]
    source = wiring.credentials.known(key)
    found = analytics_js.settings(source, key, request.context, request.headers, wiring.local)
    return Answer(found, headers=analytics_js.CACHE)


def _take(request: Request, kind: str, sent: bytes) -> dict[str, Any]:
    # Before a stranger's body costs anything.
    known = credentials.presented(request.headers)
    source = wiring.credentials.source(request.headers) if known else None
    now, keep = wiring.clock(), wiring.keep_unnamed
    try:
        body = collection.parse(sent)
        source = source or wiring.credentials.source({}, body.get("writeKey"))
        gpc = request.headers.get("sec-gpc") == "1"
        collected = collection.collect(
            body, kind, wiring.policy, now, keep_unnamed=keep, sender=source, gpc=gpc
        )
        _hand_on(collected, body, source, now)
    except Refused as refused:
        if source:
            _queue(collection.refusal(refused.code, source, now))
        raise
    return collected.answer()


def subscribe(request: Request) -> Answer:
    """Answer a webhook's handshake, which proves to its sender that the address is ours."""
    from candor import webhooks

    source = wiring.credentials.webhook(request.path["key"])
    answer = webhooks.challenge(source.secret, request.query)
    plain = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    return Answer(answer, headers=plain)


def receive(request: Request) -> Answer:
    """Take what a signed webhook tells, and tell what became of each item."""
    from candor import webhooks

    source, now = wiring.credentials.webhook(request.path["key"]), wiring.clock()
    signature = request.headers.get(webhooks.SIGNATURE)
    try:
        webhooks.verify(source.secret, request.body, signature)
    except Unauthenticated as unproven:
        _tell_unproven(source, unproven.code, now)
        raise
    try:
        body = collection.parse(request.body)
        items = webhooks.items(wiring.policy, source.mapping, body, now)
        collected = _import({"batch": items.events, "of": body}, source, items.refused)
    except Refused as refused:
        _queue(collection.refusal(refused.code, source, now))
        raise
    items.place(collected)
    return Answer(collected.answer())


def _tell_unproven(source: Source, code: str, now: float) -> None:
    """Have it counted, once a minute: whoever knows the address could flood the queue."""
    if now - unproven_told.get((source.id, code), 0.0) >= UNPROVEN_SECONDS:
        unproven_told[source.id, code] = now
        _queue(collection.refusal(code, source, now))


def _import(
    body: dict[str, Any], source: Source, before: list[dict[str, Any]]
) -> collection.Collected:
    """Take a batch that was no request, and count what was refused of it before with it."""
    now, keep = wiring.clock(), wiring.keep_unnamed
    collected = collection.collect(body, "batch", wiring.policy, now, keep_unnamed=keep)
    _hand_on(replace(collected, refused=[*collected.refused, *before]), body, source, now)
    return collected


def _read_drops(records: list[dict[str, Any]], context: Any) -> dict[str, Any]:
    """Read the files that lie in the drop bucket."""
    from candor.drops import Drops, read  # a request needs none of it

    def more() -> bool:
        return bool(context.get_remaining_time_in_millis() > RESERVE_MS)

    drops = Drops(
        wiring.drop_bucket,
        wiring.drop_queue,
        wiring.credentials,
        wiring.policy,
        lambda *batch: _import(*batch).refused,
    )
    failed = []
    for record in records:
        try:
            telemetry.done("dropped", lines=read(record["body"], drops, more))
        except Exception as error:  # noqa: BLE001  its text may be personal
            telemetry.fault(error, queued=record["messageId"])
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def _hand_on(
    collected: collection.Collected, body: dict[str, Any], source: Source, now: float
) -> None:
    message = collection.message(collected, body, source, now)
    if collected.events or "counts" in message:
        _queue(message)


def _queue(message: dict[str, Any]) -> None:
    wiring.events_queue.send(wiring.transit.seal(message))


ROUTES = (
    {("POST", f"/{path}"): collect for path in collection.PATHS}
    | {("OPTIONS", f"/{path}"): preflight for path in (*collection.PATHS, "consents")}
    | {("GET", "/pixel/{type}"): pixel, ("GET", "/projects/{writeKey}/settings"): settings}
    | {("GET", "/webhooks/{key}"): subscribe, ("POST", "/webhooks/{key}"): receive}
)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    if "Records" in event:
        return _read_drops(event["Records"], context)
    return serve(event, ROUTES, telemetry.fault)
