"""Segment's SDKs, as their registries give them, sending what a shop's server sends."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from segment.analytics.client import Client  # type: ignore[import-untyped]

from cli.api import Api
from tests import javascript

ORDERS = 120
"""More than an SDK puts in one batch."""
CONSENT = {"consent": {"categoryPreferences": {"Analytics": True}}}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """What sends, to where."""

    id: str
    key: str
    host: str


def new_source(api: Api, trust: str) -> Source:
    """A source that nothing else sends as, so that its counts are a test's own."""
    spec = {"kind": "source", "name": "sdk", "source": "website", "trust": trust}
    made = api.staff("admin", "POST", "/keys", spec)
    return Source(made["id"], made["key"], api.stack["api_url"])


Sender = Callable[[Source, str], list[Json]]
"""Sends one call of every type and all orders of a user. Answers the messages, in order, once all
are delivered; fails where one was not."""


def python_sends(source: Source, user: str, *, gzip: bool) -> list[Json]:
    """segment-analytics-python."""
    failures: list[Any] = []
    client = Client(
        source.key,
        host=source.host,
        gzip=gzip,
        timeout=60,
        on_error=lambda error, _: failures.append(error),
    )
    calls: list[tuple[Callable[..., Any], Json]] = [
        (client.identify, {"traits": {"name": f"{user} Doe", "plan": "free"}}),
        (client.page, {"name": "Start", "properties": {"path": "/"}}),
        (client.screen, {"name": "Start"}),
        (client.group, {"group_id": f"{user}-group", "traits": {"name": "Friends"}}),
        (client.alias, {"previous_id": f"{user}-before"}),
    ]
    orders = [{"properties": {"order_id": f"{user}-{n}", "total": n}} for n in range(ORDERS)]
    calls += [(client.track, order | {"event": "Order Completed"}) for order in orders]
    try:
        answers = [call(user_id=user, context=dict(CONSENT), **what) for call, what in calls]
        assert all(taken for taken, _ in answers)
        client.flush()
    finally:
        client.join()
    assert failures == []
    return [message for _, message in answers]


def node_sends(source: Source, user: str) -> list[Json]:
    """@segment/analytics-node. Its `host` is an origin, so what follows that goes into `path`."""
    place = urlsplit(source.host)
    calls: list[tuple[str, Json]] = [
        ("identify", {"traits": {"name": f"{user} Doe", "plan": "free"}}),
        ("page", {"name": "Start", "properties": {"path": "/"}}),
        ("screen", {"name": "Start"}),
        ("group", {"groupId": f"{user}-group", "traits": {"name": "Friends"}}),
        ("alias", {"previousId": f"{user}-before"}),
    ]
    orders = [{"properties": {"order_id": f"{user}-{n}", "total": n}} for n in range(ORDERS)]
    calls += [("track", order | {"event": "Order Completed"}) for order in orders]
    given = {
        "key": source.key,
        "host": f"{place.scheme}://{place.netloc}",
        "path": f"{place.path}/v1/batch",
        "calls": [[method, {"userId": user, "context": CONSENT, **what}] for method, what in calls],
    }
    messages: list[Json] = javascript.run("server.cjs", given)
    assert len(messages) == len(calls)
    return messages


SENDERS: dict[str, Sender] = {
    "python": partial(python_sends, gzip=False),
    "python-gzip": partial(python_sends, gzip=True),
    "node": node_sends,
}


def happened(sent: list[Json]) -> list[str]:
    """The ids of what is an event; an identify or an alias is a fact."""
    return sorted(one["messageId"] for one in sent if one["type"] not in {"identify", "alias"})
