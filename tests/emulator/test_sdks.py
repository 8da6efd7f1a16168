"""Segment's SDKs, as they come, against the deployed stack, with and without a proxy that fails."""

import secrets
from dataclasses import replace
from typing import Any

import pytest
from segment.analytics.request import post  # type: ignore[import-untyped]

from cli import profile
from cli.api import Api
from tests.emulator.conftest import await_true
from tests.emulator.faults import FAULTS, failing
from tests.emulator.installation import Installation
from tests.emulator.reading import assert_once, await_unified, events_of, readable
from tests.emulator.sdks import SENDERS, Source, happened, new_source

Json = dict[str, Any]


@pytest.fixture
def source(api: Api) -> Source:
    return new_source(api, "server")


@pytest.mark.parametrize("sdk", SENDERS)
def test_every_call_of_an_sdk_is_readable_exactly_once(
    api: Api, installation: Installation, source: Source, sdk: str
) -> None:
    user = f"sdk-{secrets.token_hex(6)}"
    sent = SENDERS[sdk](source, user)
    events, who = happened(sent), ("user_id", user)
    await_true("every event is readable", lambda: set(readable(api, who)) >= set(events))
    assert readable(api, who) == events
    read = profile.read(api, f"user_id:{user}", "dpo", "privacy_rights")
    assert read["traits"] == {"name": f"{user} Doe", "plan": "free"}
    assert f"{user}-before" in {one["value"] for one in read["identifiers"]["data"]}
    kinds = {event["type"] for event in events_of(api, who)}
    assert kinds == {"track", "page", "screen", "group"}
    # The same events again, cut into batches in another way.
    post(source.key, source.host, timeout=60, batch=sent)
    await_unified(installation)
    assert readable(api, who) == events


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
    assert_once(api, installation, source.id, ("user_id", user), happened(sent))
