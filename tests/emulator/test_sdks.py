"""Segment's SDKs, as they come, against the deployed stack, with and without a proxy that fails."""

import secrets
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from segment.analytics.request import post  # type: ignore[import-untyped]

from cli import profile
from cli.api import Api
from tests.emulator.conftest import await_true
from tests.emulator.faults import FAULTS, failing
from tests.emulator.installation import Installation
from tests.emulator.people import idkey
from tests.emulator.reading import events_of
from tests.emulator.sdks import SENDERS, Source, happened

Json = dict[str, Any]


@pytest.fixture
def source(api: Api) -> Source:
    """A source of this test's own, so that its counts are too."""
    spec = {"kind": "source", "name": "sdk", "source": "website", "trust": "server"}
    made = api.staff("admin", "POST", "/keys", spec)
    return Source(made["id"], made["key"], api.stack["api_url"])


def readable(api: Api, user: str) -> list[str]:
    """The messageIds of a profile's events."""
    return sorted(event["messageId"] for event in events_of(api, user))


def counted(api: Api, source_id: str) -> Counter[str]:
    """What became of a source's events, over all its days."""
    days = api.staff("admin", "GET", "/outcomes")["data"]
    own = (Counter(day["outcomes"]) for day in days if day["source"] == source_id)
    return sum(own, Counter[str]())


def kept(installation: Installation, user: str) -> dict[str, int]:
    """How many of a user's events lie in each store, repetitions included."""
    home = idkey(installation.hmac_secret, "user_id", user)
    stores = {"table": installation.rows("Events"), "archive": installation.archived()}
    return {
        name: sum(row["n"] for row in rows if row["pk"] == home) for name, rows in stores.items()
    }


def await_settled(installation: Installation) -> None:
    await_true("the queue is empty", lambda: not installation.depth("EventsQueue"))


@pytest.mark.parametrize("sdk", SENDERS)
def test_every_call_of_an_sdk_is_readable_exactly_once(
    api: Api, installation: Installation, source: Source, sdk: str
) -> None:
    user = f"sdk-{secrets.token_hex(6)}"
    sent = SENDERS[sdk](source, user)
    events = happened(sent)
    await_true("every event is readable", lambda: set(readable(api, user)) >= set(events))
    assert readable(api, user) == events
    read = profile.read(api, f"user_id:{user}", "dpo", "privacy_rights")
    assert read["traits"] == {"name": f"{user} Doe", "plan": "free"}
    assert f"{user}-before" in {one["value"] for one in read["identifiers"]["data"]}
    kinds = {event["type"] for event in events_of(api, user)}
    assert kinds == {"track", "page", "screen", "group"}
    # The same events again, cut into batches in another way.
    post(source.key, source.host, timeout=60, batch=sent)
    await_settled(installation)
    assert readable(api, user) == events


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("sdk", SENDERS)
def test_what_an_sdk_sends_again_is_read_stored_archived_and_counted_once(
    api: Api, installation: Installation, source: Source, sdk: str, fault: str
) -> None:
    user = f"sdk-{secrets.token_hex(6)}"
    with failing(source.host, FAULTS[fault]) as (host, tries):
        sent = SENDERS[sdk](replace(source, host=host), user)
    assert {one.answered for one in tries} <= {None, 200}
    failed, passed = ([one for one in tries if one.failed is how] for how in (True, False))
    assert failed
    assert {id_ for one in passed for id_ in one.message_ids} == {one["messageId"] for one in sent}
    again = {one.message_ids: one.sent_at for one in passed}
    assert all(again.get(one.message_ids) != one.sent_at for one in failed), "sentAt is set anew"
    events = happened(sent)
    await_true("every event is readable", lambda: set(readable(api, user)) >= set(events))
    await_settled(installation)
    assert readable(api, user) == events
    count = len(events)
    await_true("all is archived", lambda: kept(installation, user)["archive"] >= count)
    assert kept(installation, user) == {"table": count, "archive": count}
    await_true("all is counted", lambda: counted(api, source.id)["stored"] >= count)
    assert counted(api, source.id)["stored"] == count
