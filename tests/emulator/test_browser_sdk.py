"""analytics.js as npm has it, in a page of another origin, against the deployed stack."""

import secrets
from typing import Any

import pytest

from cli.api import Api
from tests import javascript
from tests.emulator.conftest import await_true
from tests.emulator.faults import FAULTS, Try, failing
from tests.emulator.installation import Installation
from tests.emulator.reading import assert_once, events_of
from tests.emulator.sdks import CONSENT, Source, happened, new_source

Json = dict[str, Any]
PAGE = "https://shop.example/shoes?size=43"


@pytest.fixture
def source(api: Api) -> Source:
    return new_source(api, "client")


def visit(source: Source, **integrations: Json) -> Json:
    """What a page with the library is given: the key, and where to load its settings from."""
    name = f"Shoe {secrets.token_hex(6)}"
    calls = [
        ["page", "Start", {}, {"context": CONSENT}],
        ["track", "Product Viewed", {"name": name, "price": 89}, {"context": CONSENT}],
        ["track", "Products Searched", {"query": "shoes"}, {"context": CONSENT}],
    ]
    given = {"key": source.key, "cdn": source.host, "page": PAGE, "calls": calls}
    return given | {"integrations": integrations}


def ids(tries: list[Try], *, failed: bool) -> set[str]:
    return {id_ for one in tries if one.failed is failed for id_ in one.message_ids}


def test_analytics_js_loads_its_settings_here_and_sends_here(
    api: Api, installation: Installation, source: Source
) -> None:
    with javascript.running("browser.cjs", visit(source)) as told:
        who = ("anonymous_id", told["anonymousId"])
        assert_once(api, installation, source.id, who, happened(told["messages"]))
    settings = f"{source.host}/v1/projects/{source.key}/settings"
    sent = [f"{source.host}/v1/{path}" for path in ("p", "t", "t")]
    assert sorted(told["urls"]) == sorted([settings, *sent])
    searched = [e for e in events_of(api, who) if e.get("event") == "Products Searched"]
    assert [event["properties"] for event in searched] == [{"query": "shoes"}]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_page_sends_again_is_read_stored_archived_and_counted_once(
    api: Api, installation: Installation, source: Source, fault: str
) -> None:
    with failing(source.host, FAULTS[fault]) as (host, tries):
        there = {"apiHost": f"{host.removeprefix('http://')}/v1", "protocol": "http"}
        with javascript.running("browser.cjs", visit(source, **{"Segment.io": there})) as told:
            events = {one["messageId"] for one in told["messages"]}
            await_true("all is sent again", lambda: ids(tries, failed=False) == events)
    assert ids(tries, failed=True) == events
    assert {one.answered for one in tries} <= {None, 200}
    assert {one.headers["content-type"] for one in tries} == {"text/plain"}
    who = ("anonymous_id", told["anonymousId"])
    assert_once(api, installation, source.id, who, happened(told["messages"]))
