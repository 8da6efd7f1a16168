"""Segment's own Python library, as it comes, against the deployed stack."""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import urllib3
from segment.analytics.client import Client  # type: ignore[import-untyped]
from segment.analytics.request import post  # type: ignore[import-untyped]

from cli import profile
from cli.api import Answered, Api, profile_path
from tests.emulator.conftest import await_true
from tests.emulator.installation import Installation
from tests.emulator.people import idkey

ORDERS = 120
"""More than the library puts in one batch."""
CONSENT = {"consent": {"categoryPreferences": {"Analytics": True}}}
Json = dict[str, Any]


@contextmanager
def sdk(api: Api, gzip: bool, host: str | None = None) -> Iterator[Any]:
    """The library's client. What it could not deliver fails the test."""
    failures: list[Any] = []
    client = Client(
        api.stack["write_keys"]["server"],
        host=host or api.stack["api_url"],
        gzip=gzip,
        timeout=60,
        on_error=lambda error, _: failures.append(error),
    )
    try:
        yield client
        client.flush()
    finally:
        client.join()
    assert failures == []


def send_everything(client: Any, user: str) -> list[Json]:
    """One call of every type, and more orders than fit one batch. What was sent, in order."""
    calls: list[tuple[Callable[..., Any], Json]] = [
        (client.identify, {"traits": {"name": f"{user} Doe", "plan": "free"}}),
        (client.page, {"name": "Start", "properties": {"path": "/"}}),
        (client.screen, {"name": "Start"}),
        (client.group, {"group_id": f"{user}-group", "traits": {"name": "Friends"}}),
        (client.alias, {"previous_id": f"{user}-before"}),
    ]
    orders = [{"properties": {"order_id": f"{user}-{n}", "total": n}} for n in range(ORDERS)]
    calls += [(client.track, order | {"event": "Order Completed"}) for order in orders]
    answers = [call(user_id=user, context=dict(CONSENT), **what) for call, what in calls]
    assert all(taken for taken, _ in answers)
    return [message for _, message in answers]


def events_of(api: Api, user: str) -> list[Json]:
    """All of a profile's events, page by page; none while there is no profile."""
    found: list[Json] = []
    query = {"limit": "100"}
    path = f"{profile_path(f'user_id:{user}')}/events"
    while True:
        try:
            page = api.staff("dpo", "GET", path, purpose="privacy_rights", query=query)
        except Answered as answer:
            if answer.status == 404:
                return []
            raise
        found += page["data"]
        if not page["next"]:
            return found
        query = query | {"cursor": page["next"]}


def await_ids(api: Api, user: str, sent: list[Json]) -> list[str]:
    """The messageIds that are readable, once all that are expected are."""
    ids: list[str] = []

    def readable() -> bool:
        ids[:] = [event["messageId"] for event in events_of(api, user)]
        return set(ids) >= set(happened(sent))

    await_true("every event is readable", readable)
    return sorted(ids)


def happened(sent: list[Json]) -> list[str]:
    """The ids of what is an event; an identify or an alias is a fact."""
    return sorted(one["messageId"] for one in sent if one["type"] not in {"identify", "alias"})


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_every_call_of_the_library_is_readable_exactly_once(
    api: Api, installation: Installation, gzip: bool
) -> None:
    user = f"sdk-{secrets.token_hex(6)}"
    with sdk(api, gzip) as client:
        sent = send_everything(client, user)
    assert await_ids(api, user, sent) == happened(sent)
    read = profile.read(api, f"user_id:{user}", "dpo", "privacy_rights")
    assert read["traits"] == {"name": f"{user} Doe", "plan": "free"}
    assert f"{user}-before" in {one["value"] for one in read["identifiers"]["data"]}
    kinds = {event["type"] for event in events_of(api, user)}
    assert kinds == {"track", "page", "screen", "group"}
    # The same events again, cut into batches in another way.
    post(api.stack["write_keys"]["server"], api.stack["api_url"], gzip, timeout=60, batch=sent)
    await_true("the queue is empty", lambda: not installation.depth("EventsQueue"))
    assert sorted(event["messageId"] for event in events_of(api, user)) == happened(sent)


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_a_batch_whose_answer_is_lost_is_sent_again_and_stored_once(
    api: Api, installation: Installation, gzip: bool
) -> None:
    """The library sends the same events again by itself, with another sentAt."""
    user = f"sdk-{secrets.token_hex(6)}"
    with losing_answers(api.stack["api_url"]) as (host, retries):
        with sdk(api, gzip, host) as client:
            sent = send_everything(client, user)
        assert "1" in retries
    assert await_ids(api, user, sent) == happened(sent)
    await_true("the queue is empty", lambda: not installation.depth("EventsQueue"))
    assert sorted(event["messageId"] for event in events_of(api, user)) == happened(sent)
    home = idkey(installation.hmac_secret, "user_id", user)
    stored = [row["n"] for row in installation.rows("Events") if row["pk"] == home]
    assert sum(stored) == len(happened(sent))


@contextmanager
def losing_answers(api_url: str) -> Iterator[tuple[str, list[str]]]:
    """A proxy that passes every request on, and loses the answer to each first try.

    Gives its URL, and what each request's X-Retry-Count was.
    """
    retries: list[str] = []
    pool = urllib3.PoolManager(retries=False)

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {k: v for k, v in self.headers.items() if k not in {"Host", "Connection"}}
            answer = pool.request("POST", api_url + self.path, headers=headers, body=body)
            retries.append(self.headers.get("X-Retry-Count", "0"))
            lost = retries[-1] == "0"
            self.send_response(503 if lost else answer.status)
            self.send_header("Content-Length", "0" if lost else str(len(answer.data)))
            self.end_headers()
            self.wfile.write(b"" if lost else answer.data)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", retries
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        pool.clear()
